"""An edge node's state as bytes, so that a restart needs no new birth.

`HWSP1` and zlib of canonical JSON (the struct below, sorted). Held messages are no part of it: they were not settled,
so they come again.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Callable

import msgspec

from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput
from headwater.contract.sparkplug.node import Device, Gap, Node
from headwater.contract.sparkplug.rebirth import Asking
from headwater.contract.sparkplug.sequence import NUMBERS, Sequence
from headwater.contract.sparkplug.tables import Definition, Table

MAGIC = b"HWSP1"
MOST_BYTES = 64 << 20  # of JSON

_crcs = struct.Struct(f"<{NUMBERS}I")


class SavedDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device; `metrics` are name, data type and alias, or None while it is not born."""

    name: str
    stale_since: int | None
    reason: str
    metrics: list[tuple[str, int, int | None]] | None


class Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An edge node; times in ms, bit sets and checksums in hex."""

    key: str
    births: int
    bdseq: int | None
    crc: int
    sent_ms: int | None
    born_ms: int
    due_ms: int | None
    online: bool
    hopeless: bool
    resuming: bool
    strays: int
    gap: Gap
    next: int
    seen: str
    missing: str
    crcs: str
    asking: tuple[int, int, int, int]
    devices: list[SavedDevice]


_decoder = msgspec.json.Decoder(Saved)


def save(node: Node) -> bytes:
    """The state of an edge node; equal states give equal bytes."""
    order, asking = node.order, node.asking
    saved = Saved(
        node.key, node.births, node.bdseq, node.crc, node.sent_ms, node.born_ms, node.due_ms, node.online,
        node.hopeless, node.resuming, node.strays, node.gap, order.next, f"{order.seen:x}", f"{order.missing:x}",
        _crcs.pack(*order.crcs).hex(), (asking.asked, asking.futile, asking.born_ms, asking.not_before_ms),
        [_saved(name, device) for name, device in node.devices.items()],
    )  # fmt: skip  # one argument a line would be twenty lines
    return MAGIC + zlib.compress(canonical_json(saved), 6)


def _saved(name: str, device: Device) -> SavedDevice:
    metrics = None if device.table is None else [tuple(each) for each in device.table.definitions]
    return SavedDevice(name, device.stale_since, device.reason, metrics)  # type: ignore[arg-type]  # Definition's fields


def load(data: bytes, asset_of: Callable[[str, str], str]) -> Node:
    """The edge node of a state; `asset_of` names the asset of an edge node and a device. BadInput: it is none."""
    saved = _read(data)
    node = Node(saved.key)
    node.births, node.bdseq, node.crc = saved.births, saved.bdseq, saved.crc
    node.sent_ms, node.born_ms, node.due_ms = saved.sent_ms, saved.born_ms, saved.due_ms
    node.online, node.hopeless, node.resuming, node.gap = saved.online, saved.hopeless, saved.resuming, saved.gap
    node.strays = saved.strays
    node.asking = Asking(*saved.asking)
    node.order = _order(saved)
    for each in saved.devices:
        device = node.devices[each.name] = Device(asset_of(saved.key, each.name))
        device.stale_since, device.reason = each.stale_since, each.reason
        if each.metrics is not None:
            device.table = Table(tuple(Definition(name, kind, alias) for name, kind, alias in each.metrics))
    return node


def _read(data: bytes) -> Saved:
    if not data.startswith(MAGIC):
        raise BadInput(f"a Sparkplug state begins with {bytes(data[:8])!r}, expected {MAGIC!r}")
    unpacked = zlib.decompressobj()
    try:
        text = unpacked.decompress(data[len(MAGIC) :], MOST_BYTES)
        if not unpacked.eof:
            raise BadInput(f"a Sparkplug state is cut off, or has more than {MOST_BYTES} bytes")
        return _decoder.decode(text)
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"a Sparkplug state cannot be read: {error}") from error


def _order(saved: Saved) -> Sequence:
    order = Sequence(saved.next)
    try:
        order.seen, order.missing = int(saved.seen, 16), int(saved.missing, 16)
        order.crcs = array("I", _crcs.unpack(bytes.fromhex(saved.crcs)))
    except (ValueError, struct.error) as error:
        raise BadInput(f"the Sparkplug state of {saved.key[:60]!r} cannot be read: {error}") from error
    if not (
        saved.next in range(NUMBERS)
        and min(order.seen, order.missing) >= 0
        and max(order.seen, order.missing) < 1 << NUMBERS
    ):
        raise BadInput(f"the Sparkplug state of {saved.key[:60]!r} has numbers beyond 255")
    return order
