"""How many messages came for each route."""

from __future__ import annotations

import random

import pytest

from edge_agent.bridge.tally import RouteCount, Tally


def route_of(topic: bytes) -> str:
    return {b"a": "one", b"b": "two"}.get(topic[:1], "")


@pytest.mark.parametrize("routes", [["one"], ["one", "two", "three"]])
def test_every_message_is_counted_for_its_route(routes: list[str]) -> None:
    """One route or several, also with more MQTT topics than are remembered; what no route fits has no name."""
    chance, tally = random.Random(1), Tally(routes, route_of)
    starts = [b"a", b"b", b"x"] if len(routes) > 1 else [b"a", b"x"]
    sent = [chance.choice(starts) + b"%d" % chance.randrange(20_000) for _ in range(50_000)]
    for at in range(0, len(sent), 500):
        tally.took([(0x32, topic) for topic in sent[at : at + 500]], 1)
        for topic in sent[at : at + 500]:
            if topic.startswith(b"x"):
                tally.refused("", "topic-not-routed: " + topic.decode())
    tally.refused("one", "bad-name: P 1")

    counts = tally.counts()

    expected = {route_of(start): sum(topic.startswith(start) for topic in sent) for start in starts}
    assert {name: count.received for name, count in counts.items()} == expected
    assert counts == tally.counts()
    assert counts["one"][1:] == (1, "bad-name: P 1")
    assert counts[""].refused == counts[""].received
    assert counts[""].last_error.startswith("topic-not-routed")


def test_nothing_is_said_of_what_did_not_come() -> None:
    """Without a message that no route fits there is no line for it."""
    tally = Tally(["one"], route_of)
    tally.took([(0x32, b"a1")], 1)

    assert tally.counts() == {"one": RouteCount(1, 0, "")}
