"""What `train life` made of recordings, scored by a real scorer process: the trainer's bits, and a warning in time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from cloud_trainer.datasets import building
from cloud_trainer.life import making, requests
from cloud_trainer.life.histories import vectors
from cloud_trainer.life.making import LifeMade
from cloud_trainer.life.recipe import LifeRecipe
from cloud_trainer.recipe import Recipe
from headwater.contract import headers, topics
from headwater.contract.messages import Alarm, Score, decode
from headwater.contract.overhaul import Overhaul
from headwater.transport.kafka_batch import Out
from headwater.transport.tflite import Model
from tests.cloud_trainer.life.engines import fleet, write_lives
from tests.edge_agent.scorer.edge import Edge, out
from tests.edge_agent.scorer.models import desire, place
from tests.services import Broker

RECIPE = LifeRecipe(
    settings=("height", "kind"), most=80, warn=15, early=1.25, epochs=60, layers=(16, 8), latents=(2,), budget_s=20
)
ASSET = "engine-77"


def train(folder: Path) -> LifeMade:
    return requests.make_from(building.from_recordings(folder, "engine", "lab"), Recipe(), RECIPE, ())


async def test_an_engine_is_warned_of_before_it_fails(private_kafka: Broker, tmp_path: Path) -> None:
    """An engine that training has not seen, from its overhaul to its failure, with a kill on the way."""
    made = await asyncio.to_thread(train, write_lives(tmp_path / "lives", fleet(30, 1)))
    edge = await Edge.open(private_kafka.bootstrap, tmp_path)
    desire(edge.state, place(edge.state, made.data, making.make_manifest("engine-1", 1, made)))
    edge.start()
    await edge.status_when(lambda status: "engine" in status.active)
    unseen = fleet(1, 99)
    (life,) = unseen.histories
    renewed = Out(ASSET.encode(), Overhaul(ASSET, 0, failed=False).encode(), ((headers.OVERHAULED, ASSET.encode()),), 1)
    outs = [renewed]
    for cycle, row in enumerate(np.concatenate([life.settings, life.sensors], axis=1).tolist()):
        values: dict[str, float | None] = dict(zip((*unseen.settings, *unseen.sensors), row, strict=True))
        outs.append(out(ASSET, 3_600_000 * cycle, values, "engine"))
    half = len(outs) // 2
    await edge.put(0, outs[:half])
    await edge.all_judged()
    edge.kill()
    await edge.put(0, outs[half:])
    edge.start()
    await edge.all_judged()
    assert edge.terminate() == 0

    found = [decode(record.value, Score) for record in await edge.all(topics.SCORES, 0)]
    alarms = [decode(record.value, Alarm) for record in await edge.all(topics.ALARMS, 0)]
    await edge.close()
    wanted = Model(made.data).score(vectors(made.model.spec, unseen)[0])[0]
    assert [score.score for score in found] == wanted.astype(np.float64).tolist()
    assert [score.cycles for score in found] == list(range(1, len(wanted) + 1))
    left = np.arange(len(found))[::-1]
    held = [s.low <= min(n, RECIPE.most) <= s.high for s, n in zip(found, left, strict=True)]  # type: ignore[operator]  # they are lives
    assert np.mean(held) > 0.6, "one life is no sample, but it is not far from what was promised"
    assert alarms[0].state == "opened"
    warned = left[[score.t_last for score in found].index(alarms[0].t)]
    assert 3 <= warned <= 40
