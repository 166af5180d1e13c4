"""How many messages came for each route, and what was refused of them.

Nothing is counted a message where there is one route: all are its own but those that no route fits. Where there are
several, one pass in C over a read counts its MQTT topics, which become routes when somebody asks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from edge_agent.refusal_log import RefusalLog

_MOST_TOPICS = 10_000  # counted at a time; a publisher may make up any number of them
_MOST_BYTES = 4 << 20  # of these; a topic may have 64 KB
_NO_ROUTE = "(none fits)"
_SHOWN = 200  # bytes of an MQTT topic


def _shown(topic: bytes) -> str:
    return topic[:_SHOWN].decode(errors="backslashreplace") + ("..." if len(topic) > _SHOWN else "")


class RouteCount(NamedTuple):
    """`received`: messages that came for it, redeliveries included; `last_error` is why one was last refused."""

    received: int
    refused: int
    last_error: str


class Refusal(NamedTuple):
    """The newest one, of all routes."""

    at_ms: int = 0
    says: str = ""


class Tally:
    """Counts of one life. `routes` is what each matches, `route_of` the one that an MQTT topic fits, "" for none."""

    def __init__(self, routes: Sequence[str], route_of: Callable[[bytes], str]) -> None:
        self._last = (0, "", b"", "")  # ns, route, MQTT topic, why
        self._route_of = route_of
        self._only = routes[0] if len(routes) == 1 else None
        self._all = 0
        self._topics: Counter[bytes] = Counter()
        self._bytes = 0  # of the topics, at most: of all messages of the reads that brought a new one
        self._received: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._errors: dict[str, str] = {}
        self._log = RefusalLog()

    def took(self, messages: Sequence[Any], topic_at: int) -> None:
        """Messages of one read; their MQTT topics are at index `topic_at` of each."""
        if self._only is not None:
            self._all += len(messages)
            return
        known, topic_of = len(self._topics), itemgetter(topic_at)
        self._topics.update(map(topic_of, messages))
        if len(self._topics) > known:
            self._bytes += sum(map(len, map(topic_of, messages)))
            if len(self._topics) > _MOST_TOPICS or self._bytes > _MOST_BYTES:
                self._fold()

    def refused(self, route: str, why: str, topic: bytes = b"") -> None:
        """One message of an MQTT topic goes to dead-letters; `why` begins with the reason code."""
        self._refused[route] += 1
        self._errors[route] = why
        self._last = (time.time_ns(), route, topic, why)
        reason, _, detail = why.partition(": ")
        self._log.note(reason, detail, route=route or _NO_ROUTE, mqtt_topic=_shown(topic))

    @property
    def last_refusal(self) -> Refusal:
        """The newest one, told or not."""
        at, route, topic, why = self._last
        if not at:
            return Refusal()
        return Refusal(at // 1_000_000, f"to dead-letters: {why} (route {route or _NO_ROUTE}, topic {_shown(topic)})")

    def counts(self) -> dict[str, RouteCount]:
        """By route; "" is what no route fits, and is there if anything was."""
        nowhere = self._refused[""]
        if self._only is not None:
            received = Counter({self._only: self._all - nowhere, "": nowhere})
        else:
            self._fold()
            received = self._received
        names = [name for name in {**received, **self._refused} if name or received[""] or nowhere]
        return {name: RouteCount(received[name], self._refused[name], self._errors.get(name, "")) for name in names}

    def _fold(self) -> None:
        for topic, count in self._topics.items():
            self._received[self._route_of(topic)] += count
        self._topics.clear()
        self._bytes = 0
