"""What may be set about a Kafka cluster, and what the answer to a wrong value shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from edge_agent.settings import EdgeSettings
from fleet.settings import FleetSettings
from headwater.contract.errors import BadSetting
from headwater.transport.kafka_batch import KafkaSettings
from headwater.transport.kafka_batch.permissions import allow, denied, principal
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


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"username": "replicator"}, "username and password have no effect without sasl_mechanism"),
        ({"password": "canary"}, "username and password have no effect without sasl_mechanism"),
        ({"token_file": "t", "sasl_mechanism": "GSSAPI"}, "token_file has no effect without .*OAUTHBEARER"),
        ({"token_file": "t"}, "token_file has no effect without .*OAUTHBEARER"),
    ],
)
def test_a_login_that_would_not_be_used_is_refused(given: dict[str, str], why: str) -> None:
    """Who sets a user name does not mean to log in as nobody."""
    with pytest.raises(ValidationError, match=why) as refused:
        KafkaSettings.model_validate({"brokers": "a:1", **given})
    assert "canary" not in str(refused.value)


def test_a_token_is_no_anonymous_user(tmp_path: Path) -> None:
    """Lines of kafka-acls.sh for a login by token never open a topic to whoever has not logged in."""
    settings = KafkaSettings(brokers="a:1", sasl_mechanism="OAUTHBEARER", token_file=tmp_path / "token")
    assert principal(settings) == "User:<subject of the token>"
    assert "--allow-principal 'User:<subject of the token>'" in allow(settings, "Read", "topic", "t")
    assert "ANONYMOUS" not in denied(settings, "Read", "topic", "t")
