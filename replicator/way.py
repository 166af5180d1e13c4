"""One partition's way: where it comes from and where it goes."""

from __future__ import annotations

from typing import NamedTuple

from headwater.contract import topics

BACKLOG = "~backlog"  # no topic's name has a ~


class Way(NamedTuple):
    """A topic at the source and a partition of it, which keeps its number at the target.

    `renamed` is the topic's name at the target where that is not `<site>.<topic>`. `aside`: what is shipped is the
    backlog of the topic, beside its new records (fresh/).
    """

    site: str
    topic: str
    partition: int
    renamed: str = ""
    aside: bool = False

    @property
    def target(self) -> str:
        """Topic at the target."""
        return self.renamed or topics.remote(self.site, self.topic)

    @property
    def ledger(self) -> str:
        """Name under which the link remembers it: that of the topic, or `<topic>~backlog`."""
        return self.topic + BACKLOG if self.aside else self.topic

    def __str__(self) -> str:
        return f"{self.target}[{self.partition}]"
