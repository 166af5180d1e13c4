"""Windows that are due through their models, and through what follows them.

A model without episodes is asked about all windows at once. One that follows its machines is asked in turns, since what
a window is held against depends on those of the same machine before it; each turn is one call a model.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import structlog

from edge_agent.scorer.models import Floats, Id, Loaded
from edge_agent.scorer.partition import Memory, Partition
from headwater.contract.acknowledgement import Acknowledgement
from headwater.contract.alarm import AlarmState, Transition, step
from headwater.contract.arrival import Arrival
from headwater.contract.checkpoint import Left
from headwater.contract.episodes import Verdict
from headwater.contract.errors import BadInput
from headwater.contract.features import Vector, Window
from headwater.contract.following import CALLED_FALSE, Following, told
from headwater.contract.overhaul import Overhaul

_log = structlog.get_logger(__name__)


class Due(NamedTuple):
    """A window that is due, and the version that judges it."""

    arrival: Arrival
    window: Window
    by: Loaded


class Answer(NamedTuple):
    """An operator's word on an episode of an asset, at an offset of `readings`; `t` is sensor time then, in ms.

    A version in charge that is not loaded is None: what a former life judged is passed over.
    """

    asset: str
    offset: int
    said: Acknowledgement
    t: int
    in_charge: Mapping[str, Loaded | None]  # by class


class Renewal(NamedTuple):
    """An overhaul of an asset; fields as those of an answer. `lives` are the classes scored by remaining life."""

    asset: str
    offset: int
    said: Overhaul
    t: int
    in_charge: Mapping[str, Loaded | None]
    lives: Collection[str]


Event = Due | Answer | Renewal


class Scored(NamedTuple):
    """Score, what it is held against, shares of the channels, the episode that it opened or closed.

    `void_since`: offset since when the limits of a machine that is followed do not describe it, -1 while they do.
    """

    number: float
    threshold: float
    contributions: Floats
    transition: Transition | None
    void_since: int = -1
    baseline: tuple[float, ...] | msgspec.UnsetType = msgspec.UNSET
    by: Loaded | None = None  # of an answer or an overhaul: the version whose episode it ended


def scored(site: str, partition: Partition, dues: Sequence[Event]) -> list[Scored]:
    """Each window's score, and what an answer or an overhaul ends; states of followed machines move by them."""
    found: dict[int, Scored] = {}
    for turn in _turns(dues):
        asked = {i: due for i in turn if isinstance(due := dues[i], Due)}
        inputs = {i: _input(site, partition, due) for i, due in asked.items()}
        groups: dict[Id, list[int]] = {}
        for i, due in asked.items():
            groups.setdefault(due.by.id, []).append(i)
        said: dict[int, tuple[float, Floats]] = {}
        for members in groups.values():
            numbers, shares = asked[members[0]].by.model.score(np.stack([inputs[i] for i in members]))
            said |= {i: (float(n), share) for i, n, share in zip(members, numbers, shares, strict=True)}
        for i in turn:  # in the order of the log, whichever model it was
            due = dues[i]
            if isinstance(due, Answer):
                found[i] = _answered(site, partition.memory(due.asset), due)
            elif isinstance(due, Renewal):
                found[i] = _renewed(site, partition.memory(due.asset), due)
            else:
                found[i] = _judged(site, partition.memory(due.arrival.asset), due, *said[i])
    return [found[i] for i in range(len(dues))]


def _turns(dues: Sequence[Event]) -> list[list[int]]:
    """Numbers of the windows that can be asked about together: one that is followed comes behind all of its machine."""
    newest: dict[str, tuple[int, bool]] = {}
    turns: list[list[int]] = []
    for i, due in enumerate(dues):
        asset = due.arrival.asset if isinstance(due, Due) else due.asset
        is_alone = not isinstance(due, Due) or due.by.manifest.episodes is not msgspec.UNSET
        turn, was_alone = newest.get(asset, (-1, True))
        turn += is_alone or was_alone
        newest[asset] = (turn, is_alone)
        if turn == len(turns):
            turns.append([])
        turns[turn].append(i)
    return turns


def _input(site: str, partition: Partition, due: Due) -> Vector:
    following = _following(site, partition.memory(due.arrival.asset), due)
    if following is None:
        return due.by.manifest.features.vector(f"{site}/{due.arrival.asset}", due.window.values)
    return following.input(due.window.values)


def _following(site: str, memory: Memory, due: Due) -> Following | None:
    """What follows this machine under this version; begun, restored or handed on where it is not there yet."""
    manifest = due.by.manifest
    if manifest.episodes is msgspec.UNSET:
        memory.following, memory.followed_by, memory.saved, memory.void_since = None, "", None, -1
        return None
    name = due.by.followed_by
    if memory.following is not None and memory.followed_by == name:
        return memory.following
    following = Following(manifest.features, manifest.episodes, f"{site}/{due.arrival.asset}")
    before = memory.saved if memory.following is None else memory.following.snapshot()
    if before is not None and memory.followed_by == name:
        if not _restore(following, before, due.arrival.asset) and memory.alarm_in(due.arrival.asset_class).episode:
            following.go_on(due.window.values)
    elif memory.alarm_class == due.arrival.asset_class:
        following.succeed(before or {})
        if memory.alarm.episode:
            following.go_on(due.window.values)
    memory.following, memory.followed_by, memory.saved = following, name, None
    return following


