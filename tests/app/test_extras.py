"""What the extra for training brings with it stays small, by what its distributions say that they installed."""

from __future__ import annotations

from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MOST_BYTES = 500_000_000
BASE = ""


def installed(name: str, extras: frozenset[str]) -> dict[str, int]:
    """Bytes of the distributions that a distribution with these extras needs, itself included, by name."""
    found: dict[str, int] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(canonicalize_name(name), extras)]
    while waiting:
        wanted = waiting.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        distribution = metadata.distribution(wanted[0])
        found[wanted[0]] = size_of(distribution)
        for line in distribution.requires or ():
            required = Requirement(line)
            marker = required.marker
            if marker is None or any(marker.evaluate({"extra": each}) for each in {BASE, *wanted[1]}):
                waiting.append((canonicalize_name(required.name), frozenset(required.extras)))
    return found


def size_of(distribution: metadata.Distribution) -> int:
    """By its RECORD; what stands there without a size, as compiled files do, is looked up."""
    total = 0
    for file in distribution.files or ():
        path = file.locate()
        total += file.size if file.size is not None else path.stat().st_size if path.is_file() else 0
    return total


def test_the_extra_for_training_is_small() -> None:
    """Less than 500 MB beyond what an edge has: no framework, whose wheels alone are that large."""
    edge, training = installed("headwater", frozenset()), installed("headwater", frozenset({"train"}))
    added = {name: size for name, size in training.items() if name not in edge}
    assert {"scikit-learn", "scipy", "pyarrow", "threadpoolctl"} <= added.keys()
    assert not {"tensorflow", "torch", "keras", "jax"} & training.keys()
    assert 50_000_000 < sum(added.values()) < MOST_BYTES, added
    assert added["scipy"] > 10_000_000, "sizes are in the RECORD"
