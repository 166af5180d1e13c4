"""The command line as a person meets it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def headwater(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    return subprocess.run(
        [sys.executable, "-m", "headwater", *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd=cwd, env=kept | {"COLUMNS": "100"} | variables,
    )  # fmt: skip


def commands(*path: str) -> list[tuple[str, ...]]:
    """Every command below `path`, found by reading the help as a person would."""
    text = headwater(*path, "--help").stdout
    if "\nCommands:\n" not in text:
        return [path]
    listed = [line for line in text.split("\nCommands:\n")[1].splitlines() if line[2:3].strip()]
    names = [line.split()[0] for line in listed if line.startswith("  ")]
    return [path, *(found for name in names for found in commands(*path, name))] if names else [path]


def test_every_command_explains_itself_with_an_example() -> None:
    """Each help ends well, has a sentence, and shows a worked example on a line of its own."""
    found = commands()
    assert len(found) > 25
    for path in found:
        done = headwater(*path, "--help")
        assert done.returncode == 0, path
        assert len(done.stdout.splitlines()) > 4, path
        assert "-completion" not in done.stdout, path
        if path:  # the root says where to start
            assert re.search(r"^ *Example: +\S*.*headwater ", done.stdout, re.MULTILINE), path


def test_a_wrong_command_is_answered_with_the_nearest() -> None:
    """One sentence and a hint on standard error, exit code 2."""
    done = headwater("flete")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "headwater: there is no command 'flete'\n  hint: did you mean `headwater fleet`?\n"


def test_a_wrong_option_is_answered_with_the_nearest() -> None:
    """A mistyped option is a usage error that names the right one."""
    done = headwater("fleet", "rollout", "start", "--clas", "pump")

    assert done.returncode == 2
    assert "--class" in done.stderr


def test_a_missing_setting_is_a_sentence(tmp_path: Path) -> None:
    """No traceback: what is missing and how to set it."""
    done = headwater("config", "show", "edge", cwd=tmp_path)

    assert done.returncode == 2
    assert done.stderr == (
        "headwater: the setting edge.site is missing\n  hint: set HEADWATER_EDGE__SITE, or put it into headwater.toml\n"
    )
    assert re.search(r"^edge\.site +\(must be set\)$", done.stdout, re.MULTILINE)
    assert "edge.kafka.brokers" in done.stdout


def test_only_what_is_configured_is_checked(tmp_path: Path) -> None:
    """The other parts are named as such; with nothing at all, that is said, with exit code 2."""
    checked = headwater("config", "check", cwd=tmp_path, HEADWATER_EDGE__SITE="lyon")
    assert checked.returncode == 0
    assert checked.stdout.splitlines() == [
        "edge: good", "replicator: not configured", "trainer: not configured", "fleet: not configured",
    ]  # fmt: skip
    nothing = headwater("config", "check", cwd=tmp_path)
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("headwater: nothing is configured\n  hint: ")


@pytest.mark.parametrize("part", ["bridge", "updater"])
def test_a_state_folder_that_is_a_file_is_a_sentence(part: str, tmp_path: Path) -> None:
    """HEADWATER_HOME naming a file ends a part with one message and what to correct."""
    (tmp_path / "file").touch()
    done = headwater("edge", part, cwd=tmp_path, HEADWATER_EDGE__SITE="lyon", HEADWATER_HOME=str(tmp_path / "file"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "file" in done.stderr


def test_logs_of_a_stack_that_never_was(tmp_path: Path) -> None:
    """There is nothing to show, and it is said so."""
    done = headwater("stack", "logs", "mqtt", "--home", str(tmp_path / "stack"))
    assert done.returncode == 2
    assert done.stderr.startswith("headwater: nothing was ever started here\n")


def test_logs_without_a_name_list_the_names(tmp_path: Path) -> None:
    """Nothing was started: that is said, and it is no error."""
    done = headwater("stack", "logs", "--home", str(tmp_path / "stack"))
    assert (done.returncode, done.stdout[:31]) == (0, "no service was ever started her")


def test_secrets_never_print(tmp_path: Path) -> None:
    """A canary password appears in no output of the configuration commands."""
    variables = {
        "HEADWATER_EDGE__SITE": "lyon", "HEADWATER_EDGE__KAFKA__BROKERS": "kafka:9092",
        "HEADWATER_EDGE__KAFKA__SASL_MECHANISM": "PLAIN", "HEADWATER_EDGE__KAFKA__USERNAME": "edge",
        "HEADWATER_EDGE__KAFKA__PASSWORD": "canary-4711",
    }  # fmt: skip
    shown = headwater("config", "show", "edge", "--json", cwd=tmp_path, **variables)
    assert shown.returncode == 0
    assert "edge.kafka.password" in shown.stdout
    checked = headwater("config", "check", cwd=tmp_path, **variables)
    wrong = headwater("config", "show", "edge", cwd=tmp_path, **variables, HEADWATER_EDGE__PARTITIONS="many")

    assert "canary-4711" not in shown.stdout + shown.stderr + checked.stdout + checked.stderr + wrong.stderr


@pytest.mark.parametrize("name", ["edge.kafka.brokers", "replicator.on_gap", "trainer.kafka.brokers", "fleet.keys"])
def test_a_setting_explains_itself(name: str) -> None:
    """What it means, its default, and the two ways to set it."""
    done = headwater("config", "explain", name)

    assert done.returncode == 0
    assert f"HEADWATER_{name.upper().replace('.', '__')}" in done.stdout
    assert "no description" not in done.stdout


def test_the_edge_command_starts_in_under_a_second() -> None:
    """The fastest of three starts, since this machine may be busy."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        assert headwater("edge", "--help").returncode == 0
        took.append(time.monotonic() - began)

    assert min(took) < 1.0


@pytest.mark.parametrize("part", ["bridge", "scorer", "updater"])
def test_an_edge_process_loads_nothing_of_the_cloud(part: str) -> None:
    """No trainer, no plots, no TensorFlow in any process of an edge."""
    modules = {
        "bridge": "edge_agent.bridge.process",
        "scorer": "edge_agent.scorer.main",
        "updater": "edge_agent.updater.process",
    }  # fmt: skip
    code = f"import sys, {modules[part]}; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"cloud_trainer", "fleet", "matplotlib", "tensorflow", "confluent_kafka"} & set(loaded)
