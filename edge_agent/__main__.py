"""`python -m edge_agent bridge|scorer|updater|setup|run`: one part in one process, loading nothing of the others."""

from __future__ import annotations

import sys

from edge_agent.parts import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
