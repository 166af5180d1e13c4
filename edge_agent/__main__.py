"""`python -m edge_agent bridge|scorer|updater|setup|run`: one part in one process, loading nothing of the others."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # structlog would load rich to draw tracebacks in boxes: 5 MB in each process of a box that nobody watches.
    sys.modules["rich"] = None  # type: ignore[assignment]  # how Python is told that a module is not there

    from edge_agent.parts import main

    sys.exit(main(sys.argv[1:]))
