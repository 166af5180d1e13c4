"""The log against a list: what was appended is read, in order, until it is trimmed; bounds, sharing of syncs, age."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.contract.errors import BadInput, Conflict, Permanent
from headwater.transport.spool import Full, Gap, Missing, Record, Spool
from headwater.transport.spool.frames import Row
from tests.transport.spool.power import Call, Memory, dropped, everything, opened

PART = st.one_of(st.binary(max_size=20), st.sampled_from([b"p" * 300, b"q" * 70_000]))
RECORD = st.one_of(PART, st.lists(PART, max_size=4), st.tuples(PART, PART))
STEP = st.one_of(
    st.tuples(st.just("append"), st.lists(RECORD, max_size=6)),
    st.tuples(st.just("commit"), st.none()),
    st.tuples(st.just("read"), st.tuples(st.floats(0, 1), st.integers(0, 2000))),
    st.tuples(st.just("trim"), st.floats(0, 1)),
    st.tuples(st.just("drop"), st.integers(0, 3000)),
    st.tuples(st.just("close"), st.none()),
    st.tuples(st.just("kill"), st.none()),
)


def _record(position: int, row: Row) -> Record:
    return (position, row) if isinstance(row, bytes) else (position, *row)


async def _against_a_list(steps: list[tuple[str, object]]) -> None:
    options = {"most_bytes": 200_000, "segment_bytes": 1500}
    spool, memory = opened({}, **options)
    identity, rows, durable = spool.id, [], 0
    for what, value in steps:
        if what == "append":
            try:
                assert spool.append(value) == len(rows)
                rows += [_record(len(rows) + n, row) for n, row in enumerate(value)]
            except (Full, BadInput):
                assert (
                    sum(map(len, memory.now().values())) + sum(len(p) for r in value for p in _record(0, r)[1:])
                    > 50_000
                )
        elif what == "commit":
            durable = await spool.commit()
            assert durable == len(rows)
        elif what == "read":
            start = spool.oldest + round(value[0] * (durable - spool.oldest))
            got = spool.read(start, value[1])
            assert got == rows[start : start + len(got)]
            assert got or start == durable
            assert len(got) < 2 or sum(len(part) for row in got for part in row[1:]) <= value[1]
        elif what == "trim":
            keep = round(value * durable)
            spool.trim(keep)
            assert spool.oldest <= max(keep, 0) or spool.oldest <= durable
        elif what == "drop":
            before = spool.oldest
            assert spool.drop_oldest(value) == Gap(before, spool.oldest)
        else:
            await (spool.close() if what == "close" else dropped(spool))
            rows = rows if what == "close" else rows[:durable]
            spool = Spool.open(memory, **options)
            durable = len(rows)
        assert (spool.id, spool.end, spool.durable_end) == (identity, len(rows), durable)
        assert sum(map(len, memory.now().values())) <= options["most_bytes"]
        assert list(everything(spool)) == rows[spool.oldest : durable]
    await dropped(spool)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=25))
def test_against_a_list(steps: list[tuple[str, object]]) -> None:
    """Any sequence of appends, commits, reads, trims, drops, closes and kills behaves as a list would."""
    asyncio.run(_against_a_list(steps))


async def test_second_opener_is_told(tmp_path: Path) -> None:
    """Only one may have a folder open; after its close the next one finds the same spool."""
    first = Spool.open(tmp_path / "deep" / "spool", most_bytes=1 << 24)
    with pytest.raises(Conflict, match="another process has the spool"):
        Spool.open(tmp_path / "deep" / "spool", most_bytes=1 << 24)
    first.append([b"a", (b"t", b"v")])
    await first.close()
    second = Spool.open(tmp_path / "deep" / "spool", most_bytes=1 << 24)
    assert second.id == first.id
    assert second.read(0, 100) == [(0, b"a"), (1, b"t", b"v")]
    await second.close()
    assert len(list((tmp_path / "deep" / "spool").glob("*.spool"))) == 1


async def test_unusable_folder_is_permanent(tmp_path: Path) -> None:
    """A folder whose path leads over a file is refused in a sentence."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Permanent, match="file"):
        Spool.open(tmp_path / "file" / "spool", most_bytes=1 << 24)


