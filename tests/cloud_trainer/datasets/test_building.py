"""A dataset is an exact range: the same digest again, or an error that names what is gone; alarms are left out."""

from __future__ import annotations

import pytest

from cloud_trainer.datasets.building import build
from cloud_trainer.datasets.collecting import IN_ALARM, OTHER_CLASS, UNDECODABLE
from cloud_trainer.datasets.health import unhealthy
from cloud_trainer.datasets.ranges import Offsets, resolve
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import TrainingSet
from headwater.contract.errors import BadInput, DataMissing, Refused
from headwater.contract.messages import Alarm
from tests.cloud_trainer.cloud import Cloud
from tests.cloud_trainer.plant import healthy

RECIPE = Recipe()
ROWS = healthy(3, 300, pumps=2)
FIRST, SECOND = ROWS["lyon/pump-1"], ROWS["lyon/pump-2"]
MOST = RECIPE.most_records


async def everything(cloud: Cloud) -> Offsets:
    return await resolve(cloud.cluster, [cloud.readings, cloud.alarms, "training-runs"], MOST)


async def built(cloud: Cloud, offsets: Offsets | None = None) -> TrainingSet:
    return await build(cloud.cluster, "pump", offsets or await everything(cloud), RECIPE)


async def test_the_same_range_gives_the_same_set(cloud: Cloud) -> None:
    """Read twice, and again after more has come: same records, same digest; one record more is another digest."""
    await cloud.send("pump-1", FIRST)
    await cloud.send("pump-2", SECOND)
    offsets = await everything(cloud)
    assert offsets[cloud.readings] == {"0": (0, 300), "1": (0, 300)}
    once = await built(cloud, offsets)
    await cloud.send("pump-1", FIRST[:10])
    again = await built(cloud, offsets)
    assert once.source == again.source
    assert once.source.records == 600
    assert once.source.excluded == {}
    assert {key: len(series) for key, series in once.series.items()} == {
        f"{cloud.site}/pump-1": 300,
        f"{cloud.site}/pump-2": 300,
    }
    assert [t for t, _ in FIRST] == once.series[f"{cloud.site}/pump-1"].t.tolist()
    column = once.channels.index("flow")
    assert [v["flow"] for _, v in FIRST] == once.series[f"{cloud.site}/pump-1"].values[:, column].tolist()
    assert (await built(cloud)).source.sha256 != once.source.sha256


async def test_what_retention_took_is_an_error(cloud: Cloud) -> None:
    """A range whose beginning is gone, or whose end never came, is refused by name; nothing is trained on the rest."""
    await cloud.send("pump-2", SECOND)
    await cloud.forget(cloud.readings, 0, 120)
    with pytest.raises(DataMissing, match=rf"{cloud.readings}\[0\]: offsets 0 to 119 are gone"):
        await built(cloud, {cloud.readings: {"0": (0, 300)}})
    with pytest.raises(DataMissing, match="the log ends at 300"):
        await built(cloud, {cloud.readings: {"0": (120, 301)}})
    assert (await built(cloud)).source.records == 180


async def test_what_is_no_reading_is_counted(cloud: Cloud) -> None:
    """Bad payloads, records without asset or class, and machines of another class are left out, each with its count."""
    await cloud.send("pump-2", SECOND)
    await cloud.raw(b"pump-2", b"not json")
    await cloud.raw(b"PUMP", b'{"v":1,"t":1,"values":{"flow":1.0}}')
    await cloud.raw(b"pump-2", b'{"v":1,"t":1,"values":{"flow":1.0}}', ())
    await cloud.send("fan-4", SECOND[:7], of_class=b"fan")
    learn = await built(cloud)
    assert learn.source.excluded == {UNDECODABLE: 3, OTHER_CLASS: 7}
    assert learn.source.records == 300
    assert list(learn.series) == [f"{cloud.site}/pump-2"]


async def test_nothing_is_learned_from_an_episode(cloud: Cloud) -> None:
    """Readings from some time before an alarm until it closes are left out; windows do not reach across the hole."""
    await cloud.send("pump-1", FIRST)
    await cloud.send("pump-2", SECOND)
    opened, closed = SECOND[150][0], SECOND[180][0]
    await cloud.alarm("pump-2", "a", "opened", opened)
    await cloud.alarm("pump-2", "a", "closed", closed)
    learn = await built(cloud)
    left = set(learn.series[f"{cloud.site}/pump-2"].t.tolist())
    assert {t for t, _ in SECOND} - left == {t for t, _ in SECOND[150 - RECIPE.lead : 181 + RECIPE.window]}
    assert learn.source.excluded == {IN_ALARM: 31 + RECIPE.lead + RECIPE.window}
    stretches = learn.series[f"{cloud.site}/pump-2"].stretch
    assert stretches[0] != stretches[-1]
    assert len(learn.series[f"{cloud.site}/pump-1"]) == 300


async def test_open_ends_of_an_episode_count_as_unhealthy(cloud: Cloud) -> None:
    """An alarm that never closed lasts to the end; one that opened before the range, from its beginning."""
    await cloud.send("pump-1", FIRST)
    await cloud.send("pump-2", SECOND)
    await cloud.alarm("pump-1", "a", "closed", FIRST[99][0])
    await cloud.alarm("pump-2", "b", "opened", SECOND[200][0])
    learn = await built(cloud)
    assert learn.series[f"{cloud.site}/pump-1"].t[0] == FIRST[100 + RECIPE.window][0]
    assert learn.series[f"{cloud.site}/pump-2"].t[-1] == SECOND[199 - RECIPE.lead][0]


async def test_the_newest_are_taken_where_there_are_too_many(cloud: Cloud) -> None:
    """All there is means at most so many readings, the newest of each partition; naming more is refused."""
    await cloud.send("pump-1", FIRST)
    await cloud.send("pump-2", SECOND)
    offsets = await resolve(cloud.cluster, [cloud.readings], 100)
    assert offsets == {cloud.readings: {"0": (250, 300), "1": (250, 300)}}
    small = RECIPE.model_copy(update={"most_records": 99})
    with pytest.raises(Refused, match="100 readings are asked for"):
        await build(cloud.cluster, "pump", offsets, small)


@pytest.mark.parametrize(
    "offsets",
    [
        {"lyon.scores": {"0": (0, 1)}},
        {"readings": {"0": (0, 1)}},
        {"lyon.readings": {"x": (0, 1)}},
        {"lyon.readings": {"0": (5, 1)}},
        {"lyon.readings": {"0": (-1, 1)}},
    ],
)
async def test_ranges_without_sense_are_refused(cloud: Cloud, offsets: Offsets) -> None:
    """Other topics, partitions that are no numbers and ranges that run backwards are told, not read."""
    with pytest.raises(BadInput):
        await built(cloud, offsets)


async def test_no_site_at_all_is_told(cloud: Cloud) -> None:
    """A cluster into which nothing was replicated is said to be so."""
    with pytest.raises(BadInput, match="no site has sent"):
        await resolve(cloud.cluster, ["training-runs"], MOST)


def test_episodes_become_spans() -> None:
    """Two episodes that interleave keep their own ends."""

    def alarm(episode: str, state: str, t: int) -> Alarm:
        return Alarm("lyon", "pump-1", "pump", episode, state, t, 1.0, 1.0, 1.0, 1, [], 0)  # type: ignore[arg-type]  # one of the literals

    spans = unhealthy(
        [alarm("a", "opened", 10), alarm("b", "opened", 15), alarm("a", "closed", 20), alarm("b", "closed", 30)]
    )
    assert [(span.start, span.end) for span in spans] == [(10, 20), (15, 30)]
