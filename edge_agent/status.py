"""What can be said about an edge from outside of its processes: its files, and its last status record."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.bridge.live import ask
from edge_agent.bridge.process import ready_file
from edge_agent.settings import EdgeSettings
from headwater.contract import topics
from headwater.contract.desired import DESIRED_FILE, decode_desired
from headwater.contract.errors import BadInput, HeadwaterError, Unreachable
from headwater.contract.messages import Status, decode
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.reading import read_compacted

_OLD = 4  # status intervals without a status


def report(settings: EdgeSettings) -> dict[str, Any]:
    """Everything as JSON values; what cannot be had is None, with the reason in `problems`."""
    found: dict[str, Any] = {"site": settings.site, "bridge_pid": _bridge_pid(ready_file(settings)), "problems": []}
    found["bridge"] = bridge = bridge_of(settings)
    try:
        found["status"] = msgspec.to_builtins(asyncio.run(_last_status(settings)))
    except HeadwaterError as error:
        found["status"] = None
        found["problems"].append(str(error))
    path = settings.folder / DESIRED_FILE
    try:
        found["desired"] = msgspec.to_builtins(decode_desired(path.read_bytes())) if path.exists() else None
    except HeadwaterError as error:
        found["desired"] = None
        found["problems"].append(str(error))
    updater = (found["desired"] or {}).get("updater", {})
    if updater.get("phase") == "stuck":
        found["problems"].append(f"the updater cannot look for new models: {updater['last_error']}")
    if bridge is None and found["bridge_pid"] is None:
        found["problems"].append("the bridge does not run, so it is not subscribed to MQTT")
    elif bridge is not None and bridge["problem"]:
        found["problems"].append(bridge["problem"])
    return found


def check(settings: EdgeSettings, found: dict[str, Any]) -> None:
    """Raise Unreachable unless the bridge is subscribed and the scorer has written a status lately.

    An updater that waits for its store is well; one that needs somebody's help is not.
    """
    problems = list(found["problems"])
    status = found["status"]
    if status is not None:
        age_s = time.time() - status["at"] / 1000
        if age_s > _OLD * settings.scorer.status_interval_s:
            problems.append(f"the last status of the scorer is {age_s:.0f} s old")
    if problems:
        raise Unreachable(
            f"the edge of {settings.site} does not work: {'; '.join(problems)}",
            hint="`headwater doctor edge` says what is wrong; `headwater edge run` starts what does not run",
        )


def bridge_of(settings: EdgeSettings) -> dict[str, Any] | None:
    """What a bridge says of itself, in whatever phase; None where none answers."""
    try:
        now = ask(settings.folder)
    except HeadwaterError:
        return None
    is_well = now.running and now.connected and not now.standstill_s
    why = f" ({now.last_error})" if now.last_error and not now.last_error_is_over else ""
    problem = "" if is_well else f"the bridge (process {now.pid}) is {now.standing}{why}"
    return {"pid": now.pid, "standing": now.standing, "problem": problem}


def _bridge_pid(path: Path) -> int | None:
    """Process id of a bridge that is subscribed, if there is one."""
    try:
        pid = int(json.loads(path.read_bytes())["pid"])
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid


async def _last_status(settings: EdgeSettings) -> Status:
    async with Cluster(settings.kafka, client_id="headwater-edge-status") as cluster:
        record = (await read_compacted(cluster, topics.STATUS, 0)).get(settings.site.encode())
    if record is None:
        raise BadInput(f"the scorer of {settings.site} has not written a status yet")
    return decode(record.value, Status)
