"""Whether a class has drifted from what its model was trained on, from sketches alone. Pure.

The newest sketches of each asset are added up until they stand for enough readings: a shorter time shows the load of
the hour. Then each asset is one of four things:

| what | when | what follows |
|---|---|---|
| `stuck` | a channel that moved in training stands still, or is mostly missing | a sensor's fault: no training |
| `alarming` | more scores than `most_over` are over the threshold | perhaps the machine's fault: never learned from |
| `shifted` | PSI of a channel against the training is `psi` or more | the process has changed |
| `known` | so too, but it reads as it did when the version was made | the version was made of all there was: no other |
| `same` | none of these | |

A class has drifted when `share` of its assets that are neither stuck nor alarming have shifted.

A model that is made behind a lasting step has learned from what was before it too, and the newest readings stay far
from the whole of that for as long as it is kept. So a version that a reason of the service made (it takes all readings
that there are) asks again only for a channel that has changed since: it is held against the last sketches from before
the version was made, which an older version judged, by mean and spread in the scale of the newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from cloud_trainer.drift.likeness import Moments, apart, moments_of
from cloud_trainer.drift.settings import DriftRecipe
from headwater.contract.features import FeatureSpec
from headwater.contract.manifest import Manifest
from headwater.contract.sketches import OVER, Channel, Sketch, merged, psi

What = Literal["stuck", "alarming", "shifted", "known", "same"]
_STILL = 1e-3  # standard deviation in scales; a live sensor's noise is far above (features.LOG_FLOOR)
_BY_ITSELF = ("drift", "schedule", "labels")  # reasons that ask for a model of all readings that there are


class Asset(NamedTuple):
    """What an asset's newest readings are; `worst` is the channel that shifted most, and its PSI."""

    key: str
    what: What
    channel: str
    worst: float


class Found(NamedTuple):
    """A class under one version: whether it drifted, and each asset that has enough readings."""

    asset_class: str
    version: int
    drifted: bool
    assets: list[Asset]

    @property
    def reason(self) -> str:
        """The drift in a sentence."""
        moved = [one for one in self.assets if one.what == "shifted"]
        worst = max(moved, key=lambda one: one.worst, default=None)
        said = f", most in {worst.channel} of {worst.key} (PSI {worst.worst:.2f})" if worst else ""
        return f"drift since version {self.version}: {len(moved)} of {len(self.assets)} assets shifted{said}"

    @property
    def request_id(self) -> str:
        """Of the request for training: the same for the same version, so that one drift asks once."""
        return f"drift-{self.asset_class}-v{self.version}"


