"""From an MQTT topic to an asset, its class and a partition.

A template such as `{site}/{class}/{asset}` is subscribed to by its fixed beginning (`lyon/#`), so that a topic which
does not fit it is seen and can be refused in words, rather than never arrive.
"""

from __future__ import annotations

from typing import NamedTuple

from headwater.contract import headers
from headwater.contract.errors import BadInput
from headwater.contract.names import check_name
from headwater.contract.partitioning import partition_of

MOST_TOPICS = 10_000  # remembered at a time; a publisher may make up any number of them

_DETAIL_CHARACTERS = 300


class Routed(NamedTuple):
    """Where the messages of an MQTT topic go; `refusal` is (reason code, detail) where they name no asset."""

    key: bytes
    partition: int
    headers: headers.Headers
    refusal: tuple[str, str] | None = None


def check_template(template: str) -> None:
    """Raise ValueError unless the template has {class} and {asset} once each, and whole segments only."""
    segments = template.split("/")
    for name in ("{class}", "{asset}"):
        if segments.count(name) != 1:
            raise ValueError(f"{template!r} needs {name} once, as a whole segment")
    for segment in segments:
        if segment not in ("{site}", "{class}", "{asset}", "+") and set(segment) & set("{}+#"):
            raise ValueError(f"{template!r}: {segment!r} is not {{site}}, {{class}}, {{asset}}, + or a plain word")
    if segments[0] in ("{class}", "{asset}", "+"):
        raise ValueError(f"{template!r} must begin with {{site}} or a plain word: the bridge takes one site's subtree")


class Route:
    """One template, applied; each distinct topic is worked out once."""

    def __init__(self, template: str, site: str, partitions: int) -> None:
        self._segments = [site if segment == "{site}" else segment for segment in template.split("/")]
        self._template = "/".join(self._segments)
        self._partitions = partitions
        self._known: dict[str, Routed] = {}

    @property
    def topic_filter(self) -> str:
        """What to subscribe to."""
        fixed = []
        for segment in self._segments:
            if segment in ("{class}", "{asset}", "+"):
                break
            fixed.append(segment)
        return "/".join([*fixed, "#"])

    def of(self, topic: str) -> Routed:
        """Where messages of this MQTT topic go."""
        found = self._known.get(topic)
        if found is None:
            if len(self._known) >= MOST_TOPICS:
                self._known.clear()
            found = self._known[topic] = self._work_out(topic)
        return found

    def _work_out(self, topic: str) -> Routed:
        mqtt_topic = (headers.MQTT_TOPIC, headers.text(topic))
        try:
            asset_class, asset = self._names(topic)
        except BadInput as error:
            key = topic.encode()
            reason = "topic-not-routed" if not error.hint else "bad-name"
            return Routed(
                key, partition_of(key, self._partitions), (mqtt_topic,), (reason, str(error)[:_DETAIL_CHARACTERS])
            )
        key = asset.encode()
        known = (mqtt_topic, (headers.CLASS, headers.text(asset_class)))
        return Routed(key, partition_of(key, self._partitions), known)

    def _names(self, topic: str) -> tuple[str, str]:
        words = topic.split("/")
        fits = len(words) == len(self._segments) and all(
            segment in ("{class}", "{asset}", "+") or segment == word
            for segment, word in zip(self._segments, words, strict=True)
        )
        if not fits:
            raise BadInput(f"MQTT topic {topic!r} does not fit {self._template}")
        named = dict(zip(self._segments, words, strict=True))
        return check_name(named["{class}"], "asset class"), check_name(named["{asset}"], "asset")
