"""A window whose readings a link has shipped into two topics."""

from __future__ import annotations

import json

import pytest

from headwater.contract import headers, topics
from headwater.contract.reading import encode as encode_reading
from headwater.transport import kafka as wire
from headwater.transport.kafka_batch import Out
from tests.cloud_trainer.cloud import now_ms
from tests.cloud_trainer.tracing.test_lineage import SHIPPED_FROM, Traced, asked, run, traced

__all__ = ["traced"]


@pytest.mark.parametrize("in_backlog", [1, 4, 7])
async def test_a_window_that_spans_two_topics_is_found(traced: Traced, in_backlog: int) -> None:
    """Its beginning lies in what a link shipped beside the new readings: the same bits, and both places."""
    cloud, one = traced.cloud, traced.alarms[0]
    mine = [a for a in traced.log if a.asset == one.asset and one.window.first_offset <= a.offset]
    until = mine[in_backlog].offset
    await cloud.forget(cloud.readings, 0, sum(a.offset >= SHIPPED_FROM for a in traced.log))
    beside = f"{cloud.readings}.{topics.BACKLOG}"
    wire.ensure_topics(cloud.settings, [topics.TopicSpec(beside, 2)])
    for topic, part in (
        (cloud.readings, [a for a in traced.log if a.offset >= until]),
        (beside, [a for a in traced.log if a.offset < until]),
    ):
        outs = [
            Out(a.asset.encode(), encode_reading(a.reading.t, a.reading.values), ((headers.CLASS, b"pump"),), now_ms())
            for a in part
        ]
        await cloud.put(topic, 0, outs)
    code, output = await run(asked, traced, f"{cloud.site}-{one.asset}-{one.window.last_offset}", "--json")
    assert code == 0, output
    told = json.loads(output)
    assert told["again"]["same"] is True
    assert told["window"]["topic"] == cloud.readings
    assert len(told["window"]["beside"][beside]) == in_backlog
    assert len(told["window"]["offsets"]) == 8 - in_backlog
    text = (await run(asked, traced, f"{cloud.site}-{one.asset}-{one.window.last_offset}"))[1]
    assert f"{beside}[0]: {in_backlog} readings" in text
