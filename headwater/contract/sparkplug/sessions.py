"""The sessions of edge nodes: who is there, births and deaths, and when to ask for a birth."""

from __future__ import annotations

from collections import Counter
from zlib import crc32

from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.decoders.reasons import TOO_MANY
from headwater.contract.errors import BadInput
from headwater.contract.sparkplug import addresses, tables
from headwater.contract.sparkplug.effects import Effects, not_born
from headwater.contract.sparkplug.node import Arrived, Node
from headwater.contract.sparkplug.options import Options
from headwater.contract.sparkplug.outcome import (
    ASSET_TAKEN,
    BAD_SEQUENCE,
    TOO_MANY_NODES,
    Outcome,
    Publish,
    Settled,
    refuse,
)
from headwater.contract.sparkplug.rebirth import Rate
from headwater.contract.sparkplug.reorder import Reorder
from headwater.contract.sparkplug.sequence import NUMBERS
from headwater.contract.sparkplug.wire import Frame, rebirth_request


class Sessions:
    """All edge nodes. `counts`: what happened, by name."""

    def __init__(self, options: Options, counts: Counter[str]) -> None:
        self.nodes: dict[str, Node] = {}
        self.effects = Effects(options, counts)
        self.reorder = Reorder(options, counts, self.effects)
        self._options = options
        self._limits = options.limits
        self._counts = counts
        self._rate = Rate(options.rebirths_per_s)

    def take(self, out: Outcome, came: Arrived, frame: Frame) -> None:
        """Apply or hold a message of an edge node; BadInput if it must be refused."""
        address = came.address
        if address.kind == "NBIRTH":
            came = came._replace(seq=frame.seq or 0)
        if address.kind != "NDEATH" and not 0 <= came.seq < NUMBERS:
            raise refuse(BAD_SEQUENCE, f"sequence number {frame.seq} is not between 0 and 255")
        node = self.nodes.get(address.node)
        if address.kind == "NDEATH":
            self._node_death(out, node, came, frame)
            return
        if node is None:
            node = self._meet(out, address.node)
        if node.held:
            self.reorder.give_up_overdue(out, node, came.received_ms)
        try:
            if address.kind == "NBIRTH":
                self._node_birth(out, node, came, frame)
            elif node.online:
                self.reorder.sequenced(out, node, came, frame)
            elif node.hopeless:
                node.wants = True
                self.reorder.refused(out, came, not_born(came))
            else:
                self.reorder.hold(out, node, came)  # its birth may be on the way
        finally:
            if node.wants:
                self.ask(out, node, came.received_ms)

    def tick(self, out: Outcome, now_ms: int) -> None:
        """What is due by time."""
        for key in sorted(self.reorder.waiting):
            node = self.nodes[key]
            self.reorder.give_up_overdue(out, node, now_ms)
            if node.due_ms is not None and node.due_ms <= now_ms:
                self.effects.not_reborn(out, node)
            if node.wants:
                self.ask(out, node, now_ms)
            self.reorder.look_at(node)

    def next_due_ms(self) -> int | None:
        """When `tick` has something to do next."""
        due = [node.held[0].received_ms + self._options.reorder_ms for node in self._due_nodes() if node.held]
        due += [node.due_ms for node in self._due_nodes() if node.due_ms is not None]
        return min(due, default=None)

    def adopt(self, node: Node) -> None:
        """Take up an edge node of a former life; BadInput if it is too large, or an asset of it is taken."""
        size = sum(each.table.bytes for each in node.devices.values() if each.table)
        owners = {device.asset: (node.key, name) for name, device in node.devices.items()}
        taken = [asset for asset, owner in owners.items() if self.effects.owners.get(asset, owner) != owner]
        if taken:
            raise refuse(ASSET_TAKEN, f"asset {taken[0]} is another's already")
        too_many = len(self.nodes) >= self._limits.nodes or len(node.devices) > self._limits.devices + 1
        if (
            too_many
            or node.metrics() > self._limits.metrics
            or self.effects.table_bytes + size > self._limits.table_bytes
        ):
            raise refuse(TOO_MANY, f"the state of {node.key[:60]!r} is beyond the limits")
        if node.key in self.nodes:
            raise refuse(
                BAD_PAYLOAD, f"{node.key[:60]!r} is known already; states are restored before messages are taken"
            )
        self.effects.table_bytes += size
        self.effects.owners.update(owners)
        self.nodes[node.key] = node
        self.reorder.look_at(node)

    def outdated(self, node: Node, births: int) -> None:
        """A former life saw more births of this edge node than it could save: nothing can be read until the next."""
        for name in node.devices:
            self.effects.let_go(node, name)
        node.births, node.online, node.due_ms = births, False, None
        self.reorder.look_at(node)

    def ask(self, out: Outcome, node: Node, now_ms: int) -> None:
        """Ask an edge node for its births, if this host may and did not do so recently."""
        node.wants = False
        if self._options.role == "passive":
            self._counts["rebirths-withheld"] += 1
        elif not node.asking.may(now_ms) or not self._rate.take(now_ms):
            self._counts["rebirths-throttled"] += 1
        else:
            node.asking.ask(now_ms, self._options.rebirth_ms, self._options.rebirth_most_ms)
            self._counts["rebirths-asked"] += 1
            out.publishes.append(Publish(addresses.ncmd(node.key), rebirth_request(now_ms)))

    def _due_nodes(self) -> list[Node]:
        return [self.nodes[key] for key in self.reorder.waiting]

    def _meet(self, out: Outcome, key: str) -> Node:
        """A new edge node; the oldest of those that never were born makes room for it."""
        if len(self.nodes) >= self._limits.nodes:
            unborn = next((node for node in self.nodes.values() if not node.births), None)
            if unborn is None:
                raise refuse(TOO_MANY_NODES, f"there are {len(self.nodes)} edge nodes, and no more are allowed")
            self.reorder.release(out, unborn, list(unborn.held))
            del self.nodes[unborn.key]
        node = self.nodes[key] = Node(key)
        return node

    def _node_birth(self, out: Outcome, node: Node, came: Arrived, frame: Frame) -> None:
        if node.online and came.crc == node.crc and frame.sent_ms:
            self.reorder.repeated(out, came)
            return
        before = [held for held in node.held if None in (held.sent_ms, frame.sent_ms) or _earlier(held, frame)]
        self.reorder.release(out, node, before)
        node.wants = False  # for here is the birth
        was_online = node.online
        try:
            self.effects.node_birth(out, node, came, frame)
        except BadInput:
            self._refused_birth(out, node, came, was_online=was_online)
            raise
        node.asking.answer(came.received_ms, self._options.rebirth_ms, self._options.rebirth_most_ms)
        self._counts["births"] += 1
        self.reorder.drain(out, node)
        self.reorder.look_at(node)

    def _refused_birth(self, out: Outcome, node: Node, came: Arrived, *, was_online: bool) -> None:
        """Nothing of this edge node can be read until it is born again."""
        self.reorder.release(out, node, list(node.held))
        node.hopeless = True
        for device in node.devices.values() if was_online else ():
            self.effects.stale(out, node, device, came.received_ms, "not-reborn", came.token)
        node.due_ms = None
        out.changed.append(node.key)
        self.reorder.look_at(node)

    def _node_death(self, out: Outcome, node: Node | None, came: Arrived, frame: Frame) -> None:
        number = tables.bdseq(frame)
        if node is None or not node.online or (node.bdseq is not None and number != node.bdseq):
            self._counts["deaths-ignored"] += 1
            out.settled.append(Settled(came.token, []))
            return
        self.reorder.release(out, node, list(node.held))
        node.wants = node.hopeless = False
        self._counts["deaths"] += 1
        self.effects.node_death(out, node, came.received_ms, came.token)
        self.reorder.look_at(node)


def arrived(token: object, address: addresses.Address, payload: bytes, received_ms: int, frame: Frame) -> Arrived:
    """The message as it is held."""
    seq = -1 if frame.seq is None else frame.seq
    return Arrived(token, address, payload, received_ms, frame.sent_ms, seq, crc32(payload, address.crc))


def _earlier(held: Arrived, birth: Frame) -> bool:
    return held.sent_ms is not None and birth.sent_ms is not None and held.sent_ms < birth.sent_ms
