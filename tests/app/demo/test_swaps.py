"""How long a swap took, by what is in the log and whatever the scorer says."""

from __future__ import annotations

from pathlib import Path

from headwater.app.demo.swaps import Placed, Placements, slowest_s, swap_s
from headwater.contract import headers
from headwater.contract.desired import Desired, Wanted
from headwater.transport.kafka_batch import Record

V1, V2 = "a" * 64, "b" * 64
READINGS = list(range(0, 60_001, 100))


def score(sha256: str) -> Record:
    return Record(0, 0, b"pump-1", b"", ((headers.MODEL, headers.text(sha256)),))


def place(path: Path, version: int, sha256: str, at: int) -> None:
    wanted = Wanted(version, sha256, 1, at, "download", "r")
    path.write_bytes(Desired(classes={"pump": wanted}).encode())


def test_a_swap_lasts_from_its_placing_to_the_first_score_that_is_seen(tmp_path: Path) -> None:
    """Each placing has its own first score, also that of a version that comes back."""
    file = tmp_path / "desired.json"
    placements = Placements({"lyon": file})
    placements.look("lyon")
    assert not placements.waits("lyon")
    for version, sha256, at, seen in ((1, V1, 1000, 1500), (2, V2, 9000, 19_000), (1, V1, 30_000, 30_700)):
        place(file, version, sha256, at)
        placements.look("lyon")
        assert placements.waits("lyon")
        placements.scored("lyon", [score("c" * 64)], seen - 400)
        assert placements.waits("lyon")
        placements.scored("lyon", [score(sha256)], seen)
        placements.look("lyon")
        placements.scored("lyon", [score(sha256)], seen + 5000)
        assert not placements.waits("lyon")

    assert [swap_s(each, READINGS) for each in placements.of("lyon")] == [0.5, 10.0, 0.7]
    assert slowest_s(placements.of("lyon"), READINGS) == 10.0


def test_machines_that_are_held_make_no_swap_slow() -> None:
    """Without a reading there is nothing to score; the first that comes begins the swap."""
    held = [1000, 1100, 8000, 8100]

    assert swap_s(Placed(1, V1, 1150, 8300), held) == 0.3
    assert swap_s(Placed(1, V1, 9000, None), held) is None
    assert slowest_s([Placed(1, V1, 9000, None)], held) is None


def test_a_swap_without_a_score_is_as_slow_as_readings_came() -> None:
    """It cannot hide behind having no score at all, unless the readings ended before the goal was over."""
    assert swap_s(Placed(1, V1, 10_000), READINGS) == 50.0
    assert swap_s(Placed(1, V1, 57_000), READINGS) is None
