"""`verify` over all eras of a partition: nothing may be missing where one ends and another one begins."""

from __future__ import annotations

from headwater.contract.topics import positions, remote
from headwater.transport.kafka_batch import Out, Record, encode, restamp
from replicator.fresh.parts import Span
from replicator.position import DOUBLED, RECREATED, RETENTION, Gap, Position, gap_key, position_key
from replicator.position import encode as stored_as
from replicator.proof.entry import SHIPPED, Entry
from replicator.proof.eras import Holes, holes, whole
from replicator.proof.sides import check_side
from replicator.verify import verify_link
from replicator.way import Way
from tests.replicator.bed import Bed, until


def entry(era: int, source: Span, target: Span) -> Entry:
    """An entry of a manifest."""
    return Entry(era, source, target, 1, 100, "", SHIPPED, "", 1)


def gap(era: int, cause: str, first: int, end: int, resumed_at: int) -> Gap:
    """A gap before an era."""
    return Gap("t", 0, cause, first, end, resumed_at, era, 1)


def test_what_lies_between_two_eras_is_a_hole_unless_a_gap_names_it() -> None:
    """Offsets of the target that are doubled, and of the source that are gone, are no hole; the rest of them is one."""
    before, behind = entry(0, (0, 30), (0, 30)), entry(1, (45, 60), (30, 45))
    assert holes([before, behind], [gap(1, RETENTION, 30, 45, 45)]) == ([], [])
    assert holes([before, behind], [gap(1, RETENTION, 40, 45, 45)]) == Holes([], [((30, 40), 30)])
    later = entry(1, (30, 45), (50, 65))
    assert holes([before, later], [gap(1, DOUBLED, 30, 40, 30)]) == ([(40, 50)], [])
    other = entry(1, (5, 60), (30, 85))
    assert holes([before, other], [gap(1, RECREATED, 0, 30, 5)]) == ([], [])


def test_all_eras_of_the_log_that_the_source_has_are_compared() -> None:
    """They begin behind the last gap that brought another log, or where the first entry does."""
    now = Position(2, 80, 100, 20, 90)
    known = [entry(0, (7, 30), (20, 43)), entry(1, (45, 60), (43, 58))]
    gaps = [gap(1, RETENTION, 30, 45, 45), gap(2, DOUBLED, 60, 70, 80)]
    kept = {gap_key(each): _record(stored_as(each)) for each in gaps}
    stream = whole(kept, known, Way("s", "t", 0), now)
    assert (stream.spans[0], stream.spans[1][0], stream.doubled) == ((7, 30), 45, [(60, 70)])
    assert stream.places == [(30, 43), (60, 58)]
    assert whole(kept, [], Way("s", "t", 0), now).spans[0][0] == 80
    anew = gap(1, RECREATED, 0, 30, 3)
    assert whole({gap_key(anew): _record(stored_as(anew))}, known, Way("s", "t", 0), now).spans[0][0] == 3


def _record(value: bytes) -> Record:
    return Record(0, 0, b"", value)


async def test_a_hole_between_two_eras_is_named(bed: Bed) -> None:
    """Records that a new era leaves out, and no gap names, are missing by their offsets; so they are at the source."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 30)
    await bed.ship()
    await bed.fill(topic, 430)
    await _begin_era(bed, topic, Position(1, 430, 430, 0, 30))
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(remote(bed.site, topic), 60), "the new era is shipped")
    (found,) = await verify_link(bed.settings())
    assert [each.sentence() for each in found.ranges] == ["source offsets 30 to 429 are missing at target offset 30"]
    assert (found.compared, found.missing, found.altered, found.skipped) == (60, 400, 0, 0)
    (here,) = await check_side(bed.settings(), "source")
    (named,) = here.findings
    assert (here.proven, named.kind, named.records, named.found) == (60, "dropped", 400, (30, 430))


async def _begin_era(bed: Bed, topic: str, position: Position, *gaps: Gap) -> None:
    """Store a position, as a link does that is wrong unless a gap says why."""
    said = [Out(gap_key(each), stored_as(each), (), 1) for each in gaps]
    said.append(Out(position_key(topic, 0), stored_as(position), (), 1))
    (answer,) = await bed.target.produce([(positions(bed.site).name, 0, encode(said))])
    assert answer.error == 0


async def test_what_a_gap_names_is_not_missed_and_not_too_much(bed: Bed) -> None:
    """Records that retention took, and doubled ones at the target, are skipped on either side; the rest is compared."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 30)
    await bed.ship()
    repeated = restamp((await bed.batches(bed.source, topic, 0))[1], producer_id=-1, epoch=-1, sequence=-1)
    assert (await bed.target.produce([(target, 0, repeated)]))[0].error == 0
    gaps = [Gap(topic, 0, DOUBLED, 30, 40, 30, 1, 1), Gap(topic, 0, RETENTION, 30, 35, 35, 2, 1)]
    await _begin_era(bed, topic, Position(2, 35, 35, 0, 40), *gaps)
    await bed.fill(topic, 20)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(target, 55), "the newest era is shipped")
    for trimmed, compared, skipped in ((0, 45, 10), (5, 40, 10), (33, 15, 7), (42, 13, 0)):
        await bed.trim(bed.target, target, 0, trimmed)
        (found,) = await verify_link(bed.settings())
        assert (found.compared, found.skipped, found.agrees, found.waiting) == (compared, skipped, True, 0)
        (there,) = await check_side(bed.settings(), "target")
        assert there.findings == []


async def test_what_was_altered_in_a_former_era_is_named(bed: Bed) -> None:
    """Without options each range that differs is named in all eras, behind what the source has deleted."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 40)
    await bed.ship()
    await _begin_era(bed, topic, Position(1, 40, 40, 0, 40))
    await bed.fill(topic, 20)
    await bed.ship()
    await bed.trim(bed.source, topic, 0, 4)
    (found,) = await verify_link(bed.settings())
    assert (found.compared, found.skipped, found.agrees) == (56, 4, True)
    data = await bed.data(bed.target, target, 0)
    ours = [Out(each.key, each.value, each.headers, each.timestamp_ms) for each in data]
    await bed.delete(bed.target, target)
    await bed.make(bed.target, target, 1)
    spoilt = [*ours[:10], ours[10]._replace(value=b"other"), *ours[11:20], *ours[23:45], *ours[43:]]
    assert (await bed.target.produce([(target, 0, encode(spoilt))]))[0].error == 0
    (found,) = await verify_link(bed.settings())
    assert [each.sentence() for each in found.ranges] == [
        "source offsets 10 to 10 are altered at target offsets 10 to 10",
        "source offsets 20 to 22 are missing at target offset 20",
        "target offsets 42 to 43 are doubled",
    ]
