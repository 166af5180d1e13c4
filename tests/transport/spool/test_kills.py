"""A real process, killed a hundred times on a real disk."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from structlog.testing import capture_logs

from headwater.transport.spool import Missing, Spool
from tests.transport.spool import life
from tests.transport.spool.power import dropped, everything

ROOT = Path(__file__).parents[3]


@contextmanager
def _lives(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", life.__name__, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=ROOT)
    with process:  # its standard input is closed at the end, and it goes
        yield process


def _check(folder: Path, confirmed: int) -> int:
    """Open what a killed life left; the durable end."""
    spool = Spool.open(folder, most_bytes=1 << 20, segment_bytes=20_000)
    assert spool.durable_end >= confirmed
    writer = 0
    for record in everything(spool):
        assert not isinstance(record, Missing), record
        tag = int(record[1].split()[1])
        assert record[1:] == life.row(record[0], tag)
        assert tag >= writer, "a record of an earlier life behind one of a later life"
        writer = tag
    asyncio.run(dropped(spool))
    spool._lock.close()
    return spool.durable_end


def test_a_hundred_kills(tmp_path: Path) -> None:
    """Whatever a killed life has told to be durable is there, byte for byte, and no unconfirmed record comes back."""
    rng = random.Random(7)
    ends, unconfirmed, cut = [0], 0, 0
    with _lives(tmp_path / "spool") as lives, capture_logs() as logs:
        for tag in range(100):
            lives.stdin.write(f"{tag} {rng.choice((0, 1, 2, 5))} {rng.uniform(0, 6)}\n")
            confirmed = int(lives.stdout.readline())
            ends.append(_check(tmp_path / "spool", confirmed))
            unconfirmed += ends[-1] > max(confirmed, ends[-2])
        cut = len(logs)
    assert ends == sorted(ends)
    assert ends[-1] > 2000, "the kills came too early to prove anything"
    assert unconfirmed + cut, "no kill came between a write and its confirmation"
