"""The folder of a spool: every touch of the disk that the spool makes, so that tests can cut the power in between."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from headwater.contract.errors import Conflict
from headwater.transport.files import sync_folder

_NO_PREALLOCATION = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_MOST_BUFFERS = 1024  # IOV_MAX of Linux


class File(Protocol):
    """An open file; each call raises OSError as the system does."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer at the file's end."""

    def write_at(self, buffers: Sequence[bytes], offset: int) -> None:
        """All of them, one after the other."""

    def allocate(self, size: int) -> None:
        """Zeros up to `size`, with their place on the disk where the file system can."""

    def truncate(self, size: int) -> None:
        """Give up what is behind."""

    def size(self) -> int:
        """Bytes."""

    def sync(self) -> None:
        """The data, and what is needed to read it back, are on the disk afterwards."""

    def close(self) -> None:
        """Let go."""


class Folder(Protocol):
    """A folder and its entries; each call raises OSError as the system does."""

    path: Path

    def lock(self) -> File:
        """Held until it is closed; raises Conflict when another process has it."""

    def names(self) -> list[str]:
        """All entries."""

    def create(self, name: str) -> File:
        """A new empty file."""

    def open(self, name: str) -> File:
        """An existing file, to read and write."""

    def rename(self, old: str, new: str) -> None:
        """Give a file its final name."""

    def unlink(self, name: str) -> None:
        """Remove the entry."""

    def sync(self) -> None:
        """Entries are on the disk afterwards."""


class DiskFile:
    """A file by its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read_at(self, offset: int, size: int) -> bytes:
        """See File."""
        data = os.pread(self._descriptor, size, offset)
        while 0 < len(data) < size and (more := os.pread(self._descriptor, size - len(data), offset + len(data))):
            data += more
        return data

    def write_at(self, buffers: Sequence[bytes], offset: int) -> None:
        """See File."""
        for first in range(0, len(buffers), _MOST_BUFFERS):
            some = buffers[first : first + _MOST_BUFFERS]
            size = sum(map(len, some))
            done = os.pwritev(self._descriptor, some, offset)
            while done < size:  # short: the disk is nearly full, or more than 2 GiB
                done += os.pwrite(self._descriptor, memoryview(b"".join(some))[done:], offset + done)
            offset += size

    def allocate(self, size: int) -> None:
        """See File."""
        try:
            os.posix_fallocate(self._descriptor, 0, size)
        except OSError as error:
            if error.errno not in _NO_PREALLOCATION:
                raise

    def truncate(self, size: int) -> None:
        """See File."""
        os.ftruncate(self._descriptor, size)

    def size(self) -> int:
        """See File."""
        return os.fstat(self._descriptor).st_size

    def sync(self) -> None:
        """See File."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """See File."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class DiskFolder:
    """A folder of the file system; it is made if it does not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            sync_folder(path.parent)

    def lock(self) -> File:
        """See Folder."""
        file = DiskFile(descriptor := os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise Conflict(
                f"another process has the spool {self.path} open",
                hint="one bridge a folder: stop the other one, or give each its own HEADWATER_HOME",
            ) from error
        return file

    def names(self) -> list[str]:
        """See Folder."""
        return [entry.name for entry in self.path.iterdir()]

    def create(self, name: str) -> File:
        """See Folder."""
        return DiskFile(os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))

    def open(self, name: str) -> File:
        """See Folder."""
        return DiskFile(os.open(self.path / name, os.O_RDWR | os.O_CLOEXEC))

    def rename(self, old: str, new: str) -> None:
        """See Folder."""
        (self.path / old).rename(self.path / new)

    def unlink(self, name: str) -> None:
        """See Folder."""
        (self.path / name).unlink(missing_ok=True)

    def sync(self) -> None:
        """See Folder."""
        sync_folder(self.path)
