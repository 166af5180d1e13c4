"""Everything that the scorer writes, in the order that makes it exactly once (docs/adr/scorer-exactly-once.md).

Each method returns when Kafka has acknowledged. A crash between any two of its steps leaves what the next life
completes: it finds the ends of the topics and leaves out what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from edge_agent.refusal_log import RefusalLog
from edge_agent.scorer import outputs
from edge_agent.scorer.judge import Verdicts
from edge_agent.scorer.metrics import Counts
from edge_agent.scorer.partition import Partition
from headwater.contract import topics
from headwater.contract.messages import Status, encode
from headwater.contract.windows import Charge
from headwater.transport.kafka_batch.records import Out
from headwater.transport.kafka_batch.writer import Writer


class Ledger:
    """Writes through the one fenced writer; `runtime` is the class of the runtime, for the headers of scores."""

    def __init__(self, writer: Writer, runtime: str, counts: Counts) -> None:
        self._writer = writer
        self._counts = counts
        self._runtime = runtime.encode()
        self._refusals = RefusalLog()

    async def settle(self, verdicts: Sequence[tuple[Partition, Verdicts]], now_ms: int) -> None:
        """Dead letters and alarms first, then scores: a score in the log says that its alarm is there as well."""
        await asyncio.gather(
            *(self._dead_letters(partition, each, now_ms) for partition, each in verdicts if each.dead_letters),
            *(self._alarms(partition, each, now_ms) for partition, each in verdicts if each.alarms),
        )
        await asyncio.gather(*(self._scores(p, each, now_ms) for p, each in verdicts if each.scores))
        await asyncio.gather(*(self._sketches(partition, now_ms) for partition, _ in verdicts if partition.sketcher))

    async def checkpoint(self, partition: Partition, now_ms: int, swaps: Mapping[str, Charge] | None = None) -> None:
        """Remember the partition as it stands at its position; with `swaps` (by class) they are declared by it.

        The assets come before the checkpoint. Should a crash leave only some of them, their states are ahead of the
        old checkpoint, which `Partition.ahead` heeds. Swap records and checkpoint are one batch: all or nothing.
        """
        assets, rest = outputs.assets(partition, now_ms), outputs.checkpoint(partition, swaps or {}, now_ms)
        batches = [batch for batch in (assets, rest) if batch] if swaps else [assets + rest]
        await asyncio.gather(*(self._writer.write(topics.STATE, partition.number, batch) for batch in batches))
        partition.dirty.clear()
        partition.checkpointed = partition.position
        self._counts.checkpoints += 1

    async def status(self, status: Status, now_ms: int) -> None:
        """Write the state of the edge."""
        await self._writer.write(topics.STATUS, 0, [Out(status.site.encode(), encode(status), (), now_ms)])

    async def refence(self) -> None:
        """Keep Kafka from forgetting the writer's name; once a day."""
        await self._writer.refence()

    async def _dead_letters(self, partition: Partition, verdicts: Verdicts, now_ms: int) -> None:
        outs = [outputs.dead_letter(each, now_ms) for each in verdicts.dead_letters]
        base = await self._writer.write(topics.DEAD_LETTERS, partition.number, outs)
        partition.dead_letters_from = base + 1
        self._counts.dead_letters += len(outs)
        for each in verdicts.dead_letters:
            self._refusals.note(
                each.reason, f"readings[{partition.number}], offset {each.source.offset}: {each.detail}"
            )

    async def _alarms(self, partition: Partition, verdicts: Verdicts, now_ms: int) -> None:
        outs = [outputs.alarm(each, now_ms) for each in verdicts.alarms]
        await self._writer.write(topics.ALARMS, partition.number, outs)
        self._counts.alarms += len(outs)

    async def _scores(self, partition: Partition, verdicts: Verdicts, now_ms: int) -> None:
        outs = [outputs.score(each, self._runtime, now_ms) for each in verdicts.scores]
        await self._writer.write(topics.SCORES, partition.number, outs)
        self._counts.scores += len(outs)

    async def _sketches(self, partition: Partition, now_ms: int) -> None:
        found = partition.sketcher.full() if partition.sketcher is not None else []
        if found:
            outs = [outputs.sketch(each, now_ms) for each in found]
            await self._writer.write(topics.SKETCHES, partition.number, outs)
