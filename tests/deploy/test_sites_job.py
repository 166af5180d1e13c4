"""The container job for a thousand sites is the trainer's own command, with the trainer's own keys and settings.

The file was held to the schema of Kubernetes 1.31 and later with `kubernetes-validate --strict`, which is no package of
ours; what is checked here is what that schema cannot know.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloud_trainer.settings import TrainerSettings
from headwater.contract import errors
from headwater.transport.settings import load
from tests.deploy.test_compose import compose, mounts

ROOT = Path(__file__).parents[2]
JOB: dict[str, Any] = yaml.safe_load((ROOT / "deploy/kubernetes/sites-job.yaml").read_text())
POD: dict[str, Any] = JOB["spec"]["template"]["spec"]
(SITES,) = POD["containers"]


def test_its_command_exists_with_every_option() -> None:
    """`headwater train sites`; each run of the job keeps one request id, whatever pods it takes."""
    words = [word for word in SITES["args"] if word in {"train", "sites"}]
    command = [sys.executable, "-m", "headwater", *words, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(option in shown for option in SITES["args"] if option.startswith("--"))
    assert "$(REQUEST_ID)" in SITES["args"]
    assert (
        "job-name"
        in next(one for one in SITES["env"] if one["name"] == "REQUEST_ID")["valueFrom"]["fieldRef"]["fieldPath"]
    )


def test_its_environment_is_settings_of_the_trainer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each variable loads; it has as many workers as the container may use cores."""
    monkeypatch.chdir(tmp_path)
    for one in SITES["env"]:
        if one["name"].startswith("HEADWATER_"):
            monkeypatch.setenv(one["name"], str(one.get("value", "2")))
    settings = load("trainer", TrainerSettings)
    assert (settings.workers, settings.runner) == (2, "pool")
    assert SITES["resources"]["limits"]["cpu"] == "2"


def test_it_is_the_trainer_of_the_compose_file() -> None:
    """The same image, user, keys and variables, but for the port of metrics, which nobody reads of a job."""
    services = compose("compose.cloud.yml")["services"]
    trainer, one_shot = services["trainer"], services["sites"]
    assert trainer["image"] == one_shot["image"] == SITES["image"]
    assert trainer["build"]["args"] == {"PACKAGES": "cloud"}
    assert (ROOT / "lock/cloud.txt").exists()
    assert trainer["user"] == f"{POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}"
    assert one_shot["environment"] == trainer["environment"]
    assert mounts(one_shot) == mounts(trainer)
    named = {one["name"] for one in SITES["env"]} - {"REQUEST_ID", "HEADWATER_TRAINER__WORKERS"}
    assert named == {name for name in trainer["environment"] if "METRICS" not in name}
    folder = next(one for one in SITES["volumeMounts"] if one["name"] == "keys")["mountPath"]
    assert folder == trainer["environment"]["HEADWATER_TRAINER__KEYS"]


def test_only_what_may_help_is_tried_again() -> None:
    """Exit codes of lasting errors end the job; those of services away and numbers taken, or a kill, do not."""
    (final,) = [
        set(rule["onExitCodes"]["values"]) for rule in JOB["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in rule
    ]
    lasting = {errors.BadInput, errors.Refused, errors.GateFailed, errors.Untrusted, errors.DataMissing, errors.Defect}
    assert final == {kind.exit_code for kind in lasting}
    assert not final & {errors.Transient.exit_code, errors.Conflict.exit_code, 137, 143}
    assert POD["restartPolicy"] == "Never"


def test_it_may_do_no_more_than_it_needs() -> None:
    """Not root, no rights, a root folder that cannot be written, an image with a version."""
    security = SITES["securityContext"]
    assert POD["securityContext"]["runAsNonRoot"]
    assert not POD["automountServiceAccountToken"]
    assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert re.fullmatch(r"[\w-]+:\d+\.\d+\.\d+", SITES["image"])
