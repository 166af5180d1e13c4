"""`python -m bench.spool`: what a record costs that is made durable on disk, and read again."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import typer

from bench.figures import as_json as to_json
from bench.figures import console, median_figure, table
from headwater.contract.errors import Defect
from headwater.transport.spool import Spool
from headwater.transport.spool.folder import DiskFile, DiskFolder, File

BATCH, RECORD_BYTES = 500, 250


class _GrowingFile(DiskFile):
    def allocate(self, size: int) -> None:
        """Nothing: the file grows as it is written."""


class _GrowingFolder(DiskFolder):
    """The same without preallocation, for comparison."""

    def create(self, name: str) -> File:
        """See Folder."""
        return _GrowingFile(os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))


@dataclass(frozen=True)
class Run:
    """Seconds of one run over `records` records; CPU of all threads."""

    records: int
    write_s: float
    write_cpu_s: float
    append_cpu_s: float
    read_cpu_s: float
    read_s: float
    syncs: int
    commit_ms: float


async def _run(folder: DiskFolder, batch: Sequence[tuple[bytes, bytes] | bytes], batches: int, *, each: bool) -> Run:
    """Append batch by batch, with one commit always under way or one after `each`; then read it all and compare."""
    spool = Spool.open(folder, most_bytes=1 << 32)
    waits: list[float] = []

    async def commits() -> None:
        while not each:
            began = time.perf_counter()
            await spool.commit()
            waits.append(time.perf_counter() - began)
            await asyncio.sleep(0)

    task = asyncio.create_task(commits())
    began, cpu, append_cpu = time.perf_counter(), time.process_time(), 0.0
    for _ in range(batches):
        before = time.thread_time()
        spool.append(batch)
        append_cpu += time.thread_time() - before
        if each:
            moment = time.perf_counter()
            await spool.commit()
            waits.append(time.perf_counter() - moment)
        await asyncio.sleep(0)
    await spool.commit()
    write_s, write_cpu_s = time.perf_counter() - began, time.process_time() - cpu
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    began, cpu, position = time.perf_counter(), time.process_time(), 0
    while rows := spool.read(position, 1 << 20):
        position = rows[-1][0] + 1
    read_s, read_cpu_s = time.perf_counter() - began, time.process_time() - cpu
    last = spool.read(position - 1, 1 << 20)[0]
    if position != batches * BATCH or last[1:] != (batch[-1] if isinstance(batch[-1], tuple) else (batch[-1],)):
        raise Defect(f"the spool returned {position} records of {batches * BATCH}")
    syncs = spool.syncs
    await spool.close()
    return Run(
        position, write_s, write_cpu_s, append_cpu, read_cpu_s, read_s, syncs, 1000 * statistics.median(waits or [0.0])
    )


def _row(name: str, runs: Sequence[Run]) -> list[str]:
    def median(of: str, scale: float) -> float:
        return float(statistics.median(getattr(run, of) / run.records * scale for run in runs))

    rate = statistics.median(run.records / run.write_s for run in runs)
    return [
        name,
        f"{rate:,.0f}",
        f"{median('append_cpu_s', 1e6):.3f}",
        f"{median('write_cpu_s', 1e6):.3f}",
        f"{median('read_cpu_s', 1e6):.3f}",
        f"{statistics.median(run.syncs for run in runs):,.0f}",
        f"{statistics.median(run.commit_ms for run in runs):.2f}",
    ]


def main(
    quick: bool = typer.Option(False, "--quick", help="Fewer records, a few seconds."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
    runs: int = typer.Option(3, min=1, help="Runs of each kind, alternating."),
    folder: Path = typer.Option(None, help="Where to write; the system's folder for temporary files."),
) -> None:
    """Append batches of 500 records of 250 bytes with a commit always under way, then read them all.

    Example:  python -m bench.spool --quick
    """
    one = [os.urandom(RECORD_BYTES) for _ in range(BATCH)]
    two = [(b"plant/7/pump/%03d" % (n % 100), os.urandom(RECORD_BYTES - 16)) for n in range(BATCH)]
    kinds = (
        ("one part", one, DiskFolder, False),
        ("two parts", two, DiskFolder, False),
        ("a commit each batch", one, DiskFolder, True),
        ("the same, not preallocated", one, _GrowingFolder, True),
    )
    done: dict[str, list[Run]] = {name: [] for name, *_ in kinds}
    for _ in range(runs):
        for name, batch, kind, each in kinds:
            with tempfile.TemporaryDirectory(prefix="spool-", dir=folder) as place:
                done[name].append(asyncio.run(_run(kind(Path(place)), batch, 200 if quick else 2000, each=each)))
    columns = ("kind", "records/s", "append CPU µs", "with disk CPU µs", "read CPU µs", "syncs", "commit ms p50")
    out = console(as_json=as_json)
    count = done["one part"][0].records
    out.print(table(f"{count:,} records of {RECORD_BYTES} bytes", columns, [_row(*item) for item in done.items()]))
    if as_json:
        per = [(run, run.records / 1e6) for run in done["one part"]]
        figures = [
            median_figure("spool.rate", [r.records / r.write_s for r, _ in per], "1/s", None, better="higher"),
            median_figure("spool.append_cpu_us", [r.append_cpu_s / n for r, n in per], "µs", None, better="lower"),
            median_figure("spool.write_cpu_us", [r.write_cpu_s / n for r, n in per], "µs", None, better="lower"),
            median_figure("spool.read_cpu_us", [r.read_cpu_s / n for r, n in per], "µs", None, better="lower"),
            median_figure("spool.syncs", [float(r.syncs) for r, _ in per], "", None, better="lower"),
        ]
        typer.echo(to_json(figures))


if __name__ == "__main__":
    typer.run(main)
