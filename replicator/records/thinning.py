"""One record of a key in a span of record time, the same ones whenever a log is read.

Time is cut into spans of equal length. A partition is in one span at a time: a record of a later one, or of one before
the last, begins that span, and no key was seen in it yet. A record that is late by one span counts as of the present
one. So what is known at an offset depends only on the records since the one that began the span, `began`: a life that
begins in the middle reads those again. What a clock that ran ahead has begun ends with the next record in time.
"""

from __future__ import annotations

from headwater.transport.kafka_batch import Record

MOST_KEYS = 100_000  # seen in a span; with the next one it begins anew, so that memory is bounded


class Thinner:
    """One partition's."""

    def __init__(self, every_s: float) -> None:
        self._span_ms = max(round(every_s * 1000), 1)
        self._span: int | None = None
        self._seen: set[bytes | None] = set()
        self.began = 0
        self.sure_from: int | None = None  # behind it, nothing depends on records before those that it was given
        self._first = 0

    def reset(self, at: int) -> None:
        """Know nothing; what comes next is at the source offset `at` or behind it."""
        self._span, self.began, self.sure_from = None, at, None
        self._seen.clear()

    def passes(self, record: Record) -> bool:
        """Whether a record is the first of its key in its span; one without a time is."""
        if record.timestamp_ms < 0:
            return True
        span, key = record.timestamp_ms // self._span_ms, record.key
        if self._span is None or span not in (self._span, self._span - 1):
            if self._span is None:
                self._first = span
            elif self.sure_from is None and span > self._first + 1:
                self.sure_from = record.offset  # whoever knew more was in the first span or the next one, and leaves it
            self._span = span
            self._begin(record)
        if key in self._seen:
            return False
        if len(self._seen) >= MOST_KEYS and span == self._span:
            self._begin(record)
        self._seen.add(key)
        return True

    def _begin(self, record: Record) -> None:
        self.began = record.offset
        self._seen.clear()
