"""The compose files are what Compose accepts and what our parts really read."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from headwater.app.parts import settings_model
from headwater.transport.settings import load

ROOT = Path(__file__).parents[2]
FILES = ("compose.edge.yml", "compose.cloud.yml")
GIVEN = {
    "SITE": "lyon", "CLOUD_KAFKA": "kafka.example.com:9092", "S3_ENDPOINT": "http://s3:8333",
    "S3_ACCESS_KEY": "key", "S3_SECRET_KEY": "secret", "PUBLIC_HOST": "localhost",
}  # fmt: skip


def compose(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return document


def services() -> list[tuple[str, str, dict[str, Any]]]:
    return [(file, name, service) for file in FILES for name, service in compose(file)["services"].items()]


def ours() -> list[tuple[str, str, dict[str, Any]]]:
    return [one for one in services() if "dockerfile" in str(one[2].get("build"))]


def filled(value: str) -> str:
    return re.sub(r"\$\{(\w+)[^}]*\}", lambda match: GIVEN[match[1]], value)


@pytest.mark.parametrize("name", FILES)
def test_compose_accepts_the_file(name: str) -> None:
    """The file is valid under the schema of the Compose Specification."""
    schema = json.loads((ROOT / "tests/deploy/compose-spec.json").read_text())
    document = compose(name)

    jsonschema.Draft7Validator(schema).validate(document)


@pytest.mark.parametrize(("file", "name", "service"), services(), ids=lambda v: v if isinstance(v, str) else "")
def test_every_service_is_pinned_checked_and_not_root(file: str, name: str, service: dict[str, Any]) -> None:
    """Images have a version, long-running services a health check, and nothing runs as root."""
    del file
    tag = service["image"].rpartition(":")[2]

    assert re.fullmatch(r"\d+\.\d+[\w.-]*", tag), f"{service['image']} is not pinned"
    assert not service["user"].startswith("0")
    assert "minio" not in service["image"]
    assert service.get("profiles") == ["tools"] or "healthcheck" in service or service["command"] == ["train", "serve"]


@pytest.mark.parametrize(("file", "name", "service"), ours(), ids=lambda v: v if isinstance(v, str) else "")
def test_every_variable_is_a_setting_of_the_part(
    file: str, name: str, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The environment of a service loads as the settings of its part; one that does not exist is refused."""
    del file, name
    monkeypatch.chdir(tmp_path)
    variables = {key: filled(str(value)) for key, value in service["environment"].items()}
    section = {key.split("__")[0].removeprefix("HEADWATER_").lower() for key in variables}
    for key, value in variables.items():
        monkeypatch.setenv(key, value)

    assert len(section) == 1
    part = section.pop()
    assert load(part, settings_model(part))


@pytest.mark.parametrize(("file", "name", "service"), ours(), ids=lambda v: v if isinstance(v, str) else "")
def test_every_command_exists(file: str, name: str, service: dict[str, Any]) -> None:
    """The commands of services and health checks, with their options, are commands of ours."""
    del file, name
    test = service.get("healthcheck", {}).get("test", [])
    checks = test[2:] if test[1:2] == ["headwater"] else []
    for command in filter(None, (service["command"], checks)):
        words = [word for word in command if not word.startswith("-")]
        shown = subprocess.run(
            [sys.executable, "-m", "headwater", *words, "--help"], capture_output=True, text=True, check=True
        ).stdout
        assert all(option in shown for option in command if option.startswith("-"))


@pytest.mark.parametrize(("file", "name", "service"), services(), ids=lambda v: v if isinstance(v, str) else "")
def test_a_service_starts_after_what_it_needs(file: str, name: str, service: dict[str, Any]) -> None:
    """Start order names services of the same file, and waits for their health where they have a check."""
    del name
    others = compose(file)["services"]
    for needed, how in (service.get("depends_on") or {}).items():
        assert needed in others
        assert how["condition"] == "service_started" or "healthcheck" in others[needed]


def test_the_image_holds_what_the_lock_says() -> None:
    """The Dockerfile installs the locked versions with hashes, as a user that is not root, from a pinned base."""
    text = (ROOT / "deploy/Dockerfile").read_text()

    assert "--require-hashes -r lock/edge.txt" in text
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
    assert all(re.search(r":\d+\.\d+\.\d+", line) for line in text.splitlines() if line.startswith("FROM"))
    copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", text, re.MULTILINE)
    assert all((ROOT / source).exists() for source in copied)
    assert "tensorflow" not in (ROOT / "lock/edge.txt").read_text().lower().replace("tensorflow/", "")
