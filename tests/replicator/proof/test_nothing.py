"""What is gone, and what is not proven, is said: nothing of it reads as if all were well."""

from __future__ import annotations

from headwater.contract.topics import remote
from replicator.operating.cli import _trim_text
from replicator.operating.trimming import trim
from replicator.position import RETENTION
from replicator.proof.cli import _checked_table, _code, _compared_table
from replicator.proof.finding import DROPPED
from replicator.proof.sides import check_side
from replicator.verify import verify_link
from tests.replicator.bed import Bed, until

NOTHING = "nothing is proven yet; entries are written every proof.interval_s (60 s) and at a stop"


async def test_what_is_not_proven_is_counted_on_both_sides(bed: Bed) -> None:
    """Before the first entry both sides have the same figure, and a sentence that says why; so has `trim`."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 20)
    await bed.ship_and_die()
    settings = bed.settings()
    for side in ("source", "target"):
        found = await check_side(settings, "source" if side == "source" else "target")
        assert [(each.entries, each.proven, each.unproven) for each in found] == [(0, 0, 20)] * 2
        assert {each.remark for each in found} == {NOTHING}
        assert _checked_table(found).splitlines()[-1] == f"of 2 of 2 partitions {NOTHING}"
    trimmed = await trim(settings, None, 0.0, really=False)
    assert {(each.records, each.why) for each in trimmed} == {(0, NOTHING)}
    assert _trim_text(trimmed, really=False).count(NOTHING) == 2


async def test_what_came_behind_the_last_entry_is_counted(bed: Bed) -> None:
    """What the source has behind its last entry is not proven; what is proven and young stays, and it is said why."""
    topic, settings = await bed.topic(partitions=1), bed.settings()
    await bed.fill(topic, 20)
    await bed.ship()
    await bed.fill(topic, 5)
    (one,) = await check_side(settings, "source")
    assert (one.proven, one.unproven, one.remark) == (20, 5, "")
    (kept,) = await trim(settings, None, 3600.0 * 24, really=False)
    assert (kept.records, kept.why) == (0, "younger than 24 h")
    (one,) = await trim(settings, None, 0.0, really=True)
    assert (one.records, one.deleted, one.why) == (20, True, "")
    (kept,) = await trim(settings, None, 0.0, really=False)
    assert (kept.records, kept.why) == (0, "all that is proven was deleted before")


async def test_a_target_that_is_gone_hides_no_other(bed: Bed) -> None:
    """Its records are missing, by their offsets; the others are compared, and the gaps that were named are printed."""
    gone, kept = await bed.topic("gone", partitions=1), await bed.topic("kept", partitions=1)
    state = await bed.topic("state", partitions=1, cleanup_policy="compact")
    for topic in (gone, kept, state):
        await bed.fill(topic, 20)
    await bed.ship()
    await bed.fill(kept, 20)
    await bed.trim(bed.source, kept, 0, 30)
    async with bed.link(bed.settings()):
        await until(lambda: bed.ends_at(kept, 0, 30), "what is left is shipped")
    for topic in (gone, state):
        await bed.delete(bed.target, remote(bed.site, topic))
    settings = bed.settings(gone, kept, state, "absent")
    found = {each.topic: each for each in await verify_link(settings)}
    assert (found[gone].missing, found[gone].waiting, found[gone].agrees) == (20, 0, False)
    assert (found[kept].compared, found[kept].agrees) == (10, True)
    assert (found[state].missing, found[state].waiting) == (20, 0)
    assert [(each.cause, each.first, each.end) for each in found[kept].gaps] == [(RETENTION, 20, 30)]
    assert "not compared" in found["absent"].remark
    text = _compared_table(list(found.values()))
    assert f"{gone}[0]: source offsets 0 to 19 are missing at target offset 0" in text
    assert f"named by gaps: {kept}[0] 20 to 29, retention" in text
    for side in ("target", "source"):
        checked = await check_side(settings, "target" if side == "target" else "source")
        lost = [each.topic for each in checked for finding in each.findings if finding.kind == DROPPED]
        assert lost == ([gone] if side == "target" else [])
        assert _code([each.kind for one in checked for each in one.findings]) == (8 if side == "target" else 0)
        assert f"named by gaps: {kept}[0] 20 to 29, retention" in _checked_table(checked)
