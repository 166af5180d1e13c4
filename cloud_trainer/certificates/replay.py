"""What is replayed through every runtime: the windows of the training set, and the same with faults injected.

Healthy windows alone would say nothing of scores over the threshold. They are at least LEAST; more faults are injected
where the readings give fewer. Of more than MOST healthy windows the newest of each asset are taken.

Where alarms follow the machine, the vectors are those that the edge would ask about on the way (followed.py).
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud_trainer.certificates.followed import Machine, asked
from cloud_trainer.pool.detector import vectors
from cloud_trainer.pool.faults import inject
from cloud_trainer.series import Floats, Vectors
from cloud_trainer.train import Trained
from headwater.contract.errors import BadInput, GateFailed
from headwater.contract.following import EpisodeSpec
from headwater.contract.manifest import LEAST_CERTIFIED
from headwater.transport.files import replace_durably

FILE = "replay.npz"  # beside the model
LEAST, MOST = LEAST_CERTIFIED, 20_000  # windows
_FIELDS: dict[str, tuple[type[np.generic], int]] = {  # kind of number or text, and dimensions
    "names": (np.str_, 1),
    "lengths": (np.integer, 1),
    "thresholds": (np.float64, 1),
    "rows": (np.float32, 2),
    "scores": (np.float64, 1),
    "contributions": (np.float64, 2),
    "least": (np.float64, 1),
    "means": (np.float64, 2),
}
_OPTIONAL = {"least", "means"}  # older ones, and models with fixed thresholds, do not say
_WRITES = "headwater train run --out writes it"


@dataclass(frozen=True)
class Part:
    """Windows of one asset in the order of time, with its threshold; `means` [n, channels] where it is followed."""

    key: str
    rows: Vectors
    threshold: float
    means: Floats | None = None


@dataclass(frozen=True)
class Replay:
    """Parts to be replayed, and what training computed of all their rows: scores [n] and contributions [n, P].

    Scores below `least` may differ by as much as one of this size.
    """

    parts: tuple[Part, ...]
    scores: Floats
    contributions: Floats
    least: float = float(np.finfo(np.float32).tiny)

    @property
    def rows(self) -> Vectors:
        """Vectors of all parts [n, F]."""
        return np.concatenate([part.rows for part in self.parts])

    def digest(self) -> str:
        """SHA-256 over name, threshold and vectors of each part, and its means where it has some."""
        found = hashlib.sha256()
        for part in self.parts:
            found.update(f"{part.key}\0{part.threshold!r}\0{part.rows.shape}\0".encode())
            found.update(np.ascontiguousarray(part.rows, "<f4").tobytes())
            if part.means is not None:
                found.update(np.ascontiguousarray(part.means, "<f8").tobytes())
        return found.hexdigest()


def replay(trained: Trained, golden: Vectors, seed: int, episodes: EpisodeSpec | None = None) -> Replay:
    """The replay of a model: golden vectors [n, F], healthy windows, faults; GateFailed where there is no window.

    With `episodes` as a machine that is followed is asked about them.
    """
    count = sum(len(windows) for windows in trained.windows.values())
    if not count:
        raise GateFailed("there is no window to replay")
    share = min(1.0, MOST / count)
    parts = [Part("golden", golden, trained.thresholds[""])]
    newest = {
        key: windows[len(windows) - max(1, int(len(windows) * share)) :]
        for key, windows in trained.windows.items()
        if len(windows)
    }
    healthy = {key: _scaled(trained, key, windows) for key, windows in newest.items()}
    least = LEAST - len(golden) - sum(map(len, healthy.values()))
    faulty = list(_faulty(healthy, least, seed))
    if episodes is None:
        for key, windows in healthy.items():
            parts.append(_part(trained, key, trained.vectors[key][len(trained.vectors[key]) - len(windows) :]))
        parts += [_part(trained, key, vectors(trained.detector.layout, windows)) for key, windows in faulty]
    else:
        parts += _followed(trained, [*healthy.items(), *faulty], episodes)
    scores, contributions = trained.detector.score(np.concatenate([part.rows for part in parts]))
    return Replay(tuple(parts), scores, contributions)


def save(replayed: Replay, path: Path) -> None:
    """Write a replay to a file, so that other runtimes can be certified later and elsewhere."""
    held = io.BytesIO()
    names = np.array([part.key for part in replayed.parts])
    lengths = np.array([len(part.rows) for part in replayed.parts])
    thresholds = np.array([part.threshold for part in replayed.parts])
    arrays: dict[str, Any] = {
        "names": names,
        "lengths": lengths,
        "thresholds": thresholds,
        "rows": replayed.rows,
        "scores": replayed.scores,
        "contributions": replayed.contributions,
        "least": np.array([replayed.least]),
        **_means(replayed),
    }
    np.savez_compressed(held, **arrays)
    replace_durably(path, held.getvalue())


def load(path: Path) -> Replay:
    """Read what `save` wrote; BadInput where there is none, or one of less than LEAST windows, which proves nothing."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as held:
            found = {name: held[name] for name in _FIELDS if name in held or name not in _OPTIONAL}
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}", hint=_WRITES) from error
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadInput(f"{path} is no replay: {error}", hint=_WRITES) from error
    if problem := _problem(found):
        raise BadInput(f"{path} is no replay: {problem}", hint=_WRITES)
    at = np.cumsum(found["lengths"])[:-1]
    means = np.split(found["means"], at) if "means" in found else [None] * len(found["names"])
    parts = tuple(
        Part(str(name), rows, float(threshold), None if of is None or np.isnan(of).any() else of)
        for name, rows, threshold, of in zip(
            found["names"], np.split(found["rows"], at), found["thresholds"], means, strict=True
        )
    )
    least = float(found["least"][0]) if "least" in found else Replay.least
    return Replay(parts, found["scores"], found["contributions"], least)


