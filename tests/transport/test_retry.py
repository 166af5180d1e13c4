"""What is said of something that is tried again and again."""

from __future__ import annotations

import structlog

from headwater.contract.errors import Unreachable
from headwater.transport.retry import AGAIN_S, BLIP_S, Voice, retrying, retrying_sync


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def told(voice: Voice, clock: Clock, seconds: float, why: str = "away") -> list[float]:
    """When it is told, of a failure every 0.1 s."""
    found, start = [], clock.now
    for tenth in range(round(seconds * 10)):
        clock.now = start + tenth / 10
        if voice.says(why):
            found.append(round(clock.now - start, 1))
    return found


def test_a_sentence_is_said_early_and_then_seldom() -> None:
    """Not in the first half second; then once; the same again after 30 s, and 60 s after that."""
    clock = Clock()

    assert told(Voice(clock=clock), clock, 200) == [BLIP_S, BLIP_S + AGAIN_S, BLIP_S + 3 * AGAIN_S]


def test_another_sentence_is_news() -> None:
    """A second reason is said at once, however lately the first was."""
    clock = Clock()
    voice = Voice(clock=clock)

    assert told(voice, clock, 5) == [BLIP_S]
    assert told(voice, clock, 5, "refused") == [0.0]
    assert told(voice, clock, 5) == []


def test_what_works_again_and_fails_again_is_news() -> None:
    """The length of the trouble is told at its end, if the trouble was; the next trouble is said anew."""
    clock = Clock()
    voice = Voice(clock=clock)
    told(voice, clock, 10)

    assert round(voice.waited_s() or 0) == 10
    assert voice.waited_s() is None
    assert told(voice, clock, 10) == [BLIP_S]


def failing(times: int) -> list[Unreachable | None]:
    return [Unreachable("it does not answer", hint="look at it")] * times + [None]


async def test_trouble_has_a_first_and_a_last_line() -> None:
    """A hundred attempts are two lines: what is waited for and why, and that it is over; a short hitch is none."""

    async def attempt() -> str:
        if error := outcomes.pop(0):
            raise error
        return "done"

    def attempt_now() -> str:
        if error := outcomes.pop(0):
            raise error
        return "done"

    for times, quiet_s, events in ((100, 0.0, ["waiting", "waited"]), (3, BLIP_S, [])):
        outcomes = failing(times)
        with structlog.testing.capture_logs() as logs:
            assert await retrying("asking", attempt, first_s=0.001, most_s=0.001, quiet_s=quiet_s) == "done"
        assert [entry["event"] for entry in logs] == events
        assert [entry["hint"] for entry in logs if entry["event"] == "waiting"] == ["look at it"] * (len(events) // 2)
    outcomes = failing(3)
    with structlog.testing.capture_logs() as logs:
        assert retrying_sync("asking", attempt_now, first_s=0.001, most_s=0.001) == "done"
    assert logs == []
