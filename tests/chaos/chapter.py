"""Run one chapter: services up, numbers flowing, faults one after the other, then everything comes through."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from headwater.app.stack.kafka import KafkaTools
from tests.chaos.bed import HEADWATER, STOCK, Bed, open_bed
from tests.chaos.count import Outcome, judge
from tests.chaos.faults import FOR_STOCK, fire
from tests.chaos.parts import Named
from tests.chaos.plan import KILL, KILLS, Chapter, Fault
from tests.chaos.process import wait
from tests.chaos.supervised import READY_S, Supervised

# Bounds are for a machine that is busy with other things too; waiting longer makes no count better.
_DRAIN_S = 180.0
_LOOK_S = 1.0  # Kafka got nothing for as long: count
_STILL_S = 15.0  # and for as long, with something missing: it does not come
STOP_S = 60.0
_MOST_FAULT_S = 240.0

SPARED = "spared"  # a fault that a system is not asked to bear

Say = Callable[[str], None]
B = TypeVar("B", bound=Supervised)


async def run_chapter(chapter: Chapter, tools: KafkaTools, say: Say, *, system: str = HEADWATER) -> Outcome:
    """One chapter in a folder of its own, which is kept (and named) where something went wrong."""

    async def work(folder: Path, outcome: Outcome) -> None:
        async with open_bed(chapter, system, folder, tools) as bed:
            await _begin(bed)
            await go_through(bed, chapter, outcome, _fire, say)
            await _settle(bed, outcome)

    return await in_a_folder(Outcome(chapter=chapter.name, seed=chapter.seed, system=system), work, say)


async def in_a_folder(outcome: Outcome, work: Callable[[Path, Outcome], Awaitable[None]], say: Say) -> Outcome:
    """Run a chapter; its folder is kept (and named) where something went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="headwater-chaos-"))
    began = time.monotonic()
    kept = True
    try:
        await work(folder, outcome)
    except AssertionError as error:
        outcome.wrong.append(f"{error}")
    finally:
        outcome.took_s = round(time.monotonic() - began, 1)
        if outcome.clean or outcome.system != HEADWATER:
            kept = False
            shutil.rmtree(folder, ignore_errors=True)
    if kept:
        say(f"{outcome.chapter}: kept in {folder}")
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


async def go_through(
    bed: B, chapter: Named, outcome: Outcome, done: Callable[[B, Fault], Awaitable[str]], say: Say
) -> None:
    """Fault after fault; `done` does one, and says which kind was really fired (nothing: none was)."""
    fired: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    count = len(chapter.faults)
    for number, fault in enumerate(chapter.faults, start=1):
        bed.pace(fault.rate)
        await asyncio.sleep(fault.gap_s)
        bed.see_to_it()
        try:
            async with asyncio.timeout(_MOST_FAULT_S):
                kind = await done(bed, fault)
        except TimeoutError:
            raise AssertionError(f"fault {number}, {fault.kind}, took {_MOST_FAULT_S:g} s") from None
        if kind != SPARED:
            fired[kind] += bool(kind)
            missed[fault.kind] += kind != fault.kind
        outcome.fired, outcome.missed = dict(+fired), dict(+missed)
        bed.check()
        if fault.patient and not await wait(lambda: bed.life.ready.is_set() or bed.life.status is not None, READY_S):
            outcome.wrong.append(f"not back {READY_S:g} s after fault {number}, {fault.kind}")
        if number % 10 == 0 or number == count:
            say(f"{chapter.name} {outcome.system}: {number} of {count} faults, {bed.sent:,} sent")


async def _fire(bed: Bed, fault: Fault) -> str:
    """Stock libraries bear only some kinds; a plain kill stands for another one, and nothing for what is no kill."""
    if bed.system != STOCK or fault.kind in FOR_STOCK:
        return await fire(bed, fault)
    if fault.kind not in KILLS:
        return SPARED
    return await fire(bed, fault._replace(kind=KILL))


async def _settle(bed: Bed, outcome: Outcome) -> None:
    """Let everything through, stop in order, and count."""
    await bed.numbers.quiet()

    async def count() -> None:
        judge(outcome, await bed.records(), bed.numbers.sent)

    await drain(bed, outcome, bed.ends, count)
    if bed.system == HEADWATER:
        bed.see_to_it()
        if not await wait(bed.life.ready.is_set, READY_S):
            outcome.wrong.append("not ready at the end")
        status = await bed.life.stop(STOP_S)
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


async def drain(
    bed: Supervised,
    outcome: Outcome,
    ends: Callable[[], Awaitable[object]],
    count: Callable[[], Awaitable[None]],
    drain_s: float = _DRAIN_S,
    still_s: float = _STILL_S,
) -> None:
    """Wait until everything is there, or nothing has come for a while, or the time is over."""
    end = time.monotonic() + drain_s
    before: object = None
    since, counted = time.monotonic(), False
    while (now := time.monotonic()) < end:
        bed.see_to_it()
        if (found := await ends()) != before:
            before, since, counted = found, now, False
        elif now - since > _LOOK_S and not counted:
            await count()
            counted = True
            if outcome.sent and not outcome.lost:
                return
        elif now - since > still_s and bed.life.ready.is_set():
            return
        await asyncio.sleep(0.2)
