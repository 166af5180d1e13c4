"""A card of a model that learned from topics, on what the log still has and with what maintenance said since."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from typer.testing import CliRunner

from headwater.app.cli import app
from tests.cloud_trainer.cloud import Cloud
from tests.cloud_trainer.plant import START_MS, healthy


async def test_a_card_on_the_ranges_that_were_trained_on(cloud: Cloud, tmp_path: Path) -> None:
    """Without --folder it is drawn on the model's own ranges; labels that came later are counted in."""
    rows = healthy(3, 600, pumps=2)
    for asset in ("pump-1", "pump-2"):
        await cloud.send(asset, rows[f"lyon/{asset}"])
    (tmp_path / "offsets.json").write_text(json.dumps({cloud.readings: {"0": [0, 600], "1": [0, 600]}}))
    began = datetime.fromtimestamp(START_MS / 1000, UTC)
    span = ",".join((began + timedelta(minutes=minute)).isoformat() for minute in (5, 6))
    (tmp_path / "orders.csv").write_text(f"site,asset,from,to,kind\n{cloud.site},pump-1,{span},bearing\n")
    environment = {
        **os.environ,
        "HEADWATER_TRAINER__KAFKA__BROKERS": cloud.settings.brokers,
        "HEADWATER_TRAINER__LABEL_LEAD_S": "60",
        "HEADWATER_TRAINER__KEYS": str(tmp_path / "none"),
    }

    async def call(*arguments: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["train", *arguments], env=environment)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    model, out = str(tmp_path / "model"), str(tmp_path / "card")
    await call("run", "--class", "pump", "--offsets", str(tmp_path / "offsets.json"), "--out", model)
    before = json.loads(await call("card", model, "--out", out, "--json"))
    assert before["seen_on"]["is_training_data"] is True
    assert before["seen_on"]["readings"] == 1200
    assert set(before["figures"]) == {"alarms_per_week"}
    await call("label", str(tmp_path / "orders.csv"), "--class", "pump")
    after = json.loads(await call("card", model, "--out", out, "--json"))
    assert "fault_recall" in after["figures"]
    assert after["figures"]["fault_recall"]["value"] == 0.0  # it was trained on it: it looks healthy
    assert any(f"{cloud.site}/pump-1 at 5 min" in one for one in after["cannot_see"])
