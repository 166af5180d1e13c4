"""What the MQTT session of a bridge was told and where its messages went, from one life to the next.

It says which filters to leave once the table of routes has changed, and in which Kafka topics of a former table the
record of a redelivered message may be. It decides nothing on its own: where it is lost while the log shows that there
was a session, a redelivery that is not found is flagged as a possible duplicate.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog

from headwater.contract.errors import Permanent
from headwater.transport.files import replace_durably

FILE = "bridge.session.json"
FORGOTTEN = "it is not known in which topics a former table of routes wrote"

_log = structlog.get_logger(__name__)


class Memory(msgspec.Struct, frozen=True):
    """`behind_from_ms`: the session holds messages published since then, as far as is known; None: it is caught up."""

    client_id: str
    filters: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()  # of Kafka
    session: bool = False  # whether the broker ever said that it has one
    behind_from_ms: int | None = None


class Keeper:
    """The memory of one client id in its file."""

    def __init__(self, folder: Path, client_id: str) -> None:
        self._path = folder / FILE
        found = self._read()
        self.is_lost = found is None
        self.memory = found if found is not None and found.client_id == client_id else Memory(client_id)

    def _read(self) -> Memory | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Memory)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("the memory of a session cannot be read", file=str(self._path), why=str(error))
            return None

    def begin(self, filters: Iterable[str], topics: Iterable[str]) -> None:
        """Add what this life uses; Permanent when it cannot be written."""
        memory = self.memory
        self._keep(
            msgspec.structs.replace(
                memory,
                filters=tuple(sorted({*memory.filters, *filters})),
                topics=tuple(sorted({*memory.topics, *topics})),
            )
        )

    def no_longer(self, filters: Iterable[str]) -> list[str]:
        """Filters that the broker may still have and that are not among these."""
        return sorted(set(self.memory.filters) - set(filters))

    def note(self, **changes: object) -> None:
        """Change fields where it can be written; a warning where it cannot."""
        try:
            self._keep(msgspec.structs.replace(self.memory, **changes))
        except Permanent as error:
            _log.warning("what the bridge remembers of its session is old", why=str(error), hint=error.hint)

    def _keep(self, memory: Memory) -> None:
        if memory == self.memory and not self.is_lost:
            return
        replace_durably(self._path, msgspec.json.encode(memory))
        self.memory, self.is_lost = memory, False
