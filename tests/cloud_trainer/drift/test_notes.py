"""What the trainer makes of the records in the sites' topics of sketches; no services."""

from __future__ import annotations

import tracemalloc

import msgspec
import numpy as np
import pytest
import structlog

from cloud_trainer.drift.settings import DriftRecipe
from cloud_trainer.drift.triggers import Triggers, _is_of_sketches
from cloud_trainer.runs import Runs
from headwater.contract import messages
from headwater.contract.errors import DataMissing
from headwater.contract.features import Scaling
from headwater.contract.manifest import MANIFEST_FILE, Manifest, model_path
from headwater.contract.sketches import Channel, Sketch, channel_of
from headwater.transport.kafka_batch import KafkaSettings
from tests.cloud_trainer.drift.sketched import manifest, sketch

TOPIC = "lyon.sketches"
NOW = 2e9
KAFKA = KafkaSettings(brokers="127.0.0.1:9")


class Published:
    """Versions that are published, in memory."""

    def __init__(self, *of: Manifest) -> None:
        self.of = {one.version: one for one in of}

    def versions(self, asset_class: str) -> list[int]:
        """As the registry has them."""
        return sorted(self.of) if asset_class == "pump" else [7] if asset_class == "fan" else []

    def read(self, path: str) -> bytes:
        """The manifest at this path; DataMissing where there is none."""
        paths = {model_path("pump", version, MANIFEST_FILE): one for version, one in self.of.items()}
        if path not in paths:
            raise DataMissing(f"{path} is gone")
        return paths[path].encode()


def watching(models: Published) -> Triggers:
    return Triggers(KAFKA, Runs(KAFKA), models, (), DriftRecipe(readings=2000))


def note(triggers: Triggers, *of: Sketch) -> None:
    for offset, one in enumerate(of):
        triggers.note(TOPIC, offset, messages.encode(one))


def test_a_backlog_of_sketches_is_read_for_drift() -> None:
    """A link that ships new records first leaves the older ones beside them: both are of the site."""
    triggers = watching(Published(manifest()))
    triggers.note(TOPIC, 0, messages.encode(sketch("pump-1", 2, shift=2.0)))
    assert not triggers.drifted(NOW)
    triggers.note(f"{TOPIC}.backlog", 0, messages.encode(sketch("pump-1", 1, shift=2.0)))
    assert [one.request_id for one in triggers.drifted(NOW)] == ["drift-pump-v1"]
    assert _is_of_sketches(f"{TOPIC}.backlog")
    assert not _is_of_sketches("lyon.readings.backlog")


def test_what_is_no_sketch_ends_nothing() -> None:
    """A record with other bins, or of another site than its topic's, is passed over and told of once."""
    triggers = watching(Published(manifest()))
    bins = Channel(1000, 0, 0, 0, (500, 250, 250))
    other = msgspec.structs.replace(sketch("pump-1", 9, shift=2.0), channels={"flow": bins})
    elsewhere = [msgspec.structs.replace(sketch("pump-2", n, shift=2.0), site="paris") for n in range(3)]
    with structlog.testing.capture_logs() as told:
        note(triggers, *(sketch("pump-1", n) for n in range(3)), other, *elsewhere)
        triggers.note(TOPIC, 99, b"no sketch")
        assert triggers.drifted(NOW) == []
        note(triggers, *(sketch("pump-1", n, shift=2.0) for n in range(3, 6)))
        (asked,) = triggers.drifted(NOW)
    assert "1 of 1 assets shifted" in asked.reason
    assert [(one["topic"], one["offset"]) for one in told] == [(TOPIC, 3)]


CENTRE, SCALE = 0.1, 1.2  # of version 2, in the scale of version 1
MADE = 10  # number of the first sketch behind the making of version 2


