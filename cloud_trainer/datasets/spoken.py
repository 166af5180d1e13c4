"""What operators said of the alarms of one asset, as it is collected: which word on an episode is the last."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cloud_trainer.datasets.columns import merged
from headwater.contract.acknowledgement import Acknowledgement


@dataclass
class Spoken:
    """Words with their log times in ms: those of the partition, and those that a link shipped beside it (columns.py).

    Both are in log order, as the edge heeds them: the clock of the box, which a word names too, may be set back.
    """

    fresh: list[tuple[int, Acknowledgement]] = field(default_factory=list)
    backlog: list[tuple[int, Acknowledgement]] = field(default_factory=list)

    def add(self, logged: int, said: Acknowledgement, *, beside: bool) -> None:
        """Take the next one."""
        (self.backlog if beside else self.fresh).append((logged, said))

    def last(self) -> dict[str, Acknowledgement]:
        """By episode the last word."""
        every = [*self.fresh, *self.backlog]
        fresh, backlog = (np.array([at for at, _ in part], np.int64) for part in (self.fresh, self.backlog))
        return {every[place][1].episode: every[place][1] for place in merged(fresh, backlog).tolist()}
