"""An edge node with two devices, as it would speak, and a host that listens."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from headwater.contract.sparkplug import Host, Options, Outcome, Refusal
from tests.contract.sparkplug.payloads import metric, payload

T = 1_763_718_300_000  # ms
NODE = "north/line-1"
PUMP = "pump-7"
FAN = "fan-2"
BASES = {PUMP: 100, FAN: 200}


class Sent(NamedTuple):
    topic: str
    payload: bytes
    at: int  # ms


class Edge:
    """Publishes what a compliant edge node publishes; `now` is its clock in ms."""

    def __init__(self, node: str = NODE, now: int = T) -> None:
        self.group, self.name = node.split("/")
        self.now = now
        self.seq = 0
        self.bdseq = 0

    def _sent(self, kind: str, device: str, metrics: list[Any], seq: int | None) -> Sent:
        topic = "/".join(("spBv1.0", self.group, kind, self.name, *([device] if device else [])))
        return Sent(topic, payload(*metrics, seq=seq, t=self.now), self.now)

    def _next(self) -> int:
        self.seq = (self.seq + 1) % 256
        self.now += 10
        return self.seq

    def born(self) -> Sent:
        self.seq = 0
        self.now += 10
        return self._sent("NBIRTH", "", [
            metric(self.bdseq, "UInt64", name="bdSeq", typed=True, t=self.now),
            metric(False, "Boolean", name="Node Control/Rebirth", typed=True, t=self.now),
            metric(21.5, "Double", name="Cabinet", alias=1, typed=True, t=self.now),
        ], 0)  # fmt: skip

    def device_born(self, device: str = PUMP, base: int | None = None) -> Sent:
        first = BASES[device] if base is None else base
        seq = self._next()
        return self._sent("DBIRTH", device, [
            metric(3.0, "Float", name="flow", alias=first, typed=True, t=self.now, properties={"engUnit": "l/min"}),
            metric(-4, "Int16", name="step", alias=first + 1, typed=True, t=self.now),
            metric("idle", "String", name="mode", alias=first + 2, typed=True, t=self.now),
        ], seq)  # fmt: skip

    def data(self, device: str = PUMP, flow: float = 3.5, base: int | None = None, **more: Any) -> Sent:
        first = BASES[device] if base is None else base
        seq = self._next()
        return self._sent("DDATA", device, [metric(flow, "Float", alias=first, t=self.now, **more)], seq)

    def sent(self, device: str, *metrics: Any) -> Sent:
        seq = self._next()
        return self._sent("DDATA" if device else "NDATA", device, list(metrics), seq)

    def device_died(self, device: str = PUMP) -> Sent:
        seq = self._next()
        return self._sent("DDEATH", device, [], seq)

    def died(self, bdseq: int | None = None) -> Sent:
        number = self.bdseq if bdseq is None else bdseq
        self.now += 10
        return self._sent("NDEATH", "", [metric(number, "UInt64", name="bdSeq", typed=True)], None)

    def births(self) -> list[Sent]:
        return [self.born(), self.device_born(PUMP), self.device_born(FAN)]


def host(**options: Any) -> Host:
    return Host(Options(**{"role": "active", "asset_class": "pump", **options}))


def give(to: Host, *messages: Sent, later: int = 0) -> list[Outcome]:
    """Each message at its own time, `later` ms on; tokens are numbered from 0 in each call."""
    return [to.take(token, each.topic, each.payload, each.at + later) for token, each in enumerate(messages)]


def readings(*outcomes: Outcome) -> list[dict[str, Any]]:
    return [
        {"asset": each.asset, **msgspec.json.decode(each.value)}
        for out in outcomes
        for settled in out.settled
        if not isinstance(settled.result, Refusal)
        for each in settled.result
    ]


def values(*outcomes: Outcome) -> list[dict[str, Any]]:
    return [each["values"] for each in readings(*outcomes)]


def refusals(*outcomes: Outcome) -> list[str]:
    return [each.result.reason for out in outcomes for each in out.settled if isinstance(each.result, Refusal)]


def tokens(*outcomes: Outcome) -> list[object]:
    return [each.token for out in outcomes for each in out.settled]


def events(*outcomes: Outcome, kind: str = "stale") -> list[dict[str, Any]]:
    return [msgspec.json.decode(each.record.value) for out in outcomes for each in out.events if each.kind == kind]


def marks(*outcomes: Outcome) -> list[str]:
    found = []
    for out in outcomes:
        for settled in out.settled:
            for each in settled.result if isinstance(settled.result, list) else ():
                where = dict(each.headers)["hw-sparkplug"]
                found.append("/".join((where or b"").decode().split("/")[3:]))
    return found
