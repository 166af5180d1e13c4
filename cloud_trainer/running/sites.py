"""Scaling and thresholds of every asset of every site, on the network that its class has already.

A class's network is trained once, on some of its assets. What differs from one asset to the next are the centre and
scale of its sensors and how high its healthy scores go, and these are small work on its own readings: cut into windows,
scaled, scored by the very .tflite in the runtime installed here. So a thousand sites are a thousand pieces of work
that know nothing of each other; only the floor of the thresholds (asset.py) needs the blocks of all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np

from cloud_trainer import asset
from cloud_trainer.calibration.spec import healthy_of, rows_of
from cloud_trainer.datasets.spikes import without
from cloud_trainer.recipe import Recipe
from cloud_trainer.running.runner import Runner
from cloud_trainer.series import Floats, Series, TrainingSet, Windows, cut, vectors
from headwater.contract.canonical import sha256
from headwater.contract.errors import BadInput, GateFailed
from headwater.contract.features import CLASS_WIDE, FeatureSpec, Scaling
from headwater.contract.following import EpisodeSpec, Healthy
from headwater.contract.manifest import MAX_MANIFEST_BYTES, Manifest
from headwater.transport.code_version import code_version
from headwater.transport.tflite import Model

LEAST = 10  # windows that an asset needs to be scaled by its own readings
_UNLIKE = 5.0  # times the median of the highest blocks: an asset like that was perhaps not healthy


class Own(NamedTuple):
    """What one asset's readings gave; without a scaling, `left_out` says why the class's is taken."""

    key: str
    windows: int
    scaling: Scaling | None = None
    blocks: tuple[float, ...] = ()
    healthy: Healthy | None = None  # where the model follows its machines
    left_out: str = ""


@dataclass(frozen=True)
class Measure:
    """The work on one asset; pickled to the workers, each of which opens the network once."""

    model: bytes
    features: FeatureSpec  # of the class; the scaling of assets in it is not looked at
    channels: tuple[str, ...]  # columns of the series
    recipe: Recipe
    is_followed: bool = False

    def __call__(self, one: tuple[str, Series]) -> Own:
        """Scaling and blocks of one asset; the last share of its readings is held out for the blocks."""
        key, (series, _) = one[0], without(one[1], self.channels, self.recipe.accept)
        windows = cut(series, self.channels, self.features.channels, self.recipe)
        at = int(len(series) * (1 - self.recipe.holdout))
        fitted, held_out = windows.between(0, at), windows.between(at, len(series))
        if len(fitted) < LEAST:
            return Own(key, len(windows), left_out=f"{len(fitted)} windows, {LEAST} are needed")
        columns = [self.channels.index(channel) for channel in self.features.channels]
        centre, scale = asset.centre_and_scale(series.values[:at][:, columns])
        if not (np.isfinite(centre).all() and np.isfinite(scale).all()):
            return Own(key, len(windows), left_out="readings beyond all bounds")
        scaling = asset.own_scaling(centre, scale, np.array(self.features.scaling[CLASS_WIDE].scale))
        scores = self._scores(key, scaling, held_out)
        if not np.isfinite(scores).all():
            return Own(key, len(windows), left_out="readings too large for the network")
        healthy = healthy_of(rows_of(scaling, windows.values)) if self.is_followed else None
        return Own(key, len(windows), scaling, tuple(asset.blocks(scores, self.recipe).tolist()), healthy)

    def _scores(self, key: str, scaling: Scaling, windows: Windows) -> Floats:
        spec = msgspec.structs.replace(self.features, scaling={CLASS_WIDE: scaling})
        return self._network.score(vectors(spec, key, windows))[0].astype(np.float64)

    @cached_property
    def _network(self) -> Model:
        return Model(self.model)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_network"}


class Sites(NamedTuple):
    """A manifest with the scaling and threshold of each asset, and what is to be said of some of them."""

    manifest: Manifest
    left_out: dict[str, str]  # asset: why it has the class's scaling and threshold
    unlike: list[str]  # assets whose healthy scores stand far above the others'


def calibrate(
    base: Manifest,
    model: bytes,
    learn: TrainingSet,
    recipe: Recipe,
    runner: Runner,
    refused: Mapping[str, str] | None = None,
    *,
    tell: Callable[[int], None] = lambda _done: None,
) -> Sites:
    """`base` with scaling and thresholds from these readings; version, request and date are still those of `base`.

    The network's bytes stay as they are, and so do its golden vectors and what is proven of it. Assets that are
    `refused` are not measured, for the reason that stands there. `tell` is called with the number that are done.
    BadInput where network, manifest and readings do not fit each other; GateFailed where no asset has enough readings.
    """
    _check(base, model, learn)
    spec = base.features
    of_class = msgspec.structs.replace(spec, scaling={CLASS_WIDE: spec.scaling[CLASS_WIDE]})
    like = recipe.model_copy(
        update={"window": spec.window, "step": spec.step, "max_gap_s": spec.max_gap_s, "hold": spec.hold}
    )
    is_followed = base.episodes is not msgspec.UNSET
    if base.episodes is not msgspec.UNSET:  # its thresholds are so many healthy limits; these must be too
        like = like.model_copy(update={"margin": base.episodes.threshold_factor})
    found = [Own(key, 0, left_out=why) for key, why in sorted((refused or {}).items())]
    asked = [(key, series) for key, series in sorted(learn.series.items()) if key not in (refused or {})]
    for one in runner.map(Measure(model, of_class, learn.channels, like, is_followed), asked):
        found.append(one)
        tell(len(found))
    return _assembled(base, of_class, learn, found, like)


def _check(base: Manifest, model: bytes, learn: TrainingSet) -> None:
    if base.life is not msgspec.UNSET:
        raise BadInput(
            f"version {base.version} of {base.asset_class} tells remaining life: an asset has no scaling of its own",
            hint="each is measured from its own first cycles: there is nothing to do for a site",
        )
    if sha256(model) != base.sha256:
        raise BadInput("the network is not the one of the manifest", hint="take both files of one version")
    if learn.asset_class != base.asset_class:
        raise BadInput(f"readings of the class {learn.asset_class} for a network of {base.asset_class}")
    missing = sorted(set(base.features.channels) - set(learn.channels))
    if missing:
        raise BadInput(f"no asset has the channel {missing[0]}, which the network needs")


def _assembled(base: Manifest, spec: FeatureSpec, learn: TrainingSet, found: list[Own], recipe: Recipe) -> Sites:
    blocks = {own.key: np.array(own.blocks) for own in found if own.scaling is not None and own.blocks}
    if not blocks:
        raise GateFailed(
            f"no asset of the class {base.asset_class} has enough healthy readings", hint="name a longer range"
        )
    scaling = {own.key: own.scaling for own in found if own.key in blocks and own.scaling is not None}
    left_out = {own.key: own.left_out or "too few windows held out" for own in found if own.key not in blocks}
    unlike = _unlike(blocks)
    floor = asset.floor([one for key, one in blocks.items() if key not in unlike], recipe)
    own_thresholds = asset.thresholds(blocks, floor, recipe)
    features = msgspec.structs.replace(spec, scaling={**spec.scaling, **scaling})
    manifest = msgspec.structs.replace(
        base,
        features=features,
        features_digest=features.digest(),
        thresholds={CLASS_WIDE: base.thresholds[CLASS_WIDE], **own_thresholds},
        dataset=learn.source,
        episodes=_episodes(base, {own.key: own.healthy for own in found if own.key in blocks}),
        metrics={
            **base.metrics,
            "network_of_version": base.version,
            "network_dataset": base.dataset.sha256,
            "assets": len(own_thresholds),
            "assets_left_out": sorted(left_out),
            "readings": sum(len(series) for series in learn.series.values()),
            "windows_measured": sum(own.windows for own in found),
        },
    )
    return Sites(manifest, left_out, unlike)


def _episodes(base: Manifest, found: Mapping[str, Healthy | None]) -> EpisodeSpec | msgspec.UnsetType:
    """With the limits of each asset, in the units of its own scaling; those of the class stay."""
    if base.episodes is msgspec.UNSET:
        return msgspec.UNSET
    own = {key: healthy for key, healthy in found.items() if healthy is not None}
    return msgspec.structs.replace(base.episodes, healthy={CLASS_WIDE: base.episodes.healthy[CLASS_WIDE], **own})


def _unlike(blocks: Mapping[str, Floats]) -> list[str]:
    """Assets whose highest block stands far above those of the others; one of them must not raise the floor of all."""
    usual = float(np.median([one.max() for one in blocks.values()]))
    return sorted(key for key, one in blocks.items() if one.max() > _UNLIKE * usual)


def numbered(sites: Sites, version: int, request_id: str) -> Manifest:
    """The manifest as a version of its own, made now; BadInput where it cannot be one, as with too many assets."""
    made = msgspec.structs.replace(
        sites.manifest,
        version=version,
        request_id=request_id,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        code=code_version(),
    )
    made.check()
    size = len(made.encode())
    if size > MAX_MANIFEST_BYTES:
        raise BadInput(
            f"a manifest of {len(made.thresholds) - 1:,} assets has {size:,} bytes, edges take {MAX_MANIFEST_BYTES:,}",
            hint="give some of the sites a class of their own",
        )
    return made
