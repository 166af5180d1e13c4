"""A sketch says the same of its readings, however the log was cut into chunks when they were judged; no services."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from edge_agent.scorer.judge import Judge
from edge_agent.scorer.models import Id, Loaded
from edge_agent.scorer.partition import Partition
from edge_agent.scorer.sketching import Sketcher
from headwater.contract import headers
from headwater.contract.sketches import OVER, Sketch
from headwater.contract.windows import Cadence, Charge
from headwater.transport.kafka_batch.records import Record
from headwater.transport.tflite import Model
from tests.edge_agent.scorer.models import make

COUNT, EVERY = 2000, 400


def record(offset: int, flow: float, current: float) -> Record:
    value = f'{{"t": {offset * 1000}, "values": {{"flow": {flow}, "current": {current}}}}}'.encode()
    return Record(offset, 0, b"pump-1", value, ((headers.CLASS, b"pump"),))


def sketched(chunk: int) -> list[Sketch]:
    """Readings that are calm at first and far off afterwards, judged so many at a time."""
    data, manifest = make(1)
    manifest = msgspec.structs.replace(manifest, thresholds={"": 20.0})
    charge = Charge("pump", 1, manifest.sha256, 0, 0, Cadence.of(manifest.features), 0, 0, "disk")
    loaded = {Id.of("pump", charge): Loaded(Id.of("pump", charge), manifest, Model(data), charge.cadence)}
    partition = Partition(0, charges={"pump": charge}, sketcher=Sketcher("lyon", 0, EVERY, lambda _: manifest.features))
    partition.windows.set_cadence("pump", charge.cadence)
    judge, found = Judge("lyon", loaded), list[Sketch]()
    values = np.random.default_rng(0).normal(0, 1, (COUNT, 2)) * np.where(np.arange(COUNT) < 900, 0.1, 100)[:, None]
    records = [record(i, *row) for i, row in enumerate(values.round(4).tolist())]
    for begin in range(0, COUNT, chunk):
        judge.judge(partition, records[begin : begin + chunk], 0)
        found += partition.sketcher.full() if partition.sketcher else []
    return found


@pytest.mark.parametrize("chunk", [1, 37, EVERY, COUNT])
def test_scores_belong_to_the_sketch_of_their_readings(chunk: int) -> None:
    """An alarming machine is seen to be one also where an edge catches up with a day at once."""
    found = sketched(chunk)
    assert found == sketched(113)
    assert len(found) == COUNT // EVERY
    windows = (COUNT - 8) // 3 + 1
    assert sum(sum(one.levels) for one in found) == windows
    assert [sum(one.levels[OVER:]) > 0 for one in found] == [False, False, True, True, True]
