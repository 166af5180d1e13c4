"""Files that survive a power cut, and those that somebody names."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headwater.contract.errors import BadInput, Conflict, Permanent

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # by the disk, a quota, a limit of file size


def replace_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """After a power cut `path` holds the old bytes or the new ones, never a mix.

    Raises Permanent when the disk is full or the folder cannot be written; the old file is then still whole.
    """
    new = path.with_name(f".{path.name}.new-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        sync_folder(path.parent)
    except BaseException as error:  # Ctrl-C too leaves no half file
        with suppress(OSError):  # such as a folder that is a file; the first error says it
            new.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise file_error(error, path) from error
        raise


def read_named(path: Path, most_bytes: int = 1 << 20) -> bytes:
    """Content of a file that was named on a command line, 1 MiB at most.

    BadInput, in words, where it cannot be read, is larger, or is no regular file: a device may never end, and a pipe
    waits for somebody to write.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BadInput(f"{path} cannot be read: it is no regular file", hint="name a file, or copy it into one")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                found = file.read(most_bytes + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        raise BadInput(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(found) > most_bytes:
        raise BadInput(f"{path} cannot be read: it is larger than {most_bytes:,} bytes", hint="is it the right file?")
    return found


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path, *, mode: int = 0o777) -> None:
    """Make a folder where there is none, and those above it; Permanent, in words, when it cannot be made."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise file_error(error, path) from error


@contextmanager
def held_alone(path: Path, what: str, hint: str) -> Iterator[None]:
    """Hold the lock file `path` until the block ends; flock(2): it goes with its process, however that ends.

    Conflict where another process holds it: `what` names what that is. Permanent where there can be no such file.
    """
    make_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise file_error(error, path) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            who = f" (process {holder})" if holder else ""
            raise Conflict(f"{what} already{who}", hint=hint) from error
        with suppress(OSError):  # it only tells, and a disk may be full
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def check_folder(path: Path) -> None:
    """Raise what writing into the folder `path` would raise; nothing is left of the trial, `path` need not exist."""
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.lexists(folder))
    trial = there / f".try-{os.getpid()}"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        raise file_error(error, path) from error


def file_error(error: OSError, path: Path) -> Permanent:
    """The error for people: what could not be done with which file, and what to do."""
    if error.errno in FULL:
        return Permanent(
            f"no space left while writing {path}",
            hint="free some space on that disk, or raise its quota or limit of file size, then try again",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Permanent(f"{path} cannot be written: {error.strerror}", hint="check the owner and mode of its folder")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return Permanent(
            f"{path} cannot be used: a part of its path is a file",
            hint="correct the setting that names it (such as HEADWATER_HOME), or move that file away",
        )
    return Permanent(f"{path}: {error.strerror or error}")
