"""From an MQTT topic to a Kafka topic, a key, a partition, a decoder and headers.

The table is tried from its top, and the first route that fits a topic has it. What is subscribed to is worked out from
all routes: each by its fixed beginning (`lyon/#` for `{site}/{class}/{asset}`), so that a topic which fits no route is
seen and can be refused in words rather than never arrive; filters that another one covers, or that overlap, become one,
because brokers may send a message once for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from edge_agent.bridge.route_settings import RouteSettings
from headwater.contract import headers, topics
from headwater.contract.decoders import Decoder, make
from headwater.contract.decoders.spec import nearest
from headwater.contract.errors import BadInput, BadSetting
from headwater.contract.names import check_name
from headwater.contract.partitioning import partition_of

MOST_TOPICS = 10_000  # remembered at a time; a publisher may make up any number of them
MOST_TOPIC_BYTES = 1024
NOT_ROUTED = "topic-not-routed"
BAD_NAME = "bad-name"
BAD_TOPIC = "bad-topic"

_MOST_GIVEN_BYTES = 16 << 10  # headers that a route makes of a topic
_DETAIL_CHARACTERS = 300
L = TypeVar("L")


class Routed(NamedTuple, Generic[L]):
    """Where the messages of an MQTT topic go; `refusal` is (reason code, detail) where they go to dead-letters."""

    route: str  # what it matches, for people
    lane: L
    key: bytes
    headers: headers.Headers
    decoder: Decoder | None = None  # None: the payload is the value
    refusal: tuple[str, str] | None = None


class Table(Generic[L]):
    """All routes, applied; each distinct topic is worked out once. `lane` gives what stands for a Kafka partition."""

    def __init__(
        self,
        routes: Sequence[RouteSettings],
        site: str,
        partitions: Mapping[str, int],
        lane: Callable[[str, int], L],
        schemas: Mapping[str, bytes] = {},  # grows while it is used
    ) -> None:
        self._routes = [_Route(each, site, schemas) for each in routes]
        self._partitions = partitions
        self._lane = lane
        self._known: dict[bytes, Routed[L]] = {}

    def of(self, topic: bytes) -> Routed[L]:
        """Where messages of this MQTT topic go."""
        found = self._known.get(topic)
        if found is None:
            found = self._work_out(topic)
            if len(topic) > MOST_TOPIC_BYTES:
                return found
            if len(self._known) >= MOST_TOPICS:
                self._known.clear()
            self._known[topic] = found
        return found

    @property
    def matches(self) -> list[str]:
        """What each route matches, as `Routed.route` names it."""
        return [route.match for route in self._routes]

    def fitting(self, topic: str) -> list[str]:
        """What the routes match that an MQTT topic fits, in the order of the table; the first of them has it."""
        words = topic.split("/")
        return [route.match for route in self._routes if route.names(words) is not None]

    def elsewhere(self, routed: Routed[L], asset: str) -> Routed[L]:
        """As `routed`, for a reading whose payload names its asset."""
        to = next(route.to for route in self._routes if route.match == routed.route)
        key = asset.encode()
        return routed._replace(key=key, lane=self._lane(to, partition_of(key, self._partitions[to])))

    def dead(self, routed: Routed[L], reason: str, detail: str) -> Routed[L]:
        """As `routed`, for a message that is refused."""
        lane = self._lane(topics.DEAD_LETTERS, partition_of(routed.key, self._partitions[topics.DEAD_LETTERS]))
        return routed._replace(lane=lane, decoder=None, refusal=(reason, detail[:_DETAIL_CHARACTERS]))

    def _work_out(self, topic: bytes) -> Routed[L]:
        nowhere = self.dead(
            Routed("", self._lane(topics.DEAD_LETTERS, 0), topic[:MOST_TOPIC_BYTES], _topic_header(topic)),
            NOT_ROUTED,
            "",
        )
        try:
            words = text(topic).split("/")
        except BadInput as error:
            return nowhere._replace(refusal=(BAD_TOPIC, str(error)[:_DETAIL_CHARACTERS]))
        for route in self._routes:
            names = route.names(words)
            if names is not None:
                return self._routed(route, names, topic, nowhere)
        tried = ", ".join(route.match for route in self._routes)
        detail = f"MQTT topic {topic[:_DETAIL_CHARACTERS].decode()!r} does not fit {tried}"
        return nowhere._replace(refusal=(NOT_ROUTED, detail[:_DETAIL_CHARACTERS]))

    def _routed(self, route: _Route, names: Mapping[str, str], topic: bytes, nowhere: Routed[L]) -> Routed[L]:
        try:
            key, given = route.key_and_headers(names)
        except BadInput as error:
            return nowhere._replace(route=route.match, refusal=(BAD_NAME, str(error)[:_DETAIL_CHARACTERS]))
        by = key if route.by_key else topic
        lane = self._lane(route.to, partition_of(by, self._partitions[route.to]))
        return Routed(route.match, lane, key, (*_topic_header(topic), *given), route.decoder)


class _Route:
    def __init__(self, settings: RouteSettings, site: str, schemas: Mapping[str, bytes]) -> None:
        self._settings = settings
        self._words = _words(settings.match, site)
        self._site = site
        self.match = "/".join(self._words)
        self.to = settings.to
        self.by_key = settings.partition == "key"
        self.decoder = None if settings.decoder.kind == "raw" else make(settings.decoder, schemas)

    def names(self, words: Sequence[str]) -> dict[str, str] | None:
        """What the words of a topic stand for; None when it does not fit."""
        mine = self._words
        if mine[-1] == "#":
            mine = mine[:-1]
            words = words[: len(mine)] if len(words) >= len(mine) else words
        if len(words) != len(mine):
            return None
        found = {"site": self._site}
        for pattern, word in zip(mine, words, strict=True):
            if pattern.startswith("{"):
                found[pattern[1:-1]] = word
            elif pattern not in ("+", word):
                return None
        return found

    def key_and_headers(self, names: Mapping[str, str]) -> tuple[bytes, headers.Headers]:
        """Key and headers of a topic; BadInput when it names no asset or class, or they are large."""
        settings = self._settings
        key = settings.key.format_map(names)
        asset_class = settings.asset_class.format_map(names)
        if self.to == topics.READINGS:
            check_name(key, "asset")
            check_name(asset_class, "asset class")
        if len(key.encode()) > MOST_TOPIC_BYTES:
            raise BadInput(f"a key of {len(key.encode())} bytes, at most {MOST_TOPIC_BYTES}")
        given = [(headers.CLASS, headers.text(asset_class))] if asset_class else []
        given += [(name, headers.text(value.format_map(names))) for name, value in settings.headers.items()]
        size = sum(len(value) for _, value in given)
        if size > _MOST_GIVEN_BYTES:
            raise BadInput(f"headers of {size} bytes, at most {_MOST_GIVEN_BYTES}")
        return key.encode(), tuple(given)


def check(routes: Sequence[RouteSettings], site: str, schemas: Mapping[str, bytes]) -> None:
    """Raise BadSetting for a route that cannot work here, such as one whose decoder is not installed."""
    for problem in problems(routes, site, schemas):
        raise problem


def problems(routes: Sequence[RouteSettings], site: str, schemas: Mapping[str, bytes]) -> Iterator[BadSetting]:
    """What keeps each route from working here; the routes are counted from 1."""
    for number, each in enumerate(routes, start=1):
        name, where = each.decoder.schema_name, f"route {number} ({each.match})"
        if name is not None and name not in schemas:
            near = nearest(name, schemas) if schemas else ""
            how = near if near.startswith("did") else f'add `{name} = "FILE"` to [edge.bridge.schemas]'
            yield BadSetting(f"{where}: there is no schema {name!r} in [edge.bridge.schemas]", hint=how)
            continue
        try:
            _Route(each, site, schemas)
        except BadSetting as error:
            yield BadSetting(f"{where}: {error}", hint=error.hint)


def shadowed(routes: Sequence[RouteSettings], site: str) -> list[str]:
    """A sentence for each route that never has a message, because one above it fits all of its topics."""
    words = [_words(each.match, site) for each in routes]
    found = []
    for below, mine in enumerate(words):
        above = next((at for at in range(below) if _covers(words[at], mine)), None)
        if above is not None:
            has = f"route {above + 1} ({routes[above].match}) has all of its topics"
            found.append(f"route {below + 1} ({routes[below].match}) never has a message: {has}")
    return found


def _covers(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether every topic that `other` matches is one of `one`."""
    if one[-1] == "#":
        one, other = one[:-1], other[: len(one) - 1]
    return len(one) == len(other) and all(
        b != "#" and (a in (b, "+") or a.startswith("{")) for a, b in zip(one, other, strict=True)
    )


