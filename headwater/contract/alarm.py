"""Alarm episodes: a pure step from one score to the next.

An episode opens after `open_after` scores in a row at or over the threshold, and closes after `close_after` in a
row under `recovery` times the threshold. A score that is not a number changes nothing.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from headwater.contract.errors import BadInput


class AlarmRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When episodes open and close; counts are scores."""

    open_after: int = 3
    close_after: int = 6
    recovery: float = 0.8

    def check(self) -> None:
        """Raise BadInput for a rule that could never open or close."""
        if self.open_after < 1 or self.close_after < 1 or not 0 < self.recovery <= 1:
            raise BadInput(f"alarm rule {self} is out of bounds")


class AlarmState(msgspec.Struct, frozen=True):
    """What is remembered of one asset between two scores."""

    over: int = 0  # scores in a row at or over the threshold
    under: int = 0  # scores in a row under the recovery level, while open
    episode: str = ""  # id of the open episode, or ""
    peak: float = 0.0  # highest score of the open episode


class Transition(msgspec.Struct, frozen=True):
    """An episode that opened or closed."""

    kind: Literal["opened", "closed"]
    episode: str
    peak: float


def step(
    rule: AlarmRule, state: AlarmState, score: float, threshold: float, episode_id: str
) -> tuple[AlarmState, Transition | None]:
    """Next state, and the transition that this score caused; `episode_id` names an episode that opens here."""
    if not math.isfinite(score):
        return state, None
    over = state.over + 1 if score >= threshold else 0
    if not state.episode:
        if over < rule.open_after:
            return AlarmState(over=over), None
        return AlarmState(over=over, episode=episode_id, peak=score), Transition("opened", episode_id, score)
    peak = max(state.peak, score)
    under = state.under + 1 if score < threshold * rule.recovery else 0
    if under < rule.close_after:
        return AlarmState(over=over, under=under, episode=state.episode, peak=peak), None
    return AlarmState(), Transition("closed", state.episode, peak)
