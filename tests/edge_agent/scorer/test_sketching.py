"""Sketches of readings: what they count, and what they cost."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from edge_agent.scorer.sketching import Sketcher
from headwater.contract import topics
from headwater.contract.arrival import Arrival
from headwater.contract.features import FeatureSpec, Scaling
from headwater.contract.messages import decode
from headwater.contract.reading import Reading
from headwater.contract.sketches import OVER, Sketch, channel_of
from headwater.contract.windows import Cadence, Charge
from tests.contract import lives
from tests.edge_agent.scorer.edge import PARTITIONS, SITE, Edge
from tests.edge_agent.scorer.models import desire, make, place
from tests.edge_agent.scorer.plant import Plant

SPEC = FeatureSpec(("flow", "current"), 8, 3, {"": Scaling((1.0, 2.0), (2.0, 0.5))})


def charge(version: int) -> Charge:
    return Charge("pump", version, "0" * 64, 0, 0, Cadence.of(SPEC), 0, 0, "disk")


def readings(count: int, seed: int = 0) -> list[Arrival]:
    rng = np.random.default_rng(seed)
    values = rng.normal(1, 2, (count, 2)).tolist()
    return [
        Arrival(7 + 2 * i, "pump-1", "pump", Reading(1000 * i, {"flow": a, "current": None if i % 10 == 3 else b}))
        for i, (a, b) in enumerate(values)
    ]


def sketched(came: list[Arrival], every: int, judged_by: Charge) -> list[Sketch]:
    sketcher = Sketcher("lyon", 1, every, lambda _: SPEC)
    for one in came:
        sketcher.take(one, judged_by, 1.5)
    return sketcher.full()


def test_a_sketch_is_that_of_its_readings() -> None:
    """One for every so many readings of an asset, with exact counts, whichever pieces they were folded in."""
    came = readings(1200)
    first, second = sketched(came, 600, charge(3))
    assert (first.first, first.last, second.first, second.last) == (7, 1205, 1207, 2405)
    assert (first.t_first, first.t_last, first.readings, first.version, first.partition) == (0, 599_000, 600, 3, 1)
    flow = np.array([one.reading.values["flow"] for one in came[:600]], np.float64)
    assert first.channels["flow"] == channel_of((flow - 1.0) / 2.0)
    assert (first.channels["current"].missing, first.channels["current"].count) == (60, 540)
    assert first.levels[OVER + 1] == second.levels[OVER + 1] == 600
    assert sketched(came[:599], 600, charge(3)) == []


def test_a_swap_begins_a_new_sketch() -> None:
    """A sketch never mixes versions: their scales differ."""
    came = readings(900)
    sketcher = Sketcher("lyon", 0, 500, lambda _: SPEC)
    old, new = charge(1), charge(2)
    for one in came[:300]:
        sketcher.take(one, old)
    for one in came[300:]:
        sketcher.take(one, new)
    (only,) = sketcher.full()
    assert (only.version, only.first, only.readings) == (2, came[300].offset, 500)


def test_without_its_model_nothing_is_sketched() -> None:
    """A version that is not loaded has no scale to measure in."""
    sketcher = Sketcher("lyon", 0, 100, lambda _: None)
    for one in readings(300):
        sketcher.take(one, charge(1))
    assert sketcher.full() == []


def test_a_reading_costs_little() -> None:
    """Sketching takes a few microseconds a reading, of the hundred that scoring takes."""
    came, one = readings(20_000), charge(1)
    sketcher = Sketcher("lyon", 0, 1000, lambda _: SPEC)
    began = time.process_time()
    for each in came:
        sketcher.take(each, one)
    assert (time.process_time() - began) / len(came) < 10e-6
    assert len(sketcher.full()) == pytest.approx(20)


async def test_sketches_are_written_of_what_is_in_the_log(edge: Edge) -> None:
    """Over a kill each sketch still counts exactly the readings from its first offset to its last."""
    manifest = place(edge.state, *make(1))
    desire(edge.state, manifest)
    edge.settings |= {"sketch_readings": 25}
    plant = Plant(edge, 4)
    edge.start()
    await edge.in_charge(1)
    await plant.publish(80)
    await edge.all_judged()
    edge.kill()
    edge.start()
    await plant.publish(80)
    await edge.all_judged()
    assert edge.terminate() == 0
    seen = 0
    for partition in range(PARTITIONS):
        arrivals = await edge.arrivals(partition)
        for record in await edge.all(topics.SKETCHES, partition):
            sketch = decode(record.value, Sketch)
            mine = [a for a in arrivals if a.asset == sketch.asset and sketch.first <= a.offset <= sketch.last]
            assert len(mine) == sketch.readings == 25
            assert (sketch.site, sketch.version, sketch.partition) == (SITE, 1, partition)
            scaling = manifest.features.scaling_of("")
            for i, channel in enumerate(manifest.features.channels):
                given = [a.reading.values.get(channel) for a in mine]
                values = np.array([np.nan if v is None else v for v in given], np.float64)
                z = (values - scaling.centre[i]) / scaling.scale[i]
                assert sketch.channels[channel] == channel_of(z)
            seen += 1
    assert seen >= 6 * 4


async def test_an_edge_without_the_topic_goes_without(edge: Edge) -> None:
    """An edge that was set up before there were sketches scores as before, and says what is missing."""
    admin = AdminClient({"bootstrap.servers": edge.brokers})
    for future in admin.delete_topics([topics.SKETCHES]).values():
        await asyncio.to_thread(future.result, 10)
    desire(edge.state, place(edge.state, *make(1)))
    edge.start()
    await edge.in_charge(1)
    await Plant(edge, 5).publish(30)
    await edge.all_judged()
    assert edge.terminate() == 0
    assert await edge.end(topics.SCORES) > 0
    assert "no sketches are written" in edge.log()


@pytest.mark.parametrize("is_scaled", [True, False])
def test_lives_are_sketched_where_their_features_have_a_scaling(is_scaled: bool) -> None:
    """Without one there is no unit to count in, and nothing is written."""
    spec = lives.features()
    if is_scaled:
        spec = replace(spec, scaling={"": Scaling((0.0,) * 4, (1.0,) * 4)})
    sketcher = Sketcher("lyon", 0, 300, lambda _: spec)
    judged_by = Charge("engine", 1, "0" * 64, 0, 0, Cadence.of(spec), 0, 0, "disk")
    for number in range(600):
        sketcher.take(Arrival(number, "p", "engine", lives.cycle(number, missing="b")), judged_by, 0.5)
    found = sketcher.full()
    assert [(each.first, each.readings) for each in found] == ([(0, 300), (300, 300)] if is_scaled else [])
    assert all(each.channels["b"].missing == 300 for each in found)
