"""A Sparkplug B 3.0 host: MQTT messages in, readings, records and requests out. Pure: times are arguments, in ms.

How it is wired so that a message is written exactly once and a restart needs no births:

1. Each message gets a token. A message that waits for an earlier one is settled by a later call, so nothing is
   acknowledged before its token is settled and all of that outcome (readings, dead letters, events) is in Kafka.
2. When an outcome names edge nodes in `changed` (births and deaths), their `snapshot_of` is written, after the
   records and before the acknowledgement. Data do not change it but for the position, which is in the headers.
3. A new life calls `restore` with the last snapshots, then `resume` with topic and header `hw-sparkplug` of the
   records that it finds in the tail of the log, in the order of receipt, then `connected`.
4. Redelivered messages all go through `take`, those recognised as written too; their outcome is then dropped. They
   come to the same records (or to none, if the state shows them taken). Held messages were not acknowledged.

A host that publishes nothing (`passive`) asks nobody for births and so lives from those that come by themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from headwater.contract.decoders.reasons import TOO_LARGE
from headwater.contract.errors import BadInput
from headwater.contract.sparkplug import addresses, saved
from headwater.contract.sparkplug.addresses import Address, Addresses
from headwater.contract.sparkplug.node import NODE
from headwater.contract.sparkplug.options import Options
from headwater.contract.sparkplug.outcome import Outcome, Publish, Settled, refusal, refuse
from headwater.contract.sparkplug.sequence import NUMBERS, Place
from headwater.contract.sparkplug.sessions import Sessions, arrived
from headwater.contract.sparkplug.standing import Standing, standing
from headwater.contract.sparkplug.wire import scan

_COMMANDS = frozenset({"NCMD", "DCMD"})


class _State(msgspec.Struct):
    online: bool
    timestamp: int


_state_decoder = msgspec.json.Decoder(_State)


class Host:
    """All edge nodes behind one MQTT broker. `counts`: what happened, by name; they begin at 0 with each life."""

    def __init__(self, options: Options) -> None:
        self.counts: Counter[str] = Counter()
        self._options = options
        self._addresses = Addresses(options.asset)
        self._sessions = Sessions(options, self.counts)
        self._state_ms: int | None = None  # of the will of the connection that stands

    def take(self, token: object, topic: str, payload: bytes, received_ms: int) -> Outcome:
        """A message came. Whatever its bytes, nothing is raised: it is settled now, or by a later outcome."""
        out = Outcome()
        self.counts["received"] += 1
        try:
            address = self._addresses.of(topic)
            if len(payload) > self._options.limits.payload_bytes:
                raise refuse(
                    TOO_LARGE, f"payload of {len(payload)} bytes, at most {self._options.limits.payload_bytes}"
                )
            if address.kind == "STATE":
                self._other_state(out, address, payload)
            if address.kind == "STATE" or address.kind in _COMMANDS:
                self.counts["not-data"] += 1
                out.settled.append(Settled(token, []))
            else:
                frame = scan(payload, self._options.limits.metrics)
                self._sessions.take(out, arrived(token, address, payload, received_ms, frame), frame)
        except BadInput as error:
            said = refusal(error)
            self.counts[f"refused {said.reason}"] += 1
            out.settled.append(Settled(token, said))
        return out

    def tick(self, now_ms: int) -> Outcome:
        """Time passed: held messages may have waited long enough, devices may not have been born again."""
        out = Outcome()
        self._sessions.tick(out, now_ms)
        return out

    def next_tick_ms(self) -> int | None:
        """When `tick` has something to do; None: not before another message."""
        return self._sessions.next_due_ms()

    def waiting(self) -> list[object]:
        """The tokens of held messages."""
        return [held.token for node in self._sessions.nodes.values() for held in node.held]

    def will(self, now_ms: int) -> Publish | None:
        """The will for a CONNECT that is sent now; None unless this is a primary host."""
        if self._options.role != "primary":
            return None
        self._state_ms = now_ms
        return self._state(online=False, at_ms=now_ms)

    def connected(self) -> Outcome:
        """The connection stands and the subscriptions too: what to publish first.

        The first message of each edge node may be any: what was missed is this host's doing, and no birth is asked
        for. Its readings are marked `gap` until the next birth, as their names could have changed meanwhile.
        """
        out = Outcome()
        for node in self._sessions.nodes.values():
            node.resuming = node.online
        if self._options.role == "primary" and self._state_ms is not None:
            out.publishes.append(self._state(online=True, at_ms=self._state_ms))
        return out

    def disconnected(self, now_ms: int) -> Outcome:
        """The connection is lost, or was lost at `now_ms`: nothing is current from then on."""
        out = Outcome()
        self._state_ms = None
        for node in self._sessions.nodes.values():
            for device in node.devices.values() if node.online else ():
                if device.table is not None:
                    self._sessions.effects.stale(out, node, device, now_ms, "host-disconnected", None)
        return out

    def goodbye(self, now_ms: int) -> list[Publish]:
        """What to publish before a DISCONNECT."""
        if self._options.role != "primary" or self._state_ms is None:
            return []
        self._state_ms = None
        return [self._state(online=False, at_ms=now_ms)]

    def standing(self) -> Standing:
        """How it stands with all edge nodes now; takes some microseconds for each."""
        return standing(self._sessions.nodes.values())

    def snapshot(self) -> dict[str, bytes]:
        """The state of every edge node that was born, by its name `group/name`."""
        return {key: saved.save(node) for key, node in self._sessions.nodes.items() if node.births}

    def edge_nodes(self) -> list[str]:
        """The names `group/name` of the edge nodes that were born."""
        return [key for key, node in self._sessions.nodes.items() if node.births]

    def snapshot_of(self, node: str) -> bytes:
        """The state of one edge node; BadInput if there is none of this name."""
        if node not in self._sessions.nodes:
            raise BadInput(f"no edge node {node[:100]!r} is known")
        return saved.save(self._sessions.nodes[node])

    def restore(self, snapshots: Mapping[str, bytes]) -> dict[str, str]:
        """Take up the states of a former life; returns those that cannot be, with why: they need a birth."""
        wrong: dict[str, str] = {}
        for key in sorted(snapshots):
            try:
                self._restore(key, snapshots[key])
            except BadInput as error:
                wrong[key] = str(error)
        return wrong

    def resume(self, topic: str, where: bytes, *, saved: bool = True) -> None:
        """A record in the log says that this message was written: go on behind it. BadInput: the header is broken.

        `topic` is the MQTT topic, `where` the header `hw-sparkplug`. What belongs to a former birth is passed over.
        `saved`: the state that was restored is younger than this message. A birth that it does not have makes its edge
        node or device one that was not born: by the former birth, names could be wrong.
        """
        try:
            births, seq, crc, *marks = where.decode().split("/")
            position = (int(births), int(seq), int(crc, 16))
        except ValueError as error:
            raise BadInput(f"{where[:60]!r} is no position of a Sparkplug message") from error
        address = self._addresses.of(topic)
        node = self._sessions.nodes.get(address.node)
        if not 0 <= position[1] < NUMBERS or not 0 <= position[2] < 1 << 32:
            raise BadInput(f"{where[:60]!r} is no position of a Sparkplug message")
        if node is not None and not saved and node.births < position[0]:
            self._sessions.outdated(node, position[0])
        if node is None or not node.online or node.births != position[0]:
            return
        if "birth" in marks and not saved:
            self._sessions.effects.let_go(node, address.device)
            return  # it comes again, or is asked for
        if "gap" in marks:
            node.gap = node.gap or "away"
        place = node.order.place(*position[1:])
        if place is Place.REPEATED:
            return
        if place is Place.ELSEWHERE and "late" not in marks:
            node.order.jump(position[1])
        node.order.take(*position[1:])

    def _restore(self, key: str, snapshot: bytes) -> None:
        node = saved.load(snapshot, self._addresses.asset_of)
        if node.key != key or NODE not in node.devices:
            raise BadInput(f"the state of {key[:100]!r} is of {node.key[:100]!r}, or names no edge node")
        self._sessions.adopt(node)

    def _other_state(self, out: Outcome, address: Address, payload: bytes) -> None:
        """Somebody says that a host is offline. If it is this one and its connection stands, it says otherwise.

        Sparkplug 3.0, tck-id-message-flow-hid-sparkplug-state-message-delivered.
        """
        if self._options.role != "primary" or address.node != self._options.host_id or self._state_ms is None:
            return
        try:
            said = _state_decoder.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadInput(f"STATE of host {address.node[:60]!r} cannot be read: {error}") from error
        if not said.online:
            self.counts["state-republished"] += 1
            out.publishes.append(self._state(online=True, at_ms=self._state_ms))

    def _state(self, *, online: bool, at_ms: int) -> Publish:
        content = msgspec.json.encode({"online": online, "timestamp": at_ms})
        return Publish(addresses.state(self._options.host_id), content, qos=1, retain=True)
