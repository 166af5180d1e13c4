"""Which topics a link ships and what they are called at the target; words and defaults as in MirrorMaker 2."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from replicator.mm2.naming import Naming

# DefaultTopicFilter.TOPICS_EXCLUDE_DEFAULT in Apache Kafka 4.3
NEVER_BY_PATTERN = (r"mm2.*\.internal", r".*\.replica", "__.*")
# DefaultGroupFilter.GROUPS_EXCLUDE_DEFAULT
NO_GROUPS_OF_TOOLS = ("console-consumer-.*", "connect-.*", "__.*")
LONGEST_S = 604_800  # of a time between two looks or heartbeats: a week
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    return pattern


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r}: only letters, digits, dot, underscore and hyphen can be part of a topic's name")
    return name


Pattern = Annotated[str, AfterValidator(_check_pattern)]
Word = Annotated[str, AfterValidator(_check_name)]


def matches(patterns: tuple[str, ...], name: str) -> bool:
    """Whether one of the regular expressions fits the whole name."""
    return any(re.fullmatch(pattern, name) for pattern in patterns)


class NamingSettings(BaseModel):
    """Names of the two clusters, and what a topic is called at the target: `lyon.readings`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_alias: Word | None = Field(default=None, description="name of the source, if it is not that of the site")
    target_alias: Word = Field(default="cloud", description="name of the target; what came from there is not shipped")
    separator: Word = Field(default=".", description="what stands between the source's name and the topic's")
    keep_names: bool = Field(
        default=False, description="topics keep their names at the target (MirrorMaker's IdentityReplicationPolicy)"
    )

    def of(self, site: str) -> Naming:
        """The names of a site's link."""
        return Naming(self.source_alias or site, self.target_alias, self.separator, self.keep_names)

    @model_validator(mode="after")
    def _apart(self) -> NamingSettings:
        for alias in (self.source_alias, self.target_alias):
            if alias and self.separator in alias:
                raise ValueError(
                    f"the separator {self.separator!r} is in the name {alias!r}: nobody could tell them apart"
                )
        return self


class SelectionSettings(BaseModel):
    """Topics by pattern, beside those that `topics` names. Patterns are regular expressions that fit a whole name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    include: tuple[Pattern, ...] = Field(
        default=(), description="ship every topic that one of these fits, new ones too"
    )
    exclude: tuple[Pattern, ...] = Field(
        default=NEVER_BY_PATTERN,
        description="but none that one of these fits; internal topics are left out in any case",
    )
    refresh_s: float = Field(default=3.0, gt=0, le=600, description="time between looks for new topics and partitions")

    def fits(self, naming: Naming, topic: str) -> bool:
        """Whether a topic of the source is shipped because of a pattern."""
        chosen = matches(self.include, topic) and not matches(self.exclude, topic)
        own = not naming.keeps_names and naming.source in naming.hops(topic)  # shipped by this link, into its source
        return chosen and not own and not naming.is_internal(topic) and not naming.came_from_target(topic)


class TopicConfigSettings(BaseModel):
    """What becomes of a topic's configuration after the topic was made like the one at the source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    follow: bool = Field(
        default=False,
        description="set at the target what the source changes; otherwise a difference is only reported, so that the "
        "cloud may keep records longer than a site",
    )
    refresh_s: float = Field(default=60.0, gt=0, le=LONGEST_S, description="time between comparisons")


class MirrorSettings(BaseModel):
    """What a link writes for the tools of MirrorMaker 2, and for the consumers that move to the target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    publish: bool = Field(default=False, description="write heartbeats, checkpoints and offset syncs as MirrorMaker 2")
    sync_group_offsets: bool = Field(
        default=False,
        description="set at the target where each group stands; never of a group with members there, and never back",
    )
    groups: tuple[Pattern, ...] = Field(default=(".*",), description="consumer groups that any of these fits")
    groups_exclude: tuple[Pattern, ...] = Field(
        default=NO_GROUPS_OF_TOOLS, description="but none that one of these fits"
    )
    heartbeat_interval_s: float = Field(default=5.0, gt=0, le=LONGEST_S, description="time between heartbeats")
    checkpoint_interval_s: float = Field(
        default=10.0, gt=0, le=LONGEST_S, description="time between looks at the consumer groups"
    )
    offset_syncs_at: Literal["source", "target"] = Field(
        default="source", description="cluster of the offset syncs (MirrorMaker's offset-syncs.topic.location)"
    )

    @property
    def follows_groups(self) -> bool:
        """Whether consumer groups are looked at."""
        return self.publish or self.sync_group_offsets

    def fits(self, group: str) -> bool:
        """Whether the offsets of a group are translated."""
        return matches(self.groups, group) and not matches(self.groups_exclude, group)
