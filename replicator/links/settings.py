"""Who goes first on the road to the target, and how much of it may be used."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from headwater.contract import topics
from replicator.fresh.settings import FreshSettings
from replicator.way import BACKLOG

_MOST_LANES = 6
BULK = "bulk"
BACKLOG_LANE = "backlog"
_BACKLOG_WEIGHT = 1 / 19  # a twentieth
_LEAST_BUDGET = 1_000_000
_MOST_BYTES = 1 << 62
_HOURS = re.compile(r"(?P<begin>([01][0-9]|2[0-3]):[0-5][0-9])-(?P<end>([01][0-9]|2[0-3]):[0-5][0-9])")


def _hours(text: str) -> str:
    found = _HOURS.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time of day from and to, as 22:00-06:00")
    if found["begin"] == found["end"]:
        raise ValueError(f"{text!r} ends where it begins; without hours bulk is always sent")
    return text


_Clock = Annotated[str, AfterValidator(_hours)]


def _budget(size: int) -> int:
    if size < _LEAST_BUDGET:
        raise ValueError(
            f"{size} bytes are less than a link needs to say what it does; a budget is {_LEAST_BUDGET} bytes or more"
        )
    return size


_Bytes = Annotated[int, Field(le=_MOST_BYTES), AfterValidator(_budget)]


class LaneSettings(BaseModel):
    """Topics that go together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9-]{1,20}$", description="name in status and metrics")
    topics: tuple[str, ...] = Field(min_length=1, description="topics by their names at the site; * is any text")
    weight: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="share of the link beside the other lanes' weights while more waits than it carries "
        "(bulk has 1); none: before all lanes behind it, which still get a twentieth",
    )

    def has(self, topic: str) -> bool:
        """Whether a topic goes in this lane."""
        return any(fnmatchcase(topic, pattern) for pattern in self.topics)


class BudgetSettings(BaseModel):
    """Bytes to the target and from it, TLS and what TCP sent again included; days and months are UTC's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hour_bytes: _Bytes | None = Field(default=None, description="most in an hour; 1 MB or more")
    day_bytes: _Bytes | None = Field(default=None, description="most in a day; no less than in an hour")
    month_bytes: _Bytes | None = Field(default=None, description="most in a month; no less than in a day")

    @model_validator(mode="after")
    def _longer_is_more(self) -> BudgetSettings:
        limits = {"hour_bytes": self.hour_bytes, "day_bytes": self.day_bytes, "month_bytes": self.month_bytes}
        for (short, less), (long, more) in combinations(limits.items(), 2):
            if less is not None and more is not None and more < less:
                raise ValueError(f"{long} ({more}) is below {short} ({less}), which then could never be used up")
        return self


class LinkSettings(BaseModel):
    """The road to the target. By default alarms and the link's own records go first, then scores, then the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lanes: tuple[LaneSettings, ...] = Field(
        default=(
            LaneSettings(name="alarms", topics=(topics.ALARMS, topics.STATUS, topics.SESSION_GAPS)),
            LaneSettings(name="scores", topics=(topics.SCORES,)),
        ),
        max_length=_MOST_LANES,
        description="lanes, the first before the second and so on; topics that are in none go last, as bulk",
    )
    fresh_first: FreshSettings = Field(
        default=FreshSettings(), description="topics whose new records go before their backlog, after an outage"
    )
    rate_bytes_s: int | None = Field(
        default=None,
        ge=1 << 10,
        le=_MOST_BYTES,
        description="most bytes a second to the target, of all instances of the link together",
    )
    hours: tuple[_Clock, ...] = Field(
        default=(), description="times of day (UTC, 22:00-06:00) in which bulk is sent; none: always"
    )
    budget: BudgetSettings = Field(
        default=BudgetSettings(),
        description="most bytes in a while, of all instances of the link and both ways together; "
        "the first lane has the last twentieth for itself",
    )

    recompress: Literal["zstd", "lz4"] | None = Field(
        default=None,
        description="codec that batches in another one are packed anew with on their way, small ones together; "
        "none: batches keep theirs",
    )

    @model_validator(mode="after")
    def _lanes_apart(self) -> LinkSettings:
        names = [lane.name for lane in self.lanes]
        for name in names:
            if name in {BULK, BACKLOG_LANE}:
                raise ValueError(f"lanes: {name!r} is the link's own lane; give yours another name")
            if names.count(name) > 1:
                raise ValueError(f"lanes: two are called {name!r}")
        return self

    @property
    def lane_names(self) -> list[str]:
        """Of all lanes, the first one first."""
        return [*(lane.name for lane in self.lanes), BULK, *([BACKLOG_LANE] if self.fresh_first.topics else [])]

    def lane_of(self, topic: str) -> int:
        """Number of a topic's lane; that of bulk is behind those that are named, and that of backlogs behind it."""
        if topic.endswith(BACKLOG):
            return len(self.lane_names) - 1
        return next((number for number, lane in enumerate(self.lanes) if lane.has(topic)), len(self.lanes))

    @property
    def weights(self) -> list[float]:
        """Of each lane; bulk has 1, and where topics ship what is new first, their backlogs go behind it."""
        found = [1.0, _BACKLOG_WEIGHT] if self.fresh_first.topics else [1.0]
        for lane in reversed(self.lanes):
            found.insert(0, lane.weight or 19 * sum(found))
        return found
