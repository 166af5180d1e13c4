"""MQTT topics become assets, or are refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bridge.route import MOST_TOPICS, Route, check_template
from edge_agent.bridge.settings import BridgeSettings
from headwater.contract import headers
from headwater.contract.names import PATTERN


@pytest.mark.parametrize(
    ("template", "topic_filter", "topic", "key", "asset_class"),
    [
        ("{site}/{class}/{asset}", "lyon/#", "lyon/pump/p1", b"p1", b"pump"),
        ("plant/{site}/{asset}/x/{class}", "plant/lyon/#", "plant/lyon/p1/x/pump", b"p1", b"pump"),
        ("{site}/+/{class}/{asset}/+", "lyon/#", "lyon/hall 3/pump/p1/all", b"p1", b"pump"),
    ],
)
def test_a_template_says_where_names_are(
    template: str, topic_filter: str, topic: str, key: bytes, asset_class: bytes
) -> None:
    """The subscription is the fixed beginning; class and asset come from their places."""
    route = Route(template, "lyon", 4)

    routed = route.of(topic)

    assert route.topic_filter == topic_filter
    assert (routed.key, routed.refusal) == (key, None)
    assert headers.find(routed.headers, headers.CLASS) == asset_class


@pytest.mark.parametrize(
    "template", ["{site}", "{site}/{class}", "{site}/{class}/{asset}/#", "{class}/{asset}", "a/{b}"]
)
def test_a_template_without_sense_is_refused(template: str) -> None:
    """Before anything starts, with the template in the message."""
    with pytest.raises(ValueError, match=r"needs|must begin|is not"):
        check_template(template)
    with pytest.raises(ValueError, match="topic"):
        BridgeSettings(topic=template)


@given(st.text())
def test_any_topic_is_routed_or_refused(topic: str) -> None:
    """No topic raises, and none makes an asset with a name that is none."""
    routed = Route("{site}/{class}/{asset}", "lyon", 4).of("lyon/pump/" + topic)

    assert 0 <= routed.partition < 4
    assert (routed.refusal is None) == bool(PATTERN.fullmatch(topic))


def test_a_publisher_that_makes_up_topics_costs_no_memory() -> None:
    """What is remembered of topics is bounded."""
    route = Route("{site}/{class}/{asset}", "lyon", 4)

    for number in range(MOST_TOPICS + 5):
        route.of(f"lyon/pump/p{number}")

    assert len(route._known) <= MOST_TOPICS
