"""`headwater train jobs`: in the order of the times that it prints."""

from __future__ import annotations

import asyncio
import os
from typing import Literal

from typer.testing import CliRunner

from cloud_trainer.runs import Runs
from headwater.app.cli import app
from headwater.contract.messages import TrainingRun
from tests.cloud_trainer.cloud import Cloud

WORDS: tuple[tuple[str, Literal["started", "failed"], int], ...] = (
    ("long", "started", 1_000),
    ("short", "failed", 2_000),
    ("long", "failed", 3_000),
)


async def test_jobs_are_listed_by_when_the_last_word_came(cloud: Cloud) -> None:
    """A request that was taken up first and ended last comes last."""
    runs = Runs(cloud.settings)

    def write() -> str:
        runs.prepare()
        for name, state, at in WORDS:
            runs.write(TrainingRun(f"{cloud.site}-{name}", "pump", state, at))
        environment = {**os.environ, "HEADWATER_TRAINER__KAFKA__BROKERS": cloud.settings.brokers}
        return CliRunner().invoke(app, ["train", "jobs"], env=environment).stdout

    said = [line for line in (await asyncio.to_thread(write)).splitlines() if cloud.site in line]
    assert [line.split()[2].removeprefix(f"{cloud.site}-") for line in said] == ["short", "long"]
