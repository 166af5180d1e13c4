"""`headwater train life` and what goes on from it: publish, compare, card, sites."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cloud_trainer.cli import app
from headwater.contract.errors import BadInput, GateFailed, HeadwaterError
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, decode_manifest, model_path
from headwater.transport.objects import ObjectSettings, open_store
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository
from tests.cloud_trainer.life.engines import fleet, write_lives

FILES = {
    "card.html", "card.json", "manifest.json", "model.tflite", "predictions.csv", "remaining-life-off.png",
    "remaining-life.png", "replay.npz",
}  # fmt: skip


def train(*arguments: str) -> Result:
    """A command of `headwater train`, which must succeed."""
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines of 60 to 140 cycles, by a recipe in the settings."""
    recipe = {"asset_class": "engine", "settings": ["height"], "most": 80, "warn": 15, "early": 1.25, "latents": [2]}
    more = {"epochs": 30, "layers": [8], "budget_s": 20}
    monkeypatch.setenv("HEADWATER_TRAINER__LIFE", json.dumps([{**recipe, **more}]))


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lives(tmp_path_factory.mktemp("lives"), fleet(24, 1))


def test_lives_become_a_model_with_card_and_predictions(lives: Path, tmp_path: Path) -> None:
    """Every file is there, twice the same .tflite; the table has yardsticks that never ship; the card shows it."""
    asked = ["life", "--class", "engine", "--settings", "height,kind", "--folder", str(lives)]
    said = train(*asked, "--out", str(tmp_path / "one")).stdout
    train(*asked, "--out", str(tmp_path / "two"))
    assert {path.name for path in (tmp_path / "one").iterdir()} == FILES
    assert (tmp_path / "one" / MODEL_FILE).read_bytes() == (tmp_path / "two" / MODEL_FILE).read_bytes()
    for words in ("boosted-trees", "clock", "a yardstick, never ships", "24 lives left out", "certified for litert/"):
        assert words in said
    assert "remaining life up to 80 cycles, an alarm below 15" in said
    manifest = decode_manifest((tmp_path / "one" / MANIFEST_FILE).read_bytes())
    assert manifest.metrics["recipe"]["settings"] == ["height", "kind"], "the command line goes before the settings"
    assert manifest.certificates[0].windows >= 10_000
    card = json.loads((tmp_path / "one" / "card.json").read_text())
    assert card["remaining_life"]["rmse"] == pytest.approx(manifest.metrics["rmse"], abs=0.01)
    assert card["seen_on"]["is_left_out"]
    assert card["seen_on"]["assets"] == 24
    assert card["seen_on"]["trained_on"] is None
    page = (tmp_path / "one" / "card.html").read_text()
    for words in ("each by a model that had not learned from its asset", "boosted-trees", "it says 80"):
        assert words in page


def test_a_dry_run_as_json_is_the_manifest(lives: Path, tmp_path: Path) -> None:
    """And writes nothing; without a budget ridge and the clock are all there is."""
    done = train("life", "--class", "engine", "--folder", str(lives), "--budget", "0", "--dry-run", "--json")
    manifest = json.loads(done.stdout)
    assert manifest["algorithm"] == "life-ridge"
    assert {each["name"] for each in manifest["metrics"]["challengers"]} == {"life-ridge", "clock"}
    asked = ["life", "--class", "engine", "--folder", str(lives), "--budget", "0", "--dry-run"]
    said = train(*asked, "--out", str(tmp_path / "out")).stdout
    assert said.rstrip().endswith(f"nothing was written to {tmp_path / 'out'}: --dry-run")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_asked_is_said(lives: Path) -> None:
    """A folder that is published directly, a warning beyond the cap, two sources, a setting that nobody sends."""
    asked = ["life", "--class", "engine", "--folder", str(lives)]
    for more, words in (
        ((), "is not published directly"),
        (("--warn", "90", "--dry-run"), r"warn \(90 cycles\) must be below most \(80\)"),
        (("--settings", "weather", "--dry-run"), "has the setting weather"),
        (("--offsets", "ranges.json"), "offsets"),
        (("--warn", "0", "--dry-run"), "--warn: Input should be greater than 0"),
        (("--most", "1e7", "--dry-run"), "--most: Input should be less than or equal to 100000"),
        (("--reason", "new bearings", "--dry-run"), "do not go together"),
    ):
        with pytest.raises(BadInput, match=words):
            CliRunner().invoke(app, [*asked, *more], catch_exceptions=False)
    with pytest.raises(BadInput, match="engine is a class of remaining life"):
        CliRunner().invoke(app, ["run", *asked[1:], "--dry-run"], catch_exceptions=False)


def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """A signed repository in a folder, that the settings name."""
    settings = ObjectSettings(endpoint=(tmp_path / "store").as_uri())
    init_repository(open_store(settings), tmp_path / "keys")
    monkeypatch.setenv("HEADWATER_TRAINER__OBJECTS__ENDPOINT", (tmp_path / "store").as_uri())
    monkeypatch.setenv("HEADWATER_TRAINER__KEYS", str(tmp_path / "keys"))
    return Publisher(open_store(settings), tmp_path / "keys", "models")


