"""Kafka record headers: lower-case, prefix `hw-`, values UTF-8 or big-endian int64.

| header | on | value |
|---|---|---|
| hw-mqtt-topic | readings | MQTT topic, UTF-8 |
| hw-class | readings | asset class, UTF-8 |
| hw-session | readings | MQTT client id and the start of its session in ms, `id@ms`, UTF-8 |
| hw-packet-id | readings | MQTT packet identifier, int64; 0 at QoS 0 |
| hw-sequence | readings | receive sequence in the session, int64 |
| hw-spool | readings that came through the spool | 12 bytes of the spool's id, position in it as int64 |
| hw-received-at | readings | Unix time in ms, int64 |
| hw-sparkplug | readings, births | where the message stood, `births/seq/crc[/mark]` (sparkplug/readings.py), UTF-8 |
| hw-historical | readings | `true`: values that were not current when they were sent (Sparkplug) |
| hw-transient | readings | `true`: values that no historian should keep (Sparkplug) |
| hw-quality | readings | JSON, channel to quality code, of values that are null because they are not GOOD (Sparkplug) |
| hw-settled | sparkplug-states | messages without records that it stands for (bridge/sparkplug_marks.py), bytes |
| hw-unseen | sparkplug-states | receive sequences that it does not stand for: ranges behind a, up to b, int64 each |
| hw-digest | readings whose value is not the payload | digest of MQTT topic and payload, eight bytes |
| hw-part, hw-parts | readings of a message with several | which of how many, int64, from 0 |
| hw-possible-duplicate | readings | why it could not be decided whether this message was written before, UTF-8 |
| hw-sensor-time | readings whose value is not the payload | Unix time in ms by the sensor's clock, int64 |
| hw-retained | readings | the broker kept this message for new subscribers: `1` |
| hw-content-type | readings | content type of the MQTT message, UTF-8 |
| mqtt-<name> | readings | user property of the MQTT message, UTF-8 |
| hw-source-offset | scores, alarms, dead-letters, state; what went record by record | offset of the cause, int64 |
| hw-source-topic | dead-letters | Kafka topic of the refused record, UTF-8 |
| hw-first-offset | scores | offset of the first reading of the window, int64 |
| hw-model | scores, alarms | SHA-256 of the .tflite, hex |
| hw-version | scores, alarms | version of the model, int64 |
| hw-features | scores | digest of the feature specification, hex |
| hw-runtime | scores | runtime class, such as `litert/2.3.0/x86_64` |
| hw-quarantine | what stands in the cloud for a record that it did not take | why (replicator/quarantine.py), UTF-8 |
| hw-source-time | the same | the record's own timestamp, Unix time in ms, int64 |
| hw-source-bytes | the same | bytes of its key, value and headers, int64 |
| hw-source-digest | the same | SHA-256 of the record, 32 bytes |
| hw-reason | dead-letters | reason code, UTF-8 |
| hw-detail | dead-letters | a sentence for people, UTF-8 |
| hw-acknowledges | an operator's word in readings (acknowledgement.py), an alarm it ended | id of the episode, UTF-8 |
| hw-word | alarms that an operator's word or an overhaul ended | the value of that word, JSON |
| hw-overhauled | readings that say that an asset is as new (overhaul.py), alarms that it ended | the asset, UTF-8 |
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from headwater.contract.errors import BadInput

MQTT_TOPIC = "hw-mqtt-topic"
CLASS = "hw-class"
SESSION = "hw-session"
PACKET_ID = "hw-packet-id"
SEQUENCE = "hw-sequence"
SPOOL = "hw-spool"
RECEIVED_AT = "hw-received-at"
SPARKPLUG = "hw-sparkplug"
HISTORICAL = "hw-historical"
TRANSIENT = "hw-transient"
QUALITY = "hw-quality"
SETTLED = "hw-settled"
UNSEEN = "hw-unseen"
DIGEST = "hw-digest"
PART = "hw-part"
PARTS = "hw-parts"
POSSIBLE_DUPLICATE = "hw-possible-duplicate"
SENSOR_TIME = "hw-sensor-time"
RETAINED = "hw-retained"
CONTENT_TYPE = "hw-content-type"
USER_PREFIX = "mqtt-"
SOURCE_OFFSET = "hw-source-offset"
SOURCE_TOPIC = "hw-source-topic"
FIRST_OFFSET = "hw-first-offset"
MODEL = "hw-model"
VERSION = "hw-version"
FEATURES = "hw-features"
RUNTIME = "hw-runtime"
QUARANTINE = "hw-quarantine"
SOURCE_TIME = "hw-source-time"
SOURCE_BYTES = "hw-source-bytes"
SOURCE_DIGEST = "hw-source-digest"
REASON = "hw-reason"
DETAIL = "hw-detail"
ACKNOWLEDGES = "hw-acknowledges"
WORD = "hw-word"
OVERHAULED = "hw-overhauled"

Headers = tuple[tuple[str, bytes | None], ...]
_INT = struct.Struct(">q")


def number(value: int) -> bytes:
    """Encode an int64, big-endian."""
    return _INT.pack(value)


def text(value: str) -> bytes:
    """Encode UTF-8."""
    return value.encode()


def find(headers: Iterable[tuple[str, bytes | None]], name: str) -> bytes | None:
    """Value of the last header called `name` (Kafka allows several), or None."""
    found = None
    for key, value in headers:
        if key == name:
            found = value
    return found


def find_number(headers: Iterable[tuple[str, bytes | None]], name: str) -> int | None:
    """Value of an int64 header, or None where it is absent; BadInput if it is not eight bytes."""
    value = find(headers, name)
    if value is None:
        return None
    if len(value) != _INT.size:
        raise BadInput(f"header {name} has {len(value)} bytes, expected 8")
    return int(_INT.unpack(value)[0])


def find_text(headers: Iterable[tuple[str, bytes | None]], name: str) -> str | None:
    """Value of a UTF-8 header, or None where it is absent; BadInput if it is not UTF-8."""
    value = find(headers, name)
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"header {name} is not UTF-8") from error
