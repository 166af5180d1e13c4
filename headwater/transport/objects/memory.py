"""A store in memory, for tests: it keeps every promise of the protocol except to outlive the process."""

from __future__ import annotations

import threading

from headwater.contract.canonical import sha256
from headwater.contract.errors import Conflict
from headwater.transport.objects.store import Head, Object, check_key, too_long


class MemoryStore:
    """Objects in a dictionary that tests may look into and tamper with."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def get(self, key: str, *, max_bytes: int, offset: int = 0, if_match: str | None = None) -> Object | None:
        """As the protocol says."""
        data = self.objects.get(check_key(key))
        if data is None:
            return None
        if if_match not in (None, _tag(data)):
            raise Conflict(f"object {key} has changed")
        if len(data) - offset > max_bytes:
            raise too_long(key, max_bytes)
        return Object(data[offset:], _tag(data))

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """As the protocol says."""
        with self._lock:
            old = self.objects.get(check_key(key))
            if (if_absent and old is not None) or (if_match is not None and (old is None or _tag(old) != if_match)):
                raise Conflict(f"object {key} was written by somebody else")
            self.objects[key] = bytes(data)
        return _tag(data)

    def head(self, key: str) -> Head | None:
        """As the protocol says."""
        data = self.objects.get(check_key(key))
        return None if data is None else Head(len(data), _tag(data))

    def keys(self, prefix: str = "") -> list[str]:
        """As the protocol says."""
        return sorted(key for key in list(self.objects) if key.startswith(prefix))


def _tag(data: bytes) -> str:
    return f'"{sha256(data)[:32]}"'
