"""One partition's way: where it comes from and where it goes."""

from __future__ import annotations

from typing import NamedTuple

from headwater.contract import topics


class Way(NamedTuple):
    """A topic at the source and a partition of it, which keeps its number at the target.

    `renamed` is the topic's name at the target where that is not `<site>.<topic>`.
    """

    site: str
    topic: str
    partition: int
    renamed: str = ""

    @property
    def target(self) -> str:
        """Topic at the target."""
        return self.renamed or topics.remote(self.site, self.topic)

    def __str__(self) -> str:
        return f"{self.target}[{self.partition}]"
