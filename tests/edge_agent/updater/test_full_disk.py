"""An edge whose disk is full: what runs keeps running, nothing half is placed, and with space it goes on."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.updater.process import run
from headwater.contract.canonical import sha256
from headwater.contract.desired import decode_desired
from headwater.contract.errors import Permanent
from headwater.transport.objects import FolderStore, ObjectSettings
from tests.disk import Disk, mounted
from tests.edge_agent.scorer.models import CLASS, make
from tests.edge_agent.updater.site import SITE, Site

SIZE = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of one mebibyte."""
    with mounted(tmp_path / "disk", SIZE) as disk:
        yield disk


@pytest.fixture
def site(site: Site, disk: Disk) -> Site:
    """The site that runs version 1, its state on that disk; version 2 is asked for."""
    shutil.copytree(site.state, disk.folder / "edge", symlinks=True)
    site.state = disk.folder / "edge"
    site.ask(site.publish(2))
    return site


def on_disk(state: Path) -> set[str]:
    """Files of versions, and whatever is half written or not proven."""
    return {
        str(path.relative_to(state))
        for path in state.rglob("*")
        if path.is_file() and ("models/" in str(path) or "staging" in str(path) or path.name.startswith("."))
    }


@pytest.mark.parametrize("room", [0, 4 << 10, 8 << 10, 12 << 10, 16 << 10, 24 << 10, 32 << 10])
def test_without_space_version_1_stays_and_version_2_comes_with_space(site: Site, disk: Disk, room: int) -> None:
    """Full at whatever step: a sentence, no half model; the next look with space brings it."""
    before = on_disk(site.state)
    disk.fill(but_bytes=room)
    try:
        problem = site.look().updater.last_error
    except Permanent as error:
        problem = str(error)

    version = site.running()
    if version == 1:
        assert problem.startswith("no space left while writing")
        more = on_disk(site.state) - before
        assert more in (set(), {f"models/{CLASS}/2/manifest.json", f"models/{CLASS}/2/model.tflite"})
        assert decode_desired((site.state / "desired.json").read_bytes()).refused == []
    assert site.model_file(version).read_bytes() == make(version)[0]

    disk.free()
    found = site.look()
    assert (found.classes[CLASS].version, found.refused, found.updater.last_error) == (2, [], "")
    assert sha256(site.model_file(2).read_bytes()) == found.classes[CLASS].sha256


def test_the_steps_of_the_disk_cover_both_outcomes(site: Site, disk: Disk) -> None:
    """With the most room of the test above the version arrives: the rooms span every step."""
    disk.fill(but_bytes=64 << 10)
    assert site.look().classes[CLASS].version == 2


def stick_of(site: Site, folder: Path) -> str:
    store = FolderStore(folder / "headwater")
    for key, data in site.repo.store.objects.items():
        store.put(key, data)
    return f"file://{folder}"


def test_the_command_says_it_in_a_sentence(site: Site, disk: Disk, tmp_path: Path) -> None:
    """`headwater edge updater --once` on a full disk: exit code 2, the sentence with a hint, no traceback; then 0."""
    home = disk.folder / "home"
    (home / "edge").mkdir(parents=True)
    site.state = site.state.rename(home / "edge" / SITE)
    settings = {
        "HEADWATER_HOME": str(home),
        "HEADWATER_EDGE__SITE": SITE,
        "HEADWATER_EDGE__ASSET_CLASSES": json.dumps([CLASS]),
        "HEADWATER_EDGE__UPDATER__ROOT_FILE": str(site.repo.keys / "root.json"),
        "HEADWATER_EDGE__UPDATER__OBJECTS__ENDPOINT": stick_of(site, tmp_path / "stick"),
    }
    command = [sys.executable, "-m", "headwater", "edge", "updater", "--once"]

    def once() -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
        return subprocess.run(command, env=kept | settings, capture_output=True, text=True, timeout=60, check=False)

    disk.fill()
    done = once()
    assert done.returncode == 2, done.stderr
    assert "headwater: no space left while writing" in done.stderr
    assert "hint: free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert site.running() == 1
    disk.free()
    assert once().returncode == 0
    assert site.running() == 2


async def test_the_process_goes_on_when_space_returns(site: Site, disk: Disk, tmp_path: Path) -> None:
    """A running updater survives the full disk, and fetches what was asked for as soon as there is room."""
    stick = tmp_path / "stick"
    settings = site.updater_settings().model_copy(
        update={"objects": ObjectSettings(endpoint=stick_of(site, stick)), "poll_interval_s": 0.1}
    )
    timestamp = stick / "headwater" / "metadata" / "timestamp.json"
    newest = timestamp.read_bytes()
    timestamp.unlink()  # the first look finds nothing, and the disk fills up later
    stop = asyncio.Event()
    running = asyncio.create_task(run(settings, SITE, site.state, stop))

    async def until(word: str) -> None:
        async with asyncio.timeout(20):
            while word not in (site.state / "desired.json").read_text():  # noqa: ASYNC110  # another process writes it
                await asyncio.sleep(0.05)

    await until("is not there")
    disk.fill()
    timestamp.write_bytes(newest)
    await asyncio.sleep(2.5)  # some looks at a full disk; none may end the process
    assert not running.done()
    assert site.running() == 1
    disk.free()
    await until('"version":2')
    stop.set()
    async with asyncio.timeout(15):
        await running
