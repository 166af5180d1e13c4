"""What is tried within a budget of seconds: a list that is fixed before anything is tried.

Seconds are those of a reference core (one of a 2-core x86_64 of 2.5 GHz), by the sizes of the data alone, so the same
data, recipe and seed are tried alike on any machine, and the same model comes out however long it took. A slower
machine takes longer than the budget; what it took is in the report.

T² and principal components are always tried: they cost next to nothing, and are what the others are held against.
Then each family in turn has its first trial, the cheapest first, then each its second, of networks drawn at random from
the seed, and so on; with the first that the budget does not pay for the list ends, so that more seconds only ever add
to it.
A network with several trials is fitted once more, with what was best, to all that may be fitted: that is in its price.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cloud_trainer.pool.detector import Layout, Member
from cloud_trainer.pool.estimators import BoostedTrees, Estimator
from cloud_trainer.pool.hotelling import Components, Hotelling
from cloud_trainer.pool.mixture import MixtureMember
from cloud_trainer.pool.networks import CONV, DENSE, TCN, NetworkMember
from cloud_trainer.recipe import Recipe

_KEPT = (0.9, 0.8, 0.95, 0.99)
_COMPONENTS = (4, 8, 2)  # of a mixture
_MOST_FEATURES = 1024  # of a whole window: more cost the edge more than means and spreads, and the manifest megabytes
_MOST_TRIALS = 24  # of a network
_CONTEST_S = 0.2  # seconds to hold a detector against the faults


@dataclass(frozen=True)
class Sizes:
    """Windows that are fitted, readings in each, channels."""

    windows: int
    window: int
    channels: int


@dataclass(frozen=True)
class Plan:
    """Members to try by family, in their order; what the budget left out, and the seconds it is expected to take."""

    trials: dict[str, list[Member]]
    left_out: dict[str, int]
    seconds: float


def plan(recipe: Recipe, sizes: Sizes) -> Plan:
    """What `recipe.budget_s` pays for."""
    trials: dict[str, list[Member]] = {}
    left_out: dict[str, int] = {}
    spent = 0.0
    for member, is_free in _members(recipe, sizes):
        so_far = trials.get(member.family, [])
        more = _price([*so_far, member], sizes) - _price(so_far, sizes)
        if is_free or (spent + more <= recipe.budget_s and not left_out):
            trials.setdefault(member.family, []).append(member)
            spent += more
        else:
            left_out[member.family] = left_out.get(member.family, 0) + 1
    return Plan(trials, left_out, spent)


def _price(members: Sequence[Member], sizes: Sizes) -> float:
    each = [member.seconds(sizes.windows, sizes.window, sizes.channels) for member in members]
    contests = _CONTEST_S * (len(each) + (len(each) > 1))
    return sum(each) + (max(each) if len(each) > 1 else 0.0) + contests if each else 0.0


def _members(recipe: Recipe, sizes: Sizes) -> Iterator[tuple[Member, bool]]:
    """Every trial there is, in the order in which the budget is spent, and whether it is always made."""
    shrink, horizon = recipe.shrink, recipe.horizon
    yield Hotelling(shrink, horizon), True
    for kept in _KEPT:
        yield Components(kept, "summary", shrink, horizon), True
    rng = np.random.default_rng(recipe.seed)
    families = [family for family in (DENSE, CONV, TCN) if _fits(family, sizes)]
    for turn in range(_MOST_TRIALS):
        if turn < len(_COMPONENTS):
            yield MixtureMember(_COMPONENTS[turn], shrink, horizon), False
        for family in families:
            yield _network(recipe, sizes, family, None if turn == 0 else rng), False
        if turn == 0:
            yield BoostedTrees(shrink, horizon), False
            for name, parameters in sorted(recipe.estimators.items()):
                yield Estimator(name, parameters), False


def _fits(family: str, sizes: Sizes) -> bool:
    """Whether a network can look at such windows."""
    if family == DENSE:
        return True
    return sizes.window * sizes.channels <= _MOST_FEATURES and sizes.window >= 8


def _network(recipe: Recipe, sizes: Sizes, family: str, rng: np.random.Generator | None) -> NetworkMember:
    layout: Layout = "summary" if family == DENSE else "window"
    hidden, latent, kernel, steps, rate, noise = (32 if family == DENSE else 16), 4, 3, 800, 1e-2, 0.05
    if family == TCN:
        latent, noise = 0, 0.0
    if rng is not None:
        hidden = int(rng.choice((8, 16, 32) if family != DENSE else (16, 32, 64)))
        latent = int(rng.choice((1, 2, 3, 4, 6, 8)))
        kernel = int(rng.choice((2, 3, 5) if family == CONV else (2, 3)))
        steps, rate = int(rng.choice((400, 800, 1600))), float(rng.choice((3e-3, 1e-2, 2e-2)))
        noise = float(rng.choice((0.0, 0.05, 0.2)))
        if family == DENSE and sizes.window * sizes.channels <= _MOST_FEATURES and rng.random() < 0.3:
            layout = "window"
    if family == DENSE:
        kernel = 1
    return NetworkMember(
        family, layout, hidden, latent, kernel, steps, rate, noise, recipe.shrink, recipe.horizon, recipe.precision
    )
