"""What a bridge that runs on this box says about itself."""

from __future__ import annotations

from pathlib import Path

from edge_agent.bridge.live import Snapshot, ask
from headwater.app.doctor.finding import Finding, good, warning
from headwater.contract.errors import Unreachable

_FULL = 0.75


def check_bridge(check: str, folder: Path) -> list[Finding]:
    """Findings about the bridge of this state folder; nothing where none runs."""
    try:
        now = ask(folder)
    except Unreachable:
        return []
    return [_accounts(check, now), _clocks(check, now), *_spool(check, now)]


def _accounts(check: str, now: Snapshot) -> Finding:
    name = f"{check} accounts"
    if now.unaccounted:
        says = f"{now.unaccounted} messages are not where its counts say"
        fix = "a defect: keep the bridge's log and `headwater edge top --json`, restart the bridge, and report it"
        return Finding(name, "bad", says, fix)
    received = now.counts.get("received", 0)
    return good(name, f"each of {received:,} messages is written, recognised, refused, filtered, dropped or waiting")


def _clocks(check: str, now: Snapshot) -> Finding:
    name, clocks = f"{check} clocks", now.clocks
    if not clocks.off:
        return good(name, f"the clocks of {clocks.known} assets are near this box's")
    worst = ", ".join(f"{asset} {abs(ms) / 1000:,.0f} s {_way(ms)}" for asset, ms in clocks.furthest.items())
    says = f"{clocks.off} of {clocks.known} assets have clocks that are off: {worst}"
    return warning(name, says, "set the clocks of these assets by NTP; their readings are kept as they are")


def _way(ms: int) -> str:
    return "behind" if ms > 0 else "ahead"


def _spool(check: str, now: Snapshot) -> list[Finding]:
    spool = now.spool
    if spool is None:
        return []
    name, used = f"{check} spool", spool.bytes / spool.most_bytes
    if used > _FULL and spool.records:
        says = f"{used:.0%} full, {spool.records:,} messages wait, the oldest for {spool.age_ms / 1000:,.0f} s"
        return [warning(name, says, "look why Kafka does not take them, or give it room: edge.bridge.spool.bytes")]
    return [good(name, f"{used:.0%} full, {spool.records:,} messages wait")]
