"""Bad versions and bad documents: each is refused by its reason, and what ran keeps running."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud_trainer.export import export
from edge_agent.updater.trial import judge
from headwater.contract.canonical import sha256
from headwater.contract.errors import GateFailed
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Manifest
from headwater.contract.refusals import MEANINGS
from headwater.contract.rollout import Target, newest_generation, rollout_path
from tests.edge_agent.scorer.models import CLASS, make
from tests.edge_agent.updater.site import Site


def spoilt(site: Site) -> Target:
    return site.publish(2, spoilt=True)


def another_score(site: Site) -> Target:
    _, manifest = make(2)
    data, _ = make(2, seed=7)
    golden = manifest.golden
    wrong = msgspec.structs.replace(manifest, sha256=sha256(data), size_bytes=len(data), golden=golden)
    return site.publish(2, data=data, manifest=wrong)


def no_model(site: Site) -> Target:
    data = b"\0\0\0\0TFL3" + b"\xff" * 1000
    return site.publish(2, data=data, manifest=_renamed(data))


def other_width(site: Site) -> Target:
    data = export(np.eye(6, dtype=np.float32), np.zeros(6, np.float32))
    return site.publish(2, data=data, manifest=_renamed(data))


def _renamed(data: bytes) -> Manifest:
    return msgspec.structs.replace(make(2)[1], sha256=sha256(data), size_bytes=len(data))


def other_manifest(site: Site) -> Target:
    return site.publish(2, manifest=msgspec.structs.replace(make(2)[1], version=3))


def manifest_of_another_model(site: Site) -> Target:
    return site.publish(2, manifest=msgspec.structs.replace(make(2)[1], sha256="0" * 64))


def unknown_features(site: Site) -> Target:
    told = make(2)[1]
    spec = msgspec.structs.replace(told.features, v=2)
    return site.publish(2, manifest=msgspec.structs.replace(told, features=spec, features_digest=spec.digest()))


def changed_in_the_store(site: Site) -> Target:
    target = site.publish(2)
    data = bytearray(site.repo.store.objects[site.content(2)])
    data[len(data) // 2] ^= 1
    site.repo.store.objects[site.content(2)] = bytes(data)
    return target


def cut_in_the_store(site: Site) -> Target:
    target = site.publish(2)
    site.repo.store.objects[site.content(2)] = site.repo.store.objects[site.content(2)][:-1]
    return target


def other_digest(site: Site) -> Target:
    site.publish(2)
    return Target(2, "0" * 64)


def never_signed(site: Site) -> Target:
    """A thief of the rollout's key names a model of his own."""
    data, manifest = make(2)
    for name, content in ((MODEL_FILE, data), (MANIFEST_FILE, manifest.encode())):
        folder = f"targets/models/{CLASS}/2"
        site.repo.store.objects[f"{folder}/{sha256(content)}.{name}"] = content
    return Target(2, sha256(data))


def revoked(site: Site) -> Target:
    target = site.publish(2)
    site.repo.publisher("models").publish({"models/pump/9/notice": b""}, {"models/pump/9/notice": {"revoked_below": 3}})
    return target


BAD: dict[str, tuple[Callable[[Site], Target], str]] = {
    "outputs are NaN": (spoilt, "not-finite"),
    "scores differ": (another_score, "golden-mismatch"),
    "not a model": (no_model, "not-a-model"),
    "other number of features": (other_width, "not-a-model"),
    "manifest of another version": (other_manifest, "bad-manifest"),
    "manifest of another model": (manifest_of_another_model, "bad-digest"),
    "features of tomorrow": (unknown_features, "features-unknown"),
    "bytes changed in the store": (changed_in_the_store, "bad-digest"),
    "bytes cut in the store": (cut_in_the_store, "bad-length"),
    "rollout names another digest": (other_digest, "bad-digest"),
    "never signed": (never_signed, "not-signed"),
    "revoked": (revoked, "revoked"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_version_is_refused_once_and_for_all(site: Site, name: str) -> None:
    """Its reason is reported, it never touches the shelf, it is not fetched again, and version 1 stays."""
    attack, reason = BAD[name]
    target = attack(site)
    generation = site.ask(target, Target(1, sha256(make(1)[0])))
    found = site.look()
    [refusal] = found.refused
    assert (refusal.reason, refusal.version, refusal.generation) == (reason, 2, generation)
    assert refusal.detail
    assert site.running() == 1
    assert not site.model_file(2).exists()
    assert found.generations == {CLASS: generation}
    assert site.look().updater.fetched_bytes == found.updater.fetched_bytes
    assert site.look().refused == [refusal]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"trial_timeout_s": 0.05}, "preflight-timeout"),
        ({"score_budget_ms": 1e-6}, "too-slow"),
        ({"trial_memory_bytes": 100 << 20}, "preflight-crashed"),
    ],
)
def test_a_model_that_costs_too_much_is_refused(site: Site, settings: dict[str, float], reason: str) -> None:
    """Time, time for each score and memory of the trial are bounded."""
    site.settings = settings
    site.ask(site.publish(2))
    assert [refusal.reason for refusal in site.look().refused] == [reason]
    assert site.running() == 1


