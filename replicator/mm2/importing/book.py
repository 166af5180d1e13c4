"""Which settings of a file were used for what, so that none is passed over in silence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from replicator.mm2.importing.counterparts import State, fate, is_harmless
from replicator.mm2.importing.slips import nearest

HIDDEN = "(hidden)"
# Words beside those of Kafka's own settings are of config providers, schema registries and slips of the pen.
_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)|pwd|secret|jaas|token|auth|credential|user\.info|signature|keystore\.key|key$", re.IGNORECASE
)
_SECRET_VALUE = re.compile(
    r"pass(word|wd|phrase)|pwd|secret|(token|sig|signature|key)=|bearer |:\S*@|-----BEGIN", re.IGNORECASE
)
_NAME = re.compile(r"[\w$>-]{1,40}(\.[\w$>-]{1,40})*")  # not a line of a key or a token that stands by itself


class Row(msgspec.Struct, frozen=True):
    """One setting of the file: what it is, what becomes of it, and where or why."""

    key: str
    value: str
    state: State
    remark: str


@dataclass
class Ledger:
    """All settings of a file, and a row for each that was looked at."""

    found: Mapping[str, str]
    rows: dict[str, Row] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)  # names of files that the settings need

    def rest(self, prefixes: tuple[str, ...], others: tuple[str, ...]) -> None:
        """Give each setting that nothing was made from its fate; a value is shown only where the setting is known.

        `prefixes` are those of this flow, cut off in front of it, `others` those of clusters that it does not touch.
        """
        for key, value in self.found.items():
            if key in self.rows:
                continue
            bare = _without(prefixes, key)
            state, why = fate(bare)
            if "->" in bare or bare.startswith(others):
                state, why = "not needed", "it is of another flow or cluster"
                bare = _without(others, re.sub(r"^[^.]*->[^.]*\.", "", bare))
            elif (meant := nearest(key, prefixes)) is not None:
                state, why = "no counterpart", f"no setting of Kafka or MirrorMaker 2; {meant} is one"
            harmless = is_harmless(bare)
            name = key if harmless or _NAME.fullmatch(key) else f"({len(key)} characters, hidden)"
            self.rows[key] = Row(name, shown(bare, value) if harmless else HIDDEN, state, why)


def _without(prefixes: tuple[str, ...], key: str) -> str:
    return next((key.removeprefix(each) for each in prefixes if key.startswith(each)), key)


def shown(key: str, value: str) -> str:
    """A value as it may be printed: neither that of a secret nor one that seems to hold one."""
    return HIDDEN if _SECRET_KEY.search(key) or _SECRET_VALUE.search(value) else value


@dataclass
class Book:
    """The settings that hold for a cluster or a flow: the first of `prefixes` that has one wins."""

    ledger: Ledger
    prefixes: tuple[str, ...]

    def name(self, key: str) -> str | None:
        """What a setting is called in the file; None where it is not set."""
        return next((prefix + key for prefix in self.prefixes if prefix + key in self.ledger.found), None)

    def take(self, key: str, becomes: str) -> str | None:
        """A value, noted as taken over; None where it is not set."""
        return self._read(key, Row(key, "", "taken over", becomes), hidden=False)

    def secret(self, key: str, becomes: str) -> str | None:
        """A value that is never shown."""
        return self._read(key, Row(key, "", "secret", becomes), hidden=True)

    def hide(self, key: str, why: str, state: State = "not needed") -> None:
        """A value that is never shown, and that nothing is made from."""
        self._read(key, Row(key, "", state, why), hidden=True)

    def note(self, key: str, value: str, state: State, remark: str) -> None:
        """Say something else of a setting than that it was taken over; also of one that only has its default."""
        name = self.name(key) or f"{key} (default)"
        self.ledger.rows[name] = Row(name, shown(key, value), state, remark)

    def missing(self, key: str, remark: str) -> None:
        """Say that a setting is not there, though a link needs what would be in it."""
        name = f"{self.prefixes[0]}{key} (missing)"
        self.ledger.rows[name] = Row(name, "", "no counterpart", remark)

    def needs_secret(self, name: str) -> None:
        """Note a file that has to be in the folder of secrets."""
        self.ledger.secrets.append(name)

    def _read(self, key: str, row: Row, *, hidden: bool) -> str | None:
        value = None
        for name in (prefix + key for prefix in self.prefixes):
            if name in self.ledger.found:
                kept = self.ledger.found[name].strip()
                told = HIDDEN if hidden else shown(key, kept)
                overruled = Row(name, told, "not needed", "overruled by a more special line")
                new = _row(name, kept, told, row) if value is None else overruled
                self.ledger.rows.setdefault(name, new)
                value = kept if value is None else value
        return value


def _row(name: str, kept: str, told: str, row: Row) -> Row:
    if is_provided(kept) and row.state == "taken over":
        return Row(name, told, "no counterpart", f"a config provider's value: write it out, as {row.remark}")
    return Row(name, told, row.state, row.remark)


def is_provided(value: str) -> bool:
    """Whether a value is one that a config provider puts in, as `${file:/etc/mm2:user}`."""
    return "${" in value
