"""`headwater edge lives`: what is left of the lives of this box's assets, as the scorer last stored it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from edge_agent.settings import EdgeSettings
from headwater.contract import topics
from headwater.contract.checkpoint import CHECKPOINT_KEY, AssetState, decode
from headwater.transport.kafka_batch import Cluster, Record, read_compacted


def lives(settings: EdgeSettings) -> list[dict[str, Any]]:
    """One an asset that has been scored by remaining life since its overhaul, the shortest first."""
    found = [each for each in asyncio.run(_read(settings)) if each is not None]
    return sorted(found, key=lambda each: (each["remaining"], each["asset"]))


async def _read(settings: EdgeSettings) -> list[dict[str, Any] | None]:
    async with Cluster(settings.kafka, client_id="headwater-edge-lives") as cluster:
        count = await cluster.partitions(topics.STATE)
        newest = [await read_compacted(cluster, topics.STATE, number) for number in range(count)]
    return [_life(asset, record, _stored_at(states)) for states in newest for asset, record in _assets(states).items()]


def _stored_at(newest: Mapping[bytes, Record]) -> int:
    """When the states of a partition were as they are here, in ms: those that no reading changed are not written."""
    checkpoint = newest.get(CHECKPOINT_KEY.encode())
    return checkpoint.timestamp_ms if checkpoint else 0


def _assets(newest: Mapping[bytes, Record]) -> dict[str, Record]:
    return {name: record for key, record in newest.items() if not (name := key.decode()).startswith(".")}


def _life(asset: str, record: Record, stored_at: int) -> dict[str, Any] | None:
    state = decode(record.value or b"", AssetState)
    if state.left is None:
        return None
    left = msgspec.to_builtins(state.left)
    at = max(stored_at, record.timestamp_ms)
    return {"asset": asset, "asset_class": state.alarm_class, **left, "episode": state.alarm.episode, "stored_at": at}


def lines(found: list[dict[str, Any]]) -> list[str]:
    """The same for people."""
    if not found:
        return ["no asset of this box has been scored by remaining life since its overhaul"]
    rows = [("asset", "class", "remaining", "between", "cycles", "last cycle", "stored", "")]
    now = time.time()
    for each in found:
        notes = ["ALARM"] if each["episode"] else []
        notes += ["no overhaul is known: it may be older than these cycles"] if each["life_since"] < 0 else []
        rows.append(
            (
                each["asset"],
                each["asset_class"],
                f"{each['remaining']:.1f}",
                f"{each['low']:.1f} to {each['high']:.1f}",
                f"{each['cycles']:,}",
                datetime.fromtimestamp(each["t"] / 1000, UTC).isoformat(sep=" ", timespec="seconds")[:-6],
                f"{max(0.0, now - each['stored_at'] / 1000):,.0f} s ago",
                "; ".join(notes),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
