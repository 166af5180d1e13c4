"""The rules of a topic at work on one partition."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence

from headwater.contract.canonical import digest
from headwater.transport.kafka_batch import Batch, Record
from headwater.transport.kafka_batch.light import lightly_read
from replicator.records import changes, conditions
from replicator.records.paths import Unreadable
from replicator.records.settings import RecordRule
from replicator.records.sieve import Sieve, Unsuitable, is_sieve
from replicator.records.thinning import Thinner

NO_RULES = digest([])
_NO_DEED = {"name", "topics"}  # these choose nothing but the topics that have the rule


class Tally:
    """Records that rules left out, by rule, and values that they could not read, by rule, reason and outcome."""

    def __init__(self) -> None:
        self.filtered: Counter[str] = Counter()
        self.unreadable: Counter[tuple[str, str, str]] = Counter()

    def add(self, other: Tally) -> None:
        """Both together."""
        self.filtered.update(other.filtered)
        self.unreadable.update(other.unreadable)

    def __bool__(self) -> bool:
        return bool(self.filtered or self.unreadable)


class Chain:
    """Rules one after the other; what they do depends on the records alone, and on those since `began`.

    `digest` is another one where what any rule does, their order, or the salt is another; names tell nothing, since one
    that is not given is the rule's place in the list.
    """

    def __init__(self, rules: Sequence[tuple[str, RecordRule]], salt: bytes = b"") -> None:
        self.names = [name for name, _ in rules]
        said = [rule.model_dump(mode="json", exclude=_NO_DEED, exclude_defaults=True) for _, rule in rules]
        salted = [salt.hex()] if any(rule.needs_salt for _, rule in rules) else []
        self.digest = digest([*said, *salted])
        self._thinner = next((Thinner(rule.every_s) for _, rule in rules if rule.every_s is not None), None)
        self._rules = [_Rule(name, rule, salt, self._thinner) for name, rule in rules]
        self._sieve = Sieve(rules[0][1]) if rules and is_sieve(rules[0][1]) else None
        self._waiting: deque[tuple[int, Tally]] = deque()  # of what was looked at, up to an offset

    @property
    def began(self) -> int | None:
        """Source offset from which on records must be known to go on; None: no record before the next one matters."""
        return None if self._thinner is None else self._thinner.began

    @property
    def sure_from(self) -> int | None:
        """Source offset from which on rules that thin out are known to do what they did; None: not yet."""
        return None if self._thinner is None else self._thinner.sure_from

    @property
    def thins(self) -> bool:
        """Whether what it does with a record depends on others."""
        return self._thinner is not None

    def reset(self, at: int) -> None:
        """Begin at a source offset, with nothing known."""
        self._waiting.clear()
        if self._thinner is not None:
            self._thinner.reset(at)

    def sieved(self, batch: Batch, tally: Tally) -> list[Record] | None:
        """The records of a batch that pass the first rule, where that can be said without making records of the others.

        `apply` goes on with `sieved=True`. BadInput: the batch cannot be read.
        """
        if self._sieve is None:
            return None
        light = lightly_read(batch)
        try:
            passing = self._sieve.passing(light)
        except Unsuitable:
            return None
        if len(passing) < len(light.keys):
            tally.filtered[self.names[0]] += len(light.keys) - len(passing)
        return [light.record(index) for index in passing]

    def apply(self, found: Sequence[Record], tally: Tally | None = None, *, sieved: bool = False) -> list[Record]:
        """What is left of records that follow those before, changed, each with its own offset.

        `sieved`: the first rule has been applied.
        """
        tally = Tally() if tally is None else tally
        left = list(found)
        for rule in self._rules[sieved:]:
            if left:
                left = rule.apply(left, tally)
        return left

    def counted(self, tally: Tally, behind: int) -> None:
        """Hold a tally until the position is at the source offset `behind`."""
        if tally:
            self._waiting.append((behind, tally))

    def settled(self, source_next: int) -> Tally:
        """What was held up to a position."""
        found = Tally()
        while self._waiting and self._waiting[0][0] <= source_next:
            found.add(self._waiting.popleft()[1])
        return found


class _Rule:
    def __init__(self, name: str, rule: RecordRule, salt: bytes, thinner: Thinner | None) -> None:
        self._name = name
        self._only = None if rule.only is None else conditions.compiled(rule.only)
        self._passes = _passing(rule, thinner if rule.every_s is not None else None)
        self._change = changes.compiled(rule, salt)
        removes = bool(rule.mask or rule.remove_fields)
        self._drops_unreadable = (rule.unreadable or ("drop" if removes else "ship")) == "drop"

    def apply(self, found: list[Record], tally: Tally) -> list[Record]:
        only, passes, change = self._only, self._passes, self._change
        left: list[Record] = []
        for record in found:
            try:
                if only is not None and not only(record):
                    left.append(record)
                elif passes is None or passes(record):
                    left.append(record if change is None else change(record))
            except Unreadable as why:
                does = "dropped" if self._drops_unreadable else "shipped"
                tally.unreadable[self._name, str(why), does] += 1
                if not self._drops_unreadable:
                    left.append(record)
        if len(left) < len(found):
            tally.filtered[self._name] += len(found) - len(left)
        return left


def _passing(rule: RecordRule, thinner: Thinner | None) -> Callable[[Record], bool] | None:
    """Whether a record is shipped; None: all are."""
    keep = None if rule.keep is None else conditions.compiled(rule.keep)
    drop = None if rule.drop is None else conditions.compiled(rule.drop)
    thin = None if thinner is None else thinner.passes
    about_tombstones = any(each is not None and each.tombstone is not None for each in (rule.keep, rule.drop))
    spared = rule.tombstones == "keep" and not about_tombstones
    if keep is None and drop is None and thin is None:
        return None

    def passes(record: Record) -> bool:
        if spared and record.value is None:
            return True
        if keep is not None and not keep(record):
            return False
        if drop is not None and drop(record):
            return False
        return thin is None or thin(record)

    return passes
