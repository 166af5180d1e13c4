"""The physics of one centrifugal pump that feeds a pipe, one step a second.

Head and flow follow the affinity laws (head ~ speed², Gülich, Centrifugal Pumps, 3rd ed., ch. 3.4): the pump gives
`a·s² - b·q²`, the pipe takes `h0 + k·q²`, and the flow is where both meet. Motor power is hydraulic power over an
efficiency that falls off parabolically beside the best point. Temperatures follow their loads with first-order lag.
Units: flow m3/h, pressures and heads bar, current A, accelerations g (RMS over a second), temperatures °C, power kW.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Literal

FaultKind = Literal["cavitation", "bearing-wear", "blocked-valve", "stuck-sensor"]
FAULT_KINDS: tuple[FaultKind, ...] = ("cavitation", "bearing-wear", "blocked-valve", "stuck-sensor")
CHANNELS = (
    "flow",
    "inlet_pressure",
    "outlet_pressure",
    "motor_current",
    "acceleration_1",
    "acceleration_2",
    "bearing_temperature",
    "fluid_temperature",
)
BEARING_LAG_S = 150.0
FLUID_LAG_S = 400.0
NO_LOAD_KW = 0.9


@dataclass(frozen=True)
class Build:
    """What makes one pump different from the next."""

    a: float  # shut-off head at full speed, bar
    b: float  # fall of the pump curve, bar per (m3/h)²
    h0: float  # static head of the pipe, bar
    k: float  # resistance of the pipe, bar per (m3/h)²
    supply: float  # pressure of the supply, bar
    efficiency: float
    amps_per_kw: float
    vibration_1: float  # g at full speed
    vibration_2: float
    warmth: float  # rise of the bearing over ambient, °C per kW
    ambient: float  # °C
    phase: float  # of the slow cycles, radians
    noise: tuple[float, ...] = (0.25, 0.008, 0.025, 0.12, 0.012, 0.010, 0.10, 0.08)  # sd by channel; see `spread`


def build(rng: random.Random) -> Build:
    """One pump of a series, with its tolerances."""

    def about(value: float, share: float) -> float:
        return value * rng.uniform(1 - share, 1 + share)

    return Build(
        a=about(6.0, 0.08),
        b=about(0.0012, 0.15),
        h0=about(0.8, 0.15),
        k=about(0.0020, 0.15),
        supply=about(1.6, 0.10),
        efficiency=about(0.68, 0.05),
        amps_per_kw=about(1.75, 0.04),
        vibration_1=about(0.35, 0.20),
        vibration_2=about(0.28, 0.20),
        warmth=about(2.6, 0.15),
        ambient=about(24.0, 0.10),
        phase=rng.uniform(0, 2 * math.pi),
    )


@dataclass
class Severity:
    """How far each fault has grown, 0 to 1."""

    cavitation: float = 0.0
    bearing_wear: float = 0.0
    blocked_valve: float = 0.0


@dataclass
class Warmth:
    """The two temperatures that lag behind, °C; None before the first second, when they are settled."""

    bearing: float | None = None
    fluid: float | None = None


HEALTHY = Severity()


@dataclass
class Duty:
    """Speed set-points: held for 60 to 180 s, then ramped to the next within 5 to 15 s."""

    rng: random.Random
    speed: float = 0.0
    _target: float = 0.0
    _slope: float = 0.0
    _left_s: int = field(default=0)

    def __post_init__(self) -> None:
        self.speed = self._target = self.rng.uniform(0.70, 1.0)
        self._left_s = self.rng.randint(10, 180)

    def next(self) -> float:
        """Speed of the next second, as a share of full speed."""
        if self._left_s > 0:
            self._left_s -= 1
        elif self._slope == 0.0:
            self._choose()
        if self._slope:
            self.speed += self._slope
            if (self.speed - self._target) * self._slope >= 0:
                self.speed, self._slope = self._target, 0.0
                self._left_s = self.rng.randint(60, 180)
        return self.speed

    def _choose(self) -> None:
        before = self._target
        while abs(self._target - before) < 0.05:
            self._target = self.rng.uniform(0.70, 1.0)
        self._slope = (self._target - self.speed) / self.rng.randint(5, 15)


def clean(pump: Build, age_s: float, speed: float, severity: Severity, warmth: Warmth) -> list[float]:
    """Values without sensor noise, in the order of CHANNELS; moves `warmth` on by a second.

    `age_s` drives what drifts: the supply pressure (cycle of 3 h), ambient temperature (8 h) and fouling of the
    pipe (1 % of its resistance an hour).
    """
    supply = pump.supply + 0.05 * math.sin(age_s * (2 * math.pi / 10_800) + pump.phase)
    ambient = pump.ambient + 1.5 * math.sin(age_s * (2 * math.pi / 28_800) + pump.phase)
    cavitation, wear = severity.cavitation, severity.bearing_wear
    resistance = pump.k * (1 + 0.01 * age_s / 3600) * (1 + 5.0 * severity.blocked_valve)
    given = pump.a * speed * speed * (1 - 0.22 * cavitation)
    flow = math.sqrt(max(given - pump.h0, 0.0) / (pump.b + resistance))
    head = given - pump.b * flow * flow
    inlet = supply - 0.00025 * flow * flow - 0.06 * cavitation
    beside = flow / (38.0 * speed) - 1.0
    efficiency = pump.efficiency * (1 - 0.35 * beside * beside) * (1 - 0.12 * cavitation)
    power = NO_LOAD_KW * speed + flow * head / 36.0 / efficiency + 0.25 * wear
    shake = 0.35 + 0.65 * speed * speed + 0.5 * abs(beside)
    bearing_to = ambient + pump.warmth * power + 22.0 * wear
    fluid_to = ambient - 4.0 + 0.45 * power
    if warmth.bearing is None or warmth.fluid is None:
        warmth.bearing, warmth.fluid = bearing_to, fluid_to
    warmth.bearing += (bearing_to - warmth.bearing) / BEARING_LAG_S
    warmth.fluid += (fluid_to - warmth.fluid) / FLUID_LAG_S
    return [
        flow,
        inlet,
        inlet + head,
        power * pump.amps_per_kw,
        pump.vibration_1 * shake * (1 + 1.2 * cavitation + 2.5 * wear),
        pump.vibration_2 * shake * (1 + 1.6 * cavitation + 0.7 * wear),
        warmth.bearing,
        warmth.fluid,
    ]


def spread(pump: Build, severity: Severity) -> tuple[float, ...]:
    """Standard deviation of the noise by channel; vapour bubbles make flow, pressures and vibration restless."""
    if not severity.cavitation:
        return pump.noise
    restless = 1 + 4 * severity.cavitation
    return tuple(sd * (restless if i not in {3, 6, 7} else 1.0) for i, sd in enumerate(pump.noise))