class _Slow(Memory):
    """Every sync of a file waits until it is let through."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gate, self.held = threading.Semaphore(100), threading.Event()

    def call(self, call: Call) -> None:
        if call.what == "sync":
            self.held.set()
            assert self.gate.acquire(timeout=20)
        super().call(call)


async def _held(disk: _Slow) -> None:
    assert await asyncio.get_running_loop().run_in_executor(None, disk.held.wait, 20)


async def test_commits_share_a_sync() -> None:
    """A hundred commits during one sync share the next one; the loop lives on; a cancelled one hurts none."""
    disk = _Slow()
    spool = Spool.open(disk, most_bytes=1 << 20)
    spool.append([b"first"])
    await spool.commit()
    syncs = spool.syncs
    disk.gate = threading.Semaphore(0)
    disk.held.clear()
    spool.append([b"second"])
    waiting = [asyncio.create_task(spool.commit())]
    await _held(disk)
    for n in range(100):
        spool.append([b"%d" % n])
        waiting.append(asyncio.create_task(spool.commit()))
    await asyncio.sleep(0)
    assert spool.durable_end == 1
    assert list(everything(spool)) == [(0, b"first")]
    waiting[0].cancel()
    waiting[50].cancel()
    disk.gate.release(2)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [r for r in results if not isinstance(r, asyncio.CancelledError)] == [102] * 99
    assert spool.syncs == syncs + 2
    disk.gate.release(9)
    await spool.close()


async def test_drop_and_trim_during_a_sync() -> None:
    """Oldest segments may go while the newest is written; what is being written stays whole."""
    disk = _Slow()
    spool = Spool.open(disk, most_bytes=8000, segment_bytes=1000)
    for _ in range(6):
        spool.append([b"x" * 900])
        await spool.commit()
    disk.gate = threading.Semaphore(0)
    disk.held.clear()
    first = spool.append([b"y" * 900])
    flight = asyncio.create_task(spool.commit())
    await _held(disk)
    spool.trim(2)
    assert spool.drop_oldest(1500) == Gap(2, 4)
    spool.append([b"z" * 900])
    disk.gate.release(100)
    await flight
    assert await spool.commit() == 8
    assert spool.read(first, 9999) == [(6, b"y" * 900), (7, b"z" * 900)]
    await spool.close()


async def test_full_takes_nothing() -> None:
    """A full spool refuses an append as a whole; a trim or a drop makes room, and the drop says what it cost."""
    spool, memory = opened({}, most_bytes=10_000, segment_bytes=1000)
    while spool._room._taken + 600 < 10_000 or spool._room.fits(500):
        spool.append([b"x" * 300, b"y" * 100])
        await spool.commit()
    end = spool.end
    with pytest.raises(Full, match="bytes are taken"):
        spool.append([b"x" * 300, b"y" * 300])
    assert spool.end == spool.durable_end == end
    assert 8000 < spool.bytes <= sum(map(len, memory.now().values())) <= 10_000
    dropped_range = spool.drop_oldest(1500)
    assert dropped_range.start == 0
    assert dropped_range.end == spool.oldest > 0
    assert spool.append([b"x" * 300, b"y" * 100]) == end
    with pytest.raises(Missing, match="trimmed or dropped") as missing:
        spool.read(0, 100)
    assert missing.value.gap == dropped_range
    with pytest.raises(BadInput, match="never fit"):
        spool.append([b"x" * 9000])
    spool.trim(await spool.commit())
    assert spool.append([b"x" * 4000]) == end + 2
    await spool.close()


async def test_room_for_the_largest_append_is_always_made() -> None:
    """However large the last segment is, a trim of all makes room for the next append that is ever taken."""
    spool, _ = opened({}, most_bytes=10_000)
    for _ in range(5):
        spool.append([b"x" * 4200])
        spool.trim(await spool.commit())
    assert spool.end == 5
    await spool.close()


async def test_positions_go_on() -> None:
    """Positions are not used again after everything was trimmed; `advance` leaves out those that a disk has lost."""
    spool, memory = opened({}, segment_bytes=1000)
    for _ in range(9):
        spool.append([b"x" * 400] * 2)
        await spool.commit()
    spool.trim(18)
    await dropped(spool)
    spool = Spool.open(memory, most_bytes=1 << 20)
    spool.trim(18)
    assert len(memory.entries) == 1
    assert spool.append([b"next"]) == 18
    with pytest.raises(BadInput):
        spool.advance(40)
    await spool.commit()
    spool.advance(40)
    spool.advance(20)
    assert spool.append([b"forty"]) == 40
    await spool.close()
    spool = Spool.open(memory, most_bytes=1 << 20)
    gaps = [row.gap for row in everything(spool, 18) if isinstance(row, Missing)]
    assert gaps == [Gap(19, 40)]
    assert spool.read(40, 10) == [(40, b"forty")]
    with pytest.raises(BadInput):
        spool.read(42, 10)
    await spool.close()


async def test_age_is_that_of_the_oldest_untrimmed() -> None:
    """The age follows the trim position, also within a segment and for what is not yet committed."""
    now = [1_000_000]
    spool = Spool.open(Memory(), most_bytes=1 << 20, clock_ms=lambda: now[0])
    assert spool.age_ms == 0
    for _ in range(3):
        spool.append([b"a", b"b"])
        now[0] += 100
    assert spool.age_ms == 300
    await spool.commit()
    ages = []
    for position in range(7):
        spool.trim(position)
        ages.append(spool.age_ms)
    assert ages == [300, 300, 200, 200, 100, 100, 0]
    now[0] -= 5000  # a clock set back
    spool.append([b"c"])
    now[0] -= 1
    assert spool.age_ms == 0
    await spool.close()
