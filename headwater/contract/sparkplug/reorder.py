"""The order of messages: which is next, which waits for another, and for how long.

A message with the number that is expected is applied at once, and so are those that waited for it. One from further on
is held for at most `reorder_ms`, or until too many wait; then what is missing is given up, the held ones are applied
in order, marked, and a birth is wanted. One that is older than what was taken last is no sign of a gap, and refused.
What was given up and comes after all is applied then, marked. Held messages are not settled and stand in no snapshot:
they are not acknowledged, so MQTT brings them again after a crash.
"""

from __future__ import annotations

from collections import Counter

from headwater.contract.errors import BadInput
from headwater.contract.sparkplug.effects import Effects, not_born
from headwater.contract.sparkplug.node import Arrived, Node
from headwater.contract.sparkplug.options import Options
from headwater.contract.sparkplug.outcome import (
    FORMER_SESSION,
    NOT_BORN,
    REPEATED,
    TYPE_MISMATCH,
    UNKNOWN_METRIC,
    Outcome,
    Settled,
    refusal,
    refuse,
)
from headwater.contract.sparkplug.sequence import BEHIND, Place
from headwater.contract.sparkplug.wire import Frame, scan

MOST_STRAYS = 3  # then the edge node's clock was set back, rather than that old messages came late
_NO_NEWS = frozenset({NOT_BORN, FORMER_SESSION, REPEATED})
_BIRTH_HELPS = frozenset({NOT_BORN, UNKNOWN_METRIC, TYPE_MISMATCH})


