"""What may be set about a Kafka cluster, and what the answer to a wrong value shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.settings import EdgeSettings
from fleet.settings import FleetSettings
from headwater.contract.errors import BadSetting
from headwater.transport.settings import load, problems


@pytest.mark.parametrize("brokers", ["me:canary@host:9092", "host:1,SASL://me:canary@other:2", "me:canary@host"])
@pytest.mark.parametrize("part", ["edge", "fleet"])
def test_a_password_among_the_brokers_is_refused_without_showing_it(
    part: str, brokers: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Brokers are logged and go into the status; the error names the settings for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWATER_EDGE__SITE", "lyon")
    monkeypatch.setenv(f"HEADWATER_{part.upper()}__KAFKA__BROKERS", brokers)
    model = EdgeSettings if part == "edge" else FleetSettings
    with pytest.raises(BadSetting, match="belongs into username and password") as caught:
        load(part, model)
    assert "canary" not in f"{caught.value} {caught.value.hint} {problems(part, model)}"
