"""The power goes at any call and within any write: what was confirmed is there, nothing else was made up."""

from __future__ import annotations

import asyncio
import errno
import random
from typing import Any

import pytest

from headwater.contract.errors import Permanent
from headwater.transport.spool import Missing, Record, Spool
from tests.transport.spool.power import Call, Memory, after_power_loss, dropped, everything, opened, some_pieces

Life = tuple[Memory, dict[int, Record], list[tuple[int, int, int]]]  # disk, what was appended, (calls, durable, trim)


async def _life(rng: random.Random, files: dict[str, bytes], steps: int, tag: str) -> Life:
    """A life that appends, commits and trims; after how many calls what was confirmed."""
    spool, memory = opened(files, most_bytes=4096, segment_bytes=400)
    appended: dict[int, Record] = {}
    known = [(0, spool.durable_end, spool.oldest)]
    for step in range(steps):
        for _ in range(rng.randrange(1, 4)):
            parts = [f"{tag}.{step}.{n}".encode() * rng.randrange(4) for n in range(rng.randrange(1, 5))]
            rows: list[Any] = parts if rng.random() < 0.5 else [(part, b"k") for part in parts]
            first = spool.append(rows)
            for position, row in enumerate(rows, first):
                appended[position] = (position, row) if isinstance(row, bytes) else (position, *row)
        await spool.commit()
        known.append((len(memory.calls), spool.durable_end, known[-1][2]))
        if rng.random() < 0.3:
            keep = rng.randint(spool.oldest, spool.durable_end)
            known.append((len(memory.calls), spool.durable_end, max(keep, known[-1][2])))
            spool.trim(keep)
    await dropped(spool)
    return memory, appended, known


def _check(files: dict[str, bytes], truth: dict[int, Record], confirmed: int, trimmed: int) -> Spool:
    """Open what is left: every confirmed record that was not trimmed is there, and none that was not appended."""
    spool, _ = opened(files, most_bytes=4096, segment_bytes=400)
    assert spool.durable_end >= confirmed
    assert spool.oldest <= max(trimmed, confirmed)
    for row in everything(spool):
        if isinstance(row, Missing):
            assert row.gap.end <= trimmed, row
        else:
            assert row == truth[row[0]]
    return spool


def _confirmed(known: list[tuple[int, int, int]], calls: int) -> tuple[int, int]:
    return max(end for at, end, _ in known if at <= calls), max(trim for at, _, trim in known if at <= calls)


def test_every_byte_of_every_write() -> None:
    """The last write torn after each of its bytes, from either side, with all, none or some of the other writes."""
    memory, truth, known = asyncio.run(_life(random.Random(4), {}, 8, "a"))
    images = 0
    for calls in range(len(memory.calls) + 1):
        confirmed, trimmed = _confirmed(known, calls)
        last = memory.calls[calls - 1] if calls else Call("none")
        size = len(last.data)
        cuts = [[(0, n)] for n in range(size)] + [[(n, size)] for n in range(1, size)] or [[]]
        for cut in cuts:
            for others in (True, False):
                image = after_power_loss(
                    memory, calls, lambda call, o=others, s=last: call is s or o, lambda _, c=cut: c
                )
                _check(image, truth, confirmed, trimmed)
                images += 1
    assert images > 2000


@pytest.mark.parametrize("seed", range(40))
def test_lives_with_power_cuts_between(seed: int) -> None:
    """Ten lives, each ended by a cut that leaves any part of the unsynced calls: confirmed records survive them all."""
    rng = random.Random(seed)
    files: dict[str, bytes] = {}
    truth: dict[int, Record] = {}
    confirmed = trimmed = 0
    for life in range(10):
        memory, appended, known = asyncio.run(_life(rng, files, rng.randrange(1, 5), f"{seed}.{life}"))
        calls = rng.randrange(len(memory.calls) + 1)
        last, cut = _confirmed(known, calls)
        confirmed, trimmed = max(confirmed, last), max(trimmed, cut)
        truth = {position: row for position, row in truth.items() if position < known[0][1]} | appended
        files = after_power_loss(memory, calls, lambda _: rng.random() < 0.6, some_pieces(rng))
        confirmed = _check(files, truth, confirmed, trimmed).durable_end


def _failing(memory: Memory, what: str, error: int, times: int, after: int = 0) -> list[Call]:
    """After the next `after` such calls `times` fail; the list fills with them."""
    fired: list[Call] = []
    good = iter(range(after))

    def fail(call: Call) -> OSError | None:
        if call.what != what or next(good, None) is not None or len(fired) >= times:
            return None
        fired.append(call)
        return OSError(error, "on purpose")

    memory.fail = fail
    return fired


@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
@pytest.mark.parametrize("what", ["write", "sync", "create", "allocate", "rename", "folder"])
@pytest.mark.parametrize("fresh", [True, False])
async def test_failing_disk(what: str, times: int, after: int, fresh: bool) -> None:
    """What fails is tried again in a new segment; no sync is believed that came after a failed one on the same file."""
    spool, memory = opened({}, most_bytes=1 << 16, segment_bytes=4096)
    truth: list[bytes] = []
    if not fresh:
        spool.append(truth := [b"before"])
        await spool.commit()
    fired = _failing(memory, what, errno.EIO, times, after)
    spool.append(more := [b"x" * 3000, b"y" * 3000])
    spool.append([b"z" * 3000])
    truth += [*more, b"z" * 3000]
    confirmed = 0 if fresh else 1
    for _ in range(times + 1):
        try:
            confirmed = await spool.commit()
        except Permanent:
            with pytest.raises(Permanent):
                spool.append([b"refused"])
            assert sum(map(len, memory.now().values())) == spool.bytes - spool._pending_bytes, "room was kept"
        nothing = after_power_loss(memory, len(memory.calls), lambda _: False, lambda _: [])
        rows = [row[1:] for row in everything(opened(nothing)[0])]
        assert rows == [(row,) for row in truth[: len(rows)]]
        assert len(rows) >= confirmed
        if confirmed == len(truth):
            break
    assert confirmed == len(truth)
    assert len(fired) == times or after
    assert [row[1:] for row in everything(spool)] == [(row,) for row in truth]
    spool.append([b"goes on"])
    assert await spool.commit() == len(truth) + 1
    await spool.close()


async def test_start_does_not_believe_the_page_cache() -> None:
    """After a failed sync the next life sees the records in the page cache; it writes them again before they count."""
    spool, memory = opened({})
    spool.append([b"kept"])
    await spool.commit()
    _failing(memory, "sync", errno.EIO, 1)
    spool.append([b"only in the page cache"])
    memory.fail = lambda call, fail=memory.fail: OSError(errno.EIO, "") if call.what == "truncate" else fail(call)
    with pytest.raises(Permanent):
        await spool.commit()
    await dropped(spool)
    memory.fail = lambda _: None
    after = Spool.open(memory, most_bytes=1 << 20)  # a new process; the power stayed on
    seen = list(everything(after))
    nothing = after_power_loss(memory, len(memory.calls), lambda _: False, lambda _: [])
    assert list(everything(opened(nothing)[0])) == seen == [(0, b"kept"), (1, b"only in the page cache")]