def second(request_id: str = "drift-pump-v1") -> Manifest:
    """Version 2, learned from a long time at 0 and a short one at 1: nearly what version 1 was."""
    rng, first = np.random.default_rng(0), manifest(2)
    z = (np.concatenate([rng.normal(0, 1, 18_000), rng.normal(1, 1, 2000)]) - CENTRE) / SCALE
    spec = msgspec.structs.replace(first.features, scaling={"": Scaling((CENTRE, 0.0), (SCALE, 1.0))})
    reference = {**first.metrics["reference"], "flow": list(channel_of(z).bins)}
    made = f"1970-01-01T{MADE * 1000 // 3600:02}:{MADE * 1000 % 3600 // 60:02}:{MADE * 1000 % 60:02}+00:00"
    changed = {"features": spec, "features_digest": spec.digest(), "metrics": {"reference": reference}}
    return msgspec.structs.replace(first, **changed, created_at=made, request_id=request_id)


def by_first(begin: int, at: float) -> list[Sketch]:
    return [sketch("pump-1", n, shift=at) for n in range(begin, begin + 3)]


def by_second(begin: int, at: float) -> list[Sketch]:
    numbers = range(begin, begin + 3)
    return [sketch("pump-1", n, shift=(at - CENTRE) / SCALE, scale=1 / SCALE, version=2) for n in numbers]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_lasting_step_asks_for_one_version(restarted: bool) -> None:  # a parameter of the test
    """What the newest version was made for is no reason for another, in any look and after a restart; a new step is."""
    log = by_first(0, 1.0)
    models = Published(manifest())
    triggers = watching(models)
    note(triggers, *log)
    assert [one.request_id for one in triggers.drifted(NOW)] == ["drift-pump-v1"]
    models.of[2] = second()
    for begin in (MADE, MADE + 100):
        log += by_second(begin, 1.0)
        triggers = watching(models) if restarted else triggers
        note(triggers, *log)
        assert triggers.drifted(NOW) == []
    log += by_second(MADE + 200, 2.5)
    triggers = watching(models) if restarted else triggers
    note(triggers, *log)
    (asked,) = triggers.drifted(NOW)
    assert asked.request_id == "drift-pump-v2"
    assert "most in flow" in asked.reason


def test_a_version_of_named_readings_is_held_against_these_alone() -> None:
    """Who named what to train on has perhaps left the newest out: it is asked for a model of all there is, once."""
    triggers = watching(Published(manifest(), second("pump-20260101T000000Z-1a2b")))
    note(triggers, *by_first(0, 1.0), *by_second(MADE, 1.0))
    assert len(triggers.drifted(NOW)) == 1


def test_what_changed_before_the_swap_was_not_learned() -> None:
    """A process that moved on while a slow rollout went on asks again: the version has not seen it."""
    triggers = watching(Published(manifest(), second()))
    note(triggers, *by_first(0, 1.0), *by_first(MADE, 2.5), *by_second(MADE + 50, 2.5))
    assert len(triggers.drifted(NOW)) == 1


def test_a_class_that_cannot_be_read_keeps_no_other_waiting() -> None:
    """Its published files are gone: that is told, and drift of the other classes is found."""
    triggers = watching(Published(manifest()))
    fans = [msgspec.structs.replace(sketch("fan-1", n), asset_class="fan") for n in range(3)]
    with structlog.testing.capture_logs() as told:
        note(triggers, *fans, *by_first(0, 1.0))
        assert [one.asset_class for one in triggers.drifted(NOW)] == ["pump"]
    assert [one["why"] for one in told if one["log_level"] == "warning"] == ["models/fan/7/manifest.json is gone"]


def test_only_what_a_look_takes_is_held() -> None:
    """Memory does not grow with the length of the log."""
    triggers = watching(Published(manifest(), second()))
    tracemalloc.start()
    try:
        note(triggers, *(by_first(0, 1.0) + by_second(MADE, 1.0)))
        before = tracemalloc.get_traced_memory()[0]
        for begin in range(MADE + 3, MADE + 600, 3):
            note(triggers, *by_second(begin, 1.0))
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()
