"""What a running link measures of itself, a partition at a time. No I/O; times in ms since 1970.

Rates and extremes are over Kafka's window of two samples of 30 s (MetricConfig in Apache Kafka), so that they mean what
MirrorMaker 2's mean.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from replicator.way import Way

SAMPLE_MS = 30_000
_GOODPUT_MS = 20_000
_TOGETHER_MS = 200  # of batches that go into the windows of rates as one


class Extremes(NamedTuple):
    """Of a quantity in the window: its last value, and over its values."""

    last: float = 0.0
    least: float = 0.0
    most: float = 0.0
    mean: float = 0.0


class _Sample:
    __slots__ = ("began", "count", "least", "most", "sum")

    def __init__(self, began: int) -> None:
        self.began, self.count, self.sum = began, 0, 0.0
        self.least, self.most = float("inf"), float("-inf")


class Window:
    """The two newest samples of a quantity."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=2)
        self._sample = _Sample(-SAMPLE_MS)  # the newest
        self._last = 0.0

    def add(self, value: float, now: int) -> None:
        """One more value."""
        sample = self._sample
        if now - sample.began >= SAMPLE_MS:
            sample = self._sample = _Sample(now)
            self._samples.append(sample)
        sample.count += 1
        sample.sum += value
        if value < sample.least:  # noqa: PLR1730  a call less for each batch
            sample.least = value
        if value > sample.most:  # noqa: PLR1730  a call less for each batch
            sample.most = value
        self._last = value

    def _fresh(self, now: int) -> list[_Sample]:
        return [each for each in self._samples if now - each.began < 2 * SAMPLE_MS]

    def rate(self, now: int) -> float:
        """Sum a second; a window that has just begun counts as one sample long, as in Kafka's Rate."""
        fresh = self._fresh(now)
        if not fresh:
            return 0.0
        return sum(each.sum for each in fresh) / (max(now - fresh[0].began, SAMPLE_MS) / 1000)

    def extremes(self, now: int) -> Extremes:
        """Of what came in the window."""
        fresh = self._fresh(now)
        count = sum(each.count for each in fresh)
        if not count:
            return Extremes(self._last)
        least, most = min(each.least for each in fresh), max(each.most for each in fresh)
        return Extremes(self._last, least, most, sum(each.sum for each in fresh) / count)


class Goodput:
    """Bytes a second that the target has acknowledged in the last 20 s."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque()  # when, and bytes until then
        self.total = 0

    def add(self, size: int, now: int) -> None:
        """So many more bytes."""
        self.total += size
        if not self._marks or now - self._marks[-1][0] >= 200:
            self._marks.append((now, self.total - size))
            while now - self._marks[0][0] > _GOODPUT_MS:
                self._marks.popleft()

    def now(self, now: int) -> float:
        """Over what is left of the 20 s, at least one."""
        recent = [mark for mark in self._marks if now - mark[0] <= _GOODPUT_MS]
        if not recent:
            return 0.0
        return (self.total - recent[0][1]) / (max(now - recent[0][0], 1000) / 1000)


class PartitionFigures:
    """One partition in this life of the link."""

    def __init__(self) -> None:
        self.records = self.bytes = self.newest_ms = 0
        self.age, self.latency = Window(), Window()
        self._record_window, self._byte_window = Window(), Window()
        self._shown = (0, 0)  # records and bytes that are in these two
        self._shown_ms = self._shipped_ms = 0
        self._waiting: deque[tuple[int, int]] = deque()  # source offset behind a part that was fetched, its oldest time

    def fetched(self, oldest_ms: int, newest_ms: int, behind: int, now: int) -> None:
        """A part of the source came, which ends before offset `behind`."""
        self._waiting.append((behind, oldest_ms))
        self.age.add(now - newest_ms, now)

    def shipped(self, records: int, size: int, newest_ms: int, now: int) -> None:
        """The target has acknowledged a batch."""
        self.records += records
        self.bytes += size
        self.newest_ms = newest_ms
        self.latency.add(now - newest_ms, now)
        self._shipped_ms = now
        if now - self._shown_ms >= _TOGETHER_MS:
            self._show()

    def _show(self) -> None:
        records, size = self._shown
        if self.bytes > size:
            self._record_window.add(self.records - records, self._shipped_ms)
            self._byte_window.add(self.bytes - size, self._shipped_ms)
            self._shown, self._shown_ms = (self.records, self.bytes), self._shipped_ms

    @property
    def record_window(self) -> Window:
        """Records that the target has acknowledged."""
        self._show()
        return self._record_window

    @property
    def byte_window(self) -> Window:
        """Their bytes."""
        self._show()
        return self._byte_window

    def oldest_ms(self, source_next: int) -> int | None:
        """Time of the oldest record that was fetched and is not at the target, to the part; None: there is none."""
        while self._waiting and self._waiting[0][0] <= source_next:
            self._waiting.popleft()
        return self._waiting[0][1] if self._waiting else None

    @property
    def record_bytes(self) -> float:
        """Bytes of a record at the target, on average; 0 before the first."""
        return self.bytes / self.records if self.records else 0.0


class Figures:
    """Of a whole link."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.since = clock()
        self.goodput = Goodput()
        self.partitions: dict[Way, PartitionFigures] = {}
        self._clock = clock

    def of(self, way: Way) -> PartitionFigures:
        """Figures of one partition."""
        found = self.partitions.get(way)
        if found is None:
            found = self.partitions[way] = PartitionFigures()
        return found

    def fetched(self, way: Way, oldest_ms: int, newest_ms: int, behind: int) -> None:
        """See PartitionFigures."""
        self.of(way).fetched(oldest_ms, newest_ms, behind, self._clock())

    def shipped(self, way: Way, records: int, size: int, newest_ms: int) -> int:
        """See PartitionFigures; returns when that was."""
        now = self._clock()
        self.of(way).shipped(records, size, newest_ms, now)
        self.goodput.add(size, now)
        return now
