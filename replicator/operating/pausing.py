"""Which topics a link does not ship for now: one record each in a compacted topic at the *source*.

So a person at the site can stop a link whose target is away, and it stays stopped over restarts. Key
`<site>/<topic>`, with `*` for all; value canonical JSON, null when it goes on. The topic is made by the first `pause`;
until then a link asks every second or so whether it is there.
"""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Callable

import msgspec
import structlog

from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput, HeadwaterError
from headwater.contract.topics import REPLICATION_CONTROL
from headwater.transport.kafka_batch import Cluster, Out, codes, encode, read_compacted
from headwater.transport.kafka_batch.administration import create_topic
from headwater.transport.kafka_batch.inspection import topic_copies
from headwater.transport.retry import Voice, retrying

ALL = "*"
LOOK_S = 1.0
_ROUND_TRIPS = 50
_MOST_S = 15.0
_PATIENCE_S = 10.0

_log = structlog.get_logger(__name__)


class Pause(msgspec.Struct, frozen=True):
    """Since when (ms since 1970), by whom and why."""

    at: int
    by: str = ""
    why: str = ""
    v: int = 1


Paused = dict[str, Pause]


async def paused(source: Cluster, site: str) -> Paused:
    """By topic, `*` for all; asked of the source."""
    _, found = await topic_copies(source, [REPLICATION_CONTROL.name])
    if not found:
        return {}
    prefix = f"{site}/"
    kept = await read_compacted(source, REPLICATION_CONTROL.name, 0)
    return {
        key.decode().removeprefix(prefix): _decode(record.value)
        for key, record in kept.items()
        if key.decode(errors="replace").startswith(prefix)
    }


def _decode(value: bytes | None) -> Pause:
    try:
        return msgspec.json.decode(value or b"", type=Pause)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BadInput(f"a record of {REPLICATION_CONTROL.name} is not readable: {error}") from error


async def say(source: Cluster, site: str, topic: str, pause: Pause | None, at: int) -> None:
    """Pause a topic or all (`*`), or go on with None; durable when it returns."""

    async def write() -> None:
        value = None if pause is None else canonical_json(pause)
        batch = encode([Out(f"{site}/{topic}".encode(), value, (), at)])
        (answer,) = await source.produce([(REPLICATION_CONTROL.name, 0, batch)])
        codes.check(answer.error, f"writing to {REPLICATION_CONTROL.name}", answer.detail)

    await create_topic(source, REPLICATION_CONTROL)
    await retrying(f"writing to {REPLICATION_CONTROL.name}", write, deadline_s=_PATIENCE_S)


def whoami() -> str:
    """Who is at the keyboard, for the record of a pause; the number of a user without a name."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in a container
        return str(os.getuid())


class Watch:
    """Follows the control topic for a running link; `changed` is called with what is paused now."""

    def __init__(self, source: Cluster, site: str, changed: Callable[[Paused], None]) -> None:
        self._source, self._site = source, site
        self._changed = changed
        self._end = -1

    async def begin(self) -> None:
        """Look before anything is fetched; waits while the source is away."""
        try:
            await retrying("looking for what is paused", self.look)
        except HeadwaterError as error:
            _log.warning("cannot see what is paused", why=str(error), hint=error.hint)

    async def run(self) -> None:
        """Look every second or so until cancelled; what cannot be read leaves things as they are."""
        voice = Voice()
        while True:
            await asyncio.sleep(self._interval_s())
            try:
                await self.look()
            except HeadwaterError as error:
                if voice.says(str(error)):
                    _log.warning("cannot see what is paused", why=str(error), hint=error.hint)
            else:
                voice.waited_s()

    def _interval_s(self) -> float:
        """A second; longer where the source is far, for bytes on such a road may be dear."""
        far_s = max((each.rtt_s for each in self._source.roads().values()), default=0.0)
        return min(LOOK_S + far_s * _ROUND_TRIPS, _MOST_S)

    async def look(self) -> None:
        """Read what is new."""
        _, found = await topic_copies(self._source, [REPLICATION_CONTROL.name])
        if not found:
            if self._end >= 0:  # it was deleted
                self._end = -1
                self._changed({})
            return
        end = (await self._source.offsets(REPLICATION_CONTROL.name, "latest"))[0]
        if end != self._end:
            self._changed(await paused(self._source, self._site))
            self._end = end