class Sketches:
    """The newest sketches of each asset and version, no more of them than a look takes."""

    def __init__(self, recipe: DriftRecipe) -> None:
        self._recipe = recipe
        self._of: dict[tuple[str, int, str], list[Sketch]] = {}
        self._before: dict[tuple[str, str], list[Sketch]] = {}  # of the last version before the one looked at
        self._begun: dict[str, tuple[int, float]] = {}

    def begin(self, asset_class: str, version: int, made_ms: float) -> None:
        """From now on the class is looked at under this version; of older ones only what was before it is kept."""
        self._begun[asset_class] = version, made_ms
        for name in [name for name in self._of if name[0] == asset_class and name[1] < version]:
            for sketch in self._of.pop(name):
                self.add(sketch)

    def add(self, sketch: Sketch) -> None:
        """Take a sketch of its asset: the next one, or an older one out of a backlog; what repeats readings is left."""
        version, made_ms = self._begun.get(sketch.asset_class, (0, 0.0))
        key = f"{sketch.site}/{sketch.asset}"
        if sketch.version >= version:
            kept = self._of.setdefault((sketch.asset_class, sketch.version, key), [])
        elif sketch.t_last <= made_ms:
            kept = self._before.setdefault((sketch.asset_class, key), [])
            if kept and kept[0].version != sketch.version:
                if sketch.t_last < kept[-1].t_first:
                    return  # what came before the version before
                kept.clear()
        else:
            return
        if any(_repeats(sketch, one) for one in kept):
            return
        kept.insert(_place(sketch, kept), sketch)
        spare = sum(one.readings for one in kept) - self._recipe.readings
        while kept[0].readings <= spare:
            spare -= kept.pop(0).readings

    def look(self, manifest: Manifest, features_of: Callable[[int], FeatureSpec | None]) -> Found:
        """What has become of the class since this version was trained; `features_of` knows older versions."""
        reference = manifest.metrics.get("reference") or {}
        before = self._known(manifest, features_of) if reference and _is_of_all(manifest) else {}
        assets = []
        for (asset_class, version, key), kept in sorted(self._of.items()):
            if (asset_class, version) != (manifest.asset_class, manifest.version) or not reference:
                continue
            if sum(one.readings for one in kept) >= self._recipe.readings:
                assets.append(_asset(key, kept, reference, self._recipe, before.get(key, {})))
        sound = [one for one in assets if one.what in ("shifted", "known", "same")]
        moved = sum(one.what == "shifted" for one in sound)
        drifted = bool(sound) and moved >= self._recipe.share * len(sound) and moved > 0
        return Found(manifest.asset_class, manifest.version, drifted, assets)

    def _known(
        self, manifest: Manifest, features_of: Callable[[int], FeatureSpec | None]
    ) -> dict[str, dict[str, Moments]]:
        """Of each asset what its channels were like when this version was made, in its scale."""
        found = {}
        for (asset_class, key), kept in self._before.items():
            if asset_class == manifest.asset_class and kept[0].version < manifest.version:
                spec = features_of(kept[0].version)
                if spec is not None:
                    found[key] = moments_of(key, kept, spec, manifest.features)
        return found


def _repeats(one: Sketch, other: Sketch) -> bool:
    """Whether two sketches have readings in common: by offsets and by time, since a log that is new counts anew."""
    by_offset = one.first <= other.last and other.first <= one.last
    return by_offset and one.t_first <= other.t_last and other.t_first <= one.t_last


def _place(sketch: Sketch, kept: Sequence[Sketch]) -> int:
    """Where a sketch stands among those of its asset: last, but before all that are wholly later in log and time."""
    place = len(kept)
    while place and sketch.last < kept[place - 1].first and sketch.t_last < kept[place - 1].t_first:
        place -= 1
    return place


def _is_of_all(manifest: Manifest) -> bool:
    return manifest.request_id.startswith(tuple(f"{reason}-{manifest.asset_class}-" for reason in _BY_ITSELF))


def _asset(
    key: str,
    sketches: Sequence[Sketch],
    reference: Mapping[str, Sequence[int]],
    recipe: DriftRecipe,
    before: Mapping[str, Moments],
) -> Asset:
    channels = {name: merged(one.channels[name] for one in sketches if name in one.channels) for name in reference}
    stuck = [name for name, channel in channels.items() if _is_stuck(channel, reference[name])]
    if stuck:
        return Asset(key, "stuck", stuck[0], 0.0)
    moved = {name: psi(reference[name], channel.bins) for name, channel in channels.items()}
    worst = max(moved, key=lambda name: moved[name])
    scores, over = sum(sum(one.levels) for one in sketches), sum(sum(one.levels[OVER:]) for one in sketches)
    if scores and over / scores > recipe.most_over:
        return Asset(key, "alarming", worst, moved[worst])
    if moved[worst] < recipe.psi:
        return Asset(key, "same", worst, moved[worst])
    since = {
        name: value
        for name, value in moved.items()
        if value >= recipe.psi and not (name in before and apart(before[name], Moments.of(channels[name])) < recipe.psi)
    }
    if not since:
        return Asset(key, "known", worst, moved[worst])
    worst = max(since, key=lambda name: since[name])
    return Asset(key, "shifted", worst, since[worst])


def _is_stuck(channel: Channel, reference: Sequence[int]) -> bool:
    if channel.missing > channel.count:
        return True
    moved_in_training = sum(count > 0 for count in reference) > 1
    return moved_in_training and channel.count > 1 and channel.m2 / channel.count < _STILL**2
