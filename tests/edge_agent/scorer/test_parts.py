"""The scorer's pure parts, and what it reads from its disk."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from prometheus_client import REGISTRY, generate_latest

from edge_agent.scorer.desired import DesiredFile
from edge_agent.scorer.feed import chunks
from edge_agent.scorer.judge import top_channels
from edge_agent.scorer.metrics import Counts, export
from edge_agent.scorer.models import Id, Rejected, check_golden, load
from edge_agent.scorer.partition import Partition
from edge_agent.scorer.roster import Roster
from edge_agent.scorer.settings import ScorerSettings
from edge_agent.scorer.status import active, status
from edge_agent.scorer.swap import due
from headwater.contract import refusals
from headwater.contract.canonical import canonical_json
from headwater.contract.checkpoint import decode as decode_state
from headwater.contract.checkpoint import encode as encode_state
from headwater.contract.desired import DESIRED_FILE, Desired, decode_desired
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Golden
from headwater.contract.windows import Cadence, Charge
from headwater.transport.kafka_batch import Fetched, Out, encode
from tests.edge_agent.scorer.models import desire, features, id_of, lenient, make, place, wanted


def charge(version: int, since: int, swapped_at: int) -> Charge:
    return Charge("pump", version, f"{version}" * 64, since, since, Cadence.of(features()), swapped_at, 7, "disk")


def fetched(*bases_and_counts: tuple[int, int]) -> Fetched:
    data = b""
    for base, count in bases_and_counts:
        batch = encode([Out(b"k", b"v", (), 1) for _ in range(count)])
        batch[0:8] = base.to_bytes(8, "big")
        data += batch
    return Fetched("readings", 0, 0, 100, 100, 0, [], memoryview(data))


def test_chunks_begin_at_the_position_and_pass_over_gaps() -> None:
    """A batch may begin before the position; gaps left by markers are passed over; no chunk is longer than asked."""
    found = list(chunks(fetched((0, 5), (7, 4)), 2, 3))

    assert [([r.offset for r in chunk.records], chunk.upto) for chunk in found] == [
        ([2, 3, 4], 5),
        ([7, 8, 9], 10),
        ([10], 11),
    ]


def test_chunks_stop_where_they_are_told() -> None:
    """A partition whose model is missing goes no farther than what a former life has scored."""
    found = list(chunks(fetched((0, 5), (7, 4)), 0, 100, until=8))

    assert [([r.offset for r in chunk.records], chunk.upto) for chunk in found] == [([0, 1, 2, 3, 4, 7], 8)]
    assert list(chunks(fetched((0, 5)), 3, 100, until=3)) == [([], 3)]


def test_an_alarm_names_the_channels_by_their_share() -> None:
    """Mean and spread of a channel count together; what is not a number or nothing is left out."""
    spec = features(channels=("a", "b", "c"))
    contributions = np.array([1, 0, np.nan, 2, 1, 0], np.float32)

    assert top_channels(spec, contributions) == [("a", 0.75), ("b", 0.25)]
    assert top_channels(spec, np.zeros(6, np.float32)) == []


def test_golden_scores_may_differ_by_the_tolerance_only() -> None:
    """Another runtime's last bits pass, another model's scores do not."""
    golden = Golden([[0.0]] * 2, [1.0, 2.0], tolerance=1e-5)

    check_golden(golden, np.array([1.000005, 2.0], np.float32), "pump v1")
    for scores, reason in (([1.0001, 2.0], refusals.GOLDEN_MISMATCH), ([1.0, np.inf], refusals.NOT_FINITE)):
        with pytest.raises(Rejected) as caught:
            check_golden(golden, np.array(scores, np.float32), "pump v1")
        assert caught.value.reason == reason


def test_a_changed_byte_anywhere_is_refused(tmp_path: Path) -> None:
    """No byte of a model can be changed, and none of a manifest; also none added, and no other valid manifest put."""
    data, manifest = make(1)
    place(tmp_path, data, manifest)
    good = load(tmp_path, id_of(manifest))
    assert (good.id, good.manifest) == (id_of(manifest), manifest)
    rng = np.random.default_rng(1)
    for file in (MODEL_FILE, MANIFEST_FILE):
        path = tmp_path / "models/pump/1" / file
        whole = path.read_bytes()
        others = [whole + b"\n", lenient(manifest).encode(), make(1, seed=1)[0], make(1, seed=1)[1].encode()]
        spots = zip(rng.integers(0, len(whole), 100), rng.integers(1, 256, 100), strict=True)
        others += [whole[:at] + bytes([whole[at] ^ int(by)]) + whole[at + 1 :] for at, by in spots]
        for other in others:
            path.write_bytes(other)
            with pytest.raises(Rejected) as caught:
                load(tmp_path, id_of(manifest))
            assert caught.value.reason == refusals.BAD_DIGEST
            assert file in str(caught.value)
        path.write_bytes(whole)


def test_a_manifest_that_was_signed_for_another_model_is_refused(tmp_path: Path) -> None:
    """The right bytes of the wrong manifest: class, version and model that it names are compared."""
    data, manifest = make(1)
    other = place(tmp_path, data, make(1, seed=1)[1])
    with pytest.raises(Rejected) as caught:
        load(tmp_path, id_of(other)._replace(sha256=manifest.sha256))
    assert caught.value.reason == refusals.BAD_MANIFEST


def test_a_version_without_the_digest_of_its_manifest_waits_for_it(tmp_path: Path) -> None:
    """As an older agent left it: refused, until it is wanted with the digest; then nothing is refused any more."""
    _, manifest = make(1)
    place(tmp_path, *make(1))
    plain = msgspec.json.decode(Desired(classes={"pump": wanted(manifest, 1)}).encode())
    del plain["classes"]["pump"]["manifest_sha256"]
    older = decode_desired(canonical_json(plain)).classes["pump"]
    record = msgspec.json.decode(encode_state(charge(1, 5, 0)))
    del record["manifest_sha256"]
    assert decode_state(canonical_json(record), Charge).manifest_sha256 == older.manifest_sha256 == ""

    roster = Roster(tmp_path)
    assert roster.want(Id.of("pump", older), 0, 0) is None
    assert [(r.reason, r.generation) for r in roster.refused] == [(refusals.BAD_DIGEST, 0)]
    assert "not recorded yet" in roster.refused[0].detail
    mine = Charge("pump", 1, manifest.sha256, 5, 5, Cadence.of(manifest.features), 0, 0, "disk")
    assert list(due([Partition(0, charges={"pump": mine})], Desired(classes={"pump": older}))) == []
    assert list(due([Partition(0, charges={"pump": mine})], Desired(classes={"pump": wanted(manifest, 1)}))) == ["pump"]
    assert roster.want(id_of(manifest), 1, 0) is not None
    assert roster.refused == []


def test_a_refusal_stands_until_a_later_generation_but_a_missing_file_is_looked_for(tmp_path: Path) -> None:
    """The scorer does not try what it refused again and again; a file may still come."""
    data, manifest = make(1, spoilt=True)
    roster = Roster(tmp_path)
    assert roster.want(id_of(manifest), 1, 5) is None
    place(tmp_path, data, manifest)
    assert roster.want(id_of(manifest), 1, 6) is None
    assert [(r.reason, r.at) for r in roster.refused] == [(refusals.NOT_FINITE, 6)]

    good, honest = make(1)
    place(tmp_path, good, honest)
    assert roster.want(id_of(manifest), 1, 7) is None
    assert roster.refused[0].at == 6
    assert roster.want(id_of(manifest), 2, 8) is None
    assert roster.refused[0].reason == refusals.BAD_DIGEST
    assert roster.want(id_of(honest), 2, 9) is not None


def test_an_altered_file_is_looked_for_until_it_is_mended(tmp_path: Path) -> None:
    """What the updater puts right is loaded within the same generation; the refusal goes with it."""
    data, manifest = make(1)
    place(tmp_path, data, lenient(manifest))
    roster = Roster(tmp_path)
    assert roster.want(id_of(manifest), 1, 5) is None
    assert roster.want(id_of(manifest), 1, 6) is None
    assert [(r.reason, r.at) for r in roster.refused] == [(refusals.BAD_DIGEST, 5)]
    place(tmp_path, data, manifest)
    assert roster.want(id_of(manifest), 1, 7) is not None
    assert roster.refused == []


def test_desired_json_is_read_when_it_changes_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    """Half a file, or none, leaves what was asked for in force."""
    file = DesiredFile(tmp_path)
    assert file.poll() is None
    desire(tmp_path, make(1)[1])
    found = file.poll()
    assert found is not None
    assert found.classes["pump"].version == 1
    assert file.poll() is None
    (tmp_path / DESIRED_FILE).write_bytes(b'{"classes": {')
    assert file.poll() is None


def test_a_status_in_the_middle_of_a_swap_tells_the_newer_version() -> None:
    """Partitions swap one after the other; `since` names those that have."""
    first, second = Partition(0), Partition(1)
    first.charges["pump"], second.charges["pump"] = charge(2, 50, swapped_at=9), charge(1, 10, swapped_at=3)
    found = active([first, second])["pump"]

    assert (found.version, found.since, found.swapped_at, found.swap_ms) == (2, {"0": 50}, 9, 7)
    told = status("lyon", 4, 1, "litert", [first, second], Desired(generations={"pump": 8}), [])
    assert (told.seq, told.generation, told.counts["windows"]) == (4, {"pump": 8}, 0)


def test_a_swap_is_due_where_any_partition_has_another_version() -> None:
    """A life that was killed between two partitions' swaps is completed by the next."""
    _, manifest = make(1)
    desired = Desired(classes={"pump": wanted(manifest, 1)})
    _, _, model, proof = id_of(manifest)
    mine = Charge("pump", 1, model, 5, 5, Cadence.of(manifest.features), 0, 0, "disk", proof)
    both = [Partition(0, charges={"pump": mine}), Partition(1)]

    assert list(due(both, desired)) == ["pump"]
    both[1].charges["pump"] = mine
    assert due(both, desired) == {}


def test_metrics_show_what_was_counted() -> None:
    """Counts, lag, version and the distribution of delays can be scraped."""
    counts = Counts(scores=3, lag={1: 20}, versions={"pump": 7}, void=2)
    counts.delayed(0.004)
    counts.delayed(0.3)
    export(counts)
    shown = generate_latest(REGISTRY).decode()

    assert "headwater_scorer_scores_total 3.0" in shown
    assert 'headwater_scorer_lag_readings{partition="1"} 20.0' in shown
    assert 'headwater_scorer_model_version{asset_class="pump"} 7.0' in shown
    assert "headwater_scorer_void_assets 2.0" in shown
    assert 'headwater_scorer_delay_seconds_bucket{le="0.005"} 1.0' in shown
    assert 'headwater_scorer_delay_seconds_bucket{le="+Inf"} 2.0' in shown


def test_every_setting_says_what_it_is() -> None:
    """`headwater config explain` has a sentence for each."""
    assert all(field.description for field in ScorerSettings.model_fields.values())
