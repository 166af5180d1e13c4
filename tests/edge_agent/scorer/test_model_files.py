"""What the scorer process makes of model files that are missing, altered or no good, on a real Kafka cluster."""

from __future__ import annotations

import signal

import msgspec

from headwater.contract.canonical import canonical_json
from headwater.contract.manifest import MODEL_FILE
from tests.edge_agent.scorer.edge import PARTITIONS, Edge
from tests.edge_agent.scorer.models import desire, lenient, make, place
from tests.edge_agent.scorer.plant import ASSETS, Plant, loaded
from tests.edge_agent.scorer.recount import check_all


async def test_spoilt_models_are_refused_and_scoring_goes_on(edge: Edge) -> None:
    """NaN, other bytes, no bytes, raised thresholds: refused with a code each; the running one misses no window."""
    first = place(edge.state, *make(1))
    nan = place(edge.state, *make(2, spoilt=True))
    other = place(edge.state, *make(3))
    file = edge.state / "models/pump/3" / MODEL_FILE
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    missing = make(4)[1]
    data, altered = make(5)
    place(edge.state, data, lenient(altered))
    plant = Plant(edge, 4)
    desire(edge.state, first)
    await plant.publish(15)
    edge.start()
    await edge.in_charge(1)
    reasons = {}
    for generation, bad in enumerate((nan, other, missing, altered), start=2):
        desire(edge.state, bad, generation=generation)
        await plant.publish(5)
        told = await edge.status_when(lambda s, v=bad.version: any(r.version == v for r in s.refused))
        reasons[bad.version] = told.refused[-1].reason
        assert told.active["pump"].version == 1
    await plant.publish(15)
    await edge.all_judged()
    assert edge.terminate() == 0

    assert reasons == {2: "not-finite", 3: "bad-digest", 4: "not-on-disk", 5: "bad-digest"}
    assert set(await check_all(edge, loaded(edge, first))) == {1}


async def test_a_lost_model_holds_the_readings_until_it_is_back(edge: Edge) -> None:
    """Where the version in charge is gone from the disk nothing goes unscored: the readings wait for it."""
    data, first = make(1)
    place(edge.state, data, first)
    desire(edge.state, first)
    plant = Plant(edge, 7)
    await plant.publish(20)
    edge.start()
    await edge.all_judged()
    edge.kill()
    (edge.state / "models/pump/1" / MODEL_FILE).unlink()
    await plant.publish(20)
    edge.start()
    told = await edge.status_when(lambda status: bool(status.refused))
    assert told.refused[-1].reason == "not-on-disk"
    place(edge.state, data, first)
    await edge.all_judged()
    edge._process.send_signal(signal.SIGTERM) if edge._process else None
    assert edge.wait() == 0

    await check_all(edge, loaded(edge, first))


async def test_an_altered_manifest_is_not_run_by_the_next_life(edge: Edge) -> None:
    """A raised threshold in a valid manifest: refused though the checkpoint has the version in charge; nothing is lost.

    The version that desired.json asks for is another, which is refused as well: it cannot tell what is in charge.
    """
    data, first = make(1)
    place(edge.state, data, first)
    desire(edge.state, first)
    plant = Plant(edge, 9)
    await plant.publish(20)
    edge.start()
    await edge.all_judged()
    edge.kill()
    place(edge.state, data, lenient(first))
    desire(edge.state, make(2)[1], generation=2)
    await plant.publish(20)
    edge.start()
    told = await edge.status_when(lambda status: len(status.refused) == 2)
    assert {r.version: r.reason for r in told.refused} == {1: "bad-digest", 2: "not-on-disk"}
    assert told.active["pump"].version == 1
    assert told.counts["readings"] == 20 * len(ASSETS)
    place(edge.state, data, first)
    told = await edge.all_judged()
    assert edge.terminate() == 0

    assert set(await check_all(edge, loaded(edge, first))) == {1}


async def test_a_checkpoint_of_an_older_agent_leads_to_a_swap_to_the_same_version(edge: Edge) -> None:
    """Without the manifest's digest readings wait; once desired.json has it the version takes charge again."""
    first = place(edge.state, *make(1))
    desire(edge.state, first)
    plant = Plant(edge, 10)
    await plant.publish(20)
    edge.start()
    await edge.all_judged()
    edge.kill()
    for number in range(PARTITIONS):
        await edge.forget_manifests(number)
    whole = (edge.state / "desired.json").read_bytes()
    plain = msgspec.json.decode(whole)
    del plain["classes"]["pump"]["manifest_sha256"]
    (edge.state / "desired.json").write_bytes(canonical_json(plain))
    await plant.publish(20)
    edge.start()
    told = await edge.status_when(lambda status: bool(status.refused))
    assert [(r.reason, r.generation) for r in told.refused] == [("bad-digest", 0)]
    desire(edge.state, first)
    told = await edge.all_judged()
    assert told.refused == []
    assert edge.terminate() == 0

    assert [(swap.version, bool(swap.manifest_sha256)) for swap in await edge.swaps(0)] == [(1, True)] * 2
    await check_all(edge, loaded(edge, first))
