"""Models of whole windows at the edge: what the trainer writes is loaded, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud_trainer.export import head
from cloud_trainer.graph import Graph
from cloud_trainer.pool.networks import TCN, NetworkMember
from cloud_trainer.series import Floats
from edge_agent.scorer.judge import top_channels
from edge_agent.scorer.models import Id, Rejected, load
from headwater.contract.canonical import sha256
from headwater.contract.features import Windower
from headwater.contract.manifest import Golden, Manifest
from headwater.contract.reading import Reading
from headwater.transport.tflite import INPUT
from tests.edge_agent.scorer.models import CHANNELS, features, make, place

WINDOW = 12


def windows(seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=(80, WINDOW, len(CHANNELS)))


def of_windows() -> tuple[bytes, Manifest]:
    """A network of whole windows, as the trainer makes one."""
    spec = features(WINDOW, 1, layout="window")
    member = NetworkMember(TCN, "window", 4, 0, 2, 20, 1e-2, 0.0, 0.01, 2.0)
    network = member.fit({"": windows(1)}, 1)
    data = network.export()
    inputs = windows(2).reshape(80, -1).astype(np.float32)
    golden = Golden(inputs.astype(np.float64).tolist(), network.levels(inputs).tolist())
    digests = {"features_digest": spec.digest(), "sha256": sha256(data)}
    made = msgspec.structs.replace(make(3)[1], features=spec, golden=golden, size_bytes=len(data), **digests)
    made.check()
    return data, made


def wanted(manifest: Manifest) -> Id:
    return Id(manifest.asset_class, manifest.version, manifest.sha256, sha256(manifest.encode()))


def test_a_network_of_whole_windows_scores_what_the_windower_cuts(tmp_path: Path) -> None:
    """It is loaded, proves its golden vectors, and its score of a window of readings names channels."""
    data, manifest = of_windows()
    place(tmp_path, data, manifest)
    loaded = load(tmp_path, wanted(manifest))
    windower, rows = Windower(manifest.features), np.random.default_rng(3).normal(size=(WINDOW, len(CHANNELS)))
    readings = [Reading(n * 1000, dict(zip(CHANNELS, row, strict=True))) for n, row in enumerate(rows.tolist())]
    found = [windower.push(n, reading) for n, reading in enumerate(readings)]
    assert found[-1] is not None
    vector = loaded.manifest.features.vector("lyon/pump-1", found[-1].values)
    scores, parts = loaded.model.score(vector[None])
    assert np.isfinite(scores).all()
    shares = dict(top_channels(manifest.features, parts[0]))
    assert set(shares) == set(CHANNELS)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)


def test_contributions_that_do_not_fit_the_channels_are_refused(tmp_path: Path) -> None:
    """A model whose contributions cannot be told by channel is not run, whatever its manifest says."""
    like = make(4)[1]
    graph = Graph("T-squared")
    source = graph.tensor(INPUT, (1, 4))
    data = graph.finish(source, head(graph, source, np.ones((3, 4), np.float32), np.zeros(3, np.float32)))
    manifest = msgspec.structs.replace(like, sha256=sha256(data), size_bytes=len(data))
    place(tmp_path, data, manifest)
    with pytest.raises(Rejected, match="3 contributions do not fit 2 channels"):
        load(tmp_path, wanted(manifest))
