"""Transforms and predicates of Kafka Connect as rules for records, as far as there is a rule that does the same.

Names and defaults are those of Apache Kafka 4.3 (org.apache.kafka.connect.transforms). A predicate sees the name that a
topic has at the target; rules name topics as they are called at the site.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from replicator.mm2.importing.book import HIDDEN, Book, is_provided, shown
from replicator.mm2.importing.patterns import HINT, is_understood
from replicator.mm2.importing.properties import words
from replicator.mm2.naming import Naming

Table = dict[str, object]
_TYPES = "org.apache.kafka.connect.transforms."
_PREDICATES = _TYPES + "predicates."
_BECOMES = "records (rules)"
_SIMPLE = re.compile(r"(?:[A-Za-z0-9_-]|\\\.|\.\*)+")  # what a pattern with * can say
_OWN = "hw-"


class _NoCounterpart(Exception):  # a word for the table, no trouble
    """Why a transform becomes no rule."""


class _Named(NamedTuple):
    """Topics that a transform is for, and what its records must be."""

    topics: list[str]
    only: Table | None
    negated: bool


class Transforms:
    """Of one flow. `naming` tells what its topics are called at the target, `topics` which are named one by one."""

    def __init__(self, book: Book, naming: Naming, topics: Sequence[str], *, has_patterns: bool) -> None:
        self._book, self._naming = book, naming
        self._topics, self._has_patterns = topics, has_patterns

    def rules(self) -> list[Table]:
        """A rule for each transform that has a counterpart, in their order; the others are told."""
        found: list[Table] = []
        with_predicate = False
        aliases = self._book.take("transforms", _BECOMES) or ""
        for alias in words(aliases):
            before = dict(self._book.ledger.rows)
            try:
                found.append(self._rule(alias))
                with_predicate |= self._take(alias, "predicate") is not None
            except _NoCounterpart as why:
                self._book.ledger.rows = before  # what was looked at for it was not taken over
                kind = self._book.take(f"transforms.{alias}.type", _BECOMES) or "without a type"
                self._book.note(f"transforms.{alias}.type", kind, "no counterpart", str(why))
        if aliases and not found:
            self._book.note("transforms", aliases, "no counterpart", "none of them has one")
        if with_predicate:
            self._book.take("predicates", _BECOMES)
        return found

    def _rule(self, alias: str) -> Table:
        kind = (self._take(alias, "type") or "").removeprefix(_TYPES)
        make = _MAKERS.get(kind)
        if make is None:
            raise _NoCounterpart(f"there is no rule that does what {kind} does")
        named = self._named(alias)
        rule: Table = {"name": re.sub(r"[^A-Za-z0-9_. -]", "-", alias)[:40], "topics": named.topics}
        if kind == "Filter":
            return rule | _filter(named)
        if named.negated:
            raise _NoCounterpart("rules have no `negate`: name what the records are, not what they are not")
        only: Table = {} if named.only is None else {"only": named.only}
        made = make(lambda key: self._take(alias, key))
        if not made.get("mask", True) or not any(made.values()):
            raise _NoCounterpart("it changes nothing")
        return rule | only | made

    def _take(self, alias: str, key: str) -> str | None:
        value = self._book.take(f"transforms.{alias}.{key}", _BECOMES)
        if value is not None and is_provided(value):
            raise _NoCounterpart(f"a config provider's value: write {key} out")
        return value

    def _named(self, alias: str) -> _Named:
        predicate = self._take(alias, "predicate")
        negated = (self._take(alias, "negate") or "").lower() == "true"
        if predicate is None:
            return _Named(["*"], None, negated=False)
        kind = self._book.take(f"predicates.{predicate}.type", _BECOMES) or ""
        match kind.removeprefix(_PREDICATES):
            case "TopicNameMatches":
                pattern = self._book.take(f"predicates.{predicate}.pattern", _BECOMES) or ""
                return _Named(self._fitting(pattern, negated=negated), None, negated=False)
            case "HasHeaderKey":
                name = self._book.take(f"predicates.{predicate}.name", _BECOMES) or ""
                return _Named(["*"], {"header": name}, negated)
            case "RecordIsTombstone":
                return _Named(["*"], {"tombstone": not negated}, negated=False)
            case other:
                raise _NoCounterpart(f"there is no predicate {other}")

    def _fitting(self, pattern: str, *, negated: bool) -> list[str]:
        """Topics by their names at the site whose names at the target fit a pattern of Java."""
        if not is_understood(pattern):
            raise _NoCounterpart(f"{pattern!r} is not understood: {HINT}")
        whole = re.compile(pattern)
        found = [each for each in self._topics if bool(whole.fullmatch(self._naming.remote(each))) != negated]
        if self._has_patterns:
            found.append(self._glob(pattern, negated=negated))
        if not found:
            raise _NoCounterpart(f"no topic of this flow fits {pattern!r}")
        return found

    def _glob(self, pattern: str, *, negated: bool) -> str:
        prefix = "" if self._naming.keeps_names else re.escape(f"{self._naming.source}{self._naming.separator}")
        bare = pattern.removeprefix(prefix)
        anywhere = self._naming.keeps_names or bare != pattern or pattern.startswith(".*")
        if negated or not anywhere or not _SIMPLE.fullmatch(bare):
            raise _NoCounterpart(f"write the topics of {pattern!r} as names with *")
        return re.sub(r"\\\.|\.\*", lambda found: "." if found[0] == r"\." else "*", bare)


def _filter(named: _Named) -> Table:
    if named.only is None:
        raise _NoCounterpart("it leaves out whole topics: do so with selection.exclude or `topics`")
    judged: Table = {} if "tombstone" in named.only else {"tombstones": "judge"}
    return {"keep" if named.negated else "drop": named.only, **judged}


_Take = Callable[[str], str | None]


def _mask(take: _Take) -> Table:
    fields = [_path(each) for each in words(take("fields") or "")]
    return {"mask": fields, "mask_with": take("replacement") or ""}


def _replace(take: _Take) -> Table:
    if take("include") or take("whitelist"):
        raise _NoCounterpart("rules take fields out by name (remove_fields); they cannot keep some and drop the rest")
    removed = [_path(each) for each in words(take("exclude") or take("blacklist") or "")]
    pairs = [each.partition(":") for each in words(take("renames") or "")]
    renamed = {_path(old.strip()): new.strip() for old, _, new in pairs}
    return ({"remove_fields": removed} if removed else {}) | ({"rename_fields": renamed} if renamed else {})


def _path(field: str) -> str:
    """A name of Connect, which means the outermost fields alone."""
    return field.replace("\\", "\\\\").replace(".", "\\.")


def _drop_headers(take: _Take) -> Table:
    names = words(take("headers") or "")
    return {"remove_headers": [re.sub(r"[\[*?]", lambda found: f"[{found[0]}]", name) for name in names]}


def _insert_header(take: _Take) -> Table:
    name = take("header") or ""
    if name.startswith(_OWN):
        raise _NoCounterpart(f"headers that begin with {_OWN} are Headwater's own")
    value = take("value.literal") or ""
    if shown(name, value) == HIDDEN:
        raise _NoCounterpart("its value seems to be a secret: write set_headers where only the link reads it")
    return {"set_headers": {name: value}}


_MAKERS: dict[str, Callable[[_Take], Table]] = {
    "Filter": lambda _: {},
    "MaskField$Value": _mask,
    "ReplaceField$Value": _replace,
    "DropHeaders": _drop_headers,
    "InsertHeader": _insert_header,
}
