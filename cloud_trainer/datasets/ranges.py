"""Which offsets of which topics: what is named, or what the sites have sent by now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from headwater.contract import topics
from headwater.contract.errors import BadInput, Refused
from headwater.contract.names import check_site
from headwater.transport.kafka_batch import Cluster

Offsets = dict[str, dict[str, tuple[int, int]]]  # by topic and partition: [start, end)


class Part(NamedTuple):
    """One range of one partition."""

    topic: str
    partition: int
    start: int
    end: int


def parts(offsets: Offsets) -> Iterator[Part]:
    """All ranges, in the order in which they are read and hashed: by topic, then by number of the partition."""
    for topic in sorted(offsets):
        for partition, (start, end) in sorted(offsets[topic].items(), key=lambda item: int(item[0])):
            yield Part(topic, int(partition), start, end)


async def resolve(cluster: Cluster, names: Iterable[str], most_records: int) -> Offsets:
    """What the sites have sent by now: of each `<site>.readings` among `names` the newest records, and all its alarms.

    So too of `<site>.readings.backlog` and `<site>.alarms.backlog`, where a link shipped new records first. Every
    partition of readings gets the same share of `most_records`. BadInput when no site has sent anything.
    """
    known = set(names)
    found: Offsets = {}
    for name in sorted(known):
        if name.removesuffix(f".{topics.BACKLOG}").endswith(f".{topics.READINGS}"):
            found[name] = await _all_of(cluster, name)
    if not found:
        raise BadInput(
            "no site has sent readings to this cluster yet", hint="start a replicator: headwater replicate run"
        )
    share = most_records // sum(map(len, found.values()))
    limited = {
        name: {p: (max(start, end - share), end) for p, (start, end) in ranges.items()}
        for name, ranges in found.items()
    }
    for site in sorted({topics.origin(name)[0] for name in found}):
        # after the readings, so that no alarm about them is left out that has come by now
        for alarms in (topics.remote(site, topics.ALARMS), topics.backlog(site, topics.ALARMS)):
            if alarms in known:
                limited[alarms] = await _all_of(cluster, alarms)
    return dict(sorted(limited.items()))


async def _all_of(cluster: Cluster, topic: str) -> dict[str, tuple[int, int]]:
    first, last = await cluster.offsets(topic, "earliest"), await cluster.offsets(topic, "latest")
    return {str(partition): (first[partition], last[partition]) for partition in sorted(last)}


def check(offsets: Offsets, most_records: int) -> None:
    """BadInput unless these are ranges of readings and alarms; Refused when they are too many to hold."""
    check_form(offsets)
    readings = [of for topic, of in offsets.items() if topics.origin(topic)[1] == topics.READINGS]
    check_size(sum(end - start for of in readings for start, end in of.values()), most_records)


def check_form(offsets: Offsets, site: str = "") -> None:
    """BadInput unless these are ranges of readings and alarms, or with a `site` of its recordings."""
    if site:
        check_site(site)
    for topic, ranges in offsets.items():
        if not site and topics.origin(topic)[1] not in (topics.READINGS, topics.ALARMS):
            raise BadInput(f"{topic} holds neither readings nor alarms", hint="name <site>.readings and <site>.alarms")
        for partition, (start, end) in ranges.items():
            if not (partition.isascii() and partition.isdecimal()) or not 0 <= start <= end < 1 << 63:
                raise BadInput(f"{topic}[{partition}]: {start} to {end} is no range of a partition")


def check_size(total: int, most_records: int) -> None:
    """Refused when there are more readings than are held in memory."""
    if total > most_records:
        raise Refused(
            f"{total:,} readings are asked for, at most {most_records:,} are held in memory",
            hint="name a shorter range, or raise trainer.recipe.most_records",
        )


async def check_there(cluster: Cluster, offsets: Offsets) -> None:
    """BadInput unless the cluster has these topics and partitions: reading what is not there would wait for it."""
    for topic in sorted(offsets):
        count = await cluster.partitions(topic)
        for partition in offsets[topic]:
            if int(partition) >= count:
                raise BadInput(
                    f"there is no partition {topic}[{partition}], the topic has {count}", hint=f"name 0 to {count - 1}"
                )
