"""The compose files are what Compose accepts and what our parts really read."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from edge_agent import supervisor
from edge_agent.bridge.settings import BridgeSettings
from headwater.app.parts import settings_model
from headwater.transport.objects import MemoryStore
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository
from headwater.transport.settings import load
from replicator.settings import ReplicatorSettings
from tests.edge_agent.box import free_port

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
    assert service.get("profiles") == ["tools"] or "healthcheck" in service


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


def mounts(service: dict[str, Any]) -> list[dict[str, Any]]:
    """The files and folders of this machine that a service mounts; named volumes are left out."""
    return [mount for mount in service.get("volumes", []) if isinstance(mount, dict) or mount.startswith(("./", "/"))]


@pytest.mark.parametrize(("file", "name", "service"), services(), ids=lambda v: v if isinstance(v, str) else "")
def test_what_is_not_there_is_an_error(file: str, name: str, service: dict[str, Any]) -> None:
    """Docker makes no empty folder where a file is missing; what people must make is in docs/deploy.md, not in git."""
    del file, name
    page, ignored = (ROOT / "docs/deploy.md").read_text(), (ROOT / ".gitignore").read_text()
    for mount in mounts(service):
        source = mount["source"].removeprefix("./")
        assert mount["bind"] == {"create_host_path": False}
        if not (ROOT / source).exists() or f"/{source}" in ignored:
            assert source in page or source.startswith("keys/")
            assert f"/{source.split('/')[0]}/" in ignored or f"/{source}" in ignored


def test_each_service_has_the_signing_keys_that_it_needs_and_no_others(tmp_path: Path) -> None:
    """Trainer and fleet can publish with what is mounted, read-only; the keys of root and targets are nowhere."""
    keys, store = tmp_path / "keys", MemoryStore()
    init_repository(store, keys)
    services = compose("compose.cloud.yml")["services"]
    for name, roles in (("trainer", ["models"]), ("fleet", ["models", "rollout"])):
        seen = tmp_path / name
        seen.mkdir()
        for mount in mounts(services[name]):
            assert mount["read_only"] is True
            assert mount["target"] == f"/etc/headwater/{mount['source'].removeprefix('./')}"
            shutil.copy(keys / Path(mount["source"]).name, seen)
        for role in roles:
            Publisher(store, seen, role).publish({})
        kinds = {path.name.split("-")[0] for path in seen.glob("*.pem")}
        assert kinds == {*roles, "snapshot", "timestamp"}

    (whole,) = mounts(services["keys"])
    assert (whole["source"], whole["target"], whole.get("read_only")) == ("./keys", "/etc/headwater/keys", None)
    assert services["keys"]["command"] == ["fleet", "keys", "init"]


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@pytest.mark.parametrize(("file", "name", "service"), services(), ids=lambda v: v if isinstance(v, str) else "")
def test_a_service_has_time_to_finish_what_it_holds(file: str, name: str, service: dict[str, Any]) -> None:
    """Docker kills after `stop_grace_period`: later than our own deadlines, and later than its default of 10 s."""
    del file
    if service.get("profiles") == ["tools"]:
        return
    ours = {
        "edge": max(supervisor.STOP_S, BridgeSettings().drain_s),
        "replicator": ReplicatorSettings.model_fields["drain_s"].default,
    }
    assert seconds(service["stop_grace_period"]) >= ours.get(name, 10) + 10


@pytest.mark.parametrize(("file", "name", "service"), ours(), ids=lambda v: v if isinstance(v, str) else "")
def test_metrics_are_read_from_outside_the_container(file: str, name: str, service: dict[str, Any]) -> None:
    """Who serves metrics serves them on every address of its container."""
    del file, name
    ports = [key for key in service["environment"] if key.endswith("METRICS_PORT")]

    assert all(service["environment"][key.replace("PORT", "ADDRESS")] == "0.0.0.0" for key in ports)
    assert ports or service["profiles"] == ["tools"]


@pytest.mark.parametrize("ready", [True, False])
def test_the_trainer_is_healthy_once_it_reads_requests(ready: bool) -> None:
    """Its check is run as it stands against the metrics of a trainer: before it reads requests it is not healthy."""
    port = free_port()
    _, _, option, code = compose("compose.cloud.yml")["services"]["trainer"]["healthcheck"]["test"]
    serving = (
        f"from cloud_trainer import serve; serve._ready.set({int(ready)}); serve.metrics.serve({port}); "
        "print('serving', flush=True); input()"
    )
    command = [sys.executable, "-c", serving]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as trainer:
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == b"serving\n"
        asked = subprocess.run([sys.executable, option, code.replace("9103", str(port))], check=False)
        trainer.kill()

    assert asked.returncode == (0 if ready else 1)


def test_the_image_holds_what_the_lock_says() -> None:
    """The Dockerfile installs the locked versions with hashes, as a user that is not root, from a pinned base."""
    text = (ROOT / "deploy/Dockerfile").read_text()

    assert "ARG PACKAGES=edge" in text
    assert "COPY lock/${PACKAGES}.txt lock/packages.txt" in text
    assert "--require-hashes -r lock/packages.txt" in text
    assert all("--hash=" in (ROOT / f"lock/{name}.txt").read_text() for name in ("edge", "cloud"))
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
    assert all(re.search(r":\d+\.\d+\.\d+", line) for line in text.splitlines() if line.startswith("FROM"))
    copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", text, re.MULTILINE)
    assert all((ROOT / source.replace("${PACKAGES}", "edge")).exists() for source in copied)
    assert "tensorflow" not in (ROOT / "lock/edge.txt").read_text().lower().replace("tensorflow/", "")