def matches_of(routes: Sequence[RouteSettings], site: str) -> list[str]:
    """What each route matches, as `Routed.route` names it."""
    return ["/".join(_words(each.match, site)) for each in routes]


def filters_of(routes: Sequence[RouteSettings], site: str) -> list[str]:
    """What to subscribe to; no two of them overlap."""
    wanted = [(each.filter or _wide(_words(each.match, site))).replace("{site}", site) for each in routes]
    return disjoint([*wanted, *(f"spBv1.0/STATE/{name}" for each in routes if (name := each.decoder.host_id))])


def _words(match: str, site: str) -> list[str]:
    return [site if word == "{site}" else word for word in match.split("/")]


def text(topic: bytes) -> str:
    """An MQTT topic as text; BadInput when it is none (MQTT 5, 1.5.4: UTF-8 without NUL)."""
    try:
        found = topic.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"an MQTT topic that is not UTF-8: {topic[:80]!r}") from error
    if not found or "\0" in found:
        raise BadInput(f"an MQTT topic that is empty or has a NUL: {topic[:80]!r}")
    return found


def _topic_header(topic: bytes) -> headers.Headers:
    return ((headers.MQTT_TOPIC, topic[:MOST_TOPIC_BYTES].decode("utf-8", "replace").encode()),)


def _wide(words: Sequence[str]) -> str:
    fixed: list[str] = []
    for word in words:
        if word.startswith("{") or word in ("+", "#"):
            return "/".join([*fixed, "#"])
        fixed.append(word)
    return "/".join(fixed)


def disjoint(filters: Iterable[str]) -> list[str]:
    """Filters that match at least what these do, of which no two match the same topic."""
    found: list[list[str]] = []
    for words in (each.split("/") for each in filters):
        joined = words
        while (other := next((each for each in found if _overlap(each, joined)), None)) is not None:
            found.remove(other)
            joined = _joined(other, joined)
        found.append(joined)
    return sorted("/".join(words) for words in found)


def _overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    for a, b in zip(one, other, strict=False):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    if len(one) == len(other):
        return True
    longer = one if len(one) > len(other) else other
    return longer[min(len(one), len(other))] == "#"  # `a/#` matches `a` too


def _joined(one: Sequence[str], other: Sequence[str]) -> list[str]:
    words: list[str] = []
    for a, b in zip(one, other, strict=False):
        if "#" in (a, b):
            return [*words, "#"]
        words.append(a if a == b else "+")
    return words if len(one) == len(other) else [*words, "#"]
