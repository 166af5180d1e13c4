"""Another table of routes in a running bridge: nothing is lost or repeated, and nothing wrong is taken over."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from headwater.contract import topics
from headwater.contract.topics import edge_topics
from headwater.transport.kafka import ensure_topics
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings
from tests.edge_agent.box import Edge, wait_for
from tests.edge_agent.bridge.load import NOTHING_WRONG, Load, fate
from tests.services import Mqtt

RELOADS = 10
USUAL = '[[edge.bridge.routes]]\nmatch = "{site}/{class}/{asset}"\n'
ASIDE = '[[edge.bridge.routes]]\nmatch = "{site}/pump/p0"\nto = "%s"\nkey = "p0"\nasset_class = "pump"\n'
ELSEWHERE = '[[edge.bridge.routes]]\nmatch = "else/{site}/{class}/{asset}"\n'


def settle(edge: Edge, *routes: str) -> None:
    (edge.folder / "headwater.toml").write_text("\n".join(routes))


def reload(edge: Edge) -> dict[str, object]:
    """SIGHUP; what the bridge answers."""
    path = edge.ready_file.with_name("bridge.reload")
    path.unlink(missing_ok=True)
    os.kill(edge.bridge.pid, signal.SIGHUP)
    wait_for(path.exists, edge.bridge.log)
    found: dict[str, object] = json.loads(path.read_bytes())
    return found


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_reloads_under_load_lose_and_repeat_nothing(edge: Edge, mosquitto: Mqtt, protocol: str) -> None:
    """Ten tables in turn, to other Kafka topics and with other filters, while messages come."""
    edge.environment["HEADWATER_EDGE__MQTT__PROTOCOL"] = protocol
    ensure_topics(edge.kafka, [t for t in edge_topics() if t.name == topics.READINGS])
    made = [type(edge_topics()[0])(edge.site, 2)]
    ensure_topics(edge.kafka, made)
    tables = [(USUAL,), (ASIDE % edge.site, USUAL), (USUAL, ELSEWHERE), (ELSEWHERE, ASIDE % edge.site, USUAL)]
    settle(edge, *tables[0])
    await asyncio.to_thread(edge.start)

    async with Load(edge.site, mosquitto) as load:
        for turn in range(1, RELOADS + 1):
            settle(edge, *tables[turn % len(tables)])
            assert (await asyncio.to_thread(reload, edge))["done"]
            await asyncio.sleep(0.1)
        sent = await load.finish()

    async def both() -> int:
        return len(await edge.records()) + len(await edge.records(edge.site))

    for _ in range(100):
        if await both() >= sent:
            break
        await asyncio.sleep(0.1)
    there, aside = await edge.records(), await edge.records(edge.site)
    assert aside
    assert there
    lost, duplicated, _ = fate([*there, *aside], sent)
    assert (lost, duplicated) == (0, 0)
    assert fate(there, 0).reordered == fate(aside, 0).reordered == 0
    assert edge.bridge.stop() == 0
    assert not any("possible-duplicate" in name for record in [*there, *aside] for name, _ in record.headers)


async def test_filters_that_are_not_wanted_any_more_are_left(edge: Edge, mosquitto: Mqtt) -> None:
    """After a reload, and after a restart with another table: what nobody asks for does not come."""
    settle(edge, USUAL, ELSEWHERE)
    await asyncio.to_thread(edge.start)

    async def publish(payload: bytes) -> None:
        async with Publisher(MqttSettings(port=mosquitto.port), f"pub-{edge.site}") as publisher:
            await publisher.publish(f"else/{edge.site}/pump/p1", payload)
            await publisher.publish(f"{edge.site}/pump/p1", payload)
            await publisher.flush()

    await publish(b"1")
    await edge.until_records(1)
    settle(edge, USUAL)
    await asyncio.to_thread(reload, edge)
    await publish(b"2")
    settle(edge, USUAL, ELSEWHERE)
    await asyncio.to_thread(reload, edge)
    assert edge.bridge.stop() == 0
    settle(edge, USUAL)
    await asyncio.to_thread(edge.start)
    await publish(b"3")

    await edge.until_records(3)
    assert Counter(record.value for record in await edge.records()) == {b"1": 1, b"2": 1, b"3": 1}
    assert edge.bridge.stop() == 0
    stopped = [json.loads(line) for line in edge.bridge.log().splitlines() if '"bridge stopped"' in line]
    assert [line["received"] for line in stopped] == [2, 1, 0, 1]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ('[[edge.bridge.routes]]\nmatcj = "{site}/#"\n', "no setting edge.bridge.routes.matcj (number 1)"),
        ("[edge", "is not TOML"),
        ('[[edge.bridge.routes]]\nto = "never-made"\n', "the Kafka topic never-made does not exist"),
        ('[edge.mqtt]\nclient_id = "other"\n', "edge.mqtt.client_id cannot be changed by a reload"),
        (
            '[[edge.bridge.routes]]\ndecoder = { kind = "avro", schema_name = "none" }\n',
            "there is no schema 'none'",
        ),
    ],
)
async def test_wrong_settings_leave_everything_as_it_was(edge: Edge, mosquitto: Mqtt, wrong: str, says: str) -> None:
    """They are refused with a sentence, and the former table goes on in the same connection."""
    settle(edge, USUAL)
    await asyncio.to_thread(edge.start)
    async with Load(edge.site, mosquitto) as load:
        await edge.until_records(50)
        settle(edge, wrong)
        answer = await asyncio.to_thread(reload, edge)
        sent = await load.finish()

    assert not answer["done"]
    assert says in str(answer["says"])
    assert fate(await edge.until_records(sent), sent) == NOTHING_WRONG
    assert edge.bridge.stop() == 0
    assert edge.bridge.log().count('"event": "mqtt connected"') == 1
    assert says in edge.bridge.log()


def test_a_bridge_that_waits_for_a_topic_can_be_put_right(edge: Edge) -> None:
    """A wrong table at the start: the corrected one is taken without a restart."""
    settle(edge, '[[edge.bridge.routes]]\nto = "never-made"\n')
    edge.bridge.start()
    wait_for(lambda: "never-made does not exist" in edge.bridge.log(), edge.bridge.log)
    settle(edge, USUAL)

    os.kill(edge.bridge.pid, signal.SIGHUP)

    wait_for(edge.ready_file.exists, edge.bridge.log)
    assert edge.bridge.stop() == 0


def command(folder: Path, edge: Edge, *options: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return subprocess.run(
        [sys.executable, "-m", "headwater", "edge", "route", "reload", *options],
        env=kept | edge.environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_says_what_became_of_it(edge: Edge) -> None:
    """`headwater edge route reload`: no bridge, a good table, a table that the bridge refuses."""
    settle(edge, USUAL)
    away = command(edge.folder, edge)
    assert (away.returncode, "no bridge" in away.stderr) == (5, True)
    edge.start()

    done = command(edge.folder, edge)
    told = json.loads(command(edge.folder, edge, "--json").stdout)
    settle(edge, '[[edge.bridge.routes]]\nto = "never-made"\n')
    refused = command(edge.folder, edge)

    assert (done.returncode, "goes on with the new settings" in done.stdout) == (0, True)
    assert (told["site"], told["done"], told["says"]) == (edge.site, True, done.stdout.strip())
    assert (refused.returncode, "never-made does not exist" in refused.stderr) == (3, True)
    assert edge.bridge.stop() == 0
