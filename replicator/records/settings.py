"""Rules for records, as settings have them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from replicator.records.paths import parts_of

_OWN_HEADERS = "hw-"


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from error
    return text


def _path(text: str) -> str:
    parts_of(text)
    return text


Path = Annotated[str, AfterValidator(_path)]


class Condition(BaseModel):
    """What a record must be; where several things are named, all of them must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Annotated[str, AfterValidator(_pattern)] | None = Field(
        None, description="regular expression that the whole key fits, as UTF-8"
    )
    header: str | None = Field(None, min_length=1, description="header that the record has")
    header_is: str | None = Field(None, description="value of that header, as UTF-8")
    field: Path | None = Field(
        None, description="field of the JSON value that is there and not null: values.flow; of a list, of any element"
    )
    equals: bool | int | float | str | None = Field(None, description="what that field is")
    above: float | None = Field(None, description="that field is a number above this one")
    at_least: float | None = Field(None, description="that field is a number, this one or above")
    below: float | None = Field(None, description="that field is a number below this one")
    at_most: float | None = Field(None, description="that field is a number, this one or below")
    tombstone: bool | None = Field(None, description="true: the record has no value")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        compared = (self.equals, self.above, self.at_least, self.below, self.at_most)
        if self.field is None and any(each is not None for each in compared):
            raise ValueError("say with `field` what is compared")
        if self.header is None and self.header_is is not None:
            raise ValueError("say with `header` whose value `header_is` is")
        if self.tombstone and self.field is not None:
            raise ValueError("a tombstone has no value, and so no `field`")
        if not self.model_dump(exclude_none=True):
            raise ValueError("name what a record must be: key, header, field or tombstone")
        self._some_number_fits()
        return self

    def _some_number_fits(self) -> None:
        lows = [(each, name) for each, name in ((self.above, "above"), (self.at_least, "at_least")) if each is not None]
        highs = [(each, name) for each, name in ((self.below, "below"), (self.at_most, "at_most")) if each is not None]
        if lows and highs:
            (low, above), (high, below) = max(lows), min(highs)
            if low > high or (low == high and (self.above == low or self.below == high)):
                raise ValueError(f"no number is {above} {low:g} and {below} {high:g}")
        if self.equals is not None and (lows or highs):
            raise ValueError(f"`equals` says it all: leave out {', '.join(name for _, name in lows + highs)}")


class RecordRule(BaseModel):
    """One rule; those that are for a topic apply one after the other. Fields are named as they come into the rule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        "", pattern=r"^[A-Za-z0-9_. -]{0,40}$", description="name in status and metrics; none: rule and its number"
    )
    topics: tuple[str, ...] = Field(min_length=1, description="topics by their names at the site; * is any text")
    only: Condition | None = Field(None, description="the rule is about these records; others pass it untouched")
    keep: Condition | None = Field(None, description="records that are shipped; others are left out")
    drop: Condition | None = Field(None, description="records that are left out")
    every_s: float | None = Field(
        None,
        gt=0,
        le=31_536_000,
        description="the first record of a key in each such span of record time is shipped, in seconds",
    )
    tombstones: Literal["keep", "judge"] = Field(
        "keep", description="whether records without value are shipped whatever keep, drop and every_s say"
    )
    unreadable: Literal["ship", "drop"] | None = Field(
        None,
        description="what becomes of a value that the rule must read and that is no JSON object; "
        "none: dropped by rules that mask or remove fields, shipped unchanged by others",
    )
    mask: tuple[Path, ...] = Field(
        (), description="fields of JSON values that become mask_with, or HMAC-SHA-256 under replicator.mask_salt"
    )
    mask_with: str | int | float | None = Field(None, description="what masked fields become; none: the salted digest")
    remove_fields: tuple[Path, ...] = Field((), description="fields that are taken out of JSON values")
    rename_fields: dict[Path, str] = Field({}, description="new names of fields of JSON values, which keep their place")
    remove_headers: tuple[str, ...] = Field((), description="headers that are taken out; * is any text")
    set_headers: dict[str, str] = Field({}, description="headers that are set, instead of those of the same name")

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        changes = (self.mask, self.remove_fields, self.rename_fields, self.remove_headers, self.set_headers)
        if not any((self.keep, self.drop, self.every_s, *changes)):
            raise ValueError("the rule does nothing: give it keep, drop, every_s or a change")
        for name in self.set_headers:
            if name.startswith(_OWN_HEADERS):
                raise ValueError(f"set_headers: {name!r} begins with {_OWN_HEADERS}, as Headwater's own do")
        if self.mask_with is not None and not self.mask:
            raise ValueError("mask_with without `mask`: name the fields")
        for path, name in self.rename_fields.items():
            if not name:
                raise ValueError(f"rename_fields: {path!r} becomes nothing; remove_fields takes it out")
        return self

    @property
    def needs_salt(self) -> bool:
        """Whether it masks with a digest."""
        return bool(self.mask) and self.mask_with is None

    def is_for(self, topic: str) -> bool:
        """Whether it applies to a topic."""
        return any(fnmatchcase(topic, pattern) for pattern in self.topics)


def called(rules: Sequence[RecordRule]) -> list[tuple[str, RecordRule]]:
    """Rules with their names; ValueError where two have the same."""
    found = [(rule.name or f"rule {number}", rule) for number, rule in enumerate(rules, start=1)]
    names = [name for name, _ in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two rules are called {twice!r}")
    return found


def check(rules: Sequence[RecordRule], topics: Sequence[str], *, has_salt: bool, may_be_others: bool) -> None:
    """Raise ValueError, naming the rule, where rules cannot apply as they are set."""
    for name, rule in called(rules):
        if rule.needs_salt and not has_salt:
            raise ValueError(f"{name}: mask needs the setting replicator.mask_salt, or mask_with")
        if not may_be_others and not any(rule.is_for(topic) for topic in topics):
            raise ValueError(f"{name}: topics {', '.join(rule.topics)} are none that the link ships")
    for topic in topics:
        check_spans(topic, rules_of(rules, topic))


def check_spans(topic: str, rules: Sequence[tuple[str, RecordRule]]) -> None:
    """Raise ValueError where two rules would thin a topic out: what the second one sees would not be determined."""
    thinning = [name for name, rule in rules if rule.every_s is not None]
    if len(thinning) > 1:
        raise ValueError(
            f"{thinning[1]}: every_s is set for {topic} by {thinning[0]} already; once a topic is possible"
        )


def rules_of(rules: Sequence[RecordRule], topic: str) -> list[tuple[str, RecordRule]]:
    """The rules of a topic, in their order, with their names."""
    return [(name, rule) for name, rule in called(rules) if rule.is_for(topic)]
