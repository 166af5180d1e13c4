"""A disk that is really full, and files that may not grow: refused in a sentence, nothing confirmed is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.contract.errors import Permanent
from headwater.transport.spool import Spool
from tests.disk import files_of_at_most, mounted
from tests.transport.spool.power import everything


async def _until_refused(spool: Spool, size: int) -> int:
    for _ in range(1000):
        try:
            spool.append([b"%07d" % spool.end * (size // 7)])
            await spool.commit()
        except Permanent as error:
            told = str(error)
            break
    else:
        told = "nothing"
    assert "no space left" in told
    return spool.durable_end


def _whole(spool: Spool, size: int) -> bool:
    return list(everything(spool)) == [(n, b"%07d" % n * (size // 7)) for n in range(spool.oldest, spool.durable_end)]


async def test_full_disk(tmp_path: Path) -> None:
    """What was confirmed stays readable, also for the next start on the full disk; with space again it goes on."""
    with mounted(tmp_path / "disk", 1 << 20) as disk:
        folder = disk.folder / "spool"
        spool = Spool.open(folder, most_bytes=1 << 24, segment_bytes=100_000)
        disk.fill(400_000)
        confirmed = await _until_refused(spool, 7000)
        assert confirmed > 20
        assert _whole(spool, 7000)
        with pytest.raises(Permanent, match="no space left"):
            await spool.close()
        spool = Spool.open(folder, most_bytes=1 << 24, segment_bytes=100_000)
        assert spool.durable_end == confirmed
        assert _whole(spool, 7000)
        assert await _until_refused(spool, 7000) == confirmed
        spool.trim(confirmed)  # a drainer makes room
        assert await spool.commit() == confirmed + 1
        assert _whole(spool, 7000)
        disk.free()
        spool.append([b"%07d" % spool.end * 1000])
        await spool.close()
        assert spool.durable_end == confirmed + 2
        assert not list(folder.glob("*.new"))


async def test_limit_of_file_size(tmp_path: Path) -> None:
    """A file that may not grow to a segment's size: refused, and it goes on when the limit is gone."""
    spool = Spool.open(tmp_path, most_bytes=1 << 24, segment_bytes=100_000)
    spool.append([b"%07d" % 0 * 1000])
    await spool.commit()
    with files_of_at_most(50_000):
        confirmed = await _until_refused(spool, 7000)
        assert _whole(spool, 7000)
    assert await spool.commit() == confirmed + 1
    assert _whole(spool, 7000)
    await spool.close()
