"""The overhaul of an asset: a record in `readings`, so that its place in the log decides where the next life begins.

Key: the asset. Header `hw-overhauled`: the asset again. Value: JSON that no reading and no acknowledgement could be, so
that it is known for one also where headers were not kept. Every life of the scorer meets it at the same offset, and the
cloud gets it with the readings.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from headwater.contract import headers
from headwater.contract.arrival import Arrival, Unusable, arrival, known_name
from headwater.contract.errors import BadInput
from headwater.contract.headers import Headers
from headwater.contract.spoken import MAX_SPOKEN_BYTES, Spoken


class Overhaul(Spoken, frozen=True, forbid_unknown_fields=True):
    """From here on the asset is as new. `failed`: the life before ran to failure. `at`: Unix time in ms, by the box."""

    asset: str
    at: int
    failed: bool
    by: str = ""
    v: int = 1


class Overhauled(NamedTuple):
    """An overhaul, and the offset at which it arrived in its partition."""

    offset: int
    said: Overhaul

    @property
    def asset(self) -> str:
        """The asset that is as new."""
        return self.said.asset


Came = Arrival | Overhauled


def overhaul_in(value: bytes | memoryview | None) -> Overhaul | None:
    """The overhaul in a record's value, by that alone; None for anything else."""
    data = bytes(value or b"")
    if not data.startswith(b"{") or len(data) > MAX_SPOKEN_BYTES:
        return None
    try:
        found = msgspec.json.decode(data, type=Overhaul)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return None
    return found if found.v == 1 else None


def overhaul(value: bytes | memoryview | None, given: Iterable[tuple[str, bytes | None]]) -> Overhaul | None:
    """What is in a record of `readings` that says to be one, or None; BadInput for one that cannot be read."""
    named = headers.find_text(given, headers.OVERHAULED)
    if named is None:
        return None
    found = overhaul_in(value)
    if found is None or found.asset != named:
        raise BadInput(f"not an overhaul of {named[:80]!r}", hint="headwater edge overhauled writes them")
    return found


def came(offset: int, key: bytes | memoryview | None, value: bytes | memoryview | None, given: Headers) -> Came:
    """The reading or the overhaul in a record of `readings`; Unusable where it is neither."""
    try:
        return arrival(offset, key, value, given)
    except Unusable:
        found = overhauled(offset, key, value, given)
        if found is None:
            raise
        return found


def overhauled(
    offset: int, key: bytes | memoryview | None, value: bytes | memoryview | None, given: Headers
) -> Overhauled | None:
    """The overhaul of the asset that is the record's key, or None where it says nothing of one."""
    try:
        said = overhaul(value, given)
    except BadInput:
        return None
    if said is None or said.asset != known_name(bytes(key or b"")):
        return None
    return Overhauled(offset, said)
