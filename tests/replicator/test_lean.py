"""What a replicator on a box that nobody watches does without."""

from __future__ import annotations

import os
import subprocess
import sys


def test_a_running_link_loads_nothing_for_eyes() -> None:
    """`replicate run` leaves out what draws on terminals, 4 MB; what draws still can."""
    program = [sys.executable, "-c", "import sys; from headwater.app.cli import main; main()", "replicate", "run"]
    env = {"PATH": os.environ["PATH"], "PYTHONPROFILEIMPORTTIME": "1"}  # without settings: all is loaded, then it ends
    done = subprocess.run(program, env=env, capture_output=True, text=True, timeout=60, check=False)

    assert "replicator.ways" in done.stderr
    assert "structlog" in done.stderr
    assert "rich." not in done.stderr
    subprocess.run([sys.executable, "-c", "import headwater.transport, rich.console"], timeout=60, check=True)
