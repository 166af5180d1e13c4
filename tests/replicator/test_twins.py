"""The place in a source log whose records are those at the end of the target's, where records are alike."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from headwater.transport.kafka_batch import Batch, Cluster, Fetched, KafkaSettings, Out, batches, encode
from replicator.twins import twin
from replicator.way import Way

WAY = Way("lyon", "t", 0, "")
SHIPPED_SINCE = 20  # records, after the position


class Log(Cluster):
    """A log in memory whose records are those of `values` in order, from the offset `first` on."""

    def __init__(self, first: int, values: list[str]) -> None:
        super().__init__(KafkaSettings(brokers="127.0.0.1:1"), client_id="none")
        self.first, self.end = first, first + len(values)
        made = encode([Out(None, value.encode(), (), 0) for value in values])
        self.data = first.to_bytes(8, "big") + bytes(made[8:])

    async def fetch(self, want: Mapping[tuple[str, int], int], **_: object) -> list[Fetched]:
        """All of it; readers skip what lies before."""
        ((topic, partition),) = want
        return [Fetched(topic, partition, 0, self.end, self.end, self.first, [], memoryview(self.data))]


def batch(*values: str) -> Batch:
    """The last one of the target."""
    (found,) = batches(memoryview(encode([Out(None, value.encode(), (), 0) for value in values])))
    return found


@pytest.mark.parametrize("last", [["ok"], ["ok"] * 16, ["ok"] * 40])
async def test_in_a_run_of_equal_records_their_count_tells(last: list[str]) -> None:
    """Offsets 30 to 49 were shipped since; the source has lost those before 40: it goes on at 50, and doubles none."""
    log = Log(40, ["ok"] * 60)
    assert await twin(log, WAY, batch(*last), log.first, log.end, SHIPPED_SINCE, 50) == 50


async def test_equal_records_behind_lost_ones_are_not_taken_for_them() -> None:
    """Offsets 50 to 79 were lost: that those behind them are alike is no reason to be silent about it."""
    log = Log(80, ["ok"] * 20)
    assert await twin(log, WAY, batch("ok"), log.first, log.end, SHIPPED_SINCE, 50) is None


async def test_records_that_differ_are_found_where_offsets_are_missing() -> None:
    """Markers of transactions took three of the offsets: the place is later than the count says."""
    log = Log(40, [f"{n}" for n in range(40, 70)])
    assert await twin(log, WAY, batch("50", "51", "52"), log.first, log.end, SHIPPED_SINCE, 50) == 53
    assert await twin(log, WAY, batch("70"), log.first, log.end, SHIPPED_SINCE, 50) is None
