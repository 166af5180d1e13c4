"""`python -m edge_agent bridge|scorer|updater|setup|run`: one part in one process, loading nothing of the others."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    import headwater.transport  # noqa: F401  # before structlog: its reason is there
    from edge_agent.parts import main

    sys.exit(main(sys.argv[1:]))
