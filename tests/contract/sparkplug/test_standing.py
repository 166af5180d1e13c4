"""How it stands with edge nodes: who is online, whose data nobody can name, who lost a message."""

from __future__ import annotations

from tests.contract.sparkplug.plant import NODE, Edge, give, host


def test_births_gaps_and_deaths_are_counted() -> None:
    """Each edge node is where its last messages put it, and named where something is wrong."""
    edge, ours = Edge(), host()
    give(ours, *edge.births())
    born = ours.standing()
    edge.data()  # lost
    late = edge.data()
    give(ours, late)
    held = ours.standing()
    ours.tick(late.at + 2_000)
    gapped = ours.standing()
    give(ours, *edge.births())
    reborn = ours.standing()
    give(ours, edge.died())
    dead = ours.standing()

    assert (born.edge_nodes, born.online, born.devices, born.stale, born.held) == (1, 1, 2, 0, 0)
    assert (held.held, held.gapped) == (1, 0)
    assert (gapped.held, gapped.gapped, gapped.gapped_named) == (0, 1, (NODE,))
    assert (reborn.gapped, reborn.devices) == (0, 2)
    assert (dead.edge_nodes, dead.online, dead.devices, dead.stale) == (1, 0, 0, 3)


def test_an_edge_node_that_was_never_born_is_named() -> None:
    """Once its birth was waited for in vain; a birth puts it right."""
    edge, ours = Edge(), host()
    _, *data = [*edge.births(), edge.data()]
    give(ours, *data)
    assert ours.standing().unborn == 0
    ours.tick(data[0].at + 2_000)

    assert (ours.standing().unborn, ours.standing().unborn_named) == (1, (NODE,))
    give(ours, *edge.births())
    assert ours.standing().unborn == 0
