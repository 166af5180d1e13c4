"""Sketches and manifests for the tests of drift."""

from __future__ import annotations

import msgspec
import numpy as np

from headwater.contract.manifest import Manifest
from headwater.contract.sketches import LEVEL_EDGES, OVER, Sketch, channel_of
from tests.edge_agent.scorer.models import make


def manifest(version: int = 1) -> Manifest:
    rng = np.random.default_rng(0)
    reference = {name: list(channel_of(rng.normal(0, 1, 20_000)).bins) for name in ("flow", "current")}
    return msgspec.structs.replace(make(version)[1], metrics={"reference": reference})


def sketch(
    asset: str, number: int, *, shift: float = 0.0, scale: float = 1.0, over: int = 0, version: int = 1
) -> Sketch:
    rng = np.random.default_rng((number, len(asset)))
    channels = {"flow": channel_of(rng.normal(shift, scale, 1000)), "current": channel_of(rng.normal(0, 1, 1000))}
    levels = [0] * (len(LEVEL_EDGES) + 1)
    levels[0], levels[OVER] = 200 - over, over
    first = number * 1000
    ends = (first, first + 999, first * 1000, (first + 999) * 1000, 1000)
    return Sketch("lyon", asset, "pump", version, 0, *ends, channels, tuple(levels))
