"""The records that the scorer writes: keys, values and headers (headwater/contract/headers.py)."""

from __future__ import annotations

from edge_agent.scorer.judge import DeadLetter, Judged, Raised
from edge_agent.scorer.partition import Partition
from headwater.contract import checkpoint, headers, messages, topics
from headwater.contract.checkpoint import Checkpoint
from headwater.contract.reading import MAX_PAYLOAD_BYTES
from headwater.contract.windows import Charge
from headwater.transport.kafka_batch.records import Out

_MOST_DETAIL = 500  # characters of a sentence in a header


def dead_letter(letter: DeadLetter, now_ms: int) -> Out:
    """The refused bytes under their own key; what is longer than any payload is cut."""
    source = letter.source
    value = source.value if source.value is None else source.value[:MAX_PAYLOAD_BYTES]
    found = (
        (headers.SOURCE_TOPIC, headers.text(topics.READINGS)),
        (headers.SOURCE_OFFSET, headers.number(source.offset)),
        (headers.REASON, headers.text(letter.reason)),
        (headers.DETAIL, headers.text(letter.detail[:_MOST_DETAIL])),
    )
    topic = headers.find(source.headers, headers.MQTT_TOPIC)
    kept = ((headers.MQTT_TOPIC, topic),) if topic is not None else ()
    return Out(source.key, value, found + kept, now_ms)


def score(judged: Judged, runtime: bytes, now_ms: int) -> Out:
    """A score with its provenance; `runtime` is the class of the runtime, encoded."""
    manifest = judged.by.manifest
    found = (
        (headers.SOURCE_OFFSET, headers.number(judged.window.last_offset)),
        (headers.FIRST_OFFSET, headers.number(judged.window.first_offset)),
        (headers.MODEL, headers.text(manifest.sha256)),
        (headers.VERSION, headers.number(manifest.version)),
        (headers.FEATURES, headers.text(manifest.features_digest)),
        (headers.RUNTIME, runtime),
    )
    return Out(judged.score.asset.encode(), messages.encode(judged.score), found, now_ms)


def alarm(raised: Raised, now_ms: int) -> Out:
    """An episode that opened or closed."""
    manifest = raised.by.manifest
    found = (
        (headers.SOURCE_OFFSET, headers.number(raised.offset)),
        (headers.MODEL, headers.text(manifest.sha256)),
        (headers.VERSION, headers.number(manifest.version)),
    )
    return Out(raised.alarm.asset.encode(), messages.encode(raised.alarm), found, now_ms)


def state(partition: Partition, charges: dict[str, Charge], swaps: list[Charge], now_ms: int) -> list[Out]:
    """A checkpoint at the partition's position under `charges`, with the records that declare `swaps`.

    The assets come first: should the batch have to be cut in two and only the first part be written, then their states
    are ahead of the old checkpoint, which `Partition.ahead` heeds.
    """
    provenance = ((headers.SOURCE_OFFSET, headers.number(partition.position)),)
    upto = Checkpoint(partition.position, charges, dict(partition.counts), partition.dead_letters_from)
    stored: list[tuple[str, checkpoint.AssetState | Charge | Checkpoint]] = [
        *((asset, partition.state_of(asset)) for asset in sorted(partition.dirty & partition.memories.keys())),
        *((checkpoint.swap_key(swap), swap) for swap in swaps),
        (checkpoint.CHECKPOINT_KEY, upto),
    ]
    return [Out(key.encode(), checkpoint.encode(value), provenance, now_ms) for key, value in stored]
