"""From an alarm to the score that raised it, the very readings behind it, and the same number once more.

1. The alarm names its cause, its model and its version in headers; the score with the same cause stands in the same
   partition of `scores` and names the first offset of its window.
2. The readings are those of the asset whose sensor times are the score's, in the same partition of `readings`. At the
   edge their offsets are the ones that the score names. In the cloud they are looked for (places.py).
3. The window is cut from them by the code of the edge, its vector is scored by the very bytes of the model, and what
   comes out is compared with the score as the 32 bits that it was.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np

from cloud_trainer.tracing import places
from cloud_trainer.tracing.lives import gone, live_again
from cloud_trainer.tracing.models import Model
from cloud_trainer.tracing.places import Place, place_of
from headwater.contract import headers, messages, topics
from headwater.contract.arrival import Arrival
from headwater.contract.errors import BadInput, DataMissing
from headwater.contract.features import FeatureSpec, Window, Windower
from headwater.contract.following import Following
from headwater.contract.manifest import Manifest
from headwater.contract.messages import Alarm, Score
from headwater.transport import tflite
from headwater.transport.kafka_batch import Cluster, Record

SAME, OTHER, NEAR = "same bits", "another number", "same within the tolerance of its golden vectors"
_BACKLOG = f".{topics.BACKLOG}"
_RUN_UP = 8  # times as many readings as a gap may be held, read before a window to know what was held at its begin


class Cause(NamedTuple):
    """A score, what it names, and the alarm that it raised if that is where one came from."""

    site: str
    alarm: Alarm | None
    alarm_at: Place | None
    score: Score
    score_at: Place
    source_first: int  # offsets of `readings` at the edge
    source_last: int
    sha256: str  # of the model
    features: str  # digest of the feature specification
    runtime: str  # that scored it

    @property
    def readings(self) -> str:
        """The topic of its readings in the cluster that it was found in."""
        return _beside(self.score_at.topic, topics.READINGS)

    @property
    def is_edge(self) -> bool:
        """Whether it was found at the edge, where offsets are the ones that were named."""
        return "." not in self.score_at.topic


@dataclass(frozen=True)
class Again:
    """The window found again, and the score that the model gives it here."""

    readings: str
    partition: int
    offsets: list[int]  # of the window's readings in this cluster
    window: Window
    score: float
    runtime: str
    verdict: str
    beside: tuple[str, list[int]] | None = None  # of the same window, in the topic that a link shipped beside it


async def found_at(cluster: Cluster, names: list[str], asked: str) -> tuple[Place, Record]:
    """An alarm or a score: `asked` is its `topic:partition:offset`, or the id of an episode.

    BadInput for what is none of these; DataMissing where it is not in the log (any more).
    """
    place = place_of(asked)
    if place is None:
        return await _episode(cluster, names, asked)
    if _kind(place.topic) not in {topics.SCORES, topics.ALARMS}:
        raise BadInput(f"{place} is neither an alarm nor a score", hint="lyon.alarms:0:17, lyon.scores:0:211")
    return place, await places.at(cluster, place)


async def cause_of(cluster: Cluster, names: list[str], place: Place, record: Record, site: str = "") -> Cause:
    """The score behind the alarm or score at a place; DataMissing where it is not in the log (any more)."""
    if _kind(place.topic) == topics.SCORES:
        return _cause(_site(place.topic, site), None, None, place, record)
    alarm = messages.decode(record.value, Alarm)
    source = headers.find_number(record.headers, headers.SOURCE_OFFSET)
    scores = _beside(place.topic, topics.SCORES)
    for topic in (scores, *([f"{scores}{_BACKLOG}"] if f"{scores}{_BACKLOG}" in names else [])):
        found = None if source is None else await places.by_source(cluster, topic, place.partition, source)
        if found is not None:
            return _cause(alarm.site, alarm, place, Place(topic, place.partition, found.offset), found)
    raise DataMissing(
        f"{scores}[{place.partition}] lacks the score that raised {alarm.episode} ({headers.SOURCE_OFFSET} {source})",
        hint="scores are kept for a shorter time than alarms: edge.retention_days, and retention.ms in the cloud",
    )


async def _episode(cluster: Cluster, names: list[str], episode: str) -> tuple[Place, Record]:
    for topic in sorted(n for n in names if _kind(n) == topics.ALARMS):
        if "." in topic and not episode.startswith(f"{topics.origin(topic)[0]}-"):
            continue
        for partition in range(await cluster.partitions(topic)):
            first, end = await places.bounds(cluster, topic, partition)
            async for record in places.records(cluster, topic, partition, first, end):
                try:
                    alarm = messages.decode(record.value, Alarm)
                except BadInput:
                    continue  # written by somebody else
                if alarm.episode == episode and alarm.state == "opened":
                    return Place(topic, partition, record.offset), record
    raise BadInput(
        f"no alarm of this cluster opened an episode {episode!r}",
        hint="name the episode as the alarm does (<site>-<asset>-<offset>), or its place: lyon.alarms:0:17",
    )


def _cause(site: str, alarm: Alarm | None, alarm_at: Place | None, score_at: Place, record: Record) -> Cause:
    score = messages.decode(record.value, Score)
    first = headers.find_number(record.headers, headers.FIRST_OFFSET)
    last = headers.find_number(record.headers, headers.SOURCE_OFFSET)
    digest = headers.find_text(record.headers, headers.MODEL)
    if first is None or last is None or digest is None:
        raise BadInput(f"the score at {score_at} lacks the headers that name its window and model")
    features = headers.find_text(record.headers, headers.FEATURES) or ""
    runtime = headers.find_text(record.headers, headers.RUNTIME) or ""
    return Cause(site, alarm, alarm_at, score, score_at, first, last, digest, features, runtime)


async def again(cluster: Cluster, names: Collection[str], cause: Cause, model: Model) -> Again:
    """Read the readings of a score again and score them; DataMissing where they are gone.

    They are looked for in the topic of readings, then in that of what a link shipped beside it, if there is one.

    BadInput where the model is not the one that the score names.
    """
    manifest = model.manifest
    if (manifest.sha256, manifest.features_digest) != (cause.sha256, cause.features or manifest.features_digest):
        raise BadInput(
            f"the score at {cause.score_at} is by the model {cause.sha256}, {model.where} has {manifest.sha256}",
            hint="or its manifest has other features; name the folder of that very model with --model",
        )
    runner, found, kept = tflite.Model(model.data), list[Again](), -1
    async for topic, last in _candidates(cluster, names, cause):
        window, offsets, beside = await _window(cluster, names, topic, cause, manifest.features, last)
        kept = max(kept, len(offsets))
        if window is None or window.t_first != cause.score.t_first:
            continue
        key = f"{cause.site}/{cause.score.asset}"
        number = score_again(runner, manifest, key, window, cause.score)
        verdict = _verdict(cause.score.score, number, manifest.golden.tolerance)
        part = cause.score_at.partition
        found.append(Again(topic, part, offsets, window, number, tflite.runtime_class(), verdict, beside))
        if verdict == SAME:
            return found[-1]
    if found:
        return found[0]
    raise await _missing(cluster, cause, kept)


async def _missing(cluster: Cluster, cause: Cause, kept: int) -> DataMissing:
    first, end = await places.bounds(cluster, cause.readings, cause.score_at.partition)
    there = f"{cause.readings}[{cause.score_at.partition}], which holds {first} to {end - 1}"
    offsets = f"at the edge they had the offsets {cause.source_first} to {cause.source_last}"
    if isinstance(cause.score.cycles, int):
        return gone(cause.score, max(kept, 0), there, offsets)
    return DataMissing(
        f"the readings of the window are not in {there} ({offsets})",
        hint="retention took them; a frozen dataset keeps what models are trained on, not what they judge",
    )


def score_again(runner: tflite.Model, manifest: Manifest, key: str, window: Window, told: Score) -> float:
    """Of the window; where the model follows its machines, from the baseline that the score names."""
    if manifest.episodes is msgspec.UNSET or told.baseline is msgspec.UNSET:
        return float(runner.score(np.array([manifest.features.vector(key, window.values)]))[0][0])
    following = Following(manifest.features, manifest.episodes, key).again(told.baseline)
    number = float(runner.score(np.array([following.input(window.values)]))[0][0])
    return float(following.push(window.values, number, manifest.threshold_of(key)).score[0])


async def _candidates(cluster: Cluster, names: Collection[str], cause: Cause) -> AsyncIterator[tuple[str, Arrival]]:
    """Readings that may be the last one of the window, with their topic."""
    asset, t_last = cause.score.asset, cause.score.t_last

    def is_it(one: Arrival) -> bool:
        at_edge = one.offset == cause.source_last or not cause.is_edge
        return at_edge and one.asset == asset and one.reading.t == t_last

    beside = f"{cause.readings}{_BACKLOG}"
    for topic in (cause.readings, *([beside] if beside in names else [])):
        async for one in places.search(cluster, topic, cause.score_at.partition, cause.source_last, is_it):
            yield topic, one


async def _window(
    cluster: Cluster, names: Collection[str], topic: str, cause: Cause, spec: FeatureSpec, last: Arrival
) -> tuple[Window | None, list[int], tuple[str, list[int]] | None]:
    """The window that ends with this reading, the offsets of its readings, and of those beside their topic.

    Where the topic alone has another window, or none, a link may have shipped the beginning of it elsewhere.
    """
    partition = cause.score_at.partition
    if spec.memory is not msgspec.UNSET:
        return *await live_again(cluster, names, spec.memory, cause.score, topic, partition, last), None
    enough = spec.window + _RUN_UP * (spec.hold + 1)
    came = await places.before(cluster, topic, partition, last.offset + 1, last.asset, enough)
    window, offsets = _cut_again(spec, [(one, topic) for one in came], last)
    if window is not None and window.t_first == cause.score.t_first:
        return window, [offset for offset, _ in offsets], None
    for other in (cause.readings, f"{cause.readings}{_BACKLOG}"):
        if other != topic and other in names:
            _, end = await places.bounds(cluster, other, partition)
            found = await places.last(cluster, other, partition, end, lambda one: _is_before(one, last), enough)
            both = sorted([*((one, other) for one in found), *((one, topic) for one in came)], key=_t)
            merged, offsets = _cut_again(spec, both, last)
            if merged is not None and merged.t_first == cause.score.t_first:
                mine, theirs = ([offset for offset, at in offsets if at == each] for each in (topic, other))
                return merged, mine, (other, theirs)
    return window, [offset for offset, _ in offsets], None


def _t(one: tuple[Arrival, str]) -> int:
    return one[0].reading.t


def _is_before(one: Arrival, last: Arrival) -> bool:
    return one.asset == last.asset and one.reading.t < last.reading.t


def _cut_again(
    spec: FeatureSpec, came: list[tuple[Arrival, str]], last: Arrival
) -> tuple[Window | None, list[tuple[int, str]]]:
    """The window that the last of these readings completes, and where its readings stand."""
    mine = _of_one_class([one for one, _ in came], last.asset_class)
    window = cut_last(spec, mine) or cut_last(spec, mine[-spec.window :])
    return window, [] if window is None else [(one.offset, topic) for one, topic in came[-spec.window :]]


def cut_last(spec: FeatureSpec, came: list[Arrival]) -> Window | None:
    """The window that the last of these readings would complete, if it were due."""
    windower, window = Windower(msgspec.structs.replace(spec, step=1)), None
    for one in came:
        window = windower.push(one.offset, one.reading)
    return window


def _of_one_class(came: list[Arrival], asset_class: str) -> list[Arrival]:
    """The last readings in a row of this class: an asset that changes its class starts anew."""
    for i in range(len(came) - 1, -1, -1):
        if came[i].asset_class != asset_class:
            return came[i + 1 :]
    return came


def _verdict(then: float | None, now: float, tolerance: float) -> str:
    if then is None:
        return SAME if not np.isfinite(now) else OTHER
    if np.float32(then).tobytes() == np.float32(now).tobytes():
        return SAME
    return NEAR if abs(now - then) <= tolerance * max(abs(then), 1e-6) else OTHER


def _beside(topic: str, other: str) -> str:
    site, dot, _ = _plain(topic).rpartition(".")
    return f"{site}{dot}{other}"


def _kind(topic: str) -> str:
    return _plain(topic).rpartition(".")[2]


def _plain(topic: str) -> str:
    """Without the mark of what a link shipped beside a topic."""
    return topic.removesuffix(_BACKLOG)


def _site(topic: str, given: str) -> str:
    site = topics.origin(topic)[0] if "." in topic else given
    if not site:
        raise BadInput("a score at the edge does not say its site", hint="add --site, or name the alarm")
    return site
