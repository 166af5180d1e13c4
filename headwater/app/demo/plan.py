"""What the demo will do: sites, machines, when what happens. All in one place, so that it can be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headwater.app.plant.publisher import Machine, Row
from headwater.app.plant.pump import FaultKind
from headwater.app.plant.simulator import ASSET_CLASS, Plant
from headwater.contract.errors import BadInput
from headwater.contract.names import check_site
from headwater.transport.recordings import recordings

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z, the first reading of the simulated plant
FAULTS: tuple[FaultKind, ...] = ("cavitation", "bearing-wear", "blocked-valve", "stuck-sensor")


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    sites: tuple[str, ...]
    seed: int
    data: Path | None
    keep: bool
    home: Path
    report: Path
    mosquitto: str | None = None
    speed: float | None = None  # of recordings
    pumps: int = 6


@dataclass(frozen=True)
class Plan:
    """When what happens; `healthy`, `second` and `end` are ticks, one reading of every machine."""

    machines: Mapping[Machine, Iterator[Row]]
    speed: float  # ticks a real second
    slow: float  # the same while a model is trained or rolled out: sensor time must not outrun what was learned
    asset_class: str
    healthy: int  # the first training run begins
    watch: int  # readings with a model before the faults begin
    faulty: int  # and from there to the second training run
    end: int | None  # the last tick, where it is known
    plant: Plant | None = None
    faults: tuple[tuple[str, str, FaultKind], ...] = ()  # site, asset, kind
    holds: bool = False  # the rows wait for the trainings: recordings end, a plant does not
    labels: Mapping[Machine, list[tuple[int, bool]]] = field(default_factory=dict)
    cuts: tuple[str, ...] = ()  # a sentence for each recording that is not replayed whole
    rows: Mapping[Machine, int] = field(default_factory=dict)  # readings of each machine; a plant's do not end

    def readings(self, tick: int) -> dict[Machine, int]:
        """How many readings each machine must have published once the feed has ended after `tick` ticks."""
        least = self.healthy + self.watch + self.faulty
        return {machine: self.rows.get(machine, max(tick, least)) for machine in self.machines}


def check_sites(text: str) -> tuple[str, ...]:
    """Sites of a comma-separated list; BadInput for fewer than two, or one named twice."""
    sites = tuple(check_site(part.strip()) for part in text.split(","))
    if len(set(sites)) != len(sites) or len(sites) < 2:
        raise BadInput(f"sites {text!r}: at least two different ones are needed", hint="such as lyon,osaka")
    return sites


def simulated(options: Options) -> Plan:
    """Pumps that are healthy first; then one pump a site begins to fail."""
    plant = Plant(options.seed, options.sites, options.pumps, START_MS)
    machines = {Machine(site, ASSET_CLASS, asset): plant.readings(site, asset) for site, asset in plant.assets}
    faults = tuple(
        (site, f"pump-{1 + (options.seed + i) % options.pumps}", FAULTS[(options.seed + i) % len(FAULTS)])
        for i, site in enumerate(options.sites)
    )
    return Plan(machines, 60.0, 15.0, ASSET_CLASS, 1200, 300, 900, None, plant, faults)


MOST_ROWS = 1300  # of a recording, so that the demo stays within two minutes; longer ones are cut, and said to be
DATA_CLASS = "rig"
SPEED, LEAST_SPEED, MOST_SPEED = 40.0, 10.0, 100.0  # rows of each recording a second


def recorded(options: Options, folder: Path) -> Plan:
    """Each recording as one asset, dealt to the sites in turn; the rows wait while a model is trained."""
    machines: dict[Machine, Iterator[Row]] = {}
    labels: dict[Machine, list[tuple[int, bool]]] = {}
    counts: dict[Machine, int] = {}
    cuts: list[str] = []
    speed = options.speed or SPEED
    longest = 0
    for i, recording in enumerate(recordings(folder)):
        machine = Machine(options.sites[i % len(options.sites)], DATA_CLASS, recording.asset)
        rows = recording.rows[:MOST_ROWS]
        if len(rows) < len(recording.rows):
            cuts.append(f"{machine.site}/{machine.asset}: {len(rows):,} of {len(recording.rows):,} rows are replayed")
        longest, counts[machine] = max(longest, len(rows)), len(rows)
        machines[machine] = iter([(row.t, row.values) for row in rows])
        labels[machine] = [(row.t, row.label) for row in rows if row.label is not None]
    end = longest
    if end < 600:
        raise BadInput(f"the longest recording below {folder} has {end} rows", hint="at least 600 are needed")
    healthy = min(400, end // 3)
    faulty = int(end * 0.85) - healthy
    return Plan(
        machines,
        speed,
        speed,
        DATA_CLASS,
        healthy,
        0,
        faulty,
        end,
        holds=True,
        labels=labels,
        rows=counts,
        cuts=tuple(cuts),
    )


def plan(options: Options) -> Plan:
    """The plan for these options; BadInput for a speed of anything but recordings."""
    if options.data is None and options.speed is not None:
        raise BadInput("--speed is of recordings, and there are none", hint="name their folder with --data")
    return simulated(options) if options.data is None else recorded(options, options.data)
