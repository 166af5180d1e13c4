"""What a demo has left running."""

from __future__ import annotations

import os
from pathlib import Path


def processes_below(folder: Path) -> list[str]:
    """Command lines of processes that work in or with a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (entry / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if entry.name.isdecimal() and int(entry.name) != os.getpid() and str(folder) in command + environment:
            found.append(command)
    return found
