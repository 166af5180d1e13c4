"""Options of which one would be passed over in silence are refused with a sentence, by every command that has them."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from headwater.app.cli import app
from headwater.contract.errors import BadInput

FOLDER, OFFSETS, DATASET = ("--folder", "f"), ("--offsets", "o.json"), ("--dataset", "d.json")
CLASS = ("--class", "pump")
APART = [
    ("run", (*CLASS, *FOLDER, *OFFSETS), "--folder and --offsets"),
    ("run", (*CLASS, *OFFSETS, *DATASET), "--offsets and --dataset"),
    ("run", (*CLASS, *FOLDER, *DATASET, "--rows", "5"), "--dataset and --rows"),
    ("run", (*CLASS, *FOLDER, *DATASET, "--site", "lyon"), "--dataset and --site"),
    ("run", (*CLASS, "--out", "m", "--reason", "new bearings"), "--out and --reason"),
    ("life", (*CLASS, *FOLDER, *OFFSETS), "--folder and --offsets"),
    ("life", (*CLASS, *FOLDER, *DATASET, "--site", "lyon"), "--dataset and --site"),
    ("request", (*CLASS, *OFFSETS, *DATASET), "--offsets and --dataset"),
    ("request", (*CLASS, "--wait", "--dry-run"), "--dry-run and --wait"),
    ("sites", (*CLASS, *FOLDER, *OFFSETS), "--folder and --offsets"),
    ("sites", (*CLASS, "--model", "m", "--version", "3"), "--model and --version"),
    ("sites", (*CLASS, "--dry-run", "--request-id", "x"), "--dry-run and --request-id"),
    ("compare", ("a", "b", *FOLDER, *OFFSETS), "--folder and --offsets"),
    ("compare", ("a", "b", *FOLDER, *DATASET), "--folder and --dataset"),
    ("compare", ("a", "b", *OFFSETS, *DATASET), "--offsets and --dataset"),
    ("compare", ("a", "b", *FOLDER, "--labels", "l.csv"), "--folder and --labels"),
    ("compare", ("a", "b", "--dry-run", "--record"), "--dry-run and --record"),
    ("card", ("a", "--out", "x", *FOLDER, *DATASET), "--folder and --dataset"),
    ("dataset build", (*CLASS, *FOLDER, *OFFSETS), "--folder and --offsets"),
    ("dataset build", (*CLASS, "--dry-run", "--out", "x"), "--dry-run and --out"),
    ("dataset check", ("d.json", *CLASS), "WHICH and --class"),
    ("simulate-stream", ("f", "--into", "lyon.readings", *CLASS, "--train-rows", "5", "--train-share", "0.5"), "share"),
]
NEEDS = [
    ("run", (*CLASS, "--rows", "5"), "--rows says nothing without --folder"),
    ("run", (*CLASS, "--site", "lyon"), "--site says nothing without --folder"),
    ("run", (*CLASS, "--version", "2"), "--version says nothing without --out"),
    ("life", (*CLASS, "--site", "lyon"), "--site says nothing without --folder"),
    ("request", (*CLASS, "--timeout-s", "5"), "--timeout-s says nothing without --wait"),
    ("compare", ("a", "b", "--behind", "5"), "--behind says nothing without --folder"),
    ("card", ("a", "--out", "x", "--site", "lyon"), "--site says nothing without --folder"),
    ("publish", ("m", "--reason", "why"), "--reason says nothing without --unjudged"),
    ("dataset build", (*CLASS, "--rows", "5"), "--rows says nothing without --folder"),
    ("dataset check", (*CLASS, "--site", "lyon"), "--site says nothing without --folder"),
]


@pytest.mark.parametrize(("command", "given", "said"), APART + NEEDS)
def test_options_that_contradict_each_other_are_refused(command: str, given: tuple[str, ...], said: str) -> None:
    """Before anything is read: none of the files and services exists."""
    done = CliRunner().invoke(app, ["train", *command.split(), *given])
    assert isinstance(done.exception, BadInput), (done.output, done.exception)
    assert said in str(done.exception)
    assert done.exception.hint


def test_a_default_contradicts_nothing() -> None:
    """Only what was typed counts: `--site` has a default, and a dataset of recordings needs none."""
    done = CliRunner().invoke(app, ["train", "run", *CLASS, *FOLDER, "--dataset", "none.json", "--out", "m"])
    assert isinstance(done.exception, BadInput)
    assert "there is no file none.json" in str(done.exception)
