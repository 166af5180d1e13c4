"""What a replay must hold to prove something, and that it is made whatever the number of assets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cloud_trainer.certificates import replay
from cloud_trainer.certificates.replay import LEAST, Part, Replay
from headwater.contract.errors import BadInput

COUNT = LEAST + 5
ROWS = np.zeros((COUNT, 4), np.float32)
WHOLE = Replay((Part("a", ROWS[:5], 1.0), Part("b", ROWS[5:], 2.0)), np.ones(COUNT), np.ones((COUNT, 2)))


def arrays(path: Path) -> dict[str, Any]:
    replay.save(WHOLE, path)
    with np.load(path) as held:
        return {name: held[name] for name in held.files}


SPOILS: dict[str, dict[str, Any]] = {
    "three windows": {
        "names": np.array(["a"]),
        "lengths": np.array([3]),
        "thresholds": np.ones(1),
        "rows": ROWS[:3],
        "scores": np.ones(3),
        "contributions": np.ones((3, 2)),
    },
    "lengths too short": {"lengths": np.array([5, LEAST - 5])},
    "a negative length": {"lengths": np.array([-5, COUNT + 5])},
    "lengths of floats": {"lengths": np.array([5.0, LEAST])},
    "scores too short": {"scores": np.ones(COUNT - 5)},
    "contributions too short": {"contributions": np.ones((COUNT - 1, 2))},
    "thresholds too short": {"thresholds": np.ones(1)},
    "a threshold of NaN": {"thresholds": np.array([1.0, np.nan])},
    "rows of one dimension": {"rows": ROWS[:, 0]},
    "rows of float64": {"rows": ROWS.astype(np.float64)},
    "names of numbers": {"names": np.arange(2)},
}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """The parts, their thresholds and scores come back as they were."""
    replay.save(WHOLE, tmp_path / "replay.npz")
    again = replay.load(tmp_path / "replay.npz")
    assert again.digest() == WHOLE.digest()
    assert np.array_equal(again.scores, WHOLE.scores)


@pytest.mark.parametrize("name", SPOILS)
def test_what_would_prove_nothing_is_refused(name: str, tmp_path: Path) -> None:
    """Too few windows, and arrays that do not fit each other, are no replay; nothing is certified by them."""
    path = tmp_path / "replay.npz"
    np.savez_compressed(path, **{**arrays(path), **SPOILS[name]})
    with pytest.raises(BadInput, match="is no replay"):
        replay.load(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """Bits that flipped, half a file, and an array alone are told with a sentence."""
    path = tmp_path / "replay.npz"
    replay.save(WHOLE, path)
    whole = path.read_bytes()
    np.save(tmp_path / "rows.npy", ROWS)
    flipped = bytearray(whole)
    for at in range(len(whole) // 4, len(whole) // 2):
        flipped[at] ^= 0xFF
    for data in (bytes(flipped), whole[: len(whole) // 2], (tmp_path / "rows.npy").read_bytes()):
        path.write_bytes(data)
        with pytest.raises(BadInput, match="is no replay"):
            replay.load(path)


def trained(assets: int) -> Any:
    """One window an asset, as after training of a fleet with few readings each."""
    windows = {f"s/a{number}": np.zeros((1, 2, 1)) for number in range(assets)}
    return SimpleNamespace(
        windows=windows,
        vectors={key: np.zeros((1, 2), np.float32) for key in windows},
        thresholds={"": 1.0},
        spec=SimpleNamespace(scaling_of=lambda _: SimpleNamespace(centre=0.0, scale=1.0)),
        detector=SimpleNamespace(layout="summary", score=lambda rows: (np.zeros(len(rows)), np.zeros((len(rows), 2)))),
    )


@pytest.mark.timeout(60)
def test_more_assets_than_windows_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each asset one window at least, however many assets there are; and it ends."""
    monkeypatch.setattr(replay, "MOST", 20)
    monkeypatch.setattr(replay, "LEAST", 100)
    found = replay.replay(trained(30), np.zeros((2, 2), np.float32), 1)
    assert {part.key for part in found.parts} == {"golden", *(f"s/a{number}" for number in range(30))}
    assert len(found.rows) >= 100
    none = replay._faulty({"s/a0": np.zeros((0, 2, 1))}, 5, 1)
    assert not sum(len(windows) for _, windows in none)
