"""What is too large for a record is refused in words."""

from __future__ import annotations

from edge_agent.bridge.records import too_large
from headwater.transport.mqtt.packets import MOST_PROPERTIES_BYTES, UNREAD, USER


def test_properties_that_were_not_unpacked_are_too_large() -> None:
    """With the bytes that they have, beside the digest of the payload; properties within the bound are fine."""
    why = too_large(b"x", ((UNREAD, (30_000_000).to_bytes(4, "big")),))
    assert why.startswith("1 bytes and 30000000 of properties, SHA-256 ")

    within = (USER + "k", b"v" * (MOST_PROPERTIES_BYTES - len(USER) - 1))
    assert too_large(b"x", (within,)) == ""
    assert too_large(b"x", (within, (USER, b"")))
