"""MQTT topics become assets, or are refused with a reason."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_agent.bridge.route_settings import RouteSettings
from edge_agent.bridge.routes import MOST_TOPICS, Routed, Table, disjoint, filters_of
from headwater.contract import headers, topics
from headwater.contract.names import PATTERN

PARTITIONS = {topics.READINGS: 4, topics.DEAD_LETTERS: 4, "events": 2}
WORDS = st.lists(st.sampled_from(["a", "b", "c", "+"]), min_size=1, max_size=4)
FILTERS = st.builds(lambda words, rest: "/".join([*words, *rest]), WORDS, st.sampled_from([[], ["#"]]))
TOPICS = st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map("/".join)


def table(*routes: dict[str, Any]) -> Table[tuple[str, int]]:
    return Table([RouteSettings(**each) for each in routes], "lyon", PARTITIONS, lambda topic, n: (topic, n))


def routed(topic: str, *routes: dict[str, Any]) -> Routed[tuple[str, int]]:
    return table(*(routes or ({},))).of(topic.encode())


def matches(topic_filter: str, topic: str) -> bool:
    """MQTT 5, 4.7: what a broker does."""
    wanted, words = topic_filter.split("/"), topic.split("/")
    for place, word in enumerate(wanted):
        if word == "#":
            return True
        if place >= len(words) or word not in ("+", words[place]):
            return False
    return len(wanted) == len(words)


@pytest.mark.parametrize(
    ("match", "topic_filter", "topic", "key", "asset_class"),
    [
        ("{site}/{class}/{asset}", "lyon/#", "lyon/pump/p1", b"p1", b"pump"),
        ("plant/{site}/{asset}/x/{class}", "plant/lyon/#", "plant/lyon/p1/x/pump", b"p1", b"pump"),
        ("{site}/+/{class}/{asset}/+", "lyon/#", "lyon/hall 3/pump/p1/all", b"p1", b"pump"),
        ("{site}/{class}/{asset}/#", "lyon/#", "lyon/pump/p1/a/b", b"p1", b"pump"),
    ],
)
def test_a_match_says_where_names_are(
    match: str, topic_filter: str, topic: str, key: bytes, asset_class: bytes
) -> None:
    """The subscription is the fixed beginning; class and asset come from their places."""
    found = routed(topic, {"match": match})

    assert filters_of([RouteSettings(match=match)], "lyon") == [topic_filter]
    assert (found.key, found.refusal) == (key, None)
    assert headers.find(found.headers, headers.CLASS) == asset_class


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"match": "{site}"}, r"there is no \{asset\} in"),
        ({"match": "{class}/{asset}"}, "say with `filter`"),
        ({"match": "{site}/{class}/{class}", "key": "x"}, "a name twice"),
        ({"match": "{site}/#/{class}/{asset}"}, "'#' is not"),
        ({"match": "{site}/a{class}/{asset}"}, "is not a plain word"),
        ({"to": "a/b"}, "cannot be the name of a Kafka topic"),
        ({"to": ".."}, "cannot be the name of a Kafka topic"),
        ({"to": "dead-letters"}, "written by Headwater itself"),
        ({"key": "{asset"}, "a brace"),
        ({"headers": {"hw-session": "x"}}, "Headwater's own"),
        ({"headers": {"line": "{line}"}}, r"there is no \{line\}"),
        ({"decoder": {"kind": "jsom"}}, "json"),
    ],
)
def test_a_route_without_sense_is_refused(wrong: dict[str, Any], says: str) -> None:
    """Before anything starts, in words."""
    with pytest.raises(ValidationError, match=says):
        RouteSettings(**wrong)


def test_the_first_route_that_fits_has_the_topic() -> None:
    """The table is tried from its top; key, class, headers and Kafka topic are those of that route."""
    special = {
        "match": "{site}/pump/{asset}/{line}",
        "to": "events",
        "key": "{line}-{asset}",
        "asset_class": "",
        "headers": {"line": "{line} of {site}"},
        "partition": "mqtt-topic",
    }
    general = {"match": "{site}/{class}/{asset}/+"}

    first, second = routed("lyon/pump/P 1/7", special, general), routed("lyon/fan/f1/7", special, general)

    assert (first.key, first.lane[0]) == (b"7-P 1", "events")
    assert headers.find(first.headers, "line") == b"7 of lyon"
    assert headers.find(first.headers, headers.CLASS) is None
    assert (second.key, second.lane[0]) == (b"f1", topics.READINGS)


@given(st.text())
def test_any_topic_is_routed_or_refused(word: str) -> None:
    """No topic raises, and none makes an asset with a name that is none."""
    found = table({}).of(b"lyon/pump/" + word.encode("utf-8", "surrogatepass"))

    assert 0 <= found.lane[1] < 4
    assert (found.refusal is None) == bool(PATTERN.fullmatch(word))


@given(st.binary(max_size=2000))
def test_any_bytes_as_a_topic_are_refused_in_words(topic: bytes) -> None:
    """What is not UTF-8, is empty or has a NUL goes to dead-letters, with headers that can be read."""
    found = table({}).of(topic)

    assert found.lane[0] == topics.DEAD_LETTERS
    assert found.refusal is not None
    assert headers.find_text(found.headers, headers.MQTT_TOPIC) is not None
    assert len(found.key) <= 1024


def test_a_publisher_that_makes_up_topics_costs_no_memory() -> None:
    """What is remembered of topics is bounded in number, and long ones are not remembered at all."""
    known = table({})

    for number in range(MOST_TOPICS + 5):
        known.of(b"lyon/pump/p%d" % number)
    known.of(b"x" * 60_000)

    assert len(known._known) <= MOST_TOPICS
    assert not any(len(topic) > 1024 for topic in known._known)


@given(st.lists(FILTERS, min_size=1, max_size=5), TOPICS)
def test_subscriptions_cover_all_routes_and_never_overlap(filters: list[str], topic: str) -> None:
    """A topic that a route asked for arrives, and by one subscription only."""
    found = disjoint(filters)

    assert any(matches(each, topic) for each in found) >= any(matches(each, topic) for each in filters)
    assert not any(matches(a, topic) and matches(b, topic) for a, b in combinations(found, 2))
