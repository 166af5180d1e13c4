"""Kafka's wire types: how a request is framed and a response is read.

Source: kafka.apache.org/protocol, "Protocol Primitive Types".

Nothing here does I/O. `Call` pairs a request with the function that reads its response.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from headwater.contract.errors import BadInput

Buffer = bytes | bytearray | memoryview
T = TypeVar("T")

_SIZE = struct.Struct(">i")
_HEAD = struct.Struct(">ihhi")
INT16 = struct.Struct(">h")
INT32 = struct.Struct(">i")
INT64 = struct.Struct(">q")


MALFORMED = (struct.error, IndexError, UnicodeDecodeError, OverflowError)  # ways in which bytes can fail to parse


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn every way in which bytes can fail to parse into BadInput."""
    try:
        yield
    except MALFORMED as error:
        raise BadInput(f"{what} is malformed: {error}") from error


class Parts:
    """Bytes in two pieces, which leave without being joined."""

    __slots__ = ("head", "rest")

    def __init__(self, head: bytes, rest: Buffer) -> None:
        self.head = head
        self.rest = rest

    def __len__(self) -> int:
        """Bytes in both."""
        return len(self.head) + len(self.rest)


Sendable = Buffer | Parts


class Reader:
    """Cursor over a response body. Reading past the end raises IndexError or struct.error (see `reading`)."""

    __slots__ = ("at", "view")

    def __init__(self, view: memoryview, at: int = 0) -> None:
        self.view = view
        self.at = at

    def take(self, form: struct.Struct) -> tuple[Any, ...]:
        """Read the fields of `form`."""
        fields = form.unpack_from(self.view, self.at)
        self.at += form.size
        return fields

    def int16(self) -> int:
        """Read an INT16."""
        return int(self.take(INT16)[0])

    def int32(self) -> int:
        """Read an INT32."""
        return int(self.take(INT32)[0])

    def int64(self) -> int:
        """Read an INT64."""
        return int(self.take(INT64)[0])

    def slice(self, size: int) -> memoryview:
        """Read `size` bytes without copying them."""
        end = self.at + size
        if size < 0 or end > len(self.view):
            raise IndexError(f"{size} bytes at {self.at} of {len(self.view)}")
        part = self.view[self.at : end]
        self.at = end
        return part

    def string(self) -> str | None:
        """Read a NULLABLE_STRING."""
        size = self.int16()
        return None if size < 0 else str(self.slice(size), "utf-8")

    def name(self) -> str:
        """Read a STRING; null counts as empty."""
        return self.string() or ""

    def blob(self) -> memoryview:
        """Read NULLABLE_BYTES; null counts as empty."""
        return self.slice(max(self.int32(), 0))

    def times(self) -> range:
        """Read the length of an ARRAY; null counts as empty."""
        return range(max(self.int32(), 0))

    def unsigned(self) -> int:
        """Read an UNSIGNED_VARINT."""
        value = shift = 0
        while True:
            byte = self.view[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 28:
                raise IndexError("a varint of more than five bytes")

    def compact_string(self) -> str | None:
        """Read a COMPACT_NULLABLE_STRING."""
        size = self.unsigned() - 1
        return None if size < 0 else str(self.slice(size), "utf-8")

    def compact_times(self) -> range:
        """Read the length of a COMPACT_ARRAY; null counts as empty."""
        return range(max(self.unsigned() - 1, 0))

    def skip_tags(self) -> None:
        """Pass over TAG_BUFFER."""
        for _ in range(self.unsigned()):
            self.unsigned()
            self.slice(self.unsigned())


def string(text: str | None) -> bytes:
    """Write a NULLABLE_STRING; BadInput above 32,767 bytes."""
    if text is None:
        return b"\xff\xff"
    raw = text.encode()
    if len(raw) > 0x7FFF:
        raise BadInput(f"a name of {len(raw)} bytes; Kafka allows 32,767", hint="shorten it")
    return INT16.pack(len(raw)) + raw


def array(items: Sequence[bytes]) -> bytes:
    """Write an ARRAY of encoded items."""
    return INT32.pack(len(items)) + b"".join(items)


def unsigned(value: int) -> bytes:
    """Write an UNSIGNED_VARINT."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def compact_string(text: str | None) -> bytes:
    """Write a COMPACT_NULLABLE_STRING."""
    if text is None:
        return b"\0"
    raw = text.encode()
    return unsigned(len(raw) + 1) + raw


def compact_array(items: Sequence[bytes]) -> bytes:
    """Write a COMPACT_ARRAY of encoded items."""
    return unsigned(len(items) + 1) + b"".join(items)


@dataclass(frozen=True, slots=True)
class Api:
    """One call at the one version that is spoken. `flexible`: headers carry tagged fields (KIP-482)."""

    name: str
    key: int
    version: int
    flexible: bool = False


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request body as buffers that are sent without joining them, and how to read the answer."""

    api: Api
    body: Sequence[Buffer]
    read: Callable[[Reader], T]

    def frame(self, correlation_id: int, client_id: bytes) -> list[Buffer]:
        """Buffers to send; `client_id` is an encoded NULLABLE_STRING."""
        tags = b"\0" if self.api.flexible else b""
        size = _HEAD.size - _SIZE.size + len(client_id) + len(tags) + sum(map(len, self.body))
        head = _HEAD.pack(size, self.api.key, self.api.version, correlation_id) + client_id + tags
        return [head, *self.body]

    def answer(self, view: memoryview) -> T:
        """Read a response (without its size and correlation id); BadInput if it is malformed."""
        reader = Reader(view)
        try:
            if self.api.flexible:
                reader.skip_tags()
            return self.read(reader)
        except MALFORMED as error:
            raise BadInput(f"the broker's answer to {self.api.name} is malformed: {error}") from error
