"""One bridge a state folder: a second one is refused and changes nothing; every phase of a start can be stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.bridge.live import ask
from edge_agent.bridge.process import LOCK
from headwater.contract.errors import Conflict
from headwater.transport.files import held_alone
from tests.edge_agent.box import Edge, Process, wait_for
from tests.edge_agent.bridge.load import NOTHING_WRONG, Load, fate
from tests.services import Mqtt

# A broker that answers no more from some call on, at an instant that no proxy could hit.
SILENT = """
import asyncio
from edge_agent.bridge import process, spooled_process
async def silent(*_, **__):
    open("silent", "w").close()
    await asyncio.Event().wait()
"""
PHASES = {
    "fence": "process.Writer.open = silent",
    "tails": "process.learn = silent",
    "the spool's tails": "spooled_process.done = silent",
}


@pytest.fixture
def second(edge: Edge) -> Iterator[Process]:
    """Another bridge with the same state folder, and a log of its own."""
    folder = edge.folder / "second"
    folder.mkdir()
    found = Process(folder, edge.environment)
    yield found
    found.kill()


@pytest.mark.parametrize("ack_after", ["kafka", "spool"])
async def test_a_second_bridge_in_a_folder_is_refused(
    edge: Edge, second: Process, mosquitto: Mqtt, ack_after: str
) -> None:
    """It ends at once with 4 and a sentence; the first one is not fenced, and is still the one that answers."""
    edge.environment["HEADWATER_EDGE__BRIDGE__ACK_AFTER"] = ack_after
    await asyncio.to_thread(edge.start)
    state = edge.ready_file.parent
    async with Load(edge.site, mosquitto) as load:
        await edge.until_records(100)
        second.start()
        await asyncio.to_thread(wait_for, second.ended, second.log)
        sent = await load.finish()

    assert fate(await edge.until_records(sent), sent) == NOTHING_WRONG
    assert second.stop() == 4
    assert f"a bridge runs in the state folder {state} already (process {edge.bridge.pid})" in second.log()
    assert ask(state).pid == json.loads(edge.ready_file.read_bytes())["pid"] == edge.bridge.pid
    assert edge.bridge.stop() == 0


@pytest.mark.parametrize("phase", PHASES)
async def test_a_start_can_be_stopped_in_every_phase(edge: Edge, phase: str) -> None:
    """SIGTERM ends it in order while Kafka has stopped to answer, and the folder is free again."""
    edge.environment["HEADWATER_EDGE__BRIDGE__ACK_AFTER"] = "spool"
    edge.bridge.before = SILENT + PHASES[phase]
    edge.bridge.start()
    await asyncio.to_thread(wait_for, (edge.folder / "silent").exists, edge.bridge.log)

    assert await asyncio.to_thread(edge.bridge.stop, 5) == 0
    with held_alone(edge.ready_file.parent / LOCK, "a test looks", ""):
        pass


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    """Whoever comes second is told who was first; a file that nobody holds is no lock."""
    path = tmp_path / "there" / "lock"
    with (
        held_alone(path, "one works here", ""),
        pytest.raises(Conflict, match=r"one works here already \(process \d+\)"),
        held_alone(path, "one works here", ""),
    ):
        pass
    with held_alone(path, "one works here", ""):
        pass
