"""Faults in which two want one name: a second bridge, one that was asleep meanwhile, a stranger."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct

from tests.chaos.bed import SITE, Bed
from tests.chaos.plan import Fault
from tests.chaos.process import Life, wait
from tests.chaos.supervised import READY_S, Supervised

_SLEEP_S = 6.0
_CONNECT_LEVEL = {"5": 5, "3.1.1": 4}


async def taken_over(bed: Supervised, fault: Fault) -> str:
    """A second one of the same name starts; the first has to go."""
    if not await bed.is_ready():
        return ""
    first = bed.life
    _as_from_another_box(bed)
    second = bed.start()
    await wait(lambda: second.ready.is_set() or second.status is not None, READY_S)
    await _one_stays(bed, first, 2 + 3 * fault.hold_s)
    return fault.kind


async def zombie(bed: Supervised, fault: Fault) -> str:
    """The first one sleeps through the start of the second, and wakes up with writes in its hands."""
    if not await bed.is_ready():
        return ""
    first = bed.life
    first.send(signal.SIGSTOP)
    _as_from_another_box(bed)
    second = bed.start()
    await wait(lambda: second.ready.is_set() or second.status is not None, _SLEEP_S)  # it may wait for the first
    first.send(signal.SIGCONT)
    await _one_stays(bed, first, 1 + 2 * fault.hold_s)
    return fault.kind


def _as_from_another_box(bed: Supervised) -> None:
    """Let the second one past the first one's hold on the state folder: only Kafka and MQTT part them then."""
    if isinstance(bed, Bed):
        for lock in bed.folder.glob("edge/*/bridge.lock"):
            lock.unlink()


async def _one_stays(bed: Supervised, first: Life, within_s: float) -> None:
    second = bed.life
    if await first.ends(within_s):
        return
    if second.status is None:
        first.kill()  # two of them would chase each other for ever
        return
    bed.ended.append(f"the second one: status {second.status}")
    bed.lives.remove(first)
    bed.lives.append(first)


async def stolen(bed: Bed, fault: Fault) -> str:
    """A stranger connects under the bridge's client id, gets its messages, and acknowledges none."""
    if not await bed.is_ready():
        return ""
    with socket.create_connection((bed.mqtt.host, bed.mqtt.port), timeout=5) as thief:
        thief.sendall(_connect(bed.chapter.combination.protocol, f"headwater-bridge-{SITE}"))
        await asyncio.sleep(0.02 + 0.2 * fault.hold_s)
    return fault.kind


def _connect(protocol: str, client_id: str) -> bytes:
    """CONNECT that keeps the session: MQTT 3.1.1 and 5, 3.1; an hour of session expiry in 5."""
    more = b"\x05\x11" + struct.pack(">I", 3600) if protocol == "5" else b""
    name = client_id.encode()
    body = b"\x00\x04MQTT" + bytes((_CONNECT_LEVEL[protocol], 0, 0, 30)) + more + struct.pack(">H", len(name)) + name
    return bytes((0x10, len(body))) + body
