"""A lost MQTT session leaves a record in `session-gaps` that says from when to when messages may be missing.

A broker that has forgotten our session says so once, in the answer to CONNECT; the next connection finds the new one.
So before each CONNECT, once somebody answers at the address, a marker is put on disk, and it goes when the answer was
`session present`, or when the record of the gap is durable. A life that finds a marker cannot know what the broker
said, and writes a record that says so.
The record comes before any message of the new session is handed on, so before any of them is acknowledged. Each marker
has a name of its own, which its record carries: a kill between record and marker makes no second one.

`from_ms` is the last moment at which all that had been published by then is known to have arrived: of the last read,
unless the broker was still working off a queue. The very first life has no session to lose and writes no marker.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import structlog

from edge_agent.bridge.memory import Keeper
from edge_agent.bridge.recogniser import Recogniser
from headwater.contract.errors import Permanent
from headwater.contract.messages import SessionGap
from headwater.transport.files import replace_durably, sync_folder
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.mqtt.source import Batch, Subscriber

MARKER = "bridge.connecting"
_SURE_S = 1.0  # without a full window for as long: the broker has no queue for us
_WINDOW_3 = 20  # messages that a broker of MQTT 3.1.1 sends ahead, where it does not say it

_log = structlog.get_logger(__name__)


class Marker(msgspec.Struct, frozen=True):
    """Written before CONNECT; `from_ms` is None where only the log can tell."""

    attempt: str
    session_before: str
    from_ms: int | None


class Ledger(Protocol):
    """What is known of the log, and how a record gets there."""

    async def newest_ms(self) -> int:
        """Time of receipt of the newest message that a former life wrote."""
        ...

    async def is_written(self, attempt: str) -> bool:
        """Whether a former life wrote the record of this attempt."""
        ...

    async def write(self, gap: SessionGap) -> None:
        """Write a record; it is safe when this returns."""
        ...


class GapWatch:
    """An MqttSource around `Subscriber`, which is to call `dialling` before each CONNECT and is set as `inner`."""

    def __init__(
        self, site: str, folder: Path, settings: MqttSettings, keeper: Keeper, recogniser: Recogniser, ledger: Ledger
    ) -> None:
        self.inner: Subscriber
        self._site = site
        self._path = folder / MARKER
        self._patience_s = settings.connect_timeout_s
        self._window = min(settings.receive_maximum, _WINDOW_3 if settings.protocol == "3.1.1" else 65_535)
        self._keeper = keeper
        self._recogniser = recogniser
        self._ledger = ledger
        self._marker = self._found()
        self._inherited = self._marker is not None
        self._had_session = keeper.memory.session or recogniser.sequence > 0
        self._complete_ms = keeper.memory.behind_from_ms
        self._epoch = 0
        self._dialled_after = -1  # epoch at the last CONNECT
        self._open = 0  # messages that are not acknowledged
        self._full_at = 0.0  # when the window was last full, or the connection began
        self._is_behind = True

    @property
    def is_behind(self) -> bool:
        """Whether the broker may be working off a queue: what comes may be old."""
        return self._is_behind

    def dialling(self) -> None:
        """Put the marker on disk, unless there is one or there is no session to lose."""
        self._dialled_after = self.inner.epoch
        if self._marker is None and self._had_session:
            self._mark()

    async def read(self) -> Batch:
        """See MqttSource; waits for the record of a gap."""
        batch = await self.inner.read()
        if batch.epoch != self._epoch:
            batch = await self._connected(batch)
        self._note(batch)
        return batch

    def relay(self, take: Callable[[Batch], None]) -> None:
        """See MqttSource."""

        def noted(batch: Batch) -> None:
            self._note(batch)
            take(batch)

        self.inner.relay(noted)

    def _note(self, batch: Batch) -> None:
        self._open += len(batch.messages)
        now = time.monotonic()
        if self._open >= self._window:
            self._full_at = now
        elif now - self._full_at > _SURE_S:
            self._complete_ms = _now_ms()
            if self._is_behind:
                self._is_behind = False
                self._keeper.note(behind_from_ms=None)

    def acknowledge(self, count: int, epoch: int) -> None:
        """See MqttSource."""
        if epoch == self._epoch:
            self._open -= count
        self.inner.acknowledge(count, epoch)

    def pause(self) -> None:
        """See MqttSource."""
        self.inner.pause()

    def resume(self) -> None:
        """See MqttSource."""
        self.inner.resume()

    async def _connected(self, batch: Batch) -> Batch:
        marker, self._epoch, self._open = self._marker, batch.epoch, 0
        self._full_at, self._is_behind = time.monotonic(), True
        if self._complete_ms is None:
            self._complete_ms = await self._ledger.newest_ms() if self._had_session else _now_ms()
        if marker is not None and not batch.session_present:
            batch = await self._lost(marker, batch)
        elif marker is not None and self._inherited:
            await self._record(marker, "killed-while-connecting", self._recogniser.session)
        self._had_session = True
        self._keeper.note(session=True, behind_from_ms=self._complete_ms)
        self._unmark()
        return batch

    async def _lost(self, marker: Marker, batch: Batch) -> Batch:
        before = self._recogniser.session if self._recogniser.sequence else marker.session_before
        self._recogniser.begin_session(_now_ms())
        await self._record(
            msgspec.structs.replace(marker, session_before=before), "session-lost", self._recogniser.session
        )
        self._complete_ms = _now_ms()
        return batch._replace(session_present=True)  # the session that was begun here goes on

    async def _record(
        self, marker: Marker, cause: Literal["session-lost", "killed-while-connecting"], after: str
    ) -> None:
        try:  # what is published before the broker has our filters is missing too
            await asyncio.wait_for(self.inner.subscribed.wait(), self._patience_s)
        except TimeoutError:
            pass
        if self._inherited and await self._ledger.is_written(marker.attempt):
            return
        from_ms = marker.from_ms if marker.from_ms is not None else self._complete_ms
        gap = SessionGap(
            site=self._site,
            client_id=self._keeper.memory.client_id,
            from_ms=from_ms or 0,
            to_ms=_now_ms(),
            cause=cause,
            session_before=marker.session_before,
            session_after=after,
            attempt=marker.attempt,
        )
        await self._ledger.write(gap)
        _log.error("mqtt messages may be missing", **msgspec.to_builtins(gap))

    def _mark(self) -> None:
        session = self._recogniser.session if self._recogniser.sequence else ""
        marker = Marker(uuid.uuid4().hex, session, self._complete_ms)
        try:
            replace_durably(self._path, msgspec.json.encode(marker))
        except Permanent as error:  # the record is written all the same, unless we are killed as well
            _log.warning("a kill while connecting would hide a lost session", why=str(error), hint=error.hint)
        self._marker, self._inherited = marker, False

    def _unmark(self) -> None:
        """Take the marker back, or renew it where the next CONNECT is on its way already."""
        if self._marker is not None and self._dialled_after < self._epoch:
            try:
                self._path.unlink(missing_ok=True)
                sync_folder(self._path.parent)
            except OSError as error:
                _log.warning("the marker of a connection cannot be removed", file=str(self._path), why=str(error))
        self._marker, self._inherited = None, False
        if self._dialled_after >= self._epoch:
            self._mark()

    def _found(self) -> Marker | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Marker)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return Marker(f"unreadable-{uuid.uuid4().hex}", "", None)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
