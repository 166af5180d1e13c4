"""What became of numbered messages at the far end, and what a campaign adds up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from headwater.contract import headers
from headwater.transport.kafka_batch.records import Record
from tests.chaos.numbers import WARM

_EXAMPLES = 5
_LEAST_SENT = 50
_TRACEBACK = "status 1"  # what Python says of an exception that nobody caught
_SUMS = (
    "sent",
    "written",
    "lost",
    "duplicated",
    "flagged",
    "flagged_again",
    "reordered",
    "stalled",
    "named",
    "clean_stops",
    "took_s",
)


class Outcome(msgspec.Struct, kw_only=True):
    """One chapter. `duplicated` does not count records that the bridge itself flagged as possible duplicates."""

    chapter: str
    seed: str
    system: str = "headwater"
    sent: int = 0
    written: int = 0
    lost: int = 0
    duplicated: int = 0
    flagged: int = 0
    flagged_again: int = 0  # of them: second copies indeed; a figure of its own
    doubts: dict[str, int] = {}  # what the bridge says of the flagged ones
    reordered: int = 0
    stalled: int = 0  # times that a read_committed reader of a target had to wait for an open transaction
    named: int = 0  # deleted before they were shipped, and named in a gap record
    fired: dict[str, int] = {}
    missed: dict[str, int] = {}  # named points that were not passed in time; something plainer was fired
    clean_stops: int = 0
    ended: list[str] = []  # processes that ended by themselves, with their status
    wrong: list[str] = []  # what must not be: books that do not balance, a bridge that does not come back
    examples: list[str] = []
    took_s: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, duplicated (flagged or not), reordered or wrong."""
        counts = (self.lost, self.duplicated, self.flagged_again, self.reordered, self.stalled)
        return not (any(counts) or self.wrong or self.broken)

    @property
    def broken(self) -> int:
        """Processes that ended with a traceback: none may."""
        return self.ended.count(_TRACEBACK)

    @property
    def vain(self) -> str:
        """Why this chapter proves nothing; empty where it could have failed."""
        if not sum(self.fired.values()):
            return "no fault was fired"
        return "" if self.sent > _LEAST_SENT else f"only {self.sent} messages were sent"


def judge(outcome: Outcome, records: Sequence[Record], sent: int) -> None:
    """Count; order is that of each key, over the first copy of each message."""
    seen: Counter[int] = Counter()
    newest: dict[bytes | None, int] = defaultdict(lambda: -1)
    found: list[str] = []
    doubts: Counter[str] = Counter()
    outcome.sent, outcome.written = sent, 0
    outcome.duplicated = outcome.flagged_again = outcome.reordered = 0
    for record in records:
        if record.value == WARM:
            continue
        outcome.written += 1
        number = int(record.value or b"-2")
        seen[number] += 1
        doubt = headers.find_text(record.headers, headers.POSSIBLE_DUPLICATE)
        doubts.update([] if doubt is None else [doubt])
        if seen[number] > 1:
            outcome.duplicated += doubt is None
            outcome.flagged_again += doubt is not None
            found.append(f"{number} of {_key(record)} again at offset {record.offset}: {_about(record)}")
        elif number < newest[record.key]:
            outcome.reordered += 1
            found.append(f"{number} of {_key(record)} behind {newest[record.key]} at offset {record.offset}")
        newest[record.key] = max(newest[record.key], number)
    outcome.doubts, outcome.flagged = dict(doubts), doubts.total()
    missing = [number for number in range(sent) if number not in seen]
    outcome.lost = len(missing)
    outcome.examples = [*found[:_EXAMPLES], *(f"{number} is missing" for number in missing[:_EXAMPLES])]


def _key(record: Record) -> str:
    return (record.key or b"").decode()


def _about(record: Record) -> str:
    """Where the bridge had a record from."""
    session = headers.find_text(record.headers, headers.SESSION)
    packet_id = headers.find_number(record.headers, headers.PACKET_ID)
    return f"session {session}, packet {packet_id}, sequence {headers.find_number(record.headers, headers.SEQUENCE)}"


def total(outcomes: Iterable[Outcome], chapter: str, system: str) -> Outcome:
    """The sum of chapters."""
    whole = Outcome(chapter=chapter, seed="", system=system)
    fired: Counter[str] = Counter()
    doubts: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for each in outcomes:
        for name in _SUMS:
            setattr(whole, name, getattr(whole, name) + getattr(each, name))
        fired.update(each.fired)
        doubts.update(each.doubts)
        missed.update(each.missed)
        whole.ended += each.ended
        whole.wrong += [f"{each.chapter}: {what}" for what in each.wrong]
        whole.examples += [f"{each.chapter}: {what}" for what in each.examples]
    whole.fired, whole.doubts, whole.missed = dict(fired), dict(doubts), dict(missed)
    return whole
