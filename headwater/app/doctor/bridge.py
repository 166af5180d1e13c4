"""What a bridge that runs on this box says about itself."""

from __future__ import annotations

from pathlib import Path

from edge_agent.bridge.live import Snapshot, SparkplugView, ask
from edge_agent.bridge.process import SPOOL
from headwater.app.doctor.finding import Finding, good, warning
from headwater.contract.errors import Unreachable

_FULL = 0.75


def check_bridge(check: str, folder: Path) -> list[Finding]:
    """Findings about the bridge of this state folder, and about what one that does not run has left there."""
    try:
        now = ask(folder)
    except Unreachable:
        return [_away(check, folder)]
    return [
        _process(check, now),
        _accounts(check, now),
        _clocks(check, now),
        *_spool(check, now),
        *_sparkplug(check, now),
    ]


def _away(check: str, folder: Path) -> Finding:
    left = sum(path.stat().st_size for path in (folder / SPOOL).glob("*.spool"))
    says, fix = f"no bridge runs in {folder}", "start it with `headwater edge run`"
    if left:
        says += f"; its spool has {left / 2**20:,.1f} MiB, in which messages may wait that are not in Kafka yet"
        fix += "; it writes them first, under either edge.bridge.ack_after. Do not remove the folder before"
    return warning(f"{check} process", says, fix)


def _process(check: str, now: Snapshot) -> Finding:
    name, says = f"{check} process", f"process {now.pid} is {now.standing}"
    if now.running and now.connected and not now.standstill_s:
        return good(name, says)
    why = f"; its last error: {now.last_error}" if now.last_error and not now.last_error_is_over else ""
    broker = "the MQTT broker" if now.running and not now.connected else "Kafka"
    return warning(name, says + why, f"see that {broker} runs and answers this box; the bridge then goes on by itself")


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
    waits = f"{'up to ' if spool.is_bound else ''}{spool.records:,} messages wait"
    if used > _FULL and spool.records:
        says = f"{used:.0%} full, {waits}, the oldest for {spool.age_ms / 1000:,.0f} s"
        return [warning(name, says, "look why Kafka does not take them, or give it room: edge.bridge.spool.bytes")]
    return [good(name, f"{used:.0%} full, {waits}")]


def _sparkplug(check: str, now: Snapshot) -> list[Finding]:
    if now.sparkplug is None:
        return []
    return [_births(check, now.sparkplug), *_primary_host(check, now, now.sparkplug)]


def _births(check: str, host: SparkplugView) -> Finding:
    """Whether the aliases of all that comes are known."""
    name = f"{check} sparkplug births"
    if host.unborn:
        says = f"{host.unborn} edge nodes send data and no birth: {', '.join(host.unborn_named)}; see dead-letters"
        return warning(name, says, _asking(host))
    unknown = host.events.get("refused unknown-metric", 0)
    if host.gapped or unknown:
        says = f"{host.gapped} edge nodes lost messages and were not born again: {', '.join(host.gapped_named)}"
        if unknown:
            says = f"{unknown:,} messages since its start have an alias or name that no birth had" + (
                f"; {says}" if host.gapped else ""
            )
        return warning(name, says, _asking(host))
    online = f"{host.online} of {host.edge_nodes} edge nodes are online with {host.devices} devices"
    return good(name, f"{online}, {host.stale} assets are stale")


def _asking(host: SparkplugView) -> str:
    if host.role == "passive":
        return "the role passive asks nobody for births: let the edge nodes publish them, or set the role active"
    asked = host.events.get("rebirths-asked", 0)
    return (
        f"{asked:,} births were asked for: the bridge's user must be allowed to publish spBv1.0/+/NCMD/+, and the edge "
        "nodes must obey Node Control/Rebirth"
    )


def _primary_host(check: str, now: Snapshot, host: SparkplugView) -> list[Finding]:
    if host.role != "primary":
        return []
    name, topic = f"{check} sparkplug host", f"spBv1.0/STATE/{host.host_id}"
    if not now.connected:
        says = f"the primary host {host.host_id} is offline: edge nodes that wait for it keep their data to themselves"
        return [Finding(name, "bad", says, f"look why the bridge is not connected to {now.broker}")]
    if again := host.events.get("state-republished", 0):
        says = f"somebody else said {again:,} times that the primary host {host.host_id} is offline"
        return [warning(name, says, f"let only this bridge publish {topic}: is there a second host of this name?")]
    return [good(name, f"{topic} is online")]
