"""A folder as a store: the same repository on a USB stick or a shared disk."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from headwater.contract.canonical import sha256
from headwater.contract.errors import BadSetting, Conflict, Refused, Unreachable
from headwater.transport.files import replace_durably
from headwater.transport.objects.store import Head, Object, ObjectSettings, check_key, too_long


class FolderStore:
    """One file an object. Writers are put in a row by a lock file, readers need no permission to write.

    A crash leaves the old object or the new one. Conditions hold among the processes of machines whose file system
    shares locks; on a network file system without them there must be one writer.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def of(cls, settings: ObjectSettings) -> FolderStore:
        """The folder that a file:// endpoint names, with bucket and prefix below it."""
        url = urlsplit(settings.endpoint or "")
        if url.netloc or not url.path.startswith("/"):
            raise BadSetting(f"the endpoint {settings.endpoint!r} names no folder", hint="expected file:///a/folder")
        return cls(Path(unquote(url.path)) / settings.bucket / settings.prefix.strip("/"))

    def get(self, key: str, *, max_bytes: int, offset: int = 0, if_match: str | None = None) -> Object | None:
        """As the protocol says."""
        data = self._read(key, offset + max_bytes + 1)
        if data is None:
            return None
        if len(data) - offset > max_bytes:
            raise too_long(key, max_bytes)
        if if_match not in (None, _tag(data)):
            raise Conflict(f"object {key} has changed")
        return Object(data[offset:], _tag(data))

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """As the protocol says."""
        path = self._path(key)
        with self._alone():
            old = self.head(key) if if_absent or if_match is not None else None
            if (if_absent and old is not None) or (if_match is not None and (old is None or old.etag != if_match)):
                raise Conflict(f"object {key} was written by somebody else")
            replace_durably(path, data)
        return _tag(data)

    def head(self, key: str) -> Head | None:
        """As the protocol says; the tag costs reading the file."""
        data = self._read(key, -1)
        return None if data is None else Head(len(data), _tag(data))

    def keys(self, prefix: str = "") -> list[str]:
        """As the protocol says."""
        found = (path.relative_to(self._root) for path in self._root.rglob("*") if path.is_file())
        names = (path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))
        return sorted(name for name in names if name.startswith(prefix))

    def _path(self, key: str) -> Path:
        path = self._root / check_key(key)
        if not path.parent.resolve().is_relative_to(self._root.resolve()):
            raise Refused(f"object {key} lies outside of {self._root}", hint="a link in that folder leads elsewhere")
        return path

    def _read(self, key: str, limit: int) -> bytes | None:
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as file:
                return file.read(limit)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EACCES, errno.EPERM, errno.EISDIR):
                raise Refused(f"object {key} in {self._root} cannot be read: {error.strerror}") from error
            raise Unreachable(f"object {key} in {self._root} cannot be read: {error.strerror}") from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise Refused(f"folder {self._root} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _tag(data: bytes) -> str:
    return f'"{sha256(data)[:32]}"'
