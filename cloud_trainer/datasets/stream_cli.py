"""`headwater train simulate-stream`: a set of recordings as a past to learn from and a stream to be judged."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from cloud_trainer.options import check_together
from cloud_trainer.settings import TrainerSettings
from headwater.transport.settings import load

if TYPE_CHECKING:
    from cloud_trainer.datasets.playing import Played
    from cloud_trainer.datasets.ranges import Offsets
    from cloud_trainer.datasets.sources import FolderSource


class _Asked(NamedTuple):
    folder: Path
    into: list[str]
    asset_class: str
    site: str
    rows: int | None
    share: float
    speed: float | None
    out: Path
    freeze: bool
    dry_run: bool


def simulate_stream(
    context: typer.Context,
    *,
    folder: Path = typer.Argument(help="Folder with recordings in .csv files."),
    into: list[str] = typer.Option(
        ..., "--into", help="Topic to play into, such as lyon.readings; several share the assets in turn."
    ),
    asset_class: str = typer.Option(..., "--class", help="Asset class that the recordings are of."),
    site: str = typer.Option("recorded", help="Site of the part to learn from."),
    train_rows: int = typer.Option(None, min=0, help="First rows of each recording to learn from; 0 plays all."),
    train_share: float = typer.Option(0.5, min=0, max=1, help="Their share, where no number of rows is given."),
    speed: float = typer.Option(None, min=1e-6, help="Times as fast as recorded; as fast as Kafka takes it if none."),
    out: Path = typer.Option(None, "--out", help="Dataset file of the part to learn from; CLASS.dataset.json if none."),
    freeze: bool = typer.Option(False, "--freeze", help="Freeze the part to learn from in the object store."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Split and show, and write nothing anywhere."),
) -> None:
    """Split recordings in a part to learn from and a stream, and play the stream into Kafka as the edge would send it.

    The first part becomes a dataset file, or a frozen dataset; the second becomes readings with the keys and headers
    of the bridge, in the rhythm of the recordings.

    Example:  headwater train simulate-stream recordings --class rig --into lyon.readings --train-rows 400 --speed 60
    """
    check_together(context, [("train_rows", "train_share")])
    path = out or Path(f"{asset_class}.dataset.json")
    asked = _Asked(folder, into, asset_class, site, train_rows, train_share, speed, path, freeze, dry_run)
    told = _carried_out(load("trainer", TrainerSettings), asked)
    typer.echo(json.dumps(told, indent=2) if as_json else _words(told))


def _carried_out(settings: TrainerSettings, asked: _Asked) -> dict[str, Any]:
    from cloud_trainer.datasets import playing  # noqa: PLC0415  # numpy and Kafka, which `--help` does not need
    from cloud_trainer.datasets.sources import FolderSource  # noqa: PLC0415  # as above

    began = time.monotonic()
    source = FolderSource(asked.folder, asked.asset_class, asked.site)
    learn = playing.split(source, asked.rows, asked.share)
    waiting = sum(len(one.rows) - learn[name]["0"][1] for name, one in source.recordings.items())
    into = playing.topics_of([one.asset for one in source.recordings.values()], asked.into)
    told: dict[str, Any] = {"training": _learned_from(settings, asked, source, learn), "rows": waiting}
    if not asked.dry_run:
        played = _played(settings, asked, source, learn, into, waiting)
        told |= {"played": played.rows, "ranges": played.ranges, "seconds": round(time.monotonic() - began, 3)}
    return told


def _learned_from(
    settings: TrainerSettings, asked: _Asked, source: FolderSource, learn: Offsets
) -> dict[str, Any] | None:
    """The dataset of the first rows, written and frozen as was asked; None where all rows are played."""
    from cloud_trainer.datasets import building, sessions  # noqa: PLC0415  # as above
    from cloud_trainer.datasets.file import describe, write_file  # noqa: PLC0415  # as above

    if not any(of["0"][1] for of in learn.values()):
        return None
    source.offsets = {name: of for name, of in learn.items() if of["0"][1]}
    dataset = describe(building.from_rows(source, asked.asset_class))
    if not asked.dry_run:
        write_file(asked.out, dataset)
        if asked.freeze:
            sessions.freeze_dataset(settings, dataset, asked.folder)
    return {
        "file": str(asked.out),
        "folder": str(asked.folder),
        "asset_class": asked.asset_class,
        "sha256": dataset.sha256,
        "records": dataset.records,
        "frozen": asked.freeze and not asked.dry_run,
    }


def _played(
    settings: TrainerSettings, asked: _Asked, source: FolderSource, learn: Offsets, into: dict[str, str], waiting: int
) -> Played:
    from cloud_trainer.datasets import playing  # noqa: PLC0415  # as above
    from cloud_trainer.progress import bar  # noqa: PLC0415  # as above

    done = 0
    with bar("playing", waiting) as shown:

        def told(more: int) -> None:
            nonlocal done
            done += more
            shown(done)

        due = playing.schedule(source.recordings, learn)
        return asyncio.run(playing.play(settings.kafka, due, into, asked.asset_class, asked.speed, told))


def _words(told: dict[str, Any]) -> str:
    lines = []
    part = told["training"]
    if part is not None:
        where = part["sha256"] if part["frozen"] else f"{part['file']} --folder {part['folder']} --out DIR"
        lines.append(f"to learn from: {part['records']:,} rows, sha256 {part['sha256']}")
        lines.append(f"  headwater train run --class {part['asset_class']} --dataset {where}")
    if "played" not in told:
        return "\n".join([*lines, f"to be played: {told['rows']:,} rows"])
    lines.append(f"played: {told['played']:,} rows in {told['seconds']:.1f} s")
    for topic, of in sorted(told["ranges"].items()):
        ranges = ", ".join(f"{p}: {start} to {end}" for p, (start, end) in sorted(of.items()))
        lines.append(f"  {topic}: {ranges}")
    return "\n".join(lines)
