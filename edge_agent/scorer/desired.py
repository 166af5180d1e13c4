"""Following `desired.json`, by which the updater says what should run."""

from __future__ import annotations

from pathlib import Path

import structlog

from headwater.contract.desired import DESIRED_FILE, MAX_DESIRED_BYTES, Desired, decode_desired
from headwater.contract.errors import BadInput

_log = structlog.get_logger(__name__)
_Stamp = tuple[int, int, int]


class DesiredFile:
    """The file in a state folder. It is replaced as a whole: another inode, size or time means another content."""

    def __init__(self, state: Path) -> None:
        self._path = state / DESIRED_FILE
        self._seen: _Stamp | None = None

    def poll(self) -> Desired | None:
        """The new content, None when there is none. A file that cannot be read leaves the last one in force."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        if stamp == self._seen:
            return None
        self._seen = stamp
        try:
            with self._path.open("rb") as file:
                return decode_desired(file.read(MAX_DESIRED_BYTES + 1))
        except (OSError, BadInput) as error:
            _log.warning("desired version not understood", path=str(self._path), why=str(error))
            return None
