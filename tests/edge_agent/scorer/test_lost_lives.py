"""What is known of a life after readings were lost, and after its class got a model of another kind."""

from __future__ import annotations

import msgspec
import pytest

from edge_agent.scorer import outputs
from edge_agent.scorer.judge import Judge
from edge_agent.scorer.models import Loaded
from edge_agent.scorer.partition import Partition
from edge_agent.scorer.recovery import remember, restore
from headwater.contract import headers, reading
from headwater.contract.checkpoint import AssetState, decode
from headwater.contract.overhaul import Overhaul
from headwater.contract.windows import Cadence, Charge
from headwater.transport.kafka_batch import Record
from tests.edge_agent.scorer import test_life_cut_anywhere as cut
from tests.edge_agent.scorer import test_lives as lives
from tests.edge_agent.scorer.models import features, id_of, make

LIFE = cut.version(1)
VALUES: dict[str, float | None] = {"load": 0.1, "a": 1.0, "b": 2.0}


class Store:
    """The topic `state`, as the scorer of one partition writes and reads it."""

    def __init__(self) -> None:
        self._newest: dict[bytes, Record] = {}

    def checkpoint(self, partition: Partition) -> None:
        for out in [*outputs.assets(partition, 0), *outputs.checkpoint(partition, {}, 0)]:
            self._newest[out.key or b""] = Record(0, 0, out.key, out.value, out.headers)
        partition.dirty.clear()

    def restored(self) -> Partition:
        return restore(0, remember(self._newest), {})

    def asset(self, name: str) -> AssetState:
        return decode(self._newest[name.encode()].value or b"", AssetState)


def cycle(offset: int, asset: str, **more: float) -> Record:
    value = reading.encode(offset * 1000, {**VALUES, **more})
    return Record(offset, offset, asset.encode(), value, ((headers.CLASS, b"engine"),))


def overhaul(offset: int, asset: str) -> Record:
    said = Overhaul(asset, offset, failed=True).encode()
    return Record(offset, offset, asset.encode(), said, ((headers.OVERHAULED, asset.encode()),))


def judge(partition: Partition, records: list[Record], loaded: Loaded = LIFE) -> list[tuple[object, object]]:
    """The cycles and the begin of the lives that these records score."""
    found = Judge(lives.SITE, {LIFE.id: LIFE, loaded.id: loaded}).judge(partition, records, 0)
    partition.position = records[-1].offset + 1
    return [(each.score.cycles, each.score.life_since) for each in found.scores]


def swap(partition: Partition, loaded: Loaded) -> None:
    at = partition.position
    sha, manifest = loaded.id.sha256, loaded.id.manifest_sha256
    charge = Charge("engine", loaded.manifest.version, sha, at, at, loaded.cadence, 0, 0, "disk", manifest)
    partition.windows.swap("engine", loaded.cadence, [])
    partition.charges["engine"] = charge


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("is_seen", [False, True])
def test_where_a_life_begins_is_not_known_once_readings_behind_its_overhaul_are_lost(
    is_seen: bool, is_killed: bool
) -> None:
    """Nor after a kill behind the next checkpoint; whether or not the asset was seen before its overhaul."""
    partition, store = Partition(0), Store()
    swap(partition, LIFE)
    judge(partition, [cycle(0, "p"), *([cycle(1, "q")] if is_seen else []), overhaul(2, "q")])
    store.checkpoint(partition)
    partition.dirty.update(partition.windows.lose())
    partition.position = 10
    judge(partition, [cycle(10, "p")])
    store.checkpoint(partition)
    after = store.restored() if is_killed else partition
    assert judge(after, [cycle(11, "q")]) == [(1, -1)]


@pytest.mark.parametrize("follows", [False, True])
def test_what_was_left_is_forgotten_with_the_first_score_of_another_kind(follows: bool) -> None:
    """So `edge lives` does not go on to list it, whether or not the model follows its machines."""
    spec = features(2, 1)
    manifest = make(9, spec, asset_class="engine")[1]
    manifest = msgspec.structs.replace(manifest, episodes=lives.following(2) if follows else msgspec.UNSET)
    manifest.check()
    other = Loaded(id_of(manifest), manifest, lives.Arithmetic(9), Cadence.of(spec))  # type: ignore[arg-type]  # stands in for a Model
    partition, store = Partition(0), Store()
    swap(partition, LIFE)
    channels = dict.fromkeys(spec.channels, 1.0)
    judge(partition, [cycle(n, "p", a=0.1 * n) for n in range(4)])
    store.checkpoint(partition)
    assert store.asset("p").left is not None
    swap(partition, other)
    assert len(judge(partition, [cycle(n, "p", **channels) for n in range(4, 8)], other)) > 0
    store.checkpoint(partition)
    assert store.asset("p").left is None
