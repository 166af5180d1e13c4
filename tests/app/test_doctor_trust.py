"""What the doctor finds about roots of trust and keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.settings import EdgeSettings
from fleet.settings import FleetSettings
from headwater.app.doctor.trust import KEYS, check_trust
from headwater.transport.objects import MemoryStore
from headwater.transport.registry.publisher import Publisher
from tests.app.doctoring import doctor, make_trust


def of_edge(root: Path | None, state: Path) -> tuple[str, str, str, int]:
    settings = EdgeSettings.model_validate({"site": "lyon", "state_dir": state, "updater": {"root_file": root}})
    [found] = check_trust("edge", settings)
    assert found.check == "edge.updater.root_file"
    return found.state, found.says, found.fix, found.plain()["exit_code"]


def of_keys(folder: Path) -> tuple[str, str, str, int]:
    [found] = check_trust("fleet", FleetSettings(keys=folder))
    assert found.check == "fleet.keys"
    return found.state, found.says, found.fix, found.plain()["exit_code"]


def test_the_doctor_looks_at_the_root_of_trust(tmp_path: Path) -> None:
    """A missing root.json is a finding of the command itself, with its exit code and what to do."""
    endpoint = f"file://{tmp_path}"
    code, found, _ = doctor(
        tmp_path, "edge", HEADWATER_EDGE__SITE="lyon", HEADWATER_EDGE__KAFKA__BROKERS="127.0.0.1:1",
        HEADWATER_EDGE__KAFKA__REQUEST_TIMEOUT_S="1", HEADWATER_EDGE__MQTT__PORT="1",
        HEADWATER_EDGE__UPDATER__OBJECTS__ENDPOINT=endpoint, HEADWATER_EDGE__UPDATER__ROOT_FILE="nowhere.json",
    )  # fmt: skip

    assert code == 5, "the services come first"
    assert found["edge.updater.root_file"]["exit_code"] == 2
    assert "nowhere.json" in found["edge.updater.root_file"]["says"]
    assert "copy root.json" in found["edge.updater.root_file"]["fix"]


def test_a_root_of_trust_is_read_as_an_edge_reads_it(tmp_path: Path) -> None:
    """Good when its keys signed it; a folder, other JSON, and a root that was changed are each named."""
    root = make_trust(tmp_path)
    assert of_edge(root, tmp_path)[0] == "good"
    state, says, fix, code = of_edge(None, tmp_path)
    assert (state, code) == ("bad", 2)
    assert str(tmp_path / "edge/lyon/root.json") in says
    assert "copy root.json" in fix
    assert of_edge(tmp_path, tmp_path)[::3] == ("bad", 2)
    (tmp_path / "other.json").write_text("{}")
    assert of_edge(tmp_path / "other.json", tmp_path)[::3] == ("bad", 2)
    (tmp_path / "changed.json").write_text(root.read_text().replace('"version":1', '"version":2'))
    state, says, fix, code = of_edge(tmp_path / "changed.json", tmp_path)
    assert (state, code) == ("bad", 7)
    assert "copy root.json" in fix


def test_keys_are_there_usable_and_of_one_fleet(tmp_path: Path) -> None:
    """No folder, no root.json, no key of a role, a key of another fleet, and no key at all."""
    keys = make_trust(tmp_path).parent
    other = make_trust(tmp_path / "other").parent
    assert of_keys(keys)[0] == "good"
    state, _, fix, code = of_keys(tmp_path / "nowhere")
    assert (state, code) == ("bad", 2)
    assert "fleet keys init" in fix
    (keys / "snapshot-1.pem").replace(tmp_path / "kept.pem")
    assert "no key of the role snapshot" in of_keys(keys)[1]
    (other / "snapshot-1.pem").replace(keys / "snapshot-1.pem")
    state, _, fix, code = of_keys(keys)
    assert (state, code) == ("bad", 3)
    assert "root.json of one fleet" in fix
    (keys / "snapshot-1.pem").write_text("nothing")
    assert "is not a private key" in of_keys(keys)[1]


def test_keys_that_others_may_read_are_a_warning(tmp_path: Path) -> None:
    """By file and by folder; the fix is the command."""
    keys = make_trust(tmp_path).parent
    (keys / "rollout-1.pem").chmod(0o644)
    assert of_keys(keys)[0] == "good", "nobody else gets into the folder"
    keys.chmod(0o755)
    state, says, fix, _ = of_keys(keys)
    assert state == "warning"
    assert "rollout-1.pem" in says
    assert fix.startswith(f"chmod 700 {keys}")


@pytest.mark.parametrize(("part", "role"), [("trainer", "models"), ("fleet", "rollout")])
def test_the_keys_that_are_asked_for_are_those_that_signing_needs(part: str, role: str, tmp_path: Path) -> None:
    """A publisher of the part's role is content with them alone."""
    root = make_trust(tmp_path)
    for key in root.parent.glob("*.pem"):
        if key.name.rpartition("-")[0] not in KEYS[part]:
            key.unlink()
    Publisher(MemoryStore(), root.parent, role)
