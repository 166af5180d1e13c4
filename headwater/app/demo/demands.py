"""What the publisher's own truth demands, counted without a line of the code that it judges.

Every reading that the demo publishes is good by construction: none is broken on purpose. So none may become a dead
letter, none may be left out of training but for an alarm, every machine must be scored, and all of them must have been
published.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from cloud_trainer.datasets.collecting import IN_ALARM
from headwater.app.demo.count import Log
from headwater.app.demo.evidence import Asset, Learned
from headwater.app.demo.promises import zero
from headwater.app.plant.publisher import Machine
from headwater.contract import topics
from headwater.contract.figures import Figure

ENOUGH = 100  # readings of a machine after the first rollout: five windows of 20, whatever the step
Published = Mapping[Machine, tuple[int, str]]  # readings, and the SHA-256 of their payloads in order


def unpublished(planned: Mapping[Machine, int], published: Published) -> int:
    """Readings that the plan has and nobody published."""
    return sum(max(0, count - published.get(machine, (0, ""))[0]) for machine, count in planned.items())


def left_out(learned: Learned) -> int:
    """Readings in the range of a training that it left out, told or not, for anything but an alarm.

    The range is the one of the manifest. Its topics have no other records than data, so offsets count readings.
    """
    ranges = [
        bounds
        for topic, partitions in learned.offsets.items()
        if topics.local(topic)[1] == topics.READINGS
        for bounds in partitions.values()
    ]
    there = sum(end - start for start, end in ranges)
    return max(0, there - learned.records - learned.excluded.get(IN_ALARM, 0))


def refused(dead_letters: Iterable[Log], learned: Iterable[Learned]) -> Figure:
    """Dead letters of all sites, none of which is right, and what the training that left out most left out."""
    dead = sum(len(records) for log in dead_letters for records in log.partitions.values())
    out = max(map(left_out, learned), default=0)
    note = f"{dead:,} dead letters, {out:,} left out of training" if dead or out else ""
    return zero("demo.readings_refused", dead + out, note)


def never_scored(published: Published, at_rollout: Mapping[Machine, int], scored: Collection[Asset]) -> list[Machine]:
    """Machines without a score that published `ENOUGH` readings after the first model was active everywhere.

    Without a rollout (`at_rollout` is empty) that is every machine that published as many.
    """
    after: Iterable[tuple[Machine, int]] = ((m, count - at_rollout.get(m, 0)) for m, (count, _) in published.items())
    return [m for m, count in after if count >= ENOUGH and (m.site, m.asset) not in scored]
