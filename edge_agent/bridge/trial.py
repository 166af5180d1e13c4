"""A message sent through the table of routes on paper: nothing is written; only a schema may be fetched for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge_agent.bridge.records import KEPT_OF_LARGE, too_large
from edge_agent.bridge.route_settings import RouteSettings
from edge_agent.bridge.routes import Routed, Table, check, filters_of, shadowed
from headwater.contract import headers, reading, topics
from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.decoders import Decoded
from headwater.contract.decoders.reasons import TOO_LARGE, SchemaUnknown
from headwater.contract.errors import BadInput

_Lane = tuple[str, int]  # Kafka topic and partition
_NUMBERS = frozenset({headers.PACKET_ID, headers.SEQUENCE, headers.RECEIVED_AT, headers.SENSOR_TIME})


def trial(
    routes: Sequence[RouteSettings],
    site: str,
    topic: str,
    payload: bytes,
    *,
    partitions: int,
    now_ms: int,
    schemas: Mapping[str, bytes] = {},
    fetch: Callable[[int], bytes] | None = None,
) -> dict[str, Any]:
    """What would become of a message, as JSON values; every Kafka topic is taken to have `partitions`.

    BadInput for a topic that nobody can publish to. `fetch` gives the schema that the message names, where `schemas`
    have none of its id; BadInput says why not. `records` is empty where the decoder filters the message, and where it
    never arrives. `refusal` is None, or says why it is a dead letter.
    """
    if set(topic) & set("+#") or not topic:
        raise BadInput(
            f"nobody can publish to {topic!r}: + and # stand in filters only (MQTT 5, 4.7.1)",
            hint="give the topic of one message, such as lyon/pump/pump-3",
        )
    counts = {route.to: partitions for route in routes} | {topics.DEAD_LETTERS: partitions}
    known = dict(schemas)
    table = Table(routes, site, counts, lambda name, number: (name, number), known)
    routed = table.of(topic.encode())
    fitting = table.fitting(topic)
    found: dict[str, Any] = {
        "topic": topic,
        "route": routed.route or None,
        "also_fit": fitting[1:],
        "arrives": any(_subscribed(each, topic) for each in filters_of(routes, site)),
        "refusal": None,
        "records": [],
    }
    if not found["arrives"]:
        return found
    hint = ""
    try:
        try:
            routed, decoded = _decoded(table, routed, topic, payload, now_ms)
        except SchemaUnknown as error:
            if fetch is None:
                raise
            known[str(error.schema_id)] = fetch(error.schema_id)
            routed, decoded = _decoded(table, routed, topic, payload, now_ms)
    except BadInput as error:
        routed = table.dead(routed, error.reason or BAD_PAYLOAD, str(error))
        decoded, hint = [Decoded(payload)], error.hint
    if routed.refusal is not None:
        found["refusal"] = {"reason": routed.refusal[0], "detail": routed.refusal[1], "hint": hint}
    found["records"] = [_record(table, routed, each) for each in decoded]
    return found


def _decoded(
    table: Table[_Lane], routed: Routed[_Lane], topic: str, payload: bytes, now_ms: int
) -> tuple[Routed[_Lane], Sequence[Decoded]]:
    """As the bridge does it; BadInput for what it would refuse."""
    if refused := too_large(payload, ()):
        return table.dead(routed, TOO_LARGE, refused), [Decoded(payload[:KEPT_OF_LARGE])]
    if routed.decoder is None:
        return routed, [Decoded(payload)]
    return routed, routed.decoder.decode(topic, payload, now_ms)


def _record(table: Table[_Lane], routed: Routed[_Lane], one: Decoded) -> dict[str, Any]:
    to = routed if one.asset is None else table.elsewhere(routed, one.asset)
    kafka_topic, partition = to.lane
    known = [*routed.headers, *one.headers]
    if one.timestamp_ms is not None:
        known.append((headers.SENSOR_TIME, headers.number(one.timestamp_ms)))
    found = {
        "to": kafka_topic,
        "partition": partition,
        "key": to.key.decode("utf-8", "replace"),
        "headers": {name: _shown(name, value or b"") for name, value in known},
        "value": one.value.decode("utf-8", "backslashreplace"),
    }
    if kafka_topic == topics.READINGS and (problem := _problem(one.value)):
        found["problem"] = problem
    return found


def _shown(name: str, value: bytes) -> str:
    return str(int.from_bytes(value, "big", signed=True)) if name in _NUMBERS else value.decode("utf-8", "replace")


def _problem(value: bytes) -> str:
    """Why the scorer could not read a record of `readings`, which a route without a decoder does not look at."""
    try:
        reading.decode(value)
    except BadInput as error:
        return f"the scorer will refuse it: {error}"
    return ""


def _subscribed(topic_filter: str, topic: str) -> bool:
    """Whether an MQTT filter matches a topic (MQTT 5, 4.7.1)."""
    wanted, words = topic_filter.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted, words = wanted[:-1], words[: len(wanted) - 1]
    return len(wanted) == len(words) and all(a in ("+", b) for a, b in zip(wanted, words, strict=True))


def listing(routes: Sequence[RouteSettings], site: str, schemas: Mapping[str, bytes] = {}) -> dict[str, Any]:
    """The table and what is subscribed to for it, as JSON values; BadSetting for a route that cannot work."""
    check(routes, site, schemas)
    rows = [
        {
            "match": each.match,
            "to": each.to,
            "key": each.key,
            "partition": each.partition,
            "decoder": each.decoder.kind,
            "asset_class": each.asset_class,
            "headers": each.headers,
        }
        for each in routes
    ]
    return {"site": site, "routes": rows, "filters": filters_of(routes, site), "notes": shadowed(routes, site)}
