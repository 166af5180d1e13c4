"""What a record of `readings` is: which asset, of which class, read what.

The record's key is the asset and its header `hw-class` the class. A record of which that cannot be said becomes a
dead letter with one of the reasons below, and the stream goes on.
"""

from __future__ import annotations

from typing import NamedTuple

from headwater.contract import headers, reading
from headwater.contract.errors import BadInput
from headwater.contract.headers import Headers
from headwater.contract.names import check_name
from headwater.contract.reading import Reading

NO_ASSET = "no-asset"
NO_CLASS = "no-class"
BAD_PAYLOAD = "bad-payload"

REASONS: dict[str, str] = {
    NO_ASSET: "the key of the record is not the name of an asset",
    NO_CLASS: "the header hw-class is missing, or is not the name of a class",
    BAD_PAYLOAD: "the payload is not a reading",
}

_known: dict[bytes, str] = {}  # names that passed check_name: a site has few, and the check costs more than a decode
_KNOWN_MOST = 10_000


class Arrival(NamedTuple):
    """A usable reading, and the offset at which it arrived in its partition."""

    offset: int
    asset: str
    asset_class: str
    reading: Reading


class Unusable(BadInput):
    """A record that is not a usable reading; `reason` is a key of REASONS."""

    def __init__(self, reason: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


def arrival(offset: int, key: bytes | memoryview | None, value: bytes | memoryview | None, given: Headers) -> Arrival:
    """The reading in a record of `readings`; Unusable when there is none."""
    asset = _name(key, NO_ASSET, "the key")
    asset_class = _name(headers.find(given, headers.CLASS), NO_CLASS, f"the header {headers.CLASS}")
    try:
        return Arrival(offset, asset, asset_class, reading.decode(value or b""))
    except BadInput as error:
        raise Unusable(BAD_PAYLOAD, str(error), hint=error.hint) from error


def known_name(raw: bytes | None) -> str:
    """The name of an asset or a class in a key or a header, or nothing when it is none."""
    try:
        return _name(raw, NO_ASSET, "the key")
    except Unusable:
        return ""


def _name(raw: bytes | memoryview | None, reason: str, what: str) -> str:
    found = _known.get(bytes(raw or b""))
    if found is not None:
        return found
    try:
        name = check_name(bytes(raw or b"").decode(), what)
    except (BadInput, UnicodeDecodeError) as error:
        raise Unusable(reason, f"{what} {bytes(raw or b'')[:80]!r} is not a name") from error
    if len(_known) < _KNOWN_MOST:
        _known[bytes(raw or b"")] = name
    return name
