"""What a message does that is in order: births build tables, data become readings, deaths make stale."""

from __future__ import annotations

from collections import Counter

from headwater.contract import headers
from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.canonical import canonical_json
from headwater.contract.decoders.decoded import Decoded
from headwater.contract.decoders.reasons import BAD_ASSET, TOO_MANY
from headwater.contract.errors import BadInput
from headwater.contract.reading import MAX_PAYLOAD_BYTES
from headwater.contract.sparkplug import tables
from headwater.contract.sparkplug.datatypes import NAMES
from headwater.contract.sparkplug.node import NODE, Arrived, Device, Node
from headwater.contract.sparkplug.options import Options
from headwater.contract.sparkplug.outcome import AFTER_GAP, ASSET_TAKEN, NOT_BORN, Event, Outcome, Settled, refuse
from headwater.contract.sparkplug.readings import Message, Reader
from headwater.contract.sparkplug.sequence import Sequence
from headwater.contract.sparkplug.tables import Table
from headwater.contract.sparkplug.wire import FOREIGN, Frame, properties

MOST_UNIT = 64  # characters


class Effects:
    """Applies messages to edge nodes. Every method raises BadInput where a message must be refused."""

    def __init__(self, options: Options, counts: Counter[str]) -> None:
        self._options = options
        self._limits = options.limits
        self._reader = Reader(counts)
        self._class = ((headers.CLASS, headers.text(options.asset_class)),) if options.asset_class else ()
        self.owners: dict[str, tuple[str, str]] = {}  # asset to edge node and device
        self.table_bytes = 0

    def node_birth(self, out: Outcome, node: Node, came: Arrived, frame: Frame) -> None:
        """A session of an edge node begins; its devices must be born anew."""
        for device in node.devices.values():
            self._let_go(device)
        node.online = False  # whatever comes of this one, the former birth is void
        table, values = self._read_birth(node, came, frame, node.births + 1)
        node.bdseq, node.crc, node.sent_ms, node.born_ms = (
            tables.bdseq(frame),
            came.crc,
            frame.sent_ms,
            came.received_ms,
        )
        node.births, node.online, node.gap = node.births + 1, True, ""
        node.resuming = node.hopeless = False
        node.strays = 0
        node.due_ms = came.received_ms + self._options.device_birth_ms if len(node.devices) > 1 else None
        node.order = Sequence(came.seq)
        node.order.take(came.seq, came.crc)
        self._announce(out, node, came, frame, table, values)

    def device_birth(self, out: Outcome, node: Node, came: Arrived, frame: Frame, *marks: str) -> None:
        """A device of an edge node is there."""
        former = node.devices.get(came.address.device)
        if former is not None:
            self._let_go(former)
        try:
            table, values = self._read_birth(node, came, frame, node.births, *marks)
        except BadInput:
            if former is not None:
                self.stale(out, node, former, came.received_ms, "not-reborn", came.token)
                out.changed.append(node.key)
            raise
        self._announce(out, node, came, frame, table, values, *marks)

    def data(self, out: Outcome, node: Node, came: Arrived, frame: Frame, *marks: str) -> None:
        """Values of an edge node or a device."""
        device = node.devices.get(came.address.device)
        if device is None or device.table is None:
            raise not_born(came)
        if node.gap and self._options.after_gap == "refuse":
            raise refuse(AFTER_GAP, "a message before it was lost, and no birth came since")
        marks = ("gap", *marks) if node.gap else marks
        values = self._reader.read(self._message(came, frame, device.table, node.births, marks))
        self._alive(out, node, device, came)
        out.settled.append(Settled(came.token, values))

    def device_death(self, out: Outcome, node: Node, came: Arrived) -> None:
        """A device is gone."""
        device = node.devices.get(came.address.device)
        if device is not None:
            self._let_go(device)
            self.stale(out, node, device, came.received_ms, "ddeath", came.token)
            out.changed.append(node.key)
        out.settled.append(Settled(came.token, []))

    def node_death(self, out: Outcome, node: Node, now_ms: int, token: object) -> None:
        """An edge node is gone, and all its devices with it."""
        node.online, node.due_ms = False, None
        for device in node.devices.values():
            self._let_go(device)
            self.stale(out, node, device, now_ms, "ndeath", token)
        out.changed.append(node.key)
        out.settled.append(Settled(token, []))

    def stale(self, out: Outcome, node: Node, device: Device, since_ms: int, reason: str, token: object | None) -> None:
        """Its metrics are not current from `since_ms` on; nothing if that is known."""
        if device.stale_since is None:
            device.stale_since, device.reason = since_ms, reason
            out.events.append(Event("stale", token, self._interval(node, device, None)))

    def not_reborn(self, out: Outcome, node: Node) -> None:
        """The time is over in which devices are born after their edge node."""
        node.due_ms = None
        for device in node.devices.values():
            if device.table is None:
                self.stale(out, node, device, node.born_ms, "not-reborn", None)
        out.changed.append(node.key)

    def let_go(self, node: Node, name: str) -> None:
        """The table of a device, or of the edge node itself, is void; nothing if there is none."""
        device = node.devices.get(name)
        if device is not None:
            self._let_go(device)

    def _alive(self, out: Outcome, node: Node, device: Device, came: Arrived) -> None:
        if device.stale_since is not None:
            out.events.append(Event("stale", came.token, self._interval(node, device, came.received_ms)))
            device.stale_since, device.reason = None, ""
            out.changed.append(node.key)

    def _interval(self, node: Node, device: Device, until_ms: int | None) -> Decoded:
        content = {"asset": device.asset, "edge_node": node.key, "from": device.stale_since, "to": until_ms}
        value = canonical_json({**content, "kind": "stale", "reason": device.reason, "v": 1})
        return Decoded(value, device.asset, device.stale_since, self._class)

    def _read_birth(
        self, node: Node, came: Arrived, frame: Frame, births: int, *marks: str
    ) -> tuple[Table, list[Decoded]]:
        address = came.address
        if address.refusal:
            raise refuse(BAD_ASSET, address.refusal)
        owner = self.owners.get(address.asset, (node.key, address.device))
        if owner != (node.key, address.device):
            raise refuse(ASSET_TAKEN, f"asset {address.asset} is {'/'.join(owner).rstrip('/')!r} already")
        table = tables.table(frame, self._limits.name_bytes)
        if node.metrics() + len(table.definitions) > self._limits.metrics:
            raise refuse(TOO_MANY, f"edge node {node.key[:60]!r} has more than {self._limits.metrics} metrics")
        if self.table_bytes + table.bytes > self._limits.table_bytes:
            raise refuse(TOO_MANY, f"the tables of all edge nodes have more than {self._limits.table_bytes} bytes")
        if address.device not in node.devices and len(node.devices) > self._limits.devices:
            self._make_room(node)
        return table, self._reader.read(self._message(came, frame, table, births, ("birth", *marks)))

    def _make_room(self, node: Node) -> None:
        for name, device in node.devices.items():
            if name != NODE and device.table is None:
                del node.devices[name], self.owners[device.asset]
                return
        raise refuse(TOO_MANY, f"edge node {node.key[:60]!r} has more than {self._limits.devices} devices")

    def _announce(
        self, out: Outcome, node: Node, came: Arrived, frame: Frame, table: Table, values: list[Decoded], *late: str
    ) -> None:
        """What makes a birth true once it was found good."""
        device = node.devices.get(came.address.device)
        if device is None:
            device = node.devices[came.address.device] = Device(came.address.asset)
            self.owners[device.asset] = (node.key, came.address.device)
        device.table = table
        self.table_bytes += table.bytes
        self._alive(out, node, device, came)
        records = inventory(node, came, units(frame, self._options.unit_keys), table)
        marks = (*self._class, (headers.SPARKPLUG, _where(came, node.births, ("birth", *late))))
        for record in records:
            out.events.append(Event("birth", came.token, Decoded(record, device.asset, came.received_ms, marks)))
        out.settled.append(Settled(came.token, values))
        out.changed.append(node.key)

    def _let_go(self, device: Device) -> None:
        if device.table is not None:
            self.table_bytes -= device.table.bytes
            device.table = None

    def _message(self, came: Arrived, frame: Frame, table: Table, births: int, marks: tuple[str, ...]) -> Message:
        base = (*self._class, (headers.SPARKPLUG, _where(came, births, marks)))
        keep = self._options.transient == "keep"
        return Message(frame, table, came.address.asset, came.received_ms, base, self._limits.readings, keep)