class Reorder:
    """Applies the sequenced messages of edge nodes in order. `waiting`: edge nodes with something due by time."""

    def __init__(self, options: Options, counts: Counter[str], effects: Effects) -> None:
        self.waiting: set[str] = set()
        self._held_bytes = 0
        self._options = options
        self._limits = options.limits
        self._counts = counts
        self._effects = effects

    def sequenced(self, out: Outcome, node: Node, came: Arrived, frame: Frame) -> None:
        """A message of an edge node that is online."""
        place = node.order.place(came.seq, came.crc)
        if place is Place.ELSEWHERE and node.resuming:
            self._counts["resumed"] += 1
            node.order.jump(came.seq)
            node.gap = node.gap or "away"
            place = Place.NEXT
        if place is Place.NEXT:
            node.resuming, node.strays = False, 0
            self._apply(out, node, came, frame)
            if node.held:
                self.drain(out, node)
        elif place is Place.LATE:
            self._counts["late"] += 1
            self._apply(out, node, came, frame, "late")
        elif place is Place.REPEATED:
            self.repeated(out, came)
        else:
            self.hold(out, node, came)

    def _apply(self, out: Outcome, node: Node, came: Arrived, frame: Frame, *marks: str) -> None:
        """The message is next, or was given up before; one that cannot be read is refused and has had its turn."""
        node.order.take(came.seq, came.crc)
        if not marks and came.sent_ms is not None:
            node.sent_ms = came.sent_ms
        kind = came.address.kind
        try:
            if marks and kind not in {"DDATA", "NDATA"}:
                self._late_turn(out, node, came, frame)
            elif kind == "DBIRTH":
                self._effects.device_birth(out, node, came, frame)
            elif kind == "DDEATH":
                self._effects.device_death(out, node, came)
            else:
                self._effects.data(out, node, came, frame, *marks)
        except BadInput as error:
            self.refused(out, came, error)
            node.wants = node.wants or error.reason in _BIRTH_HELPS
        if node.gap == "lost":
            node.wants = True

    def _late_turn(self, out: Outcome, node: Node, came: Arrived, frame: Frame) -> None:
        """A device's birth or death from before a gap: it says nothing of a device that was born after it."""
        device = node.devices.get(came.address.device)
        if device is not None and device.table is not None:
            raise refuse(FORMER_SESSION, f"a {came.address.kind} came late; the device was born otherwise")
        if came.address.kind == "DBIRTH":
            self._effects.device_birth(out, node, came, frame, "late")
        else:
            self._effects.device_death(out, node, came)

    def repeated(self, out: Outcome, came: Arrived) -> None:
        """Nothing is to be written of it: it was taken before."""
        self._counts["repeated"] += 1
        out.settled.append(Settled(came.token, []))

    def refused(self, out: Outcome, came: Arrived, error: BadInput) -> None:
        """It becomes a dead letter; the death of a device that is not there, or was in another session, does not."""
        if came.address.kind == "DDEATH" and error.reason in _NO_NEWS:
            self._counts["deaths-ignored"] += 1
            out.settled.append(Settled(came.token, []))
            return
        self._counts[f"refused {error.reason}"] += 1
        out.settled.append(Settled(came.token, refusal(error)))

    def hold(self, out: Outcome, node: Node, came: Arrived) -> None:
        """Wait for what is missing. The same message again takes the place of the one that waits."""
        self._counts["held"] += 1
        for index, held in enumerate(node.held):
            if held.seq == came.seq and held.crc == came.crc:
                self.repeated(out, held)
                node.held[index] = held._replace(token=came.token)
                return
        node.held.append(came)
        self._held_bytes += len(came.payload)
        if len(node.held) > self._limits.held or self._held_bytes > self._limits.held_bytes:
            self._counts["released-early"] += 1
            self._give_up(out, node)
        self.look_at(node)

    def drain(self, out: Outcome, node: Node) -> None:
        """Apply those that waited for what came now."""
        at = 0
        while at < len(node.held):
            if node.held[at].seq == node.order.next:
                came = self._unhold(node, at)
                self._apply(out, node, came, scan(came.payload, self._limits.metrics))
                at = 0
            else:
                at += 1
        self.look_at(node)

    def _unhold(self, node: Node, at: int) -> Arrived:
        came = node.held.pop(at)
        self._held_bytes -= len(came.payload)
        return came

    def give_up_overdue(self, out: Outcome, node: Node, now_ms: int) -> None:
        """What has waited long enough waits no more."""
        wait = self._options.reorder_ms
        while node.held and not -wait < now_ms - node.held[0].received_ms < wait:  # also if the clock was set back
            self._give_up(out, node)
        self.look_at(node)

    def _give_up(self, out: Outcome, node: Node) -> None:
        """The one that waits the longest waits no more: at least one message is settled."""
        if not node.online:
            self.release(out, node, list(node.held))
            node.hopeless = node.wants = True
            return
        first = node.held[0]
        behind = node.order.ahead(first.seq) >= BEHIND
        if node.strays < MOST_STRAYS and _is_older(first, node):
            node.strays += 1
            self._unhold(node, 0)
            reason = REPEATED if node.order.took(first.seq) else FORMER_SESSION
            self.refused(out, first, refuse(reason, f"number {first.seq} is late or came again"))
            return
        nearest = first if behind else min(node.held, key=lambda held: node.order.ahead(held.seq))
        self._jump(node, nearest.seq)
        self.drain(out, node)

    def _jump(self, node: Node, seq: int) -> None:
        if seq != node.order.next:
            self._counts["gaps"] += 1
            node.order.jump(seq)
            node.gap = "lost"
            node.wants = True

    def release(self, out: Outcome, node: Node, held: list[Arrived]) -> None:
        """These wait no more: the session in which they were sent is over."""
        for came in sorted(held, key=lambda each: node.order.ahead(each.seq)):
            self._unhold(node, node.held.index(came))
            if not node.online:
                self.refused(out, came, not_born(came))
            elif node.order.ahead(came.seq) < BEHIND:
                self._jump(node, came.seq)
                self._apply(out, node, came, scan(came.payload, self._limits.metrics))
            else:
                self.refused(out, came, refuse(FORMER_SESSION, f"number {came.seq} of a session that is over"))
        self.look_at(node)

    def look_at(self, node: Node) -> None:
        """Remember whether something of this edge node is due by time."""
        if node.held or node.due_ms is not None:
            self.waiting.add(node.key)
        else:
            self.waiting.discard(node.key)


def _is_older(held: Arrived, node: Node) -> bool:
    return held.sent_ms is not None and node.sent_ms is not None and held.sent_ms < node.sent_ms
