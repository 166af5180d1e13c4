"""Finished chapters in a small file, so that a campaign goes on where it was stopped; and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.table import Table

from bench.figures import table
from headwater.contract.errors import BadInput
from headwater.contract.figures import Figure, figure
from tests.chaos.bed import HEADWATER
from tests.chaos.count import Outcome, total
from tests.chaos.parts import BRIDGE, PARTS, Named, Part
from tests.chaos.version import ROOT, version

_OFTEN = 3
_TEN = ("sent", "written", "lost", "duplicated", "reordered", "flagged", "faults", "kills", "ended", "clean stops", "s")


class Book:
    """One file a seed; chapters by system, name, number of faults and version. `write` replaces it as a whole.

    The version is that of the code below `root` (version.py): a chapter that was run with other code is not found.
    """

    def __init__(self, folder: Path, part: str, seed: int, root: Path = ROOT) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{part}-{seed}.json"
        self._root = root
        self._part = PARTS[part]
        self._versions = {system: version(system, root, self._part) for system in (HEADWATER, self._part.rival)}
        self._kept: dict[str, Outcome] = {}
        if self.path.exists():
            try:
                self._kept = msgspec.json.decode(self.path.read_bytes(), type=dict[str, Outcome])
            except msgspec.DecodeError as error:
                raise BadInput(f"{self.path} holds no chapters: {error}", hint="remove it") from error

    def find(self, chapter: Named, system: str) -> Outcome | None:
        """The outcome of a chapter that is finished."""
        return self._kept.get(self._name(chapter, system))

    def write(self, chapter: Named, outcome: Outcome) -> bool:
        """Keep an outcome; False where the code was changed since the book was opened: nobody knows what was run."""
        if version(outcome.system, self._root, self._part) != self._versions[outcome.system]:
            return False
        self._kept[self._name(chapter, outcome.system)] = outcome
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(self._kept)))
        fresh.replace(self.path)
        return True

    def _name(self, chapter: Named, system: str) -> str:
        return f"{system} {chapter.name} {len(chapter.faults)} {self._versions[system]}"


def tables(outcomes: Sequence[Outcome], part: Part = BRIDGE) -> list[Table]:
    """Combinations with what was counted, and faults by kind."""
    groups: dict[str, list[Outcome]] = {}
    for each in outcomes:
        groups.setdefault(_label(each), []).append(each)
    sums = {label: total(group, label, group[0].system) for label, group in groups.items()}
    ours = [each for each in outcomes if each.system == HEADWATER]
    if ours:
        sums[f"all of {HEADWATER}"] = total(ours, "all", HEADWATER)
    rows = [_row(label, each, part) for label, each in sums.items()]
    return [table(f"Campaign ({part.legend})", ("", *_TEN), rows), _fired(outcomes, part)]


def _fired(outcomes: Sequence[Outcome], part: Part) -> Table:
    """Faults by kind, for each group of combinations, for all of ours, and for what stands beside."""
    groups: dict[str, list[Outcome]] = {}
    for each in outcomes:
        ours = each.system == HEADWATER
        groups.setdefault(part.group(each.chapter) if ours else each.system, []).append(each)
    groups[f"all of {HEADWATER}"] = [each for each in outcomes if each.system == HEADWATER]
    sums = {name: total(group, name, "").fired for name, group in groups.items()}
    kinds = sorted({kind for fired in sums.values() for kind in fired})
    rows = [[kind, *(str(fired.get(kind, "")) for fired in sums.values())] for kind in kinds]
    return table("Faults that were fired", ("", *sums), rows)


def _label(outcome: Outcome) -> str:
    combination = outcome.chapter.rpartition("/")[0]
    return combination if outcome.system == HEADWATER else f"{combination} {outcome.system}"


def _row(label: str, each: Outcome, part: Part) -> list[str]:
    faults = sum(each.fired.values())
    kills = sum(each.fired.get(kind, 0) for kind in part.kills)
    counts = (each.sent, each.written, each.lost, each.duplicated, each.reordered, each.flagged, faults, kills)
    return [label, *(f"{n:,}" for n in (*counts, len(each.ended), each.clean_stops)), f"{each.took_s:,.0f}"]


def figures(outcomes: Sequence[Outcome], wanted: int, earlier: int = 0, part: Part = BRIDGE) -> list[Figure]:
    """Ours beside the goals, and what stands beside them; `earlier` of the chapters were not run now."""
    ours = total([each for each in outcomes if each.system == HEADWATER], "", HEADWATER)
    theirs = [each for each in outcomes if each.system == part.rival]
    fired = sum(ours.fired.values())
    kills = sum(ours.fired.get(kind, 0) for kind in part.kills)
    found = [
        figure("chaos.lost", ours.lost, part.unit, 0, note=f"of {ours.sent:,} sent"),
        figure("chaos.duplicated", ours.duplicated, "records", 0, note="second copies without a flag"),
    ]
    if part is BRIDGE:
        found.append(figure("chaos.flagged_duplicates", ours.flagged_again, "records", 0, note=_flagged(ours)))
    found += [
        figure("chaos.reordered", ours.reordered, "records", 0),
        figure("chaos.faults_fired", fired, "faults", wanted, better="higher", note=_missed(ours)),
        figure("chaos.kill_share", round(kills / fired, 3) if fired else None, "", 0.7, better="higher"),
        figure("chaos.earlier_chapters", earlier, "chapters", None, note=f"of {len(outcomes)}: same code, earlier run"),
    ]
    if part is not BRIDGE:
        found.append(figure("chaos.stalled", ours.stalled, "times", 0, note="a read_committed reader had to wait"))
        found.append(figure("chaos.named", ours.named, "records", None, note="deleted before shipped, and named so"))
    if theirs:
        whole = total(theirs, "", part.rival)
        note = f"{part.rival}, {sum(whole.fired.values())} faults of the same seed, {whole.sent:,} sent"
        found += [
            figure(f"chaos.{part.prefix}_{name}", getattr(whole, name), "records", None, note=note)
            for name in ("lost", "duplicated", "reordered")
        ]
    return found


def _missed(ours: Outcome) -> str:
    return f"{sum(ours.missed.values())} named points were not passed in time, a plain fault stands for each"


def _flagged(ours: Outcome) -> str:
    """What the flag allows, and for what: no fault of a campaign is of that kind, so that none is acceptable in it."""
    told = (
        f"second copies among the {ours.flagged} flagged as possible duplicates; right only where retention, others in "
        "the topic or a lost file hide what was written, which no fault here does"
    )
    return "; ".join((told, *(f"{count}: {why}" for why, count in ours.doubts.items())))


def faults_of(outcomes: Sequence[Outcome]) -> list[str]:
    """What was not as promised, with how to repeat it."""
    found: list[str] = []
    for each in outcomes:
        if each.vain:
            found.append(f"{each.system} {each.chapter}: {each.vain}, which proves nothing")
        if each.system == HEADWATER and not each.clean:
            twice = f"{each.duplicated} duplicated, {each.flagged_again} more with a flag"
            counts = f"{each.lost} lost, {twice}, {each.reordered} reordered, {each.stalled} stalls of readers"
            found.append(f"{each.chapter}: {counts}; {'; '.join((*each.wrong, *each.examples))}")
    ours = total([each for each in outcomes if each.system == HEADWATER], "", HEADWATER)
    for kind, times in ours.missed.items():
        if times >= _OFTEN and kind not in ours.fired:
            found.append(f"{kind!r} was planned {times} times and never came about")
    return found
