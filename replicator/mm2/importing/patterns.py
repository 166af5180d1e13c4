"""Java's patterns as Python's: those that mean the same are taken, and none that leaves something out is dropped."""

from __future__ import annotations

import re
import warnings
from typing import NamedTuple

from headwater.contract.errors import BadInput
from replicator.mm2.importing.book import Book, is_provided
from replicator.mm2.importing.properties import words

# What Python's patterns lack or write otherwise; the last is a set within a set, which Java unites.
_ONLY_JAVA = re.compile(r"\\[pPQEGRX]|&&|\(\?<[A-Za-z]|(?<!\\)\[(?:\\.|[^\]\\\[])*\[")
HINT = "write it as Python's re understands it"


class Listed(NamedTuple):
    """A list of the file, and the setting that it is the value of."""

    key: str
    words: tuple[str, ...]


def listed(book: Book, key: str, former: str, becomes: str) -> Listed | None:
    """A list under its name or under the one that it had in former versions; None where neither is set."""
    value, before = book.take(key, becomes), book.take(former, becomes)
    if value is not None:
        if before is not None:
            book.note(former, before, "not needed", f"overruled by {key}")
        return Listed(key, words(value))
    return None if before is None else Listed(former, words(before))


def usable(book: Book, found: Listed) -> list[str]:
    """Those patterns that mean the same in Python; the others are told in one row."""
    lost = [each for each in found.words if not is_understood(each)]
    if lost:
        book.note(found.key, ", ".join(lost), "no counterpart", f"not used, Java's alone: {HINT}")
    return [each for each in found.words if each not in lost]


def all_usable(book: Book, found: Listed) -> list[str]:
    """The patterns of what is left out; BadInput where one cannot be used, since more would be shipped without it."""
    if lost := [each for each in found.words if not is_understood(each)]:
        told = ", ".join(map(repr, lost))
        raise BadInput(
            f"{book.name(found.key)}: {told} cannot be used, and what it leaves out would be shipped", hint=HINT
        )
    return list(found.words)


def is_understood(pattern: str) -> bool:
    """Whether a pattern of Java's means the same in Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # what a later Python reads as Java does
            re.compile(pattern)
    except (re.error, FutureWarning, OverflowError, RecursionError):
        return False
    return not is_provided(pattern) and not _ONLY_JAVA.search(pattern)
