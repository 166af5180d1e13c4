"""Damage on disk is named, position by position; what is read was appended, byte for byte."""

from __future__ import annotations

import random

import pytest
from structlog.testing import capture_logs

from headwater.contract.errors import HeadwaterError, Permanent
from headwater.transport.spool import Gap, Missing, Record, Spool
from headwater.transport.spool.segments import HEADER
from tests.transport.spool.power import dropped, everything, opened


async def _written(commits: int, segment_bytes: int = 1 << 16) -> tuple[dict[str, bytes], list[Record], list[int]]:
    """Files of a spool with ten records a commit; the records; where each commit's frame begins in its segment."""
    spool, memory = opened({}, most_bytes=1 << 20, segment_bytes=segment_bytes)
    rows: list[Record] = []
    places = []
    for commit in range(commits):
        batch = [(f"{commit}.{n}".encode() * 3, bytes([n]) * n) for n in range(10)]
        rows += [(position, *row) for position, row in enumerate(batch, spool.append(batch))]
        await spool.commit()
        places.append(spool._segments[-1].used)
    await dropped(spool)
    return memory.now(), rows, [HEADER.size, *places[:-1]]


def _read(files: dict[str, bytes]) -> tuple[list[Record], list[Gap], Spool]:
    spool, _ = opened(files)
    rows = list(everything(spool))
    gaps = [row.gap for row in rows if isinstance(row, Missing)]
    return [row for row in rows if not isinstance(row, Missing)], gaps, spool


@pytest.mark.parametrize("byte", [0, 5, 10, 20, 30, 47, 48, 60, 200])
@pytest.mark.parametrize("older", [True, False])
async def test_damage_in_the_middle_is_a_gap(byte: int, older: bool) -> None:
    """A flipped byte costs the ten records of its frame, which are named, in the last segment or an older one."""
    files, rows, places = await _written(5)
    (name,) = files
    damaged = bytearray(files[name])
    damaged[places[2] + byte] ^= 0x10
    files = {name: bytes(damaged)}
    if older:
        spool, memory = opened(files)
        spool.append([b"later"])
        await spool.commit()
        await dropped(spool)
        files = memory.now()
        assert len(files) == 2
        rows.append((50, b"later"))
    found, gaps, spool = _read(files)
    assert gaps == [Gap(20, 30)]
    assert found == rows[:20] + rows[30:]
    assert spool.read(30, 1 << 20) == rows[30:]
    with pytest.raises(Missing, match="20 to 29"):
        spool.read(20, 1 << 20)
    with pytest.raises(Missing, match="25 to 29"):
        spool.read(25, 1 << 20)


async def test_end_of_an_older_segment_is_a_gap() -> None:
    """An older segment that lost its end is missing up to the base of the next one; one that is gone, wholly."""
    files, rows, _ = await _written(12, segment_bytes=800)
    names = sorted(files)
    assert len(names) == 4
    first, second = (int(name.split(".")[1]) for name in names[1:3])
    short = {**files, names[1]: files[names[1]][:100]}
    found, gaps, _ = _read(short)
    assert gaps == [Gap(first, second)]
    assert found == rows[:first] + rows[second:]
    found, gaps, _ = _read({name: files[name] for name in names if name != names[1]})
    assert gaps == [Gap(first, second)]
    assert found == rows[:first] + rows[second:]


async def test_what_a_newer_segment_begins_with_is_void_in_the_older() -> None:
    """Frames that a failed sync left in a segment are not read from the base of the next segment on."""
    spool, memory = opened({})
    spool.append([b"a"])
    await spool.commit()
    before = memory.now()
    spool.append([b"void"])
    spool.append([b"void"])
    await spool.commit()
    await dropped(spool)
    again, other = opened({name: data[: spool._segments[-1].size] for name, data in before.items()})
    again.append([b"b"])
    await again.commit()
    again.append([b"c"])
    await again.commit()
    await dropped(again)
    both = {**other.now(), **memory.now()}
    rows, gaps, _ = _read(both)
    assert (rows, gaps) == ([(0, b"a"), (1, b"b"), (2, b"c")], [])
    (older,) = memory.entries
    damaged = bytearray(both[older])
    for place in (HEADER.size, HEADER.size + 51):  # of `a` and of the first void one
        damaged[place + 8] ^= 1
    rows, gaps, _ = _read({**both, older: bytes(damaged)})
    assert (rows, gaps) == ([(1, b"b"), (2, b"c")], [Gap(0, 1)])


async def test_closed_spool_names_damage_of_the_last_commit() -> None:
    """After a clean close even the last commit is vouched for: damage to it is a gap, and no position is used again."""
    spool, memory = opened({})
    spool.append([b"a", b"b"])
    await spool.commit()
    place = spool._segments[-1].used
    spool.append([b"c", b"d"])
    await spool.close()
    (name,) = memory.entries
    damaged = bytearray(memory.now()[name])
    damaged[place + 50] ^= 1
    found, gaps, spool = _read({name: bytes(damaged)})
    assert (found, gaps) == ([(0, b"a"), (1, b"b")], [Gap(2, 4)])
    assert spool.end == 4


