"""Names at the target, held against what MirrorMaker 4.3.1's policies answer."""

from __future__ import annotations

import pytest

from replicator.mm2.naming import Naming

# Topic, source, original name, heartbeats?, checkpoints or MirrorMaker's own? (DefaultReplicationPolicy)
BY_DOT = [
    ("t", None, "t", False, False),
    ("lyon.t", "lyon", "t", False, False),
    ("paris.lyon.t", "paris", "t", False, False),
    ("x.", None, "x.", False, False),
    ("a_b", None, "a_b", False, False),
    (".x", "", "x", False, True),
    ("a..b", "a", "b", False, False),
    ("..a", "", "a", False, True),
    ("heartbeats", None, "heartbeats", True, False),
    ("lyon.heartbeats", "lyon", "heartbeats", True, False),
    ("x.internal", "x", "internal", False, False),
    ("a-internal", None, "a-internal", False, False),
    ("mm2-offset-syncs.cloud.internal", "mm2-offset-syncs", "internal", False, True),
    ("lyon.checkpoints.internal", "lyon", "internal", False, True),
    ("__consumer_offsets", None, "__consumer_offsets", False, True),
]
BY_UNDERSCORE = [
    ("lyon.t", None, "lyon.t", False, False),
    ("a_b", "a", "b", False, False),
    ("a__b", "a", "b", False, False),
    ("_x", "", "x", False, False),
    ("__consumer_offsets", "", "offsets", False, True),
    ("lyon_heartbeats", "lyon", "heartbeats", True, False),
    ("lyon.heartbeats", None, "lyon.heartbeats", False, False),
    ("lyon_checkpoints_internal", "lyon", "internal", False, True),
]


@pytest.mark.parametrize(("separator", "row"), [(".", row) for row in BY_DOT] + [("_", row) for row in BY_UNDERSCORE])
def test_names_are_understood_as_mirrormaker_does(separator: str, row: tuple[str, str | None, str, bool, bool]) -> None:
    """Where a topic came from, its first name, and whose it is, with either separator."""
    topic, source, original, heartbeats, internal = row
    naming = Naming("lyon", "cloud", separator)
    assert ([*naming.hops(topic), None][0], naming.original(topic)) == (source, original)
    assert (naming.is_heartbeats(topic), naming.is_internal(topic)) == (heartbeats, internal)


def test_topics_are_prefixed_or_keep_their_names() -> None:
    """`lyon.readings` by default, the separator as set; kept names but for heartbeats, as MirrorMaker has it."""
    assert Naming("lyon", "cloud").remote("readings") == "lyon.readings"
    assert Naming("lyon", "cloud", "--").remote("paris--t") == "lyon--paris--t"
    kept = Naming("lyon", "cloud", keeps_names=True)
    assert (kept.remote("readings"), kept.remote("heartbeats")) == ("readings", "lyon.heartbeats")


def test_the_own_topics_have_mirrormakers_names() -> None:
    """Checkpoints and offset syncs are where MirrorMaker's tools look for them."""
    naming = Naming("lyon", "cloud")
    assert (naming.checkpoints, naming.offset_syncs("cloud")) == (
        "lyon.checkpoints.internal",
        "mm2-offset-syncs.cloud.internal",
    )
    other = Naming("lyon", "cloud", "_")
    assert (other.checkpoints, other.offset_syncs("cloud")) == (
        "lyon_checkpoints_internal",
        "mm2-offset-syncs_cloud_internal",
    )


def test_a_links_positions_are_never_shipped() -> None:
    """The positions topic of a link is internal, whatever the separator."""
    assert all(Naming("a", "b", each).is_internal("lyon.positions.internal") for each in (".", "_"))


def test_a_topic_that_was_at_the_target_is_known_by_its_name() -> None:
    """Any hop by way of the target makes a circle; another alias in front does not hide it."""
    naming = Naming("lyon", "cloud")
    assert [naming.came_from_target(t) for t in ("cloud.hints", "paris.cloud.t", "paris.t", "cloud")] == [
        True,
        True,
        False,
        False,
    ]
    assert not Naming("lyon", "cloud", keeps_names=True).came_from_target("cloud.hints")
