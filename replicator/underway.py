"""What this life had under way when a connection ended: where the target says that it arrived, it counts as answered.

So nobody has to read it back over the link to be sure of it: the target names the last sequence of this producer, and
what it has under that name can only be what was sent. That holds where the last sequence is the end of a batch that was
sent and not answered, and the source still has what it was made of.
"""

from __future__ import annotations

from collections.abc import Callable

from replicator.engine import Shipment, Written
from replicator.pipeline import Piece, Pipeline
from replicator.position import Mark, Position


def marks(acked: Position | None, pipeline: Pipeline | None) -> list[Mark]:
    """Where the era would be behind each batch that was under way behind `acked`."""
    found: list[Mark] = []
    pieces = _unanswered(acked, pipeline)
    count = acked.count if acked is not None else 0
    for piece in pieces:
        count += piece.count
        last = piece.newest
        if piece.next > last.base_offset:
            found.append(Mark(last.base_offset, min(piece.next, last.last_offset + 1), last.crc, count))
    return found


def settle(
    acked: Position | None, pipeline: Pipeline | None, found: Position, tell: Callable[[Shipment], None]
) -> None:
    """Tell what the target has of what was under way behind `acked`, when it was found at `found`."""
    if acked is None or pipeline is None or acked.era != found.era:
        return
    pieces, ends, count = _unanswered(acked, pipeline), list[int](), acked.count
    for piece in pieces:
        count += piece.count
        ends.append(count)
    for piece, end in zip(pieces, ends, strict=True):
        if found.count not in ends or end > found.count:
            return
        target_next = found.target_next - (found.count - end)
        written = Written(found.era, piece.next, target_next, piece.stamp, exact=not piece.offsets, sent=piece.sent)
        pipeline.unacknowledged -= piece.size
        tell(Shipment(piece.count, piece.size, piece.newest.max_timestamp, written))


def _unanswered(acked: Position | None, pipeline: Pipeline | None) -> list[Piece]:
    """What was under way behind `acked`, unless a new era has left it behind."""
    if acked is None or pipeline is None or not pipeline.unanswered:
        return []
    return pipeline.unanswered if pipeline.unanswered[0].next > acked.source_next else []