def _restore(following: Following, saved: Mapping[str, Any], asset: str) -> bool:
    """Whether a state could be gone on with; one that cannot be read, as another agent's, is told: it begins anew."""
    try:
        following.restore(saved)
    except BadInput as error:
        _log.warning("the state of a machine's episodes begins anew", asset=asset, why=str(error))
        return False
    return True


def _judged(site: str, memory: Memory, due: Due, number: float, contributions: Floats) -> Scored:
    manifest, asset_class = due.by.manifest, due.arrival.asset_class
    threshold = manifest.threshold_of(f"{site}/{due.arrival.asset}")
    name = episode_id(site, due.arrival.asset, due.window.last_offset)
    before, following = memory.alarm_in(asset_class), memory.following
    memory.alarm_class, memory.left = asset_class, left_of(due, number)
    if following is None or manifest.episodes is msgspec.UNSET:
        memory.not_finite += not math.isfinite(number)
        memory.alarm, transition = step(manifest.alarm, before, number, threshold, name)
        return Scored(number, threshold, contributions, transition)
    off, baseline = following.deviation(due.window.values), following.baseline
    verdict = following.push(due.window.values, number, threshold)
    score = float(verdict.score[0])
    memory.not_finite += not math.isfinite(score)
    memory.alarm, transition = told(verdict, before, name)
    _note_void(memory, due, verdict)
    shares = (off * off).astype(np.float32) if np.abs(off).max() >= score else contributions
    return Scored(score, float(verdict.margin[0]), shares, transition, memory.void_since, baseline)


def left_of(due: Due, number: float) -> Left | None:
    """What a score says of the life that the window is; None where it is none, or the score no number."""
    manifest, window = due.by.manifest, due.window
    if not manifest.life or not math.isfinite(number):
        return None
    told = manifest.life.told(number)
    return Left(told.cycles, told.low, told.high, window.cycles, window.life_since, window.t_last, manifest.version)


def _answered(site: str, memory: Memory, due: Answer) -> Scored:
    """What is false ends, where something follows the machine; a word that changes nothing is counted and told."""
    by = due.in_charge.get(memory.alarm_class)
    peak, nothing = memory.alarm.peak, np.empty(0, np.float32)
    why = ""
    if not due.said.is_false:
        return Scored(peak, 0.0, nothing, None)
    if not memory.alarm.episode or memory.alarm.episode != due.said.episode:
        why = "the episode is not open"
    elif by is None:
        why = "its model is not loaded"
    elif not _call_false(site, memory, due, by):
        why = "its model has fixed thresholds"
    if by is None or why:
        memory.unheeded += 1
        _log.warning("an operator's word changes nothing", episode=due.said.episode, offset=due.offset, why=why)
        return Scored(peak, 0.0, nothing, None)
    memory.alarm = AlarmState()
    episodes = by.manifest.episodes
    held = by.manifest.threshold_of(f"{site}/{due.asset}") if episodes is msgspec.UNSET else episodes.rule.margin
    return Scored(peak, held, nothing, Transition("closed", due.said.episode, peak), by=by)


def _renewed(site: str, memory: Memory, due: Renewal) -> Scored:
    """A machine that is as new has no warning from its life before; an alarm of any other model stands."""
    before, by = memory.alarm, due.in_charge.get(memory.alarm_class)
    nothing = np.empty(0, np.float32)
    if memory.alarm_class not in due.lives:
        return Scored(before.peak, 0.0, nothing, None)
    memory.alarm, memory.left = AlarmState(), None
    if not before.episode or by is None:
        return Scored(before.peak, 0.0, nothing, None)
    held = by.manifest.threshold_of(f"{site}/{due.asset}")
    return Scored(before.peak, held, nothing, Transition("closed", before.episode, before.peak), by=by)


def _call_false(site: str, memory: Memory, due: Answer, by: Loaded) -> bool:
    """The open episode is called false in whatever follows the machine; False where nothing does, nor would.

    Between a swap and the machine's next window that is still the version before, of which only the state may be there.
    """
    episodes, saved = by.manifest.episodes, memory.saved
    if memory.following is not None and memory.following.acknowledge_false():
        return True
    if memory.following is None and saved is not None and CALLED_FALSE in saved:
        memory.saved = saved[CALLED_FALSE]
        return True
    if episodes is msgspec.UNSET:
        return False
    before = memory.following.snapshot() if memory.following is not None else saved
    memory.following = Following(by.manifest.features, episodes, f"{site}/{due.asset}")
    memory.following.succeed(before or {})
    memory.following.begin_false()
    memory.followed_by, memory.saved = by.followed_by, None
    return True


def _note_void(memory: Memory, due: Due, verdict: Verdict) -> None:
    if not verdict.is_void[0]:
        memory.void_since = -1
    elif memory.void_since < 0:
        memory.void_since, memory.void_t = due.window.last_offset, due.window.t_last


def episode_id(site: str, asset: str, offset: int) -> str:
    """Name of an episode: the same in every life, since it is made of what opened it."""
    return f"{site}-{asset}-{offset}"
