"""The Sparkplug route in the settings, on paper, and what bridges without one pay for it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from edge_agent.bridge.route_settings import RouteSettings, topics_of
from edge_agent.bridge.routes import filters_of
from edge_agent.bridge.settings import BridgeSettings
from edge_agent.bridge.trial import listing, trial
from edge_agent.settings import EdgeSettings
from headwater.contract import topics
from tests.contract.sparkplug.plant import PUMP, Edge, Sent, T

ROUTE: dict[str, Any] = {"asset_class": "pump", "decoder": {"kind": "sparkplug-b"}}


def tried(message: Sent) -> dict[str, Any]:
    return trial([RouteSettings(**ROUTE)], "lyon", message.topic, message.payload, partitions=4, now_ms=T)


def test_a_route_needs_its_decoder_and_a_class() -> None:
    """The rest is known: the topics of Sparkplug, and the Kafka topics that setup has to make."""
    settings = EdgeSettings(site="lyon", bridge=BridgeSettings(routes=(RouteSettings(**ROUTE), RouteSettings())))

    assert filters_of(settings.bridge.routes, "lyon") == ["lyon/#", "spBv1.0/#"]
    assert topics_of(settings.bridge.routes) == [topics.READINGS, topics.SPARKPLUG_EVENTS, topics.SPARKPLUG_STATES]
    made = {spec.name: spec for spec in settings.topics}
    assert made[topics.SPARKPLUG_STATES].compacted
    assert not made[topics.SPARKPLUG_EVENTS].compacted
    assert topics.SPARKPLUG_STATES not in {spec.name for spec in EdgeSettings(site="lyon").topics}


def test_a_primary_host_hears_what_is_said_of_it() -> None:
    """With a group only, its own STATE topic is subscribed to beside it."""
    decoder = {"kind": "sparkplug-b", "role": "primary", "host_id": "hw"}
    route = RouteSettings(**{**ROUTE, "match": "spBv1.0/north/#", "decoder": decoder})

    assert filters_of([route], "lyon") == ["spBv1.0/STATE/hw", "spBv1.0/north/#"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"match": "{site}/#"}, "matches spBv1.0/#"),
        ({"match": "spBv1.0/+/DDATA/#"}, "matches spBv1.0/#"),
        ({"key": "{asset}"}, "no effect"),
        ({"asset_class": ""}, "needs `asset_class`"),
        ({"to": topics.SPARKPLUG_STATES}, "written by Headwater itself"),
        ({"decoder": {"kind": "sparkplug-b", "role": "primary"}}, "needs `host_id`"),
        ({"decoder": {"kind": "sparkplug-b", "host_id": "a"}}, "needs `host_id`"),
        ({"decoder": {"kind": "sparkplug-b", "samples": "a"}}, "no effect on sparkplug-b"),
    ],
)
def test_a_route_that_cannot_work_is_refused_in_words(wrong: dict[str, Any], says: str) -> None:
    """Each says what is wrong with it."""
    with pytest.raises(ValidationError, match=says):
        RouteSettings(**{**ROUTE, **wrong})


def test_what_cannot_go_together_is_refused_in_words() -> None:
    """Two hosts behind one broker, the spool, and shared subscriptions."""
    route = RouteSettings(**ROUTE)
    with pytest.raises(ValidationError, match="one host behind an MQTT broker"):
        BridgeSettings(routes=(route, route))
    with pytest.raises(ValidationError, match="needs ack_after = kafka"):
        BridgeSettings(routes=(route,), ack_after="spool")
    with pytest.raises(ValidationError, match="share_group"):
        EdgeSettings.model_validate({"site": "lyon", "mqtt": {"share_group": "a"}, "bridge": {"routes": [ROUTE]}})


def test_a_birth_is_tried_on_paper_and_data_say_what_they_need() -> None:
    """A birth by itself gives its values; data by alias name the birth that they need."""
    edge = Edge()
    _, birth, _ = edge.births()
    (record,) = tried(birth)["records"]
    assert (record["to"], record["key"]) == (topics.READINGS, PUMP)
    assert record["value"].endswith('"values":{"flow":3.0,"step":-4}}')

    found = tried(edge.data())
    assert found["refusal"]["reason"] == "not-born"
    assert "try the NBIRTH or the DBIRTH" in found["refusal"]["hint"]
    assert tried(edge.died())["records"] == []
    assert tried(Sent("spBv1.0/a/b", b"x", T))["refusal"]["reason"] == "bad-topic"
    assert listing([RouteSettings(**ROUTE)], "lyon")["routes"][0]["decoder"] == "sparkplug-b"


def test_a_bridge_without_such_a_route_loads_nothing_of_it() -> None:
    """Neither engine nor wiring is imported by the process's modules."""
    code = "import sys, edge_agent.bridge.process\nprint([m for m in sys.modules if 'sparkplug' in m])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