def test_a_new_document_is_a_new_chance(site: Site) -> None:
    """What was refused is tried again when the fleet asks anew, and can then be good."""
    target = changed_in_the_store(site)
    site.ask(target)
    assert site.look().classes[CLASS].version == 1
    site.repo.store.objects[site.content(2)] = make(2)[0]
    assert site.look().classes[CLASS].version == 1
    site.ask(target)
    assert site.look().classes[CLASS].version == 2


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 5000, b'{"v":2}'])
def test_a_document_that_makes_no_sense_is_refused(site: Site, content: bytes) -> None:
    """Signed nonsense changes nothing, and is reported under its generation."""
    site.repo.publisher("rollout").publish({rollout_path(CLASS, 2): content})
    [refusal] = site.look().refused
    assert (refusal.reason, refusal.generation) == ("bad-rollout", 2)
    assert site.running() == 1


def test_a_document_for_another_generation_is_refused(site: Site) -> None:
    """An old document under a new name is not obeyed."""
    site.ask(site.publish(2))
    site.look()
    old = site.repo.publisher("rollout").read(rollout_path(CLASS, 1))
    site.repo.publisher("rollout").publish({rollout_path(CLASS, 3): old})
    assert site.look().refused[-1].reason == "bad-rollout"
    assert site.running() == 2


@pytest.mark.parametrize(
    ("returncode", "stdout", "reason"),
    [
        (-signal.SIGSEGV, b"", "preflight-crashed"),
        (-signal.SIGKILL, b'{"reason":"","detail":"fine"}', "preflight-crashed"),
        (-signal.SIGXCPU, b"", "preflight-timeout"),
        (1, b"", "preflight-crashed"),
        (0, b"", "preflight-crashed"),
        (0, b"fine", "preflight-crashed"),
        (0, b'{"reason":"not-finite","detail":"nan"}', "not-finite"),
    ],
)
def test_whatever_becomes_of_a_trial_has_a_reason(returncode: int, stdout: bytes, reason: str) -> None:
    """A signal, an exit status or silence is a refusal; only a verdict without a reason lets a model pass."""
    with pytest.raises(GateFailed) as caught:
        judge(returncode, stdout, b"Traceback\nMemoryError")
    assert caught.value.reason == reason


def test_a_good_verdict_passes() -> None:
    """Noise of the runtime before the verdict does not matter."""
    assert judge(0, b'noise\n{"reason":"","detail":"fine"}\n', b"") == "fine"


def test_the_newest_generation_is_read_from_plain_numbers_only() -> None:
    """Names that merely look like generations are not."""
    paths = [f"rollout/pump/{n}.json" for n in ("1", "9", "010", "-3", "x", "99999999999 ", "\u0663")]
    assert newest_generation([*paths, "rollout/pumps/50.json", "rollout/pump/7", "models/pump/8/m"], "pump") == 9
    assert newest_generation([], "pump") == 0


def test_the_documentation_has_every_reason() -> None:
    """docs/refusals.md shows the table of the code."""
    page = (Path(__file__).parents[3] / "docs/refusals.md").read_text()
    rows = dict(line.strip("| ").split(" | ", 1) for line in page.splitlines() if line.startswith("| `"))
    assert rows == {f"`{reason}`": meaning for reason, meaning in MEANINGS.items()}
