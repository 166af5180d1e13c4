"""One partition on its way: what was fetched waits here until its engine has shipped it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import structlog

from headwater.contract.errors import BadInput, Defect, Fenced, HeadwaterError, Permanent, Transient
from headwater.transport.kafka_batch import Fetched, SetBack, codes
from headwater.transport.kafka_batch.batches import first_and_last, whole_bytes
from headwater.transport.retry import Voice, pauses
from replicator.corruption import unreadable
from replicator.engine import Engine, Unsettled
from replicator.way import Way

_log = structlog.get_logger(__name__)
_FIRST_PAUSE_S = 0.05
_MOST_PAUSE_S = 0.5  # a link that is back is to be used within a second
# A log that cannot be read on, and how often that is tried: -1 may be any trouble of a broker.
_UNREADABLE = {codes.CORRUPT_MESSAGE: 5, codes.UNKNOWN_SERVER_ERROR: 15}
_SMALL_PART = 16  # of an answer; the others in it leave soon too
_FAILED = Fetched("", -1, codes.NONE, -1, -1, -1, [], memoryview(b""))  # a word of the engine, no answer of a broker


class Flow:
    """Anchors, ships, and anchors again after whatever may pass; halts at what may not.

    `next_offset` is where to fetch from, None while that is not known. `wake` is called when it wants more.
    """

    def __init__(
        self,
        engine: Engine,
        backlog_bytes: int,
        wake: Callable[[], None],
        unfetched: Callable[[Way, int], HeadwaterError],
    ) -> None:
        self.engine = engine
        self._unfetched = unfetched
        self.next_offset: int | None = None
        self.halted: Permanent | None = None
        self.running = False
        self.adrift = False  # it lost its place, and has not found it again so far
        self.decided = 0  # first offset of the source that is not decided yet, as last heard
        self.paused = False  # nothing is fetched; what is held is still shipped
        self.note: Callable[[int, int, int], None] | None = None  # oldest and newest time of a part, offset behind it
        self._limit = backlog_bytes
        self._wake = wake
        self._waiting = 0
        self._unreadable = 0  # times in a row
        self._halts = Voice(quiet_s=0.0)
        self._damage = "its own broker refuses to read on"
        self._doubt = ""
        self._hopeless: Permanent | None = None
        self._arrived: asyncio.Queue[Fetched | None] = asyncio.Queue()
        engine.watch(self._stumble)

    @property
    def hungry(self) -> bool:
        """Whether it wants to be fetched."""
        return self.next_offset is not None and self._waiting < self._limit and not self.paused

    @property
    def full(self) -> bool:
        """Whether it is left out of fetches until some of what it holds has been shipped."""
        return self.next_offset is not None and self._waiting >= self._limit and not self.paused

    @property
    def behind(self) -> int:
        """Source offsets between what the target has and what is decided: at least as many as records."""
        position = self.engine.position
        return max(0, self.decided - position.source_next) if position is not None else 0

    def take(self, asked: int, fetched: Fetched) -> None:
        """Queue what a fetch from offset `asked` brought; what was asked before the last anchor is dropped."""
        if asked != self.next_offset or self.paused:
            return
        if fetched.error != codes.NONE:
            self.next_offset = None
            self._arrived.put_nowait(fetched)
            return
        self.decided = fetched.last_stable
        if not fetched.data:
            return
        if _SMALL_PART * len(fetched.data) < len(cast("bytearray", fetched.data.obj)):
            # A small part would keep the whole answer in memory.
            fetched = fetched._replace(data=memoryview(bytearray(fetched.data)))
        try:
            found = first_and_last(fetched.data)
        except BadInput as error:
            self._take_what_is_whole(fetched, error)
            return
        if found is not None:
            first, last = found
            self.next_offset = max(asked, last.last_offset + 1)
            if self.note is not None:
                self.note(first.base_timestamp, last.max_timestamp, last.last_offset + 1)
        self._waiting += len(fetched.data)
        self._arrived.put_nowait(fetched)

    def _take_what_is_whole(self, fetched: Fetched, error: BadInput) -> None:
        """Queue what can be read of a damaged answer, and the damage behind it."""
        self._damage = str(error)
        self.next_offset = None
        whole = whole_bytes(fetched.data)
        if whole:
            self._waiting += whole
            self._arrived.put_nowait(fetched._replace(data=fetched.data[:whole]))
        self._arrived.put_nowait(fetched._replace(error=codes.CORRUPT_MESSAGE, data=memoryview(b"")))

    def lost_sight(self) -> None:
        """The source went away: what it has when it is back must be looked at before going on."""
        if self.next_offset is not None:
            way = self.engine.way
            away = Fetched(way.topic, way.partition, codes.NETWORK_EXCEPTION, -1, -1, -1, [], memoryview(b""))
            self.take(self.next_offset, away)

    def doubt(self, why: str) -> None:
        """The target may have lost what it had acknowledged: it is asked before anything else is shipped."""
        if self.next_offset is not None:
            self._doubt = why
            self._arrived.put_nowait(_FAILED)

    def give_up(self, why: Permanent) -> None:
        """What is missing at the target cannot be made there: halt, if it is still missing."""
        self._hopeless = why

    def _stumble(self) -> None:
        """Something under way failed while perhaps nothing more was to be shipped."""
        self._arrived.put_nowait(_FAILED)

    def finish(self) -> None:
        """Ship what is held, take no more, and let `run` return."""
        self.next_offset = None
        self._arrived.put_nowait(None)

    async def run(self) -> None:
        """Work until `finish`, or until the partition halts; may be run again then.

        Fenced and Defect end the link; after SetBack, that of the positions, it begins again.
        """
        self.running = True
        try:
            await self._run()
        finally:
            self.running = False

    async def _run(self) -> None:
        rest, voice = pauses(_FIRST_PAUSE_S, _MOST_PAUSE_S), Voice()
        while True:
            reached = self.engine.position
            try:
                self._aim(await self.engine.anchor())
                self.halted, self.adrift, self._hopeless = None, False, None
                await self._ship_all()
            except (Fenced, Defect, SetBack):
                raise
            except Permanent as error:
                self._halt(error)
                return
            except Transient as error:
                self._aim(None)
                if self._hopeless is not None:
                    self._halt(self._hopeless)
                    return
                self.adrift = True
                moved = self.engine.position is not None and self.engine.position != reached
                if moved:
                    self._unreadable = 0
                    rest, voice = pauses(_FIRST_PAUSE_S, _MOST_PAUSE_S), Voice()
                pause = next(rest)
                if voice.says(str(error)):
                    _log.warning("anchoring again", way=str(self.engine.way), why=str(error), pause_s=round(pause, 2))
                await asyncio.sleep(pause)
            else:
                return

    async def _ship_all(self) -> None:
        while (fetched := await self._arrived.get()) is not None:
            if fetched is _FAILED:
                await self.engine.settle()
                if self._doubt:
                    raise Unsettled(f"{self.engine.way}: {self._doubt}")
                continue
            if fetched.error != codes.NONE:
                self._unreadable += fetched.error in _UNREADABLE
                if self._unreadable > _UNREADABLE.get(fetched.error, self._unreadable):
                    position = self.engine.position
                    raise unreadable(self.engine.way, position.source_next if position else 0, self._damage)
                raise self._unfetched(self.engine.way, fetched.error)
            try:
                await self.engine.ship(fetched)
            finally:
                self._waiting -= len(fetched.data)
            if self.hungry:
                self._wake()
        await self.engine.settle()

    def _aim(self, offset: int | None) -> None:
        """Fetch from `offset`; what is held was fetched before and is dropped, except the word to finish."""
        finish = False
        while not self._arrived.empty():
            finish |= self._arrived.get_nowait() is None
        self._waiting, self._doubt = 0, ""
        self.next_offset = None if finish else offset
        if finish:
            self._arrived.put_nowait(None)
        self._wake()

    def _halt(self, error: Permanent) -> None:
        self.halted, self.adrift, self._hopeless = error, False, None
        self.next_offset = None
        if self._halts.says(str(error)):
            _log.error(
                "partition halted",
                way=str(self.engine.way),
                error=type(error).__name__,
                why=str(error),
                hint=error.hint,
            )
