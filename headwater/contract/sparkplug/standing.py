"""How it stands with the edge nodes of a host at one moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from headwater.contract.sparkplug.node import NODE, Node

NAMED = 5  # edge nodes of each kind of trouble


class Standing(NamedTuple):
    """Edge nodes heard of, of these online; devices born; assets (edge nodes too) that are stale; messages held.

    `unborn`: how many edge nodes send data that nobody can name, since their birth was waited for in vain; `gapped`:
    how many have lost a message while this host listened, and were not born again since. Some of each by `group/name`.
    """

    edge_nodes: int = 0
    online: int = 0
    devices: int = 0
    stale: int = 0
    held: int = 0
    unborn: int = 0
    unborn_named: tuple[str, ...] = ()
    gapped: int = 0
    gapped_named: tuple[str, ...] = ()


def standing(nodes: Iterable[Node]) -> Standing:
    """What is counted of these."""
    found = list(nodes)
    unborn = [node.key for node in found if node.hopeless and not node.online]
    gapped = [node.key for node in found if node.gap == "lost" and node.online]
    devices = [(name, device) for node in found for name, device in node.devices.items()]
    return Standing(
        edge_nodes=len(found),
        online=sum(node.online for node in found),
        devices=sum(name != NODE and device.table is not None for name, device in devices),
        stale=sum(device.stale_since is not None for _, device in devices),
        held=sum(len(node.held) for node in found),
        unborn=len(unborn),
        unborn_named=tuple(unborn[:NAMED]),
        gapped=len(gapped),
        gapped_named=tuple(gapped[:NAMED]),
    )
