"""An operator's word on an alarm, through the real scorer on a real Kafka cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from headwater.app.cli import app
from headwater.contract import topics
from headwater.contract.acknowledgement import Acknowledgement, acknowledgement, asset_of
from headwater.contract.desired import model_folder
from headwater.contract.episodes import EpisodeRule
from headwater.contract.errors import BadInput
from headwater.contract.following import EpisodeSpec, Healthy
from headwater.contract.headers import ACKNOWLEDGES
from headwater.contract.messages import Alarm, decode
from headwater.contract.partitioning import partition_of
from tests.edge_agent.scorer.edge import PARTITIONS, SITE, Edge, out
from tests.edge_agent.scorer.models import desire, features, make, place
from tests.services import Broker

ASSET = "pump-2"
HOME = partition_of(ASSET.encode(), PARTITIONS)


@pytest.fixture
async def edge(private_kafka: Broker, tmp_path: Path) -> AsyncIterator[Edge]:
    """An edge on a cluster of its own."""
    found = await Edge.open(private_kafka.bootstrap, tmp_path)
    yield found
    await found.close()


async def test_false_ends_an_alarm_and_raises_the_margin(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same jump opens no second episode, a larger one does; a word on what nobody raised is refused."""
    monkeypatch.setenv("HEADWATER_EDGE__KAFKA__BROKERS", edge.brokers)
    monkeypatch.setenv("HEADWATER_EDGE__STATE_DIR", str(edge.state))
    monkeypatch.setenv("HEADWATER_EDGE__SITE", SITE)  # --site sets it for good
    data, manifest = make(1, features(window=4, step=2))
    rule = EpisodeRule(margin=2, onset=1, follow=0.0, recovery=2, settle=0, longest=1000, raised=2)
    spec = EpisodeSpec(rule, {"": Healthy((0.0, 0.0), (1.0, 1.0))}, 1.0, 7.0)
    manifest = msgspec.structs.replace(manifest, episodes=spec, thresholds={"": 1e9})
    desire(edge.state, place(edge.state, data, manifest))
    t = iter(range(0, 10_000_000, 1000))
    edge.start()
    await edge.in_charge(1)

    async def put(level: float, count: int = 10) -> None:
        await edge.put(HOME, [out(ASSET, next(t), {"flow": level, "current": 0.0}) for _ in range(count)])
        await edge.all_judged()

    await put(0.0)
    await put(3.0)
    (opened,) = await _alarms(edge)
    assert opened.state == "opened"

    said = await _say(opened.episode, "--false", "--by", "anna", "--json")
    assert said["was_open"]
    await edge.all_judged()
    assert [each.state for each in await _alarms(edge)] == ["opened", "closed"]
    closed = (await edge.all(topics.ALARMS, HOME))[1]
    folder = str(edge.state / model_folder("pump", 1))
    monkeypatch.setenv("HEADWATER_TRAINER__KAFKA__BROKERS", edge.brokers)
    command = ["train", "lineage", f"alarms:{HOME}:{closed.offset}", "--model", folder, "--json"]
    traced = json.loads((await asyncio.to_thread(CliRunner().invoke, app, command)).stdout)
    assert traced["alarm"]["state"] == "closed"
    assert traced["ended"]["by"] == "anna"
    assert traced["ended"]["at"] == f"readings:{HOME}:{traced['ended']['source_offset']}"
    assert traced["opened"]["episode"] == opened.episode
    assert traced["again"]["same"] is True
    await put(0.0)
    await put(3.0)
    assert len(await _alarms(edge)) == 2, "a jump of 3 limits is under the margin of 4 now"
    await put(8.0)
    assert [each.state for each in await _alarms(edge)] == ["opened", "closed", "opened"]
    assert not (await _say(opened.episode, "--true", "--json"))["was_open"]
    command = ["edge", "acknowledge", "lyon-pump-2-99999", "--false", "--site", SITE]
    result = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert isinstance(result.exception, BadInput)
    assert "no alarm of this box" in str(result.exception)
    command = ["edge", "acknowledge", opened.episode, "--false", "--by", "x" * 4096, "--site", SITE]
    result = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert isinstance(result.exception, BadInput), "nobody would heed it"
    assert "shorten who says it" in result.exception.hint
    assert edge.terminate() == 0


async def _say(episode: str, *options: str) -> dict[str, object]:
    command = ["edge", "acknowledge", episode, "--site", SITE, *options]
    result = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


async def _alarms(edge: Edge) -> list[Alarm]:
    return [decode(record.value, Alarm) for record in await edge.all(topics.ALARMS, HOME)]


def test_what_an_acknowledgement_is() -> None:
    """Read back as it was written; none where the header is missing, refused where value and header differ."""
    said = Acknowledgement("lyon-pump-2-7", is_false=True, at=5, by="anna")
    header = ((ACKNOWLEDGES, b"lyon-pump-2-7"),)
    assert acknowledgement(said.encode(), header) == said
    assert acknowledgement(said.encode(), ()) is None
    for value in (b"", b"{", b"{}" * 4000, Acknowledgement("lyon-pump-2-8", is_false=True, at=5).encode()):
        with pytest.raises(BadInput, match="acknowledgement"):
            acknowledgement(value, header)
    assert asset_of("lyon-pump-2-7", "lyon") == "pump-2"
    for wrong in ("paris-pump-2-7", "lyon-7", "lyon-pump", "lyon-pump-x", ""):
        with pytest.raises(BadInput, match="no episode of the site"):
            asset_of(wrong, "lyon")
