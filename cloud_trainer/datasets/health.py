"""Which readings may be learned from: none of an alarm's episode, nor those around it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cloud_trainer.datasets.columns import merged
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Ints
from headwater.contract.messages import Alarm

Mask = npt.NDArray[np.bool_]
_EVER = 1 << 62


class Span(NamedTuple):
    """Sensor times in ms between which an asset was not healthy."""

    start: int
    end: int


@dataclass
class Alarms:
    """The alarms of one asset with their log times in ms, as they were collected (see columns.py)."""

    fresh: list[tuple[int, Alarm]] = field(default_factory=list)
    backlog: list[tuple[int, Alarm]] = field(default_factory=list)

    def spans(self, but: Container[str] = ()) -> list[Span]:
        """Its episodes, without those named."""
        every = [*self.fresh, *self.backlog]
        logged = [np.array([at for at, _ in part], np.int64) for part in (self.fresh, self.backlog)]
        ordered = (every[number][1] for number in merged(logged[0], logged[1]).tolist())
        return unhealthy(alarm for alarm in ordered if alarm.episode not in but)


def unhealthy(alarms: Iterable[Alarm]) -> list[Span]:
    """Spans of one asset's episodes; one without its opening began before the range, one without its end goes on."""
    opened: dict[str, int] = {}
    spans: list[Span] = []
    for alarm in alarms:
        if alarm.state == "opened":
            opened[alarm.episode] = alarm.t
        else:
            spans.append(Span(opened.pop(alarm.episode, -_EVER), alarm.t))
    return spans + [Span(start, _EVER) for start in opened.values()]


def in_episode(t: Ints, spans: Sequence[Span]) -> Mask:
    """Which readings lie within an episode."""
    inside = np.zeros(len(t), dtype=bool)
    for span in spans:
        inside |= (t >= span.start) & (t <= span.end)
    return inside


def healthy(t: Ints, spans: Sequence[Span], recipe: Recipe) -> Mask:
    """Which readings may be learned from: none of an episode, nor those before it in which the fault grew unseen."""
    found = np.ones(len(t), dtype=bool)
    for span in spans:
        inside = np.flatnonzero((t >= span.start) & (t <= span.end))
        if len(inside):
            found[max(0, inside[0] - recipe.lead) : inside[-1] + 1 + recipe.window] = False
    return found
