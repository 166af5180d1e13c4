"""What the demo's counts say of logs in which a promise is broken on purpose."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from headwater.app.demo import count, promises
from headwater.app.demo.cli import _folder
from headwater.contract import headers, messages
from headwater.contract.errors import Permanent, Refused
from headwater.contract.features import FeatureSpec, Scaling
from headwater.contract.figures import figure
from headwater.contract.messages import Score
from headwater.contract.overhaul import Overhaul
from headwater.contract.reading import encode
from headwater.contract.windows import Cadence, Charge, expected
from headwater.transport.kafka_batch import Record
from tests.contract import lives

CHARGE = Charge(
    "pump",
    1,
    "a" * 64,
    20,
    0,
    Cadence.of(FeatureSpec(("flow",), 5, 5, {"": Scaling((0.0,), (1.0,))})),
    0,
    0,
    "download",
)


def readings(count_: int = 60) -> list[Record]:
    given = ((headers.CLASS, headers.text("pump")),)
    return [Record(i, 0, b"pump-1", encode(i * 1000, {"flow": float(i)}), given) for i in range(count_)]


def score(offset: int, wanted: count.Expected, **changed: object) -> Record:
    fields = {
        "asset": wanted.asset, "asset_class": "pump", "t_first": wanted.window.t_first, "t_last": wanted.window.t_last,
        "score": 1.0, "threshold": 2.0, "version": 1, "sha256": CHARGE.sha256,
        "source": wanted.window.last_offset, **changed,
    }  # fmt: skip
    said = Score(**{name: fields[name] for name in Score.__struct_fields__ if name in fields})  # type: ignore[arg-type]  # of the types that the fields have
    given = (
        (headers.SOURCE_OFFSET, headers.number(fields["source"])),  # type: ignore[arg-type]  # of the types that the fields have
        (headers.FIRST_OFFSET, headers.number(wanted.window.first_offset)),
        (headers.MODEL, headers.text(str(fields["sha256"]))),
        (headers.VERSION, headers.number(fields["version"])),  # type: ignore[arg-type]  # of the types that the fields have
    )
    return Record(offset, 0, wanted.asset.encode(), messages.encode(said), given)


def judge(scores: list[Record]) -> tuple[int, int, int]:
    found = count.judged(count.Log({0: readings()}), count.Log({0: scores}), {0: [CHARGE]})
    assert found.windows == 8
    return found.unscored, found.twice, found.wrong


def good() -> list[Record]:
    windows = expected(count.arrivals(readings()), [CHARGE])
    return [score(i, wanted) for i, wanted in enumerate(windows)]


def test_right_scores_are_right() -> None:
    """Every window once, by the model in charge: nothing to complain of."""
    assert judge(good()) == (0, 0, 0)


def test_a_missing_and_a_doubled_score_are_counted() -> None:
    """One window without a score, one with two."""
    scores = good()

    assert judge(scores[1:]) == (1, 0, 0)
    assert judge([*scores, scores[3]]) == (0, 1, 0)


def test_a_score_of_no_window_counts_as_one_too_many() -> None:
    """Windows that nobody asked for are not scored in silence."""
    wanted = next(iter(expected(count.arrivals(readings()), [CHARGE])))

    assert judge([*good(), score(99, wanted, source=21)]) == (0, 1, 0)


@pytest.mark.parametrize("change", [{"version": 41}, {"sha256": "b" * 64}, {"t_last": 1}, {"asset": "pump-2"}])
def test_a_score_that_names_another_model_or_window_is_wrong(change: dict[str, object]) -> None:
    """Provenance is compared field by field with the swap records."""
    scores = good()
    wanted = next(iter(expected(count.arrivals(readings()), [CHARGE])))
    scores[0] = score(0, wanted, **change)

    assert judge(scores) == (0, 0, 1)


def test_a_score_without_a_number_is_no_score() -> None:
    """A window whose model answered NaN is not scored."""
    wanted = next(iter(expected(count.arrivals(readings()), [CHARGE])))

    assert judge([score(0, wanted, score=None), *good()[1:]]) == (1, 0, 0)


def test_scores_of_lives_are_held_against_overhauls() -> None:
    """A score that goes on with the life before an overhaul is wrong."""
    life = Charge("pump", 1, "a" * 64, 0, 0, Cadence.of(lives.features()), 0, 0, "download")
    given = ((headers.CLASS, headers.text("pump")),)
    records = [Record(i, 0, b"pump-1", encode(i, {"load": 0.1, "a": 1.0}), given) for i in range(6)]
    renewed = Overhaul("pump-1", 3, failed=False).encode()
    records[3] = Record(3, 0, b"pump-1", renewed, ((headers.OVERHAULED, b"pump-1"),))
    log, without = count.Log({0: records}), [*records[:3], *records[4:]]

    def judged(kept: list[Record]) -> tuple[int, int, int]:
        found = [score(i, wanted) for i, wanted in enumerate(expected(count.usable(kept), [life]))]
        counts = count.judged(log, count.Log({0: found}), {0: [life]})
        return counts.windows, counts.unscored, counts.wrong

    assert judged(records) == (5, 0, 0)
    assert judged(without) == (5, 0, 2)


def published(records: list[Record]) -> dict[str, tuple[int, str]]:
    return {"pump-1": (len(records), hashlib.sha256(b"".join(r.value or b"" for r in records)).hexdigest())}


def test_lost_doubled_swapped_and_strange_readings_are_counted() -> None:
    """Each kind of damage turns its own count."""
    sent = readings(10)
    damaged = {
        "lost": sent[1:],
        "doubled": [*sent, sent[4]],
        "swapped": [sent[1], sent[0], *sent[2:]],
        "strange": [*sent, sent[0]._replace(key=b"ghost")],
    }
    found = {name: count.transport(published(sent), count.Log({0: records})) for name, records in damaged.items()}

    assert count.transport(published(sent), count.Log({0: sent})) == (10, 0, 0, 0)
    assert found["lost"][1:] == (1, 0, 1)
    assert found["doubled"][1:] == (0, 1, 1)
    assert found["swapped"][1:] == (0, 0, 1)
    assert found["strange"][1:] == (0, 1, 0)


def test_a_copy_that_differs_anywhere_is_counted() -> None:
    """Key, value, headers, timestamp and partition are all compared."""
    sent = readings(5)
    edge = {"readings": count.Log({0: sent})}
    for changed in (sent[2]._replace(timestamp_ms=1), sent[2]._replace(headers=()), sent[2]._replace(value=b"x")):
        found = count.copied(edge, {"readings": count.Log({0: [*sent[:2], changed, *sent[3:]]})})
        assert (found.lost, found.duplicated) == (1, 1)
    elsewhere = count.copied(edge, {"readings": count.Log({0: sent[:-1], 7: sent[-1:]})})

    assert (elsewhere.lost, elsewhere.duplicated) == (1, 1)


def test_a_promise_without_a_value_is_missed() -> None:
    """Only lines that were not promised may be empty."""
    empty = figure("demo.edge_memory_mb", None, "MB", 220)

    assert not promises.all_kept([empty])
    assert promises.all_kept([promises.from_broker("demo.readings_lost", 3, persistent=False)])
    assert not promises.all_kept([promises.from_broker("demo.readings_lost", 3, persistent=True)])


def test_a_folder_with_anything_in_it_is_never_used(tmp_path: Path) -> None:
    """The demo removes its folder at the end, so it takes none that holds something."""
    (tmp_path / "mine").write_text("hello")
    with pytest.raises(Refused):
        _folder(tmp_path)
    with pytest.raises(Permanent):
        _folder(tmp_path / "mine")

    assert (tmp_path / "mine").read_text() == "hello"
    assert _folder(tmp_path / "new").is_dir()
