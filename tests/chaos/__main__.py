"""`python -m tests.chaos bridge -n 1000 --seed 1`: a campaign of seeded faults against real processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.figures import as_json as to_json
from bench.figures import console, figures_table
from headwater.app.stack.kafka import KafkaTools
from headwater.app.stack.kafka_tools import prepare_kafka
from headwater.contract.errors import BadInput, HeadwaterError
from headwater.contract.figures import Figure
from tests.chaos.bed import HEADWATER, STOCK
from tests.chaos.book import Book, faults_of, figures, tables
from tests.chaos.count import Outcome
from tests.chaos.one import Any as Chapter
from tests.chaos.one import end_in_order, one
from tests.chaos.parts import PARTS, REPLICATOR, Part
from tests.chaos.plan import CHAPTER, Combination, combinations, leader_changes, of_sparkplug, plan
from tests.chaos.replicator import plan as of_replicator

_STOCK = Combination("5", 1, "kafka")
_MIRRORED = 12  # MirrorMaker takes half a minute to come back


def main(
    part: Annotated[str, typer.Argument(help="What is attacked: bridge or replicator.")] = "bridge",
    faults: Annotated[int, typer.Option("-n", "--faults", min=1, help="Faults in all.")] = 1000,
    seed: Annotated[
        int, typer.Option(help="Of the plan; the same one goes on where it was stopped, with the same code.")
    ] = 1,
    folder: Annotated[Path, typer.Option(help="Where finished chapters are kept.")] = Path("build/chaos"),
    only: Annotated[str, typer.Option("--chapter", help="Such as 5/1/kafka/3, or 5/1 for several; run again.")] = "",
    leaders: Annotated[int, typer.Option(min=0, help="More faults, on three Kafka brokers (bridge).")] = 0,
    sparkplug: Annotated[int, typer.Option(min=0, help="More faults, with a Sparkplug edge node (bridge).")] = 0,
    shared: Annotated[int, typer.Option(min=0, help="More faults, where instances share the link (replicator).")] = 0,
    stock: Annotated[
        int | None, typer.Option(min=0, help="Faults for stock paho + confluent-kafka, or for MirrorMaker 2.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Chapters at a time.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Kill, cut, stall, fill and restart for hours, and count what was lost, duplicated or reordered.

    Example:  python -m tests.chaos bridge -n 100 --seed 7
    """
    end_in_order()
    out = console(as_json=as_json)
    try:
        if part not in PARTS:
            raise BadInput(f"there is no campaign for {part!r}", hint=f"there is: {', '.join(PARTS)}")
        wanted = (
            _of_replicator(seed, faults, shared, stock)
            if PARTS[part] is REPLICATOR
            else _of_bridge(seed, faults, leaders, sparkplug, stock)
        )
        if only:
            wanted = [(chapter, system) for chapter, system in wanted if f"{chapter.name}/".startswith(f"{only}/")]
            if not wanted:
                raise BadInput(f"the plan has no chapter {only!r}")
        book, tools = Book(folder, part, seed), prepare_kafka(out.print)
        outcomes, earlier = _run(book, wanted, tools, workers, out.print, again=bool(only))
    except HeadwaterError as error:
        out.print(f"chaos: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
        raise typer.Exit(error.exit_code) from error
    planned = sum(len(chapter.faults) for chapter, system in wanted if system == HEADWATER)
    _tell(outcomes, figures(outcomes, planned, earlier, PARTS[part]), PARTS[part], seed, as_json, out)


Wanted = list[tuple[Chapter, str]]


def _of_bridge(seed: int, faults: int, leaders: int, sparkplug: int, stock: int | None) -> Wanted:
    """Chapters, each with the system that is attacked."""
    wanted: Wanted = [(chapter, HEADWATER) for chapter in plan(seed, faults, combinations())]
    if leaders:
        wanted += [(chapter, HEADWATER) for chapter in plan(seed, leaders, leader_changes())]
    if sparkplug:
        wanted += [(chapter, HEADWATER) for chapter in plan(seed, sparkplug, of_sparkplug())]
    if stock != 0:
        wanted += [(chapter, STOCK) for chapter in plan(seed, stock or CHAPTER, [_STOCK])]
    return wanted


def _of_replicator(seed: int, faults: int, shared: int, stock: int | None) -> Wanted:
    """Chapters, each with the system that is attacked."""
    ours: Wanted = [(chapter, HEADWATER) for chapter in of_replicator.plan(seed, faults)]
    if shared:
        ours += [(chapter, HEADWATER) for chapter in of_replicator.plan(seed, shared, of_replicator.OF_SEVERAL)]
    if stock == 0:
        return ours
    some = of_replicator.plan(seed, stock or _MIRRORED, of_replicator.SHAPES[:1])
    return [*((chapter, REPLICATOR.rival) for chapter in some), *ours]  # the slow ones first


def _run(
    book: Book,
    wanted: Sequence[tuple[Chapter, str]],
    tools: KafkaTools,
    workers: int,
    say: Callable[[str], None],
    *,
    again: bool,
) -> tuple[list[Outcome], int]:
    """Outcomes in the order of the plan, and how many are of an earlier run; the book has each when it is there."""
    found: dict[tuple[Chapter, str], Outcome | None] = {}
    if not again:
        found = {each: book.find(*each) for each in wanted}
    missing = [each for each in wanted if found.get(each) is None]
    earlier = len(wanted) - len(missing)
    say(f"{len(wanted)} chapters, {earlier} of them taken from an earlier run of the same code")
    with get_context("spawn").Pool(min(workers, len(missing) or 1), end_in_order) as pool:
        work = [(chapter, system, tools) for chapter, system in missing]
        for number, (chapter, outcome) in enumerate(pool.imap_unordered(one, work), start=1):
            kept = book.write(chapter, outcome)
            found[chapter, outcome.system] = outcome
            counts = f"{outcome.lost} lost, {outcome.duplicated} duplicated, {outcome.reordered} reordered"
            about = f"{outcome.sent:,} sent, {counts}, {outcome.took_s:g} s"
            changed = "" if kept else "; the code was changed meanwhile, so this is not kept"
            say(f"{number}/{len(missing)} {chapter.name} {outcome.system}: {about}{changed}")
        pool.close()  # idle workers end by themselves; to be terminated in the middle of a read can block them
        pool.join()
    return [outcome for each in wanted if (outcome := found[each]) is not None], earlier


def _tell(outcomes: Sequence[Outcome], shown: Sequence[Figure], part: Part, seed: int, as_json: bool, out: Any) -> None:
    for each in (*tables(outcomes, part), figures_table(shown)):
        out.print(each)
    if as_json:
        typer.echo(to_json(shown, seed, {"chapters": outcomes}))
    wrong = faults_of(outcomes)
    for fault in wrong:
        out.print(f"not as promised: {fault}")
    if wrong:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
