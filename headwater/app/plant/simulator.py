"""Pumps of several sites at one reading a second of simulated time: pure, seeded, no I/O.

The same seed and the same calls give the same readings. Noise, duty and tolerances come from separate streams of
random numbers, so that a fault changes nothing but its own effect.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from headwater.app.plant.pump import (
    CHANNELS,
    FAULT_KINDS,
    HEALTHY,
    Build,
    Duty,
    FaultKind,
    Severity,
    Warmth,
    build,
    clean,
    spread,
)
from headwater.contract.errors import BadInput

PERIOD_MS: Final = 1000
ASSET_CLASS: Final = "pump"
VISIBLE_SD: Final = 3.0  # a fault is visible once its effect exceeds this many sd of a channel's noise
GROWTH_S: Final = {"cavitation": 180.0, "bearing-wear": 240.0, "blocked-valve": 180.0, "stuck-sensor": 0.0}
# Channels that a fault moves by more than noise; a stuck sensor is one channel, chosen by the seed.
AFFECTED: Final[dict[str, tuple[str, ...]]] = {
    "cavitation": ("flow", "inlet_pressure", "outlet_pressure", "motor_current", "acceleration_1", "acceleration_2"),
    "bearing-wear": ("acceleration_1", "acceleration_2", "motor_current", "bearing_temperature"),
    "blocked-valve": ("flow", "inlet_pressure", "outlet_pressure", "motor_current"),
}


@dataclass(frozen=True)
class Truth:
    """A fault as it really is; times are sensor times in ms, None for what has not happened yet."""

    kind: FaultKind
    site: str
    asset: str
    onset: int | None  # first faulty reading
    visible: int | None  # first reading in which the effect on a channel exceeds 3 sd of that channel's noise
    channels: tuple[str, ...]
    growth_s: float


@dataclass
class _Fault:
    truth: Truth
    at_ms: int
    frozen: float | None = None  # the value at which a stuck sensor stands


@dataclass
class _Pump:
    site: str
    asset: str
    build: Build
    duty: Duty
    noise: random.Random
    t_ms: int
    choice: random.Random
    faults: list[_Fault] = field(default_factory=list)
    warmth: Warmth = field(default_factory=Warmth)
    healthy_warmth: Warmth = field(default_factory=Warmth)  # of its twin without faults
    age_s: int = 0
    last: list[float] = field(default_factory=list)


class Plant:
    """Sites with pumps called `pump-1`, `pump-2`, ...; one iterator of readings a pump.

    `begin_fault` may be called from another thread while readings are drawn.
    """

    def __init__(self, seed: int, sites: Sequence[str], pumps_per_site: int, start_ms: int) -> None:
        self._pumps: dict[tuple[str, str], _Pump] = {}
        for site in sites:
            for number in range(1, pumps_per_site + 1):
                asset = f"{ASSET_CLASS}-{number}"
                self._pumps[site, asset] = _pump(f"{seed}/{site}/{asset}", site, asset, start_ms)

    @property
    def assets(self) -> list[tuple[str, str]]:
        """Site and name of every pump."""
        return list(self._pumps)

    def begin_fault(
        self, site: str, asset: str, kind: FaultKind, at_ms: int, *, growth_s: float | None = None, channel: str = ""
    ) -> None:
        """Let a fault begin at the first reading at or after `at_ms` that was not drawn yet.

        It is fully grown after `growth_s` seconds; `channel` names the sensor that gets stuck. BadInput for a pump,
        kind or channel that does not exist.
        """
        pump = self._of(site, asset)
        if kind not in FAULT_KINDS:
            raise BadInput(f"there is no fault {kind!r}", hint=f"one of {', '.join(FAULT_KINDS)}")
        if channel and (channel not in CHANNELS or kind != "stuck-sensor"):
            raise BadInput(f"channel {channel!r} cannot be stuck", hint=f"one of {', '.join(CHANNELS)}")
        channels = AFFECTED.get(kind) or (channel or pump.choice.choice(CHANNELS),)
        growth = GROWTH_S[kind] if growth_s is None else growth_s
        pump.faults.append(_Fault(Truth(kind, site, asset, None, None, channels, growth), at_ms))

    def truths(self) -> list[Truth]:
        """Every fault that was begun, as far as it has come."""
        return [fault.truth for pump in self._pumps.values() for fault in pump.faults]

    def readings(self, site: str, asset: str) -> Iterator[tuple[int, dict[str, float]]]:
        """Endless readings of one pump: sensor time in ms and the value of each channel, rounded as a sensor does."""
        pump = self._of(site, asset)
        while True:
            t_ms = pump.t_ms
            values = _read(pump)
            pump.t_ms += PERIOD_MS
            yield t_ms, dict(zip(CHANNELS, values, strict=True))

    def _of(self, site: str, asset: str) -> _Pump:
        try:
            return self._pumps[site, asset]
        except KeyError:
            raise BadInput(f"there is no {asset!r} at site {site!r}") from None


def _pump(seed: str, site: str, asset: str, start_ms: int) -> _Pump:
    def stream(name: str) -> random.Random:
        return random.Random(f"{seed}/{name}")

    return _Pump(site, asset, build(stream("build")), Duty(stream("duty")), stream("noise"), start_ms, stream("choice"))


def _read(pump: _Pump) -> list[float]:
    """The next reading; moves the pump on by a second."""
    speed = pump.duty.next()
    begun = [fault for fault in pump.faults if fault.at_ms <= pump.t_ms]
    if not begun:
        true = clean(pump.build, pump.age_s, speed, HEALTHY, pump.warmth)
        spreads = pump.build.noise
        pump.healthy_warmth.bearing, pump.healthy_warmth.fluid = pump.warmth.bearing, pump.warmth.fluid
    else:
        severity = _severity(begun, pump.t_ms)
        true = clean(pump.build, pump.age_s, speed, severity, pump.warmth)
        spreads = spread(pump.build, severity)
        healthy = clean(pump.build, pump.age_s, speed, HEALTHY, pump.healthy_warmth)
        _judge(begun, pump, true, healthy, spreads)
    gauss = pump.noise.gauss
    values = [round(value + gauss(0.0, sd), 4) for value, sd in zip(true, spreads, strict=True)]
    for fault in begun:
        if fault.frozen is not None:
            values[CHANNELS.index(fault.truth.channels[0])] = fault.frozen
    pump.age_s += 1
    pump.last = values
    return values


def _severity(faults: list[_Fault], t_ms: int) -> Severity:
    grown = dict.fromkeys(FAULT_KINDS, 0.0)
    for fault in faults:
        onset = fault.truth.onset if fault.truth.onset is not None else t_ms
        growth_ms = fault.truth.growth_s * 1000
        share = 1.0 if growth_ms <= 0 else min((t_ms - onset + PERIOD_MS) / growth_ms, 1.0)
        grown[fault.truth.kind] = max(grown[fault.truth.kind], share)
    return Severity(grown["cavitation"], grown["bearing-wear"], grown["blocked-valve"])


def _judge(
    faults: list[_Fault], pump: _Pump, true: list[float], healthy: list[float], spreads: tuple[float, ...]
) -> None:
    """Note the onset, freeze stuck sensors, and note when an effect exceeds the noise.

    With several faults at once a fault counts what all of them do to its channels.
    """
    sds = pump.build.noise
    for fault in faults:
        truth = fault.truth
        if truth.onset is None:
            truth = replace(truth, onset=pump.t_ms)
            if truth.kind == "stuck-sensor":
                i = CHANNELS.index(truth.channels[0])
                fault.frozen = pump.last[i] if pump.last else round(true[i], 4)
        if truth.visible is None:
            for i in map(CHANNELS.index, truth.channels):
                seen = true[i] if fault.frozen is None else fault.frozen
                if max(abs(seen - healthy[i]), spreads[i] - sds[i]) > VISIBLE_SD * sds[i]:
                    truth = replace(truth, visible=pump.t_ms)
                    break
        fault.truth = truth