def _where(came: Arrived, births: int, marks: tuple[str, ...]) -> bytes:
    return "/".join((f"{births}/{came.seq}/{came.crc:08x}", *marks)).encode()


def not_born(came: Arrived) -> BadInput:
    """Data of somebody who was not born."""
    who = f"{came.address.node}/{came.address.device}".rstrip("/")
    return refuse(NOT_BORN, f"{who[:100]!r} was not born, or is offline", hint="a new birth of the edge node helps")


def units(frame: Frame, keys: tuple[str, ...]) -> dict[str, str]:
    """Engineering units by metric, as far as its properties name one."""
    found = {}
    for each in tables.metrics(frame):
        if each.properties is not None and each.name:
            said = property_texts(frame, each.properties)
            unit = next((said[key] for key in keys if key in said), "")
            if unit:
                found[each.name] = unit[:MOST_UNIT]
    return found


def property_texts(frame: Frame, span: tuple[int, int]) -> dict[str, str]:
    """The properties that are text; BadInput if they cannot be read."""
    try:
        return {key: value for key, value in properties(frame.data, *span).items() if isinstance(value, str)}
    except FOREIGN as error:
        raise refuse(BAD_PAYLOAD, f"a property cannot be read: {error}") from error


def inventory(node: Node, came: Arrived, unit_of: dict[str, str], table: Table) -> list[bytes]:
    """The records of a birth: which metrics there are, in parts that fit into a record."""
    parts: list[list[dict[str, str]]] = [[]]
    size = 0
    for name, datatype, _ in table.definitions:
        entry = {"name": name, "type": NAMES.get(datatype, "Unknown")}
        if name in unit_of:
            entry["unit"] = unit_of[name]
        size += len(canonical_json(entry)) + 1
        if size > MAX_PAYLOAD_BYTES - 4096:
            parts.append([])
            size = 0
        parts[-1].append(entry)
    content = {"asset": came.address.asset, "edge_node": node.key, "births": node.births, "bdseq": node.bdseq}
    content |= {"kind": "birth", "received_at": came.received_ms, "v": 1, "parts": len(parts)}
    return [canonical_json({**content, "part": n, "metrics": metrics}) for n, metrics in enumerate(parts, start=1)]
