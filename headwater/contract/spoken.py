"""What an operator says at a plant: a short record in `readings`, so that its place in the log decides what it changes.

acknowledgement.py and overhaul.py have the two that there are.
"""

from __future__ import annotations

import msgspec

from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput

MAX_SPOKEN_BYTES = 4096


class Spoken(msgspec.Struct, frozen=True):
    """The base of such a record's value."""

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self)

    def check(self) -> None:
        """Raise BadInput where nobody would heed it, since it is too long."""
        size = len(self.encode())
        if size > MAX_SPOKEN_BYTES:
            raise BadInput(
                f"{size:,} bytes, what is said here has {MAX_SPOKEN_BYTES:,} at most",
                hint="shorten who says it (--by)",
            )
