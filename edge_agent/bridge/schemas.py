"""Schemas of the decoders: from files, from the registry when a message names one, or fetched before and kept on disk.

A message that names a schema which is not here yet waits, and all behind it wait too: so the order of every key is kept
and nothing is acknowledged that is not decided. The wait is bounded; after it the message goes to dead-letters with
`schema-unknown`, and while the registry stays away later ones wait no more than one attempt every 30 seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from edge_agent.bridge.around import Around
from edge_agent.bridge.route_settings import RouteSettings
from edge_agent.bridge.routes import Table, matches_of
from headwater.contract import topics
from headwater.contract.canonical import sha256
from headwater.contract.decoders import DecoderSpec
from headwater.contract.errors import BadInput, BadSetting, HeadwaterError, Permanent, Transient
from headwater.transport.files import replace_durably
from headwater.transport.mqtt.packets import Publish
from headwater.transport.mqtt.source import Batch, MqttSource
from headwater.transport.retry import retrying

FOLDER = "schemas"
MOST = 1024  # of the registry, kept in memory
LOOK_S = 30.0  # while the registry is away
_FRAME_BYTES = 5  # a zero byte and the id, big-endian

_log = structlog.get_logger(__name__)


class Registry(Protocol):
    """What is needed of transport/schema_registry.py."""

    def schema(self, schema_id: int) -> bytes:
        """The schema of an id; see there for errors. Blocks."""
        ...


def from_files(files: Mapping[str, Path]) -> dict[str, bytes]:
    """Schemas by name; BadSetting for a file that cannot be read."""
    found = {}
    for name, path in files.items():
        try:
            found[name] = path.read_bytes()
        except OSError as error:
            raise BadSetting(
                f"the schema {name!r} cannot be read from {path}: {error.strerror}",
                hint=f"make that file, or set {name} in [edge.bridge.schemas] to the right one",
            ) from error
    return found


def kept_in(folder: Path, url: str) -> Path:
    """Where a site keeps schemas of a registry, each in a file by its id; ids mean something in their registry only."""
    return folder / FOLDER / sha256(url.encode())[:16]


class FetchedSchemas:
    """Puts schemas of the registry among `known`, which decoders look at, and on disk against its absence."""

    def __init__(self, known: dict[str, bytes], registry: Registry, url: str, folder: Path, wait_s: float) -> None:
        self._known = known
        self._fetched: list[str] = []
        self._registry = registry
        self._folder = kept_in(folder, url)
        self._wait_s = wait_s
        self._away_until = 0.0  # monotonic; no attempt before, 0 while the registry answers
        for path in sorted(self._folder.glob("*")):
            if path.name.isdecimal():
                self._add(path.name, path.read_bytes())

    async def need(self, schema_id: int) -> None:
        """Return once the schema is known, or it is decided that it is not."""
        name = str(schema_id)
        if name in self._known or time.monotonic() < self._away_until:
            return
        deadline_s = 0.0 if self._away_until else self._wait_s
        try:
            text = await retrying(f"fetching schema {name}", lambda: self._fetch(schema_id), deadline_s=deadline_s)
        except Transient as error:
            if not self._away_until:
                _log.error("messages of unknown schemas go to dead-letters", why=str(error), hint=error.hint)
            self._away_until = time.monotonic() + LOOK_S
            return
        except BadInput as error:
            _log.warning("a schema is not to be had", schema=name, why=str(error), hint=error.hint)
            return
        self._away_until = 0.0
        self._add(name, text)
        try:
            replace_durably(self._folder / name, text)
        except Permanent as error:
            _log.warning("a schema is not kept on disk", schema=name, why=str(error), hint=error.hint)

    async def _fetch(self, schema_id: int) -> bytes:
        try:
            return await asyncio.to_thread(self._registry.schema, schema_id)
        except (BadInput, Transient):
            raise
        except HeadwaterError as error:  # a login or a certificate: somebody may put it right
            raise Transient(str(error), hint=error.hint) from error

    def _add(self, name: str, text: bytes) -> None:
        if len(self._fetched) >= MOST:
            self._known.pop(self._fetched.pop(0), None)
        self._fetched.append(name)
        self._known[name] = text


class SchemaSource(Around):
    """An MqttSource that hands a batch on when the schemas that its messages name are decided."""

    def __init__(self, inner: MqttSource, fetched: FetchedSchemas, routes: Sequence[RouteSettings], site: str) -> None:
        super().__init__(inner)
        self._fetched = fetched
        counts = {route.to: 1 for route in routes} | {topics.DEAD_LETTERS: 1}
        named = zip(matches_of(routes, site), routes, strict=True)
        self._framed = {match for match, route in named if _names_schemas(route)}
        plain = [route.model_copy(update={"decoder": DecoderSpec()}) for route in routes]
        self._table: Table[None] = Table(plain, site, counts, lambda _topic, _partition: None)

    async def read(self) -> Batch:
        """See MqttSource."""
        batch = await self._inner.read()
        for schema_id in self._named(batch.messages):
            await self._fetched.need(schema_id)
        return batch

    def relay(self, take: Callable[[Batch], None]) -> None:
        """See MqttSource: every batch may have to wait for a schema."""

    def _named(self, messages: Sequence[Publish]) -> list[int]:
        found: dict[int, None] = {}
        for _, topic, _, payload, _ in messages:
            if len(payload) >= _FRAME_BYTES and not payload[0] and self._table.of(topic).route in self._framed:
                found[int.from_bytes(payload[1:_FRAME_BYTES], "big")] = None
        return list(found)


def is_needed(routes: Sequence[RouteSettings]) -> bool:
    """Whether a route's messages name schemas of a registry."""
    return any(_names_schemas(route) for route in routes)


def _names_schemas(route: RouteSettings) -> bool:
    return route.decoder.framing == "confluent" and route.decoder.kind == "avro"
