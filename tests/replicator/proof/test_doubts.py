"""What a link cannot prove: it says so, and nothing of it counts as safe to delete."""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Out, SetBack, encode, restamp
from replicator.operating.observer import Observer
from replicator.position import Position
from replicator.proof import prover
from replicator.proof.checking import SOURCE, TARGET, UNPROVEN, check_source
from replicator.proof.finding import DROPPED
from replicator.proof.heads import heads_in
from replicator.proof.settings import ProofSettings
from replicator.proof.sides import check_side
from replicator.running import run_link
from replicator.status import stored
from replicator.way import Way
from tests.replicator.bed import Bed, until
from tests.replicator.proof.test_manifest import entries_of


async def test_what_was_shipped_without_a_proof_stays_without(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Switched on again, the proof reads back a little, leaves the rest out, and a check names it; then it goes on."""
    monkeypatch.setattr(prover, "_MOST_READ_BACK", 60_000)
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 20)
    await bed.ship()
    await bed.fill(topic, 40, size=20_000, batch=2)
    await bed.ship(proof={"enabled": False})
    await bed.fill(topic, 20, size=20_000, batch=2)
    await bed.ship()
    (there,), (here,) = await check_side(bed.settings(), TARGET), await check_side(bed.settings(), SOURCE)
    assert [each.kind for each in there.findings] == [UNPROVEN]
    assert "offsets 24 to 59: no entry covers them" in there.findings[0].says
    assert (there.proven, here.proven) == (44, 44)


async def test_a_target_that_was_altered_before_it_was_proven_is_doubted(bed: Bed) -> None:
    """What is read back after a kill is compared with the source; nothing behind a difference counts as safe."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 20)
    await bed.ship()
    await bed.fill(topic, 40)
    await bed.ship_and_die()
    pid, ours = await bed.producer(), await bed.batches(bed.target, target, 0)
    await bed.delete(bed.target, target)
    await bed.make(bed.target, target, 1)
    for number, batch in enumerate(ours):
        outs = [Out(b"k", b"forged", (), batch.base_timestamp)] * batch.count
        forged = encode(outs, producer_id=pid, sequence=batch.base_sequence, epoch=0)
        sent = restamp(batch, producer_id=pid, epoch=0, sequence=batch.base_sequence)
        assert (await bed.target.produce([(target, 0, forged if number == 3 else sent)]))[0].error == 0
    await bed.fill(topic, 10)
    stop, observer = asyncio.Event(), Observer(bed.settings())
    task = asyncio.create_task(run_link(bed.settings(), stop, observer=observer))

    async def doubted() -> bool:
        return any(each.doubted for each in observer.snapshot().partitions)

    await until(doubted, "the partition is doubted")
    await until(partial(bed.holds, target, 70), "it is shipped all the same")
    (part,) = observer.snapshot().partitions
    stop.set()
    await task
    assert part.safe_to_delete == 20
    assert f"{target}[0] offset 30 is not what {topic} has at offset 30" in part.doubted
    heads = heads_in(await stored(bed.target, bed.site))
    assert heads[topic, 0].source_next == 30  # compared, as far as it is the same


async def test_records_that_an_entry_left_out_are_named(bed: Bed) -> None:
    """What the source has in the range of an entry behind all that was shipped of it was never shipped."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 40)
    await bed.ship()
    (entry,) = await entries_of(bed, topic)
    await bed.fill(topic, 12)
    longer = structs.replace(entry, source=(0, 47))
    found = await check_source(bed.source, bed.settings().way(topic, 0), [longer], 0)
    assert [(each.kind, each.records, each.found) for each in found.findings] == [(DROPPED, 7, (0, 47))]
    assert "7 records of offsets 0 to 46 were never shipped" in found.findings[0].says
    assert (await check_source(bed.source, bed.settings().way(topic, 0), [entry], 0)).agrees


class _SetBackJournal:
    def head(self, way: Way) -> bytes:
        raise SetBack(f"the log of {way} lacks what it had acknowledged")


async def test_a_positions_topic_that_was_set_back_ends_this_life(bed: Bed) -> None:
    """Its writer writes no more; waiting would never end, and the next life reads what there is."""
    engine: Any = SimpleNamespace(way=Way(bed.site, "t", 0), position=Position(0, 0, 5, 5, 5))
    journal: Any = _SetBackJournal()
    found = prover.Prover(ProofSettings(), bed.site, bed.source, bed.target, journal)
    found.open(engine)
    with pytest.raises(SetBack):
        await found.settle()
