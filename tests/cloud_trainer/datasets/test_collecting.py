"""Records become columns and a digest, the same however they come; a changed record is another digest."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_trainer.datasets.building import from_recordings
from cloud_trainer.datasets.collecting import OTHER_CLASS, UNDECODABLE, Collected, collect, training_set
from cloud_trainer.datasets.columns import merged
from cloud_trainer.datasets.digest import PartitionDigest
from cloud_trainer.datasets.file import decode_file, describe, differences
from cloud_trainer.datasets.ranges import Offsets, Part
from cloud_trainer.datasets.sources import FolderSource
from cloud_trainer.recipe import Recipe
from headwater.contract import messages
from headwater.contract.acknowledgement import Acknowledgement
from headwater.contract.errors import BadInput, DataMissing
from headwater.contract.messages import Alarm
from headwater.contract.reading import encode
from headwater.transport.record_columns import RecordColumns, joined
from tests.cloud_trainer.datasets import recorded

Row = tuple[bytes | None, bytes | None, bytes | None]  # key, value, class


def records(rows: Sequence[Row], first: int = 0, times: Sequence[int] | None = None) -> RecordColumns:
    keys, values, marks = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    stamps = np.arange(len(rows), dtype=np.int64) if times is None else np.array(times, np.int64)
    return RecordColumns(np.arange(first, first + len(rows), dtype=np.int64), stamps, keys, values, marks)


class Given:
    """A source of records that a test holds, in pieces of a size."""

    site = ""

    def __init__(self, topics: dict[str, RecordColumns], piece: int = 1000) -> None:
        self._topics, self._piece = topics, piece
        self.offsets: Offsets = {name: {"0": (0, len(each.keys))} for name, each in topics.items()}

    async def read(self, part: Part) -> AsyncGenerator[RecordColumns]:
        every = self._topics[part.topic]
        for at in range(0, len(every.keys), self._piece):
            yield every.rows(at, at + self._piece)


def reading(asset: str, t: int, of_class: bytes = b"pump", **values: float | None) -> Row:
    return asset.encode(), encode(t, values), of_class


BLOB = st.one_of(st.none(), st.binary(max_size=6))
ROWS = st.lists(st.tuples(BLOB, BLOB, BLOB), max_size=12)


def digest_of(*pieces: RecordColumns) -> str:
    found = PartitionDigest()
    for piece in pieces:
        found.add(piece)
    return found.hexdigest()


@given(ROWS, st.integers(0, 12))
def test_a_digest_does_not_depend_on_the_pieces(rows: list[Row], at: int) -> None:
    """Read in one piece or in two, the same records have the same digest."""
    every = records(rows)
    assert digest_of(every) == digest_of(every.rows(0, at), every.rows(at, len(rows)))
    assert digest_of(joined([every.rows(0, at), every.rows(at, len(rows))])) == digest_of(every)


@given(ROWS, ROWS)
def test_other_records_have_another_digest(rows: list[Row], others: list[Row]) -> None:
    """Whatever differs, also where a byte belongs, and null from empty, shows."""
    assert (digest_of(records(rows)) == digest_of(records(others))) == (rows == others)


def test_offsets_and_times_are_in_the_digest() -> None:
    """The same payloads elsewhere in the log, or logged at another time, are another dataset."""
    row = [reading("pump-1", 1, flow=1.0)]
    assert len({digest_of(records(row)), digest_of(records(row, 1)), digest_of(records(row, 0, [9]))}) == 3


async def test_readings_become_columns_by_asset_in_log_order() -> None:
    """Whatever channels come and go, and in whichever pieces: rows keep their order, a missing value is NaN."""
    rows = [
        reading("pump-1", 10, flow=1.0, current=2.0),
        reading("pump-2", 11, flow=3.0),
        reading("pump-1", 12, current=4.0),
        reading("pump-1", 13, flow=None, current=5.0),
        reading("pump-1", 14, current=6.0, flow=7.0),
        reading("fan-1", 15, b"fan", flow=1.0),
        (b"pump-1", b"nonsense", b"pump"),
        (b"PUMP", b"{}", b"pump"),
        (None, None, None),
    ]
    for piece in (1, 2, 100):
        found = await collect(Given({"lyon.readings": records(rows)}, piece), "pump")
        assert found.channels == ("current", "flow")
        assert found.excluded == {OTHER_CLASS: 1, UNDECODABLE: 3}
        one = found.tables()["lyon/pump-1"]
        assert one.t.tolist() == [10, 12, 13, 14]
        assert one.offsets.tolist() == [0, 2, 3, 4]
        assert np.array_equal(one.values, [[2, 1], [4, np.nan], [5, np.nan], [6, 7]], equal_nan=True)
        assert list(found.tables()) == ["lyon/pump-1", "lyon/pump-2"]


async def test_a_piece_without_a_record_is_no_trouble() -> None:
    """What only held a mark of the writer leaves an empty piece: nothing is read of it, and nothing breaks."""
    source = Given({"lyon.readings": records([reading("pump-1", 1, flow=1.0)])})
    whole = source.read

    async def read(part: Part) -> AsyncGenerator[RecordColumns]:
        yield records([])
        async for piece in whole(part):
            yield piece

    source.read = read  # type: ignore[method-assign]  # a source that gives an empty piece first
    found = await collect(source, "pump")
    assert len(found.columns["lyon/pump-1"]) == 1
    assert not +found.excluded


def alarm(asset: str, episode: str, state: str, t: int) -> Row:
    one = Alarm("lyon", asset, "pump", episode, state, t, 9.0, 2.0, 9.0, 1, [], 0)  # type: ignore[arg-type]  # one of the literals
    return episode.encode(), messages.encode(one), None


async def test_a_backlog_is_read_as_readings_of_its_site() -> None:
    """What a link shipped beside the new records takes its place among them, readings and alarms, by log time."""
    live = [reading("pump-1", t, flow=float(t)) for t in (1, 2, 8, 9)]
    late = [reading("pump-1", t, flow=float(t)) for t in (3, 4, 5, 6, 7)]
    source = Given(
        {
            "lyon.readings": records(live, 0, [1, 2, 8, 9]),
            "lyon.readings.backlog": records(late, 0, [3, 4, 5, 6, 7]),
            "lyon.alarms": records([alarm("pump-1", "a", "closed", 5)], 0, [6]),
            "lyon.alarms.backlog": records([alarm("pump-1", "a", "opened", 4)], 0, [5]),
        }
    )
    found = await collect(source, "pump")
    one = found.tables()["lyon/pump-1"]
    assert one.t.tolist() == list(range(1, 10))
    assert one.beside.tolist() == [False] * 2 + [True] * 5 + [False] * 2
    learn = training_set(found, Recipe(lead=0, window=2))
    assert learn.series["lyon/pump-1"].t.tolist() == [1, 2, 3, 8, 9]
    assert learn.source.excluded == {"in-alarm": 4}


@pytest.mark.parametrize(("words", "kept"), [((True,), 9), ((True, False), 5), ((False,), 5), ((False, True), 9)])
async def test_an_alarm_that_was_called_false_is_learned_from(words: tuple[bool, ...], kept: int) -> None:
    """The last word in the log holds, whatever the clock of the box said; it is no reading, and no undecodable one."""
    rows = [reading("pump-1", t, flow=float(t)) for t in range(1, 10)]
    episode = "lyon-pump-1-4"
    said: list[Row] = [
        (b"pump-1", Acknowledgement(episode, is_false, 9 - at).encode(), None) for at, is_false in enumerate(words)
    ]
    said.append((b"pump-1", Acknowledgement("lyon-pump-2-4", is_false=True, at=99).encode(), None))
    alarms = [alarm("pump-1", episode, "opened", 4), alarm("pump-1", episode, "closed", 5)]
    source = Given({"lyon.readings": records([*rows, *said]), "lyon.alarms": records(alarms)})
    found = await collect(source, "pump")
    assert +found.excluded == {UNDECODABLE: 1}  # a word on the alarm of another asset
    learn = training_set(found, Recipe(lead=0, window=2))
    assert len(learn.series["lyon/pump-1"]) == kept


@pytest.mark.parametrize(("late", "kept"), [(5, 9), (15, 5)])
async def test_words_that_a_link_shipped_beside_take_their_place_in_the_log(late: int, kept: int) -> None:
    """By log time, as readings do: a true one comes before the false one, or behind it."""
    rows = [reading("pump-1", t, flow=float(t)) for t in range(1, 10)]
    episode = "lyon-pump-1-4"
    true, false = ((b"pump-1", Acknowledgement(episode, is_false, 0).encode(), None) for is_false in (False, True))
    source = Given(
        {
            "lyon.readings": records([*rows, false], 0, [*range(1, 10), 10]),
            "lyon.readings.backlog": records([true], 0, [late]),
            "lyon.alarms": records([alarm("pump-1", episode, "opened", 4), alarm("pump-1", episode, "closed", 5)]),
        }
    )
    learn = training_set(await collect(source, "pump"), Recipe(lead=0, window=2))
    assert len(learn.series["lyon/pump-1"]) == kept


@given(st.lists(st.integers(0, 50)), st.lists(st.integers(0, 50)))
def test_merging_never_reorders_one_of_the_two(fresh: list[int], backlog: list[int]) -> None:
    """Clocks may go back; each topic stays in its own order, and every record is there once."""
    order = merged(np.array(fresh, np.int64), np.array(backlog, np.int64)).tolist()
    assert sorted(order) == list(range(len(fresh) + len(backlog)))
    assert [each for each in order if each < len(fresh)] == list(range(len(fresh)))
    assert [each for each in order if each >= len(fresh)] == list(range(len(fresh), len(order)))


def test_a_folder_gives_the_same_file_twice(tmp_path: Path) -> None:
    """Byte for byte, and it reads back; a changed value is named by its file, a shorter file by its rows."""
    path = recorded.folder(tmp_path)
    once = describe(from_recordings(path, "rig", "lyon", 150))
    assert describe(from_recordings(path, "rig", "lyon", 150)).encode() == once.encode()
    assert decode_file(once.encode(), "x") == once
    assert once.offsets == {f"rig-{n}.csv": {"0": (0, 150)} for n in (1, 2, 3)}
    lines = recorded.rows(200, 2)
    lines[17][1] = "10.0001"
    recorded.write(path / "rig-2.csv", lines)
    said = list(differences(once, describe(from_recordings(path, "rig", "lyon", 150))))
    assert said[0].startswith("rig-2.csv[0], offsets 0 to 149: 150 records with digest ")
    assert said[1] == "the readings have other times or values than those of the dataset"
    recorded.write(path / "rig-2.csv", lines[:100])
    with pytest.raises(DataMissing, match=r"rig-2.csv: rows 100 to 149 are gone"):
        FolderSource.of_offsets(path, "rig", "lyon", once.offsets)


async def test_log_and_recordings_give_the_same_readings(tmp_path: Path) -> None:
    """Recordings that were played into the log are learned from as they are from the folder."""
    path = recorded.folder(tmp_path, files=2)
    source = FolderSource(path, "rig", "lyon")
    pieces = [piece for n in (1, 2) async for piece in source.read(Part(f"rig-{n}.csv", 0, 0, 200))]
    played = await collect(Given({"lyon.readings": joined(pieces)}, 70), "rig")
    from_files: Collected = await collect(source, "rig")
    assert describe(played).columns_sha256 == describe(from_files).columns_sha256
    assert played.sha256 != from_files.sha256
    ours, theirs = training_set(played, Recipe()), training_set(from_files, Recipe())
    for key, one in ours.series.items():
        assert np.array_equal(one.values, theirs.series[key].values)
        assert np.array_equal(one.t, theirs.series[key].t)


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    """A dataset file whose ranges do not fit its digest, and what is no dataset file, are refused by their name."""
    once = describe(from_recordings(recorded.folder(tmp_path), "rig", "lyon"))
    altered = once.encode().replace(b'"0":[0,200', b'"0":[0,199', 1)
    with pytest.raises(
        BadInput, match=r"pump.json: the digest of the dataset is not that of its class, site and ranges"
    ):
        decode_file(altered, "pump.json")
    with pytest.raises(BadInput, match=r"pump.json is no dataset"):
        decode_file(b"[]", "pump.json")
