"""What operators say of alarms counts as labels do, and less than orders."""

from __future__ import annotations

import numpy as np

from cloud_trainer.datasets.spoken import Spoken
from cloud_trainer.judging.material import FAULT, NORMAL, UNKNOWN
from cloud_trainer.labels.joining import episodes, restate, truth_of
from cloud_trainer.labels.words import as_labels
from cloud_trainer.series import Series, TrainingSet
from headwater.contract.acknowledgement import Acknowledgement
from headwater.contract.labels import FAILURE, FALSE_ALARM, Label
from headwater.contract.manifest import Dataset
from headwater.contract.reading import MAX_TIME_MS
from tests.cloud_trainer.labels.test_labels import ALARMS, MINUTE, order


def said(episode: str, at: int = 0, *, is_false: bool = True) -> Acknowledgement:
    return Acknowledgement(episode, is_false, at)


def words() -> list[Label]:
    """Of pump-1's alarms a and b, and of one that is still open."""
    spoken = {
        "lyon/pump-1": [said("b", 9), said("a", 1), said("b", 2, is_false=False), said("z")],
        "lyon/pump-2": [said("d"), said("a")],
    }
    words = {key: Spoken([(0, one) for one in each]) for key, each in spoken.items()}
    return as_labels(words, episodes(ALARMS))


def test_the_last_word_on_an_alarm_is_a_label_of_its_span() -> None:
    """By the log, whatever the box's clock said; of alarms that nobody knows, and of other assets', nothing comes."""
    found = {(one.asset, one.episode): (one.kind, one.t_from // MINUTE, one.t_to) for one in words()}
    assert found == {
        ("pump-1", "a"): ("false-alarm", 10, 15 * MINUTE),
        ("pump-1", "b"): ("true-alarm", 100, 110 * MINUTE),
        ("pump-2", "d"): ("false-alarm", 900, MAX_TIME_MS),
    }
    for label in words():
        label.check()


def test_words_count_in_precision_where_no_order_speaks() -> None:
    """Each of its own alarm only, whatever stands beside it; in no recall."""
    whole = restate("pump", episodes(ALARMS), words(), 60 * MINUTE)[0]
    assert (whole.known, whole.right, whole.faults, whole.found) == (3, 1, 0, 0)
    orders = [order("pump-1", 12, 13), order("pump-1", 100, 110, "healthy", "2")]
    whole = restate("pump", episodes(ALARMS), [*words(), *orders], 0)[0]
    assert (whole.known, whole.right, whole.faults) == (3, 1, 1)
    told = {label.episode: label.is_fault for label in words()}
    assert told["a"] is False, "the order said that it was right"
    assert told["b"] is True, "the order said that it was none"


def test_a_failure_is_a_fault_of_its_moment() -> None:
    """It confirms the alarm before it, is missed where none came, and says nothing of other times."""
    failed = [order("pump-1", 130, 130, FAILURE, "overhaul-1"), order("pump-2", 400, 400, FAILURE, "overhaul-2")]
    whole = restate("pump", episodes(ALARMS), [*words(), *failed], 60 * MINUTE)[0]
    assert (whole.known, whole.right, whole.faults, whole.found) == (3, 1, 2, 1)
    said_false = Label("lyon", "pump-1", 100 * MINUTE, 110 * MINUTE, FALSE_ALARM, "b", 0, episode="b")
    whole = restate("pump", episodes(ALARMS), [said_false, failed[0]], 60 * MINUTE)[0]
    assert (whole.known, whole.right) == (1, 1), "who overhauled it knows more"
    t = np.arange(0, 200, 10, dtype=np.int64) * MINUTE
    series = Series(t, np.zeros((20, 1)), np.zeros(20, np.int64))
    learn = TrainingSet("pump", ("flow",), {"lyon/pump-1": series}, Dataset({}, "", 20))
    truth = truth_of(learn, [failed[0]], 0)["lyon/pump-1"].tolist()
    assert truth == [UNKNOWN] * 13 + [FAULT] + [UNKNOWN] * 6


def test_words_say_which_readings_were_faulty() -> None:
    """Nothing is known of an asset beside its alarms; orders speak of all the time of theirs, and hold."""
    t = np.arange(0, 200, 10, dtype=np.int64) * MINUTE
    series = Series(t, np.zeros((20, 1)), np.zeros(20, np.int64))
    learn = TrainingSet("pump", ("flow",), {"lyon/pump-1": series}, Dataset({}, "", 20))
    truth = truth_of(learn, words(), 0)["lyon/pump-1"].tolist()
    assert truth == [UNKNOWN, NORMAL] + [UNKNOWN] * 8 + [FAULT] * 2 + [UNKNOWN] * 8
    truth = truth_of(
        learn, [*words(), order("pump-1", 10, 20), order("pump-1", 110, 115, "healthy", "2")], 10 * MINUTE
    )["lyon/pump-1"].tolist()
    assert truth == [UNKNOWN, FAULT, FAULT] + [NORMAL] * 7 + [FAULT, NORMAL] + [NORMAL] * 8
