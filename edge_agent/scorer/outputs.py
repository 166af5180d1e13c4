"""The records that the scorer writes: keys, values and headers (headwater/contract/headers.py)."""

from __future__ import annotations

from collections.abc import Mapping

from edge_agent.scorer.judge import DeadLetter, Judged, Raised
from edge_agent.scorer.partition import Partition
from headwater.contract import checkpoint as state
from headwater.contract import headers, messages, topics
from headwater.contract.checkpoint import Checkpoint
from headwater.contract.overhaul import Overhaul
from headwater.contract.reading import MAX_PAYLOAD_BYTES
from headwater.contract.sketches import Sketch
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
    found: headers.Headers = (
        (headers.SOURCE_OFFSET, headers.number(raised.offset)),
        (headers.MODEL, headers.text(manifest.sha256)),
        (headers.VERSION, headers.number(manifest.version)),
    )
    if raised.said is not None:
        if isinstance(raised.said, Overhaul):
            of = (headers.OVERHAULED, headers.text(raised.said.asset))
        else:
            of = (headers.ACKNOWLEDGES, headers.text(raised.said.episode))
        found = (*found, of, (headers.WORD, raised.said.encode()))
    return Out(raised.alarm.asset.encode(), messages.encode(raised.alarm), found, now_ms)


def sketch(found: Sketch, now_ms: int) -> Out:
    """What an asset's readings look like."""
    given = ((headers.SOURCE_OFFSET, headers.number(found.last)), (headers.VERSION, headers.number(found.version)))
    return Out(found.asset.encode(), messages.encode(found), given, now_ms)


def assets(partition: Partition, now_ms: int) -> list[Out]:
    """The states of the assets that changed since the last checkpoint, as they are at the partition's position."""
    changed = sorted(partition.dirty & partition.memories.keys())
    return [_stored(asset, partition.state_of(asset), partition.position, now_ms) for asset in changed]


def checkpoint(partition: Partition, swaps: Mapping[str, Charge], now_ms: int) -> list[Out]:
    """The records that declare `swaps` (by class), and a checkpoint at the partition's position under them."""
    upto = Checkpoint(
        upto=partition.position,
        charges={**partition.charges, **swaps},
        counts=dict(partition.counts),
        renewed={asset: at for asset, at in partition.windows.renewed.items() if asset not in partition.memories},
        dead_letters_from=partition.dead_letters_from,
    )
    declared = [_stored(state.swap_key(swap), swap, partition.position, now_ms) for swap in swaps.values()]
    return [*declared, _stored(state.CHECKPOINT_KEY, upto, partition.position, now_ms)]


def _stored(key: str, value: state.AssetState | Charge | Checkpoint, upto: int, now_ms: int) -> Out:
    return Out(key.encode(), state.encode(value), ((headers.SOURCE_OFFSET, headers.number(upto)),), now_ms)
