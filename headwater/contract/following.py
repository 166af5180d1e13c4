"""A model whose alarms follow the machine: what its manifest says of episodes, and one machine under it.

The row that episodes look at is the mean of a window, scaled. The network is asked about the window as it would be had
the machine stayed where it was calibrated: less what the baseline has moved. Its score counts in its own healthy limit,
which is the threshold of the machine over the factor that the threshold was set with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from headwater.contract.alarm import AlarmState, Transition
from headwater.contract.episodes import EpisodeRule, Episodes, Floats, Verdict
from headwater.contract.errors import BadInput
from headwater.contract.features import CLASS_WIDE, FeatureSpec, Vector

CALLED_FALSE = "called_false"


class Healthy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a machine runs and how far it goes, by channel, in scaled units."""

    centre: tuple[float, ...]
    limits: tuple[float, ...]


class EpisodeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rule and calibration, keyed as the scaling is. `threshold_factor`: the thresholds are so many healthy limits."""

    rule: EpisodeRule
    healthy: dict[str, Healthy]
    threshold_factor: float
    episodes_a_week: float  # that the margin was made for, by machine

    def check(self, channels: int) -> None:
        """Raise BadInput unless this agent can follow machines by it."""
        self.rule.check()
        if CLASS_WIDE not in self.healthy:
            raise BadInput("no class-wide limits in what is said of episodes")
        if not 1 <= self.threshold_factor <= 1_000:
            raise BadInput(f"thresholds of {self.threshold_factor:g} healthy limits are out of bounds")
        for key, each in self.healthy.items():
            if len(each.centre) != channels or len(each.limits) != channels:
                raise BadInput(f"limits of {key or 'the class'} are not for {channels} channels")
            Episodes(self.rule, np.array([each.centre]), np.array([each.limits]))

    def of(self, asset_key: str) -> Healthy:
        """Of `site/asset`, or of the class."""
        return self.healthy.get(asset_key) or self.healthy[CLASS_WIDE]


class Following:
    """One machine under one model. For each window: `input` to the network, then `push` with what it said."""

    def __init__(self, features: FeatureSpec, spec: EpisodeSpec, asset_key: str) -> None:
        healthy = spec.of(asset_key)
        self._features, self._key = features, asset_key
        self._scaling = features.scaling_of(asset_key)
        self._centre = np.array(healthy.centre)
        self._factor = spec.threshold_factor
        self._episodes = Episodes(spec.rule, self._centre[None], np.array([healthy.limits]))

    @property
    def baseline(self) -> tuple[float, ...]:
        """Where the machine is taken to be healthy now, by channel, in scaled units."""
        return tuple(self._episodes.baseline[0].tolist())

    def again(self, baseline: Sequence[float]) -> Following:
        """A machine that stands at a baseline that a score names, to say it again; BadInput for another width."""
        self._episodes.stand_at(np.array([baseline], dtype=np.float64))
        return self

    def row(self, values: Floats) -> Floats:
        """Scaled means [1, channels] of a window [window, channels] in channel units."""
        scaled = (np.ascontiguousarray(values, dtype=np.float64) - self._scaling.centre) / self._scaling.scale
        return np.asarray(scaled.mean(axis=0)[None])

    def input(self, values: Floats) -> Vector:
        """What the network is asked."""
        moved = (self._episodes.baseline[0] - self._centre) * self._scaling.scale
        return self._features.vector(self._key, values - moved)

    def push(self, values: Floats, score: float, threshold: float) -> Verdict:
        """Take the window, with the network's score of `input(values)` and its threshold for this machine."""
        return self._episodes.push(self.row(values), np.array([score * self._factor / threshold]))

    def deviation(self, values: Floats) -> Floats:
        """By how many limits each channel of a window is off its baseline [channels]."""
        return np.asarray(self._episodes.deviation(self.row(values))[0])

    def succeed(self, before: Mapping[str, Any]) -> None:
        """Go on where another version left this machine, from its snapshot: where it is healthy, and its margin.

        A snapshot that does not fit is passed over: the machine begins where this version was calibrated.
        """
        try:
            place = (np.array(before["place"], dtype=np.float64) - self._scaling.centre) / self._scaling.scale
            raised = np.array([before["raised"]], dtype=np.float64)
            self._episodes.stand_at(place[None])
            self._episodes.raise_to(raised)
        except (BadInput, KeyError, TypeError, ValueError):
            return

    def go_on(self, values: Floats) -> None:
        """An episode that another model opened is open here too: where the machine is now is the fault's direction."""
        self._episodes.reopen(self.row(values))

    def acknowledge_false(self) -> bool:
        """As `Episodes.acknowledge_false`."""
        return self._episodes.acknowledge_false()

    def begin_false(self) -> None:
        """An operator calls an episode false that is not followed here yet: the machine is healthy where it stands."""
        self._episodes.reopen(self._episodes.baseline)
        self._episodes.acknowledge_false()

    def snapshot(self) -> dict[str, Any]:
        """As `Episodes.snapshot`, with `place`: the baseline in channel units, for a version that scales otherwise.

        While an episode is open, `called_false` is what the snapshot would be once an operator called it false.
        """
        otherwise = self._episodes.called_false()
        found = self._told(self._episodes)
        return found if otherwise is None else {**found, CALLED_FALSE: self._told(otherwise)}

    def _told(self, episodes: Episodes) -> dict[str, Any]:
        place = episodes.baseline[0] * self._scaling.scale + self._scaling.centre
        return {**episodes.snapshot(), "place": np.asarray(place).tolist()}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """As `Episodes.restore`."""
        self._episodes.restore(snapshot)


def told(verdict: Verdict, state: AlarmState, name: str) -> tuple[AlarmState, Transition | None]:
    """The verdict on one machine as alarm state and transition; `name` is the id of an episode that opens here."""
    score = float(verdict.score[0])
    if verdict.opened[0]:
        return AlarmState(episode=name, peak=score), Transition("opened", name, score)
    if not state.episode or not np.isfinite(score):
        return state, None
    peak = max(state.peak, score)
    if verdict.closed[0]:
        return AlarmState(), Transition("closed", state.episode, peak)
    return AlarmState(episode=state.episode, peak=peak), None
