"""`headwater replicate verify`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import typer

from headwater.contract.errors import BadInput, DataMissing, Untrusted
from headwater.transport import settings as sources
from replicator.settings import ReplicatorSettings
from replicator.tables import aligned

if TYPE_CHECKING:
    from replicator.proof.checking import Checked
    from replicator.proof.comparison import Comparison

AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")
TARGET_ONLY = typer.Option(False, "--target-only", "--offline", help="The target's log against the proof; no source.")
DOWN = typer.Option(False, "--down", help="What comes down from the cloud; the source is the cloud's cluster then.")
SOURCE_ONLY = typer.Option(False, "--source-only", help="The source's log against the proof; no record of the target.")


def verify(
    as_json: bool = AS_JSON, target_only: bool = TARGET_ONLY, source_only: bool = SOURCE_ONLY, down: bool = DOWN
) -> None:
    """Compare every record that both clusters have: key, value, headers, time, partition, order.

    It reads both logs whole; over a slow link that takes its time. With --target-only (run it near the target) or
    --source-only (run it at the site) one log is held against the proof that was published when it was shipped: a
    thousandth of the data crosses the link, and each range that was dropped, doubled, swapped or altered is named.
    Of compacted topics it compares the newest record of each key, of topics with rules what the rules ship; there is
    no proof of these, which is said. Ends with 8 where records are missing, with 7 where some are doubled, swapped or
    altered; what the link itself has named as gaps is printed, and is no trouble any more.

    Example:  headwater replicate verify --target-only
    """
    if target_only and source_only:
        raise BadInput("--target-only and --source-only exclude each other", hint="leave both out to compare both logs")
    settings = _way(sources.load("replicator", ReplicatorSettings), down=down)
    if target_only or source_only:
        from replicator.proof.sides import check_side  # noqa: PLC0415  # `--help` must not wait for the network code

        checked = asyncio.run(check_side(settings, "target" if target_only else "source"))
        typer.echo(msgspec.json.encode(checked).decode() if as_json else _checked_table(checked))
        raise typer.Exit(_code([each.kind for found in checked for each in found.findings]))
    from replicator.verify import verify_link  # noqa: PLC0415  # as above

    found = asyncio.run(verify_link(settings))
    typer.echo(msgspec.json.encode(found).decode() if as_json else _compared_table(found))
    if any(each.missing for each in found):
        raise typer.Exit(DataMissing.exit_code)
    if not all(each.agrees for each in found):
        raise typer.Exit(Untrusted.exit_code)


def _way(settings: ReplicatorSettings, *, down: bool) -> ReplicatorSettings:
    if not down:
        return settings
    if settings.down_link is None:
        raise BadInput("nothing comes down from the cloud", hint="replicator.down.topics names what is to")
    return settings.down_link


def _code(kinds: Sequence[str]) -> int:
    from replicator.proof.finding import DROPPED  # noqa: PLC0415  # as above

    return DataMissing.exit_code if DROPPED in kinds else Untrusted.exit_code if kinds else 0


def _checked_table(found: Sequence[Checked]) -> str:
    rows: list[tuple[str, ...]] = [
        ("partition", "side", "entries", "proven", "only counted", "unproven", "deleted", "findings")
    ]
    for each in found:
        counts = (each.entries, each.proven, each.counted, each.unproven, each.deleted, len(each.findings))
        rows.append((f"{each.topic}[{each.partition}]", each.side, *map(str, counts)))
    lines = [f"{f.kind}: {f.says}" for each in found for f in each.findings]
    bare = [each for each in found if not each.entries and each.unproven]
    lines += [f"{each.topic}[{each.partition}]: {each.remark}" for each in found if each.remark and each not in bare]
    lines += _gap_lines(found)
    if bare:
        lines.append(f"of {len(bare)} of {len(found)} partitions {bare[0].remark}")
    return "\n".join([aligned(rows), *lines])


def _gap_lines(found: Sequence[Checked] | Sequence[Comparison]) -> list[str]:
    return [
        f"named by gaps: {each.topic}[{each.partition}] {gap.first} to {gap.end - 1}, {gap.cause}"
        for each in found
        for gap in each.gaps
    ]


_COUNTED = ("compared", "missing", "doubled", "swapped", "altered", "waiting", "skipped", "filtered")
_COMPARED = ("partition", *_COUNTED[:-1], "left out", "source", "target", "of")


def _compared_table(found: Sequence[Comparison]) -> str:
    rows: list[tuple[str, ...]] = [_COMPARED]
    for each in found:
        counts = [getattr(each, name) for name in _COUNTED]
        digests = (each.source_sha256[:12], each.target_sha256[:12])
        rows.append((f"{each.topic}[{each.partition}]", *map(str, counts), *digests, each.compares))
    lines = [aligned(rows), *(each.remark for each in found if each.remark)]
    lines += [f"{each.topic}[{each.partition}]: {span.sentence()}" for each in found for span in each.ranges]
    lines += _gap_lines(found)
    return "\n".join(lines)
