"""What `session-gaps` claims: a broker that was away loses nothing, one that died over an answer may have."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from edge_agent.bridge.gaps import MARKER
from edge_agent.bridge.recogniser import Recogniser
from edge_agent.bridge.spooled_rows import More, newest_ms, pack
from headwater.transport.mqtt.packets import QOS_1
from headwater.transport.spool import Spool
from tests.edge_agent.box import Edge, free_port, wait_for
from tests.edge_agent.bridge.load import Load
from tests.services import Mqtt

SAID = "mqtt messages may be missing"


async def restarted(edge: Edge, port: int) -> None:
    """A life with the MQTT broker at `port`, where none answers, and its death."""
    right = edge.environment["HEADWATER_EDGE__MQTT__PORT"]
    edge.environment["HEADWATER_EDGE__MQTT__PORT"] = str(port)
    before = edge.bridge.log().count(f"127.0.0.1:{port}")
    edge.bridge.start()
    state = edge.ready_file.parent
    seen = (state / MARKER).exists
    await asyncio.to_thread(
        wait_for, lambda: seen() or edge.bridge.log().count(f"127.0.0.1:{port}") > before, edge.bridge.log
    )
    edge.bridge.kill()
    edge.environment["HEADWATER_EDGE__MQTT__PORT"] = right


async def test_an_mqtt_broker_that_is_away_makes_no_gap(edge: Edge, mosquitto: Mqtt) -> None:
    """Killed while nobody answers: nothing is claimed. Killed while CONNECT waits for its answer: nobody can know."""
    await asyncio.to_thread(edge.start)
    async with Load(edge.site, mosquitto) as load:
        await edge.until_records(200)
        await edge.until_records(await load.finish())
    edge.bridge.kill()
    marker = edge.ready_file.parent / MARKER
    await restarted(edge, free_port())
    assert not marker.exists()
    await asyncio.to_thread(edge.start)
    edge.bridge.kill()
    assert SAID not in edge.bridge.log()

    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        await restarted(edge, int(mute.getsockname()[1]))
    assert marker.exists()
    await asyncio.to_thread(edge.start)
    await asyncio.to_thread(wait_for, lambda: SAID in edge.bridge.log(), edge.bridge.log)
    assert '"cause": "killed-while-connecting"' in edge.bridge.log()


async def test_a_gap_begins_behind_what_the_spool_has(tmp_path: Path) -> None:
    """While Kafka is away the newest message is in the spool; those of another client id do not count."""
    spool = Spool.open(tmp_path, most_bytes=1 << 20)
    assert newest_ms(spool, "me") == 0
    session = Recogniser("me", 1, 100).begin(0, 1000, session_present=False)
    for received in (5000, 7000):
        message = (QOS_1, b"lyon/pump/p1", b"\0\1", b"{}", ())
        spool.append([pack(message, received, 1, session, More())])
    await spool.commit()

    assert newest_ms(spool, "me") == 7000
    assert newest_ms(spool, "another") == 0
    await spool.close()
