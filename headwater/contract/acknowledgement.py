"""What an operator says of an episode: a record in `readings`, so that its place in the log decides what it changes.

Key: the asset. Header `hw-acknowledges`: the episode. Value: JSON. Every life of the scorer meets it at the same
offset, and the cloud gets it with the readings. Whoever takes it for a reading finds none in it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headwater.contract import headers
from headwater.contract.errors import BadInput
from headwater.contract.spoken import MAX_SPOKEN_BYTES, Spoken


class Acknowledgement(Spoken, frozen=True):
    """`is_false`: nothing was wrong. `at`: Unix time in ms, by the clock of the box."""

    episode: str
    is_false: bool
    at: int
    by: str = ""
    v: int = 1


def acknowledgement(
    value: bytes | memoryview | None, given: Iterable[tuple[str, bytes | None]]
) -> Acknowledgement | None:
    """What is in a record of `readings` that says to be one, or None; BadInput for one that cannot be read."""
    named = headers.find_text(given, headers.ACKNOWLEDGES)
    if named is None:
        return None
    data = bytes(value or b"")
    try:
        found = msgspec.json.decode(data if len(data) <= MAX_SPOKEN_BYTES else b"", type=Acknowledgement)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise BadInput(f"not an acknowledgement of {named[:80]!r}: {error}") from error
    if found.v != 1 or found.episode != named:
        raise BadInput(f"an acknowledgement of version {found.v}, of {found.episode[:80]!r} under {named[:80]!r}")
    return found


def word_in(value: bytes | memoryview | None) -> Acknowledgement | None:
    """The word in a record's value, by that alone, where headers were not kept; None for anything else."""
    data = bytes(value or b"")
    if not data.startswith(b"{") or len(data) > MAX_SPOKEN_BYTES:
        return None
    try:
        found = msgspec.json.decode(data, type=Acknowledgement)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return None
    return found if found.v == 1 else None


def is_of(episode: str, site: str, asset: str) -> bool:
    """Whether an episode is one of this asset."""
    return episode.startswith(f"{site}-{asset}-") and episode[len(f"{site}-{asset}-") :].isdecimal()


def asset_of(episode: str, site: str) -> str:
    """The asset of an episode's id, `<site>-<asset>-<offset>`; BadInput for an id of another site or form."""
    rest = episode.removeprefix(f"{site}-")
    asset, dash, offset = rest.rpartition("-")
    if rest == episode or not dash or not asset or not offset.isdecimal():
        raise BadInput(f"{episode!r} is no episode of the site {site}", hint=f"alarms name it: {site}-<asset>-<offset>")
    return asset
