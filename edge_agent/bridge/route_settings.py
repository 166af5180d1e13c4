"""A route, as settings have it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headwater.contract import topics
from headwater.contract.decoders import DecoderSpec

_NAME = re.compile(r"\{[a-z][a-z0-9_]*\}")
_KAFKA_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


SPARKPLUG = "sparkplug-b"
_SPARKPLUG_MATCH = re.compile(r"spBv1\.0/(?:[^/+#{}\0]+/)?#")


class RouteSettings(BaseModel):
    """Which MQTT topics it is for, and what becomes of their messages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: str = Field(
        "{site}/{class}/{asset}",
        description="MQTT topics it is for, word by word: {site}, {any_name}, a plain word, + is any one, # the rest.",
    )
    filter: str | None = Field(
        None, description="MQTT filter to subscribe with; by default the fixed beginning of `match` and #."
    )
    to: str = Field(topics.READINGS, description="Kafka topic; `headwater edge setup` makes it.")
    key: str = Field("{asset}", description="Key of the records, from the names in `match`.")
    asset_class: str = Field("{class}", description="Class of the asset, from the names in `match` or plain.")
    partition: Literal["key", "mqtt-topic"] = Field(
        "key", description="What decides the partition; records of the same keep their order."
    )
    decoder: DecoderSpec = Field(DecoderSpec(), description="How the payload becomes readings.")
    headers: dict[str, str] = Field({}, description="Further Kafka headers: name = text with names from `match`.")

    @model_validator(mode="before")
    @classmethod
    def _of_sparkplug(cls, given: Any) -> Any:
        """What a Sparkplug route means by default; its assets are named by the topics."""
        decoder = given.get("decoder") if isinstance(given, dict) else None
        kind = decoder.get("kind") if isinstance(decoder, dict) else getattr(decoder, "kind", None)
        if kind != SPARKPLUG:
            return given
        return {"match": "spBv1.0/#", "key": "sparkplug", "asset_class": "", **given}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.decoder.kind == SPARKPLUG:
            self._check_sparkplug()
        words = self.match.split("/")
        names = {word[1:-1] for word in words if _NAME.fullmatch(word)} | {"site"}
        for place, word in enumerate(words):
            plain = not set(word) & set("{}+#\0")
            if not (plain or _NAME.fullmatch(word) or word == "+" or (word == "#" and place == len(words) - 1)):
                raise ValueError(f"{self.match!r}: {word!r} is not a plain word, {{name}}, + or a last #")
        if sum(1 for word in words if _NAME.fullmatch(word)) != len(names | {"site"}) - ("{site}" not in words):
            raise ValueError(f"{self.match!r} has a name twice")
        if self.filter is None and (words[0] in ("+", "#") or (words[0] != "{site}" and "{" in words[0])):
            raise ValueError(f"{self.match!r} begins with any word: say with `filter` what to subscribe to")
        if not _KAFKA_NAME.fullmatch(self.to) or self.to in (".", ".."):
            raise ValueError(f"{self.to!r} cannot be the name of a Kafka topic")
        if self.to in (
            topics.DEAD_LETTERS,
            topics.SCORES,
            topics.ALARMS,
            topics.STATE,
            topics.STATUS,
            topics.SESSION_GAPS,
            topics.CLOCKS,
            topics.SKETCHES,
            topics.SPARKPLUG_EVENTS,
            topics.SPARKPLUG_STATES,
        ):
            raise ValueError(f"{self.to} is written by Headwater itself")
        for name in self.headers:
            if name.startswith("hw-"):
                raise ValueError(f"header {name}: names that begin with hw- are Headwater's own")
        for template in (self.key, self.asset_class, *self.headers.values()):
            self._check(template, names)
        return self

    def _check_sparkplug(self) -> None:
        if not _SPARKPLUG_MATCH.fullmatch(self.match) or self.filter is not None:
            raise ValueError(
                f"{self.match!r}: a Sparkplug route matches spBv1.0/# or spBv1.0/<group>/#, without `filter`"
            )
        if self.key != "sparkplug" or self.partition != "key":
            raise ValueError("`key` and `partition` have no effect on a Sparkplug route: the key is the asset")
        if "{" in self.asset_class or (not self.asset_class and self.to == topics.READINGS):
            raise ValueError("a Sparkplug route needs `asset_class`, the class of all its assets, such as pump")

    def _check(self, template: str, names: set[str]) -> None:
        for name in _NAME.findall(template):
            if name[1:-1] not in names:
                raise ValueError(f"{template!r}: there is no {name} in {self.match!r}")
        if set(_NAME.sub("", template)) & set("{}"):
            raise ValueError(f"{template!r}: a brace that belongs to no {{name}}")


def sparkplug_of(routes: Sequence[RouteSettings]) -> RouteSettings | None:
    """The Sparkplug route, if there is one; ValueError if there are two."""
    found = [route for route in routes if route.decoder.kind == SPARKPLUG]
    if len(found) > 1:
        raise ValueError("there is one host behind an MQTT broker: make one route of the Sparkplug routes")
    return found[0] if found else None


def topics_of(routes: Sequence[RouteSettings]) -> list[str]:
    """The Kafka topics that routes write to."""
    beside = [topics.SPARKPLUG_EVENTS, topics.SPARKPLUG_STATES] if sparkplug_of(routes) is not None else []
    return list(dict.fromkeys([*(route.to for route in routes), *beside]))
