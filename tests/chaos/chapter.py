"""Run one chapter: services up, numbers flowing, faults one after the other, then everything comes through."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from headwater.app.stack.kafka import KafkaTools
from tests.chaos.bed import HEADWATER, READY_S, STOCK, Bed, open_bed
from tests.chaos.count import Outcome, judge
from tests.chaos.faults import FOR_STOCK, fire
from tests.chaos.plan import KILL, KILLS, Chapter, Fault
from tests.chaos.process import wait

# Bounds are for a machine that is busy with other things too; waiting longer makes no count better.
_DRAIN_S = 180.0
_LOOK_S = 1.0  # Kafka got nothing for as long: count
_STILL_S = 15.0  # and for as long, with something missing: it does not come
_STOP_S = 60.0
_MOST_FAULT_S = 240.0

Say = Callable[[str], None]


async def run_chapter(chapter: Chapter, tools: KafkaTools, say: Say, *, system: str = HEADWATER) -> Outcome:
    """One chapter in a folder of its own, which is kept (and named) where something went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="headwater-chaos-"))
    outcome = Outcome(chapter=chapter.name, seed=chapter.seed, system=system)
    began = time.monotonic()
    kept = True
    try:
        async with open_bed(chapter, system, folder, tools) as bed:
            await _begin(bed)
            await _faults(bed, outcome, say)
            await _settle(bed, outcome)
    except AssertionError as error:
        outcome.wrong.append(f"{error}")
    finally:
        outcome.took_s = round(time.monotonic() - began, 1)
        if outcome.clean or system != HEADWATER:
            kept = False
            shutil.rmtree(folder, ignore_errors=True)
    if kept:
        say(f"{chapter.name}: kept in {folder}")
    return outcome


async def _begin(bed: Bed) -> None:
    """The first start, up to the first record: from here on the broker keeps a session."""
    bed.start()
    assert await wait(bed.life.ready.is_set, READY_S), "the system did not start"
    before = await bed.ends()
    end = time.monotonic() + READY_S
    while await bed.ends() == before:
        assert time.monotonic() < end, "the first message did not arrive"
        bed.numbers.warm()
        await asyncio.sleep(0.1)
    bed.numbers.begin()


async def _faults(bed: Bed, outcome: Outcome, say: Say) -> None:
    fired: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    count = len(bed.chapter.faults)
    for number, fault in enumerate(bed.chapter.faults, start=1):
        bed.numbers.rate = fault.rate
        await asyncio.sleep(fault.gap_s)
        bed.see_to_it()
        if (wanted := _for(bed.system, fault)) is not None:
            try:
                async with asyncio.timeout(_MOST_FAULT_S):
                    kind = await fire(bed, wanted)
            except TimeoutError:
                raise AssertionError(f"fault {number}, {fault.kind}, took {_MOST_FAULT_S:g} s") from None
            fired[kind] += bool(kind)
            missed[wanted.kind] += kind != wanted.kind
            outcome.fired, outcome.missed = dict(+fired), dict(+missed)
        bed.numbers.check()
        if fault.patient and not await wait(lambda: bed.life.ready.is_set() or bed.life.status is not None, READY_S):
            outcome.wrong.append(f"not back {READY_S:g} s after fault {number}, {fault.kind}")
        if number % 10 == 0 or number == count:
            say(f"{bed.chapter.name} {bed.system}: {number} of {count} faults, {bed.numbers.sent:,} sent")


def _for(system: str, fault: Fault) -> Fault | None:
    if system != STOCK or fault.kind in FOR_STOCK:
        return fault
    return fault._replace(kind=KILL) if fault.kind in KILLS else None


async def _settle(bed: Bed, outcome: Outcome) -> None:
    """Let everything through, stop in order, and count."""
    await bed.numbers.quiet()
    await _drain(bed, outcome)
    if bed.system == HEADWATER:
        bed.see_to_it()
        if not await wait(bed.life.ready.is_set, READY_S):
            outcome.wrong.append("not ready at the end")
        status = await bed.life.stop(_STOP_S)
        if status != 0:
            outcome.wrong.append(f"the last stop ended with status {status}")
    else:
        bed.kill()
    judge(outcome, await bed.records(), bed.numbers.sent)
    for life in bed.lives:
        life.kill()
        outcome.clean_stops += len(life.stops)
        outcome.wrong += ["books do not balance at a clean stop" for balanced in life.stops if not balanced]
    outcome.ended = bed.ended
    if bed.system == HEADWATER and not outcome.clean_stops:
        outcome.wrong.append("no clean stop, so no books to look at")


async def _drain(bed: Bed, outcome: Outcome) -> None:
    """Wait until everything is there, or nothing has come for a while, or the time is over."""
    end = time.monotonic() + _DRAIN_S
    before: dict[int, int] = {}
    since, counted = time.monotonic(), False
    while (now := time.monotonic()) < end:
        bed.see_to_it()
        if (ends := await bed.ends()) != before:
            before, since, counted = ends, now, False
        elif now - since > _LOOK_S and not counted:
            judge(outcome, await bed.records(), bed.numbers.sent)
            counted = True
            if outcome.sent and not outcome.lost:
                return
        elif now - since > _STILL_S and bed.life.ready.is_set():
            return
        await asyncio.sleep(0.2)