def _problem(found: Mapping[str, npt.NDArray[Any]]) -> str:
    """Why these are not the arrays of `save`; empty where they are."""
    for name, (dtype, dimensions) in ((name, _FIELDS[name]) for name in found):
        if found[name].ndim != dimensions or not np.issubdtype(found[name].dtype, dtype):
            return f"{name} has the type {found[name].dtype} and the shape {found[name].shape}"
    lengths, thresholds, windows = found["lengths"], found["thresholds"], len(found["rows"])
    if not len(found["names"]) == len(lengths) == len(thresholds) or (lengths < 0).any():
        return "its parts do not fit"
    if not int(lengths.sum()) == windows == len(found["scores"]) == len(found["contributions"]):
        return "its windows do not fit"
    if "means" in found and len(found["means"]) != windows:
        return "its means do not fit"
    if not (np.isfinite(thresholds).all() and (thresholds > 0).all()):
        return "a threshold is none"
    if "least" in found and not (len(found["least"]) == 1 and 0 < found["least"][0] < math.inf):
        return "the size of its least score is none"
    return f"{windows:,} windows, {LEAST:,} are needed" if windows < LEAST else ""


def _means(replayed: Replay) -> dict[str, Floats]:
    """Of all windows [n, channels], NaN for those of parts that are not followed; nothing where none is."""
    widths = [part.means.shape[1] for part in replayed.parts if part.means is not None]
    if not widths:
        return {}
    none = [np.full((len(part.rows), widths[0]), np.nan) for part in replayed.parts]
    return {
        "means": np.concatenate([n if p.means is None else p.means for n, p in zip(none, replayed.parts, strict=True)])
    }


def _followed(trained: Trained, some: Sequence[tuple[str, Floats]], episodes: EpisodeSpec) -> Iterator[Part]:
    machines = [Machine(key, _threshold(trained, key), windows.mean(axis=1)) for key, windows in some]
    detector, every = trained.detector, [windows for _, windows in some]
    rows = asked(episodes, machines, every, detector.layout, lambda vectors: detector.score(vectors)[0])
    for machine, of in zip(machines, rows, strict=True):
        yield Part(machine.key, of, machine.threshold, machine.means)


def _faulty(windows: Mapping[str, Floats], least: int, seed: int) -> Iterator[tuple[str, Floats]]:
    """Scaled windows with faults injected again and again, each time others, until there are enough, once at least."""
    turn = 0
    while turn == 0 or (least > 0 and any(map(len, windows.values()))):
        for number, (key, some) in enumerate(windows.items()):
            for faulty in inject(some, seed * 1_000_003 + turn * 1_009 + number).values():
                yield key, faulty
                least -= len(faulty)
            if turn and least <= 0:
                return
        turn += 1


def _scaled(trained: Trained, key: str, windows: Floats) -> Floats:
    scaling = trained.spec.scaling_of(key)
    return np.asarray((windows - scaling.centre) / scaling.scale)


def _part(trained: Trained, key: str, rows: Vectors) -> Part:
    return Part(key, rows, _threshold(trained, key))


def _threshold(trained: Trained, key: str) -> float:
    return trained.thresholds.get(key) or trained.thresholds[""]
