"""The scorer as a process on a real Kafka cluster."""

from __future__ import annotations

import asyncio
import random
import time

from headwater.contract import headers, topics
from headwater.contract.arrival import BAD_PAYLOAD, NO_ASSET, NO_CLASS
from tests.edge_agent.scorer.edge import Edge, raw
from tests.edge_agent.scorer.models import desire, features, make, place
from tests.edge_agent.scorer.plant import ASSETS, Plant, loaded
from tests.edge_agent.scorer.recount import check_all
from tests.services import Broker

LIVES = 9


async def test_readings_before_the_first_model_are_counted_and_windows_begin_filled(edge: Edge) -> None:
    """Without a model nothing is scored; the first swap fills windows from the log, so that none waits."""
    plant = Plant(edge, 1)
    await plant.publish(40)
    edge.start()
    before = await edge.all_judged()
    assert before.counts["before_model"] + before.counts["dead_letters"] == 40 * len(ASSETS)
    assert before.active == {}
    assert await edge.end(topics.SCORES) == 0

    first = place(edge.state, *make(1))
    desire(edge.state, first, placed_at=time.time_ns() // 1_000_000)
    told = await edge.status_when(lambda status: "pump" in status.active)
    assert told.active["pump"].swap_ms < 2000
    await plant.publish(1)
    await edge.all_judged()
    assert edge.terminate() == 0

    assert len(await edge.all(topics.SCORES, 0)) >= 2, "the first reading after the swap completes windows"
    await check_all(edge, loaded(edge, first))


async def test_every_window_is_scored_once_over_kills_and_a_swap(edge: Edge) -> None:
    """SIGKILL at random moments, a swap to other features in between: nothing is scored twice or not at all."""
    seed = 20260101
    rng, plant = random.Random(seed), Plant(edge, seed)
    manifests = [
        place(edge.state, *make(1)),
        place(edge.state, *make(2, features(window=11, step=2))),
        place(edge.state, *make(3, features(window=11, step=2), seed=5)),
    ]
    edge.settings |= {"chunk_readings": 50, "fetch_bytes": 1 << 16}
    publishing = asyncio.create_task(plant.publish(10_000, pace_s=0.004))
    for life in range(LIVES):
        if life % 3 == 0:
            desire(edge.state, manifests[life // 3], generation=life + 1)
        edge.start()
        if life % 3 == 0:
            await edge.grows(topics.SCORES, rng.randrange(1, 200))  # about when it swaps
        elif life % 3 == 1:
            await asyncio.sleep(rng.uniform(0.1, 1.0))  # while it starts
        else:
            await edge.in_charge(manifests[life // 3].version)
            await edge.grows(topics.SCORES, rng.randrange(1, 400))
        edge.kill()
    publishing.cancel()
    edge.start()
    await plant.publish(10)
    told = await edge.all_judged(30)
    assert edge.terminate() == 0

    seen = await check_all(edge, loaded(edge, *manifests))
    assert all(seen[version] for version in (1, 2, 3)), seen
    assert told.counts["windows"] == seen.total()
    assert await edge.end(topics.ALARMS) > 10
    assert told.counts["dead_letters"] == await edge.end(topics.DEAD_LETTERS)


async def test_poison_goes_to_the_dead_letters_once(edge: Edge) -> None:
    """What is no reading is kept with a reason and its offset, also over a kill; the readings around it are scored."""
    first = place(edge.state, *make(1))
    desire(edge.state, first)
    plant = Plant(edge, 3)
    await plant.publish(20)
    poison = [
        (raw(b"pump-0", b"\xff\xfe"), BAD_PAYLOAD),
        (raw(b"pump-0", None), BAD_PAYLOAD),
        (raw(b"pump-0", b'{"t": -5, "values": {"flow": 1}}'), BAD_PAYLOAD),
        (raw(b"pump-0", b"[" * 100_000), BAD_PAYLOAD),
        (raw(b"pump-0", b"x" * 700_000), BAD_PAYLOAD),
        (raw(None, b'{"t": 1, "values": {"flow": 1}}'), NO_ASSET),
        (raw(b"Pump\x00", b'{"t": 1, "values": {"flow": 1}}'), NO_ASSET),
        (raw(b"pump-0", b'{"t": 1, "values": {"flow": 1}}', None), NO_CLASS),
    ]
    base = await edge.put(0, [out for out, _ in poison])
    edge.settings["checkpoint_interval_s"] = 60.0
    edge.start()
    await edge.all_judged()
    edge.kill()
    edge.start()
    await plant.publish(20)
    told = await edge.all_judged()
    edge.terminate()

    letters = await edge.all(topics.DEAD_LETTERS, 0)
    others = await edge.all(topics.DEAD_LETTERS, 1)
    sources = [headers.find_number(r.headers, headers.SOURCE_OFFSET) for r in letters]
    assert len(sources) == len(set(sources)) == told.counts["dead_letters"] - len(others)
    reasons = dict(zip(sources, (headers.find_text(r.headers, headers.REASON) for r in letters), strict=True))
    assert [reasons[base + i] for i in range(len(poison))] == [reason for _, reason in poison]
    await check_all(edge, loaded(edge, first))


async def test_a_rollback_is_a_swap_to_an_older_version(edge: Edge) -> None:
    """An older version that is on the disk takes charge again, under the offset of its swap."""
    first, second = place(edge.state, *make(1)), place(edge.state, *make(2))
    plant = Plant(edge, 5)
    edge.start()
    for generation, version in enumerate((first, second, first), start=1):
        desire(edge.state, version, generation=generation)
        await edge.status_when(lambda s, g=generation: s.generation.get("pump") == g)
        await edge.in_charge(version.version)
        await plant.publish(20)
        await edge.all_judged()
    assert edge.terminate() == 0

    assert [swap.version for swap in await edge.swaps(0)] == [1, 2, 1]
    seen = await check_all(edge, loaded(edge, first, second))
    assert seen[1] > seen[2] > 0


async def test_a_second_scorer_ends_the_first(edge: Edge) -> None:
    """Two scorers of one site never both write: the older one is told so and ends with exit code 4."""
    first = place(edge.state, *make(1))
    desire(edge.state, first)
    plant = Plant(edge, 6)
    edge.start()
    await plant.publish(10)
    await edge.all_judged()
    older, edge._process = edge._process, None
    edge.start()
    await plant.publish(10)
    assert older is not None
    assert await asyncio.to_thread(older.wait, 20) == 4
    await edge.all_judged()
    assert edge.terminate() == 0

    await check_all(edge, loaded(edge, first))


async def test_kafka_may_go_away(edge: Edge, private_kafka: Broker) -> None:
    """A broker that is killed costs nothing but time; without one the scorer still ends when asked to."""
    first = place(edge.state, *make(1))
    desire(edge.state, first)
    plant = Plant(edge, 8)
    edge.start()
    publishing = asyncio.create_task(plant.publish(150, pace_s=0.005))
    await edge.grows(topics.SCORES, 20)
    await asyncio.to_thread(private_kafka.kill)
    await asyncio.to_thread(private_kafka.start)
    await publishing
    await edge.all_judged(30)
    await plant.publish(5)
    await asyncio.to_thread(private_kafka.kill)
    assert await asyncio.to_thread(edge.terminate) == 0
    await asyncio.to_thread(private_kafka.start)
    edge.start()
    await edge.all_judged(30)
    assert edge.terminate() == 0

    await check_all(edge, loaded(edge, first))
