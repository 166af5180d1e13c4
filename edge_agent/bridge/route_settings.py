"""A route, as settings have it."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headwater.contract import topics
from headwater.contract.decoders import DecoderSpec

_NAME = re.compile(r"\{[a-z][a-z0-9_]*\}")
_KAFKA_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


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

    @model_validator(mode="after")
    def _fits(self) -> Self:
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
        ):
            raise ValueError(f"{self.to} is written by Headwater itself")
        for name in self.headers:
            if name.startswith("hw-"):
                raise ValueError(f"header {name}: names that begin with hw- are Headwater's own")
        for template in (self.key, self.asset_class, *self.headers.values()):
            self._check(template, names)
        return self

    def _check(self, template: str, names: set[str]) -> None:
        for name in _NAME.findall(template):
            if name[1:-1] not in names:
                raise ValueError(f"{template!r}: there is no {name} in {self.match!r}")
        if set(_NAME.sub("", template)) & set("{}"):
            raise ValueError(f"{template!r}: a brace that belongs to no {{name}}")
