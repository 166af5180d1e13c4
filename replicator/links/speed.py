"""How fast batches leave: as fast as no queue forms in front of the link.

The round trip of something small tells how long the queue is. Without one the speed grows, at the start by doubling
each round trip; with one it falls to what the target has acknowledged, and below until the queue is gone.
"""

from __future__ import annotations

from replicator.links.estimate import Estimate

_FIRST_BYTES = 28 << 10  # in the first round trip: two initial windows of TCP (RFC 6928)
_LEAST = 1000.0  # bytes a second
_QUEUE_S, _LONG_QUEUE_S, _CALM_S = 0.08, 0.3, 0.04
_SEGMENT = 1448  # bytes; what follows one on a slow link waits for it, which is no queue
_TRIP_SHARE = 0.25  # at the start a queue may be so long beside the round trip

_STANDING_S = 1.0
_DRAIN, _DRAIN_HARD = 0.8, 0.4
_GROWS = 1.25  # times as long is longer
_GROWTH, _MOST_GROWTH = 0.03, 0.5  # a second
_FASTER_EVERY_S = 4.0  # of calm, growth doubles: the link may have become another one
_BELOW = 0.98  # of what made a queue
_BEYOND = 1.5  # times what was ever acknowledged of late: what is above stands in our own buffers


class Speed:
    """Of one link, in bytes a second; times in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.starting = True
        self._base: float | None = None
        self._gain = 1.0
        self._doubled = 0.0
        self._delivered = 0
        self._at = 0.0
        self._slowed = 0.0
        self._queue_s = 0.0
        self._calm_since: float | None = None
        self._began: tuple[float, float] | None = None  # when it was first seen, or grew; how long it was

    @property
    def known(self) -> float | None:
        """What the link is thought to carry."""
        return self._base

    @property
    def now(self) -> float | None:
        """How fast to send; None before the first round trip."""
        return None if self._base is None else max(self._base * self._gain, _LEAST)

    def look(self, estimate: Estimate, now: float, *, wanting: bool) -> None:
        """Follow a new round trip; `wanting`: more waits than leaves."""
        past_s, self._at = min(now - self._at, 2.0), now
        if self._base is None:
            if estimate.trip_s is not None:
                self._base, self._doubled = _FIRST_BYTES / max(estimate.trip_s, 1e-4), now
        elif (estimate.repeated_s if self.starting else estimate.standing_s) > self._tolerated(estimate):
            if estimate.in_flight and not self._is_foreign(estimate, now):
                self._congested(estimate, now, past_s)
        elif estimate.queue_s < _CALM_S + _SEGMENT / self._base:
            self._gain = 1.0
            self._began = None
            if wanting:
                self._base = self._grown(self._base, estimate, now, past_s)
            else:
                self._calm_since = None

    def _tolerated(self, estimate: Estimate) -> float:
        early_s = _TRIP_SHARE * (estimate.trip_s or 0.0) if self.starting else 0.0
        return _QUEUE_S + early_s + 2 * _SEGMENT / (self._base or _LEAST)

    def _is_foreign(self, estimate: Estimate, now: float) -> bool:
        """Whether a queue is none of ours: less was sent for so long that ours would be gone, and it is as it was.

        Such is a target that answers late, or a machine that is busy. It becomes part of the round trip.
        """
        queue_s = estimate.standing_s
        if self.starting or self._gain >= 1.0 or self._began is None or queue_s > _GROWS * self._began[1]:
            self._began = now, queue_s
            return False
        since, first_s = self._began
        if queue_s < first_s / _GROWS:
            self._began = now, queue_s
        elif now - since > first_s / (1 - self._gain) + 2 * (estimate.trip_s or 0.0) + queue_s + _STANDING_S:
            estimate.accept(now)
            self._began, self._gain = None, 1.0
            return True
        return False

    def _congested(self, estimate: Estimate, now: float, past_s: float) -> None:
        base, acked, queue_s = self._base or _LEAST, estimate.rate, estimate.queue_s
        if queue_s > _STANDING_S and estimate.latest is not None:  # the link has become slower
            base = min(base, estimate.latest)
        if self._gain >= 1.0:
            base = base * 0.7 if acked is None else min(base, acked) * _BELOW
            self._slowed = now
        elif queue_s > self._queue_s and now - self._slowed > (estimate.trip_s or 0.0) + self._queue_s:
            base, self._slowed = base * (0.6 if acked is None else 0.9), now  # it grows although less is sent
        else:
            base *= 1 - 0.01 * past_s
        self.starting = acked is None  # before anything is known of the link, a late answer says little
        self._calm_since = None
        self._base, self._queue_s = max(base, _LEAST), queue_s
        self._gain = _DRAIN_HARD if queue_s > _LONG_QUEUE_S else _DRAIN

    def _grown(self, base: float, estimate: Estimate, now: float, past_s: float) -> float:
        acked = estimate.rate
        if self.starting:
            if now - self._doubled < (estimate.trip_s or 0.0) or estimate.delivered == self._delivered:
                return base
            self._doubled, self._delivered = now, estimate.delivered
            return 2 * base if acked is None else max(base, 2 * acked)
        self._calm_since = now if self._calm_since is None else self._calm_since
        growth = _GROWTH * 2 ** ((now - self._calm_since) // _FASTER_EVERY_S)
        grown = base * (1 + min(growth, _MOST_GROWTH) * past_s)
        return grown if acked is None else min(grown, max(min(base, 2 * acked), _BEYOND * acked))