@pytest.mark.parametrize("how", ["cut", "zeroed", "overwritten"])
async def test_a_lost_end_is_cut_off_with_a_warning(how: str) -> None:
    """Synced bytes that are lost up to the very end look like a torn write: said with the position, and no gap."""
    files, rows, places = await _written(20)
    ((name, data),) = files.items()
    place = places[9] + 60  # in the frame of the tenth commit
    lost = len(data) - place
    data = data[:place] + {"cut": b"", "zeroed": bytes(lost), "overwritten": b"\xa5" * lost}[how]

    with capture_logs() as logs:
        found, gaps, spool = _read({name: data})

    assert (found, gaps, spool.end) == (rows[:90], [], 90)
    (told,) = logs
    assert (told["position"], told["log_level"]) == (90, "warning")
    assert "check the disk" in told["hint"]


async def test_frames_in_payloads_are_payload() -> None:
    """A payload that is a segment of this or another spool adds no record, even where its own frame is damaged."""
    files, rows, places = await _written(3)
    (name,) = files
    spool, memory = opened({})
    inner = files[name].rstrip(b"\0")
    spool.append([inner])
    await spool.commit()
    begin = HEADER.size + 48
    spool.append([memory.now()[spool._segments[-1].name][begin : begin + 3000]])
    spool.append([b"last"])
    await spool.commit()
    spool.append([b"vouches"])
    await spool.commit()
    await dropped(spool)
    (mine,) = memory.entries
    damaged = bytearray(memory.now()[mine])
    damaged[HEADER.size + 8] ^= 1
    found, gaps, _ = _read({mine: bytes(damaged)})
    assert gaps == [Gap(0, 1)]
    assert [row[0] for row in found] == [1, 2, 3]
    assert rows
    assert places


def test_foreign_files() -> None:
    """Unfinished segments go, other files stay, two spools in one folder and a newer version are refused."""
    ours = "0" * 24 + ".0000000000000000000.00000001.spool"
    spool, memory = opened({f"{ours}.new": b"", "notes.txt": b"", ours.replace("001.", "1."): b"", "x.new": b""})
    assert sorted(memory.entries)[-2:] == ["notes.txt", "x.new"]
    assert f"{ours}.new" not in memory.entries
    spool, memory = opened({ours: b"", ours.replace("01.", "02."): b""})
    assert list(memory.entries) == [ours.replace("01.", "02.")]
    assert (spool.oldest, spool.end, spool.id) == (0, 0, "0" * 24)
    with pytest.raises(Permanent, match="several spools"):
        opened({ours: b"", "1" + ours[1:]: b""})


def _mutated(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        place, size = rng.randrange(len(out) + 1), rng.choice((1, 1, 4, 48, 300))
        kind = rng.randrange(7)
        if kind == 0:
            out[place : place + size] = rng.randbytes(len(out[place : place + size]))
        elif kind == 1:
            del out[place:]
        elif kind == 2:
            del out[place : place + size]
        elif kind == 3:
            out[place:place] = rng.randbytes(size)
        elif kind == 4:
            other = rng.randrange(len(out) + 1)
            out[place:place] = out[other : other + size]
        elif kind == 5:
            out[place : place + size] = bytes(len(out[place : place + size]))
        elif out:
            out[place % len(out)] ^= 1 << rng.randrange(8)
    return bytes(out)


async def test_ten_thousand_mutated_files() -> None:
    """Nothing but our errors is raised, nothing is returned that was not appended at that position, the rest is named.

    After the start it appends and reads as ever.
    """
    rng = random.Random(5)
    files, rows, _ = await _written(9, segment_bytes=1200)
    files = {name: data.rstrip(b"\0") for name, data in files.items()}
    names = sorted(files)
    refused = whole = 0
    with capture_logs():
        for trial in range(10_000):
            image = dict(files)
            name = rng.choice(names)
            image[name] = _mutated(rng, image[name])
            if rng.random() < 0.05:
                image[rng.choice(names)] = image.pop(rng.choice(names))
            try:
                spool, _ = opened(image)
            except HeadwaterError:
                refused += 1
                continue
            seen = list(everything(spool, most_bytes=rng.choice((50, 1 << 20))))
            records = [row for row in seen if not isinstance(row, Missing)]
            assert all(row == rows[row[0]] for row in records)
            named = sum(row.gap.end - row.gap.start for row in seen if isinstance(row, Missing))
            assert len(records) + named == spool.end - spool.oldest
            whole += len(records) == len(rows)
            if trial % 50 == 0:
                first = spool.append([b"new"])
                assert await spool.commit() == first + 1
                assert spool.read(first, 100) == [(first, b"new")]
                await dropped(spool)
    assert refused < 100
    assert whole < 2000