def test_a_model_is_published_with_a_certificate_alone(
    lives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one it is refused, and what certifies it again makes it fit."""
    stored(tmp_path, monkeypatch)
    out = tmp_path / "out"
    train("life", "--class", "engine", "--folder", str(lives), "--budget", "0", "--out", str(out))
    manifest = decode_manifest((out / MANIFEST_FILE).read_bytes())
    (out / MANIFEST_FILE).write_bytes(msgspec.structs.replace(manifest, certificates=()).encode())
    with pytest.raises(GateFailed, match="is not certified for litert"):
        CliRunner().invoke(app, ["publish", str(out), "--dry-run"], catch_exceptions=False)
    assert f"then headwater train publish {out}" in train("certify", str(out)).stdout
    assert "engine version 1 would be published" in train("publish", str(out), "--dry-run").stdout


def test_two_models_are_judged_by_lives(lives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paired by asset with an interval: what knows the age beats what looks at 30 cycles, and not on its own lives."""
    published = stored(tmp_path, monkeypatch)
    new, old = tmp_path / "new", tmp_path / "old"
    train("life", "--class", "engine", "--folder", str(lives), "--budget", "0", "--out", str(new))
    train("life", "--class", "engine", "--folder", str(lives), "--budget", "0", "--window-only", "--out", str(old))
    published.publish(
        {model_path("engine", 1, name): (old / name).read_bytes() for name in (MODEL_FILE, MANIFEST_FILE)}
    )
    other = write_lives(tmp_path / "other", fleet(40, 7), "other")

    done = train("compare", "engine", str(new), "--folder", str(other), "--json")
    decision = json.loads(done.stdout)
    assert (decision["verdict"], decision["main"], decision["units"]) == ("promote", "rmse", "assets")
    low, high = decision["figures"]["rmse"]["difference_interval"]
    assert low < decision["figures"]["rmse"]["difference"] < high < 0
    assert decision["blocks"] == 40
    assert decision["figures"]["coverage"]["challenger"] > 0.8
    back = json.loads(train("compare", str(new), str(old), "--folder", str(other), "--json", "--dry-run").stdout)
    assert back["verdict"] == "keep"
    assert back["figures"]["rmse"]["difference"] == pytest.approx(-decision["figures"]["rmse"]["difference"])
    seen = json.loads(train("compare", "engine", str(new), "--folder", str(lives), "--json", "--dry-run").stdout)
    assert seen["verdict"] == "undecided"
    assert "was trained on" in " ".join(seen["reasons"])
    said = train("compare", "engine", str(new), "--folder", str(other), "--dry-run").stdout
    assert "in 40 lives, 95% by assets" in said
    assert "better beyond chance" in said
    assert "engine version 2 would be published" in train("publish", str(new), "--dry-run").stdout


def test_a_card_on_other_lives(lives: Path, tmp_path: Path) -> None:
    """`--folder` shows the model on lives that are named, and says whether it was trained on them."""
    out = tmp_path / "out"
    train("life", "--class", "engine", "--folder", str(lives), "--budget", "0", "--out", str(out))
    other = write_lives(tmp_path / "other", fleet(20, 7), "other")
    for folder, known in ((other, False), (lives, True)):
        card = json.loads(
            train("card", str(out), "--folder", str(folder), "--out", str(tmp_path / "card"), "--json").stdout
        )
        assert card["seen_on"]["is_training_data"] is known
        assert 0 < card["remaining_life"]["rmse"] < 25
        metrics = decode_manifest((out / MANIFEST_FILE).read_bytes()).metrics
        said = f"on lives left out: rmse {metrics['rmse']:.3g}, coverage"
        assert (said in (tmp_path / "card" / "card.html").read_text()) is known
        done = train("card", str(out), "--folder", str(folder), "--out", str(tmp_path / "card"))
        assert ("It was trained on these, or on a part of them (dataset" in done.stdout) is known
        assert (said in done.stdout) is known
    assert "Remaining life, rmse" in train("card", str(out), "--out", str(tmp_path / "card")).stdout
    named = ("--predictions", str(out / "predictions.csv"))
    for more in ((), named):
        card = json.loads(train("card", str(out), *more, "--out", str(tmp_path / "card"), "--json").stdout)
        assert card["seen_on"]["is_left_out"] is (more == ()), "nobody says how those of a file were made"


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "OUT", "OUT", "--folder", "LIVES", "--behind", "10"),
        ("sites", "--model", "OUT", "--folder", "PLANTS"),
    ],
)
def test_what_makes_no_sense_of_lives_is_said(lives: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A life is whole, and assets have no scaling of their own."""
    out = tmp_path / "out"
    train("life", "--class", "engine", "--folder", str(lives), "--budget", "0", "--out", str(out))
    shutil.copytree(lives, tmp_path / "plants" / "lyon")
    named = {"OUT": str(out), "LIVES": str(lives), "PLANTS": str(tmp_path / "plants")}
    given = [named.get(word, word) for word in command]
    more = [] if command[0] == "compare" else ["--class", "engine", "--dry-run"]
    with pytest.raises(HeadwaterError, match=r"a life is whole|no scaling of its own"):
        CliRunner().invoke(app, [*given, *more], catch_exceptions=False)


def test_lives_need_no_clock(lives: Path, tmp_path: Path) -> None:
    """Without times, divided by commas: the same cycles, and the same model."""
    for path in lives.iterdir():
        lines = [line.split(";") for line in path.read_text().splitlines()]
        (tmp_path / path.name).write_text("".join(",".join(line[1:]) + "\n" for line in lines))
    one, other = (
        json.loads(
            train("life", "--class", "engine", "--folder", str(each), "--budget", "0", "--dry-run", "--json").stdout
        )
        for each in (lives, tmp_path)
    )
    assert other["sha256"] == one["sha256"]
