"""`headwater train dataset`: build, check, verify, freeze and list datasets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import typer

from cloud_trainer.datasets.words import ranges
from cloud_trainer.options import AS_JSON, CLASS, OFFSETS, check_together
from cloud_trainer.settings import TrainerSettings
from headwater.contract.errors import BadInput, Untrusted
from headwater.transport.settings import load

if TYPE_CHECKING:
    from cloud_trainer.datasets.collecting import Collected, Told
    from cloud_trainer.datasets.file import DatasetFile
    from cloud_trainer.datasets.ranges import Offsets

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Exact ranges of the log, or of recordings, named by a digest: read again they are the same.\n\n"
    "Example:  headwater train dataset build --class pump",
)
FOLDER = typer.Option(None, "--folder", help="Recordings instead of topics; no cluster is asked.")
SITE = typer.Option("recorded", help="With --folder: the site that its assets belong to.")
ROWS = typer.Option(None, min=1, help="With --folder: only the first rows of each recording.")
WHICH = typer.Argument(help="Dataset file, or the digest of a frozen dataset (or its first 8 characters or more).")


class _Asked(NamedTuple):
    asset_class: str
    offsets: Path | None
    folder: Path | None
    site: str
    rows: int | None


@app.command()
def build(
    context: typer.Context,
    asset_class: str = CLASS,
    offsets: Path = OFFSETS,
    folder: Path = FOLDER,
    site: str = SITE,
    rows: int = ROWS,
    out: Path = typer.Option(None, "--out", help="Dataset file to write; CLASS.dataset.json if none."),
    as_json: bool = AS_JSON,
    dry_run: bool = typer.Option(False, "--dry-run", help="Read and show, and write no file."),
) -> None:
    """Read ranges and write a dataset file: offsets, counts and digests, a few kilobytes, the same bytes each time.

    Example:  headwater train dataset build --class pump --offsets ranges.json --out pump.dataset.json

    Example:  headwater train dataset build --class rig --folder recordings
    """
    check_together(context, [("folder", "offsets"), ("dry_run", "out")], {"site": ("folder",), "rows": ("folder",)})
    from cloud_trainer.datasets.file import describe, write_file  # noqa: PLC0415  # numpy, which `--help` does not need

    found = describe(_collected(_Asked(asset_class, offsets, folder, site, rows)))
    path = out or Path(f"{asset_class}.dataset.json")
    if not dry_run:
        write_file(path, found)
    if as_json:
        typer.echo(found.encode().decode())
        return
    _show(found)
    if not dry_run:
        where = f" --folder {folder} --out DIR" if folder is not None else ""
        typer.echo(f"written to {path}; next: headwater train run --class {asset_class} --dataset {path}{where}")


@app.command()
def check(
    context: typer.Context,
    which: str = typer.Argument(None, help="Dataset file, or digest of a frozen dataset; else options name ranges."),
    asset_class: str = typer.Option(None, "--class", help="Asset class, where no dataset is named."),
    offsets: Path = OFFSETS,
    folder: Path = FOLDER,
    site: str = SITE,
    rows: int = ROWS,
    as_json: bool = AS_JSON,
) -> None:
    """Say whether data are fit to learn from: gaps, flat lines, units, times, labels or clocks among the channels.

    `headwater train run` does the same and refuses what has an error; it ends with 6 here too.

    Example:  headwater train dataset check pump.dataset.json

    Example:  headwater train dataset check --class rig --folder recordings --json
    """
    named = ("asset_class", "offsets", "site", "rows")
    check_together(
        context,
        [("folder", "offsets"), *(("which", each) for each in named)],
        {"site": ("folder",), "rows": ("folder",)},
    )
    from cloud_trainer.datasets import checks  # noqa: PLC0415  # numpy, which `--help` does not need

    if which is not None:
        found = _again(which, folder, frozen=False)[1]
    elif asset_class is not None:
        found = _collected(_Asked(asset_class, offsets, folder, site, rows))
    else:
        raise BadInput("nothing to check is named", hint="name a dataset, or --class with --offsets or --folder")
    report = checks.check(found, load("trainer", TrainerSettings).recipe)
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        typer.echo("\n".join(report.lines()))
    report.gate()


@app.command()
def verify(
    which: str = WHICH,
    folder: Path = typer.Option(None, "--folder", help="Where the recordings of the dataset are."),
    frozen: bool = typer.Option(False, "--frozen", help="Read the frozen copy of a dataset file instead of the log."),
    as_json: bool = AS_JSON,
) -> None:
    """Read a dataset again and say what differs, by topic, partition and asset; ends with 7 then, 8 for what is gone.

    Example:  headwater train dataset verify pump.dataset.json
    """
    from cloud_trainer.datasets.file import describe, differences  # noqa: PLC0415  # numpy, as above

    wanted, found = _again(which, folder, frozen=frozen)
    said = list(differences(wanted, describe(found)))
    if as_json:
        told = {"sha256": wanted.sha256, "records": wanted.records, "same": not said, "differences": said}
        typer.echo(json.dumps(told, indent=2))
    elif said:
        typer.echo("\n".join(said))
    if said:
        raise Untrusted(f"{which} is not what was read: {len(said)} differences")
    if not as_json:
        typer.echo(f"the same: {wanted.records:,} records, sha256 {wanted.sha256}")


@app.command()
def freeze(
    file: Path = typer.Argument(help="Dataset file."),
    folder: Path = typer.Option(None, "--folder", help="Where the recordings of the dataset are."),
    as_json: bool = AS_JSON,
) -> None:
    """Write the records of a dataset to the object store as Parquet, read them back, so that it outlives retention.

    Example:  headwater train dataset freeze pump.dataset.json
    """
    from cloud_trainer.datasets import sessions  # noqa: PLC0415  # numpy, as above
    from cloud_trainer.datasets.file import read_file  # noqa: PLC0415  # as above

    dataset = read_file(file)
    with _progress("freezing", dataset.records) as told:
        done, was_there = sessions.freeze_dataset(load("trainer", TrainerSettings), dataset, folder, told)
    told_of = {
        "sha256": dataset.sha256,
        "records": dataset.records,
        "files": len(done.parts),
        "bytes": done.size_bytes,
        "was_there": was_there,
    }
    if as_json:
        typer.echo(json.dumps(told_of))
        return
    state = "was frozen before, and is proven" if was_there else "frozen"
    typer.echo(f"{state}: {dataset.records:,} records in {len(done.parts)} files, {done.size_bytes:,} bytes")
    typer.echo(f"next: headwater train run --class {dataset.asset_class} --dataset {dataset.sha256}")


@app.command("list")
def list_frozen(as_json: bool = AS_JSON) -> None:
    """List the frozen datasets of the object store.

    Example:  headwater train dataset list
    """
    from cloud_trainer.datasets import sessions  # noqa: PLC0415  # numpy, as above

    found = sessions.all_frozen(load("trainer", TrainerSettings))
    if as_json:
        rows = [
            {
                "sha256": each.sha256,
                "asset_class": each.asset_class,
                "records": each.records,
                "assets": len(each.readings),
            }
            for each in found
        ]
        typer.echo(json.dumps({"datasets": rows}, indent=2))
        return
    for each in found:
        typer.echo(f"{each.sha256}  {each.asset_class}  {each.records:,} records of {len(each.readings)} assets")
    if not found:
        typer.echo("none is frozen; headwater train dataset freeze --help")


def _collected(asked: _Asked) -> Collected:
    from cloud_trainer.datasets import building, sessions  # noqa: PLC0415  # numpy, as above
    from cloud_trainer.datasets.sources import FolderSource  # noqa: PLC0415  # as above

    settings = load("trainer", TrainerSettings)
    if asked.folder is not None:
        source = FolderSource(asked.folder, asked.asset_class, asked.site, rows=asked.rows)
        with _progress("reading", _total(source.offsets)) as told:
            return building.from_rows(source, asked.asset_class, told)
    offsets = sessions.named_offsets(settings, asked.offsets)
    with _progress("reading", _total(offsets)) as told:
        return building.from_kafka(settings.kafka, asked.asset_class, offsets, settings.recipe, told)


def _again(which: str, folder: Path | None, *, frozen: bool) -> tuple[DatasetFile, Collected]:
    from cloud_trainer.datasets import sessions  # noqa: PLC0415  # numpy, as above

    settings = load("trainer", TrainerSettings)
    opened = sessions.open_dataset(settings, which, frozen=frozen)
    with _progress("reading", opened.dataset.records) as told:
        return opened.dataset, sessions.read_dataset(settings, opened, folder, told)


def _total(offsets: Offsets) -> int:
    return sum(end - start for of in offsets.values() for start, end in of.values())


@contextmanager
def _progress(doing: str, total: int) -> Iterator[Told]:
    """A bar on standard error, where that is a terminal."""
    from cloud_trainer.progress import bar  # noqa: PLC0415  # rich, which `--help` does not need

    done = 0
    with bar(doing, total) as shown:

        def told(more: int) -> None:
            nonlocal done
            done += more
            shown(done)

        yield told


def _show(found: DatasetFile) -> None:
    typer.echo(f"{found.asset_class}: {found.records:,} records, sha256 {found.sha256}")
    for line in ranges(found.offsets):
        typer.echo(f"  {line}")
    typer.echo(f"  {sum(found.readings.values()):,} readings of {len(found.readings)} assets")
    typer.echo(f"  channels {', '.join(found.channels)}")
    for reason, count in sorted(found.excluded.items()):
        typer.echo(f"  left out, {reason}: {count:,}")
