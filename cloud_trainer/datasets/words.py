"""The ranges of a dataset for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_MOST = 8  # topics or recordings that are listed one by one


def ranges(offsets: Mapping[str, Mapping[str, Iterable[int]]]) -> list[str]:
    """A line for each topic or recording with [start, end) of its partitions; of many one line in all."""
    if len(offsets) <= _MOST:
        return [
            f"{topic}: " + ", ".join(f"{p}: {start} to {end}" for p, (start, end) in sorted(parts.items()))
            for topic, parts in sorted(offsets.items())
        ]
    rows = sum(end - start for parts in offsets.values() for start, end in parts.values())
    of = "recordings, {:,} rows" if all(name.endswith(".csv") for name in offsets) else "topics, {:,} offsets"
    return [f"{len(offsets):,} {of.format(rows)}; all with --json"]
