"""Manifests of remaining life, their promises, and overhauls; what was written before there were any is unchanged."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from edge_agent.updater.fetch import understood
from headwater.contract import headers, messages
from headwater.contract.acknowledgement import Acknowledgement
from headwater.contract.alarm import AlarmState
from headwater.contract.canonical import canonical_json
from headwater.contract.checkpoint import AssetState, Checkpoint, decode, encode
from headwater.contract.errors import BadInput
from headwater.contract.features import FeatureSpec, Scaling
from headwater.contract.life import LifeSpec
from headwater.contract.manifest import decode_manifest
from headwater.contract.messages import Alarm, Score
from headwater.contract.overhaul import Overhaul, overhaul, overhaul_in
from headwater.contract.refusals import FEATURES_UNKNOWN
from headwater.contract.windows import Cadence, Charge
from tests.contract.lives import LIFE, features, memory, of_life
from tests.edge_agent.scorer.models import make


def test_what_knows_no_lives_keeps_its_digests() -> None:
    """Digests name features in manifests, headers and checkpoints: these are of the version before."""
    spec = FeatureSpec(("flow", "pressure"), 12, 4, {"": Scaling((1.0, 2.0), (0.5, 0.25))})
    assert spec.digest() == "5b971fcaaf9817bf4015dccc5ec2af9f0b4db802dd428ff0aa425bd00f560ac3"
    assert Cadence.of(spec).digest() == "3009df7db364cdca475b3c0148b55d36553500e6b5b246aa2b0d006661064439"
    assert b"life" not in make(1)[1].encode()
    assert b"memory" not in make(1)[1].encode()
    assert b"remaining" not in messages.encode(Score("a", "b", 1, 2, 0.5, 1.0, 1))
    alarm = Alarm("lyon", "a", "b", "e", "opened", 1, 0.5, 1.0, 0.5, 1, [], 2)
    assert b"remaining" not in messages.encode(alarm)


def test_a_manifest_of_remaining_life_goes_through_json() -> None:
    """Every number of it reads back to the same bits."""
    manifest = of_life(make(1)[1])
    assert decode_manifest(manifest.encode()) == manifest
    assert manifest.features.width == len(manifest.features.names) == len(memory().names)


@pytest.mark.parametrize(
    "wrong",
    [
        {"life": UNSET},
        {"life": replace(LIFE, warn=0.0)},
        {"life": replace(LIFE, warn=125.0)},
        {"life": replace(LIFE, warn=20.0)},
        {"life": replace(LIFE, edges=(80.0, 20.0))},
        {"life": replace(LIFE, below=(0.0,))},
        {"life": replace(LIFE, above=(0.0, 1.0, float("inf")))},
        {"life": replace(LIFE, promised=1.0)},
        {"thresholds": {"": 90.0}},
        {"golden": make(1)[1].golden},
    ],
)
def test_a_manifest_of_remaining_life_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """Before a box takes it for more than it is."""
    with pytest.raises(BadInput):
        replace(of_life(make(1)[1]), **wrong).check()


def test_remaining_life_without_features_that_remember_is_refused() -> None:
    """And features that remember without it."""
    with pytest.raises(BadInput, match="needs features with memory"):
        replace(make(1)[1], life=LIFE).check()


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 2},
        {"layout": "window"},
        {"channels": ("a", "b", "c", "load")},
        {"v": 2},
        {"memory": replace(memory(), regimes=memory().regimes * 400)},
        {"memory": memory(sensors=tuple(f"s{n}" for n in range(40)), baselines=(1000,))}
        | {"channels": ("load", *(f"s{n}" for n in range(40)))},
    ],
)
def test_features_that_cannot_be_kept_are_refused(wrong: dict[str, Any]) -> None:
    """The last are more than a record of `state` shall hold."""
    with pytest.raises(BadInput):
        replace(features(), **wrong).check()


def test_intervals_are_cut_to_what_can_be() -> None:
    """By bin of what was predicted, between nothing and the most."""
    low, high = LIFE.of(LIFE.remaining(np.array([124.0, 100.0, 20.0, -50.0])))
    assert low.tolist() == [0.0, 15.0, 85.0, 105.0]
    assert high.tolist() == [7.0, 37.0, 120.0, 125.0]
    alone = [LIFE.of(LIFE.remaining(np.array([s])))[0][0] for s in (124.0, 100.0, 20.0, -50.0)]
    assert alone == low.tolist()
    for score in [*np.random.default_rng(0).uniform(-20, 150, 500).tolist(), 45.0, 105.0, 0.0, 125.0]:
        left = LIFE.remaining(np.array([score]))
        assert LIFE.told(score) == (left[0], *(end[0] for end in LIFE.of(left)))
    assert np.isnan(LIFE.remaining(np.array([np.nan]))[0])
    LifeSpec(125.0, 30.0, (), (-5.0,), (5.0,)).check()


def test_an_overhaul_is_known_by_its_value_and_at_the_edge_by_its_header_too() -> None:
    """Nothing else is taken for one: no reading, no acknowledgement, nothing of another version."""
    said = Overhaul("engine-1", 17, failed=True, by="mia")
    header = ((headers.OVERHAULED, b"engine-1"),)
    assert overhaul_in(said.encode()) == overhaul(said.encode(), header) == said
    assert overhaul(said.encode(), ()) is None
    reading = b'{"t":1,"values":{"a":1.0}}'
    for other in (None, b"", reading, Acknowledgement("e", True, 1).encode(), replace(said, v=2).encode(), b"{" * 9):
        assert overhaul_in(other) is None
        with pytest.raises(BadInput):
            overhaul(other, header)
    with pytest.raises(BadInput):
        overhaul(replace(said, asset="engine-2").encode(), header)


def test_an_agent_from_before_refuses_what_it_cannot_compute() -> None:
    """Its feature specification knows no memory and takes no field that it does not know: so nothing is half right."""
    fields = [f for f in msgspec.structs.fields(FeatureSpec) if f.name != "memory"]
    older = msgspec.defstruct("Older", [(f.name, f.type, f.default) for f in fields[4:]], forbid_unknown_fields=True)
    known = canonical_json({f.name: getattr(make(1)[1].features, f.name) for f in fields[4:-1]})
    msgspec.json.decode(known, type=older)
    with pytest.raises(msgspec.ValidationError, match="unknown field `memory`"):
        msgspec.json.decode(canonical_json({"memory": memory()}), type=older)
    newer = replace(features(), memory=replace(memory(), v=2))
    manifest = replace(of_life(make(1)[1]), features=newer, features_digest=newer.digest())
    with pytest.raises(BadInput) as refused:
        understood(manifest.encode())
    assert refused.value.reason == FEATURES_UNKNOWN


def test_states_from_before_there_were_lives_are_read_on() -> None:
    """An agent that is updated goes on from the checkpoint of the one before, with the same cadences."""
    spec = FeatureSpec(("flow", "pressure"), 12, 4, {"": Scaling((1.0, 2.0), (0.5, 0.25))})
    charge = Charge("pump", 1, "0" * 64, 5, 5, Cadence.of(spec), 0, 0, "disk")
    stored = msgspec.json.decode(encode(Checkpoint(7, {"pump": charge}, {})))
    assert stored.pop("renewed") == {}
    assert set(stored["charges"]["pump"]["cadence"]) == {"channels", "window", "step", "max_gap_s", "hold"}
    before = decode(msgspec.json.encode(stored), Checkpoint)
    assert before.charges["pump"].cadence.digest() == Cadence.of(spec).digest()
    asset = msgspec.json.decode(encode(AssetState(7, "pump", "", None, "", AlarmState())))
    assert (asset.pop("renewed"), asset.pop("left")) == (-1, None)
    assert decode(msgspec.json.encode(asset), AssetState).renewed == -1
