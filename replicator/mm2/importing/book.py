"""Which settings of a file were used for what, so that none is passed over in silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from replicator.mm2.importing.counterparts import State, fate

HIDDEN = "(hidden)"


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
        """Give each setting that nothing was made from its fate.

        `prefixes` are those of this flow, cut off in front of it, `others` those of clusters that it does not touch.
        """
        for key, value in self.found.items():
            if key in self.rows:
                continue
            bare = next((key.removeprefix(each) for each in prefixes if key.startswith(each)), key)
            state, why = fate(bare)
            if "->" in bare or bare.startswith(others):
                state, why = "not needed", "it is of another flow or cluster"
            self.rows[key] = Row(key, HIDDEN if _is_secret(bare) else value, state, why)


def _is_secret(key: str) -> bool:
    return any(word in key.lower() for word in ("password", "secret", "passphrase", "jaas", "keystore.key", "token"))


@dataclass
class Book:
    """The settings that hold for a cluster or a flow: the first of `prefixes` that has one wins."""

    ledger: Ledger
    prefixes: tuple[str, ...]

    def take(self, key: str, becomes: str) -> str | None:
        """A value, noted as taken over; None where it is not set."""
        return self._read(key, Row(key, "", "taken over", becomes), hidden=False)

    def secret(self, key: str, becomes: str) -> str | None:
        """A value that is never shown."""
        return self._read(key, Row(key, "", "secret", becomes), hidden=True)

    def hide(self, key: str, why: str) -> None:
        """A secret that nothing is made from."""
        self._read(key, Row(key, "", "not needed", why), hidden=True)

    def note(self, key: str, value: str, state: State, remark: str) -> None:
        """Say something else of a setting than that it was taken over; also of one that only has its default."""
        name = next((prefix + key for prefix in self.prefixes if prefix + key in self.ledger.found), None)
        self.ledger.rows[name or f"{key} (default)"] = Row(name or f"{key} (default)", value, state, remark)

    def needs_secret(self, name: str) -> None:
        """Note a file that has to be in the folder of secrets."""
        self.ledger.secrets.append(name)

    def _read(self, key: str, row: Row, *, hidden: bool) -> str | None:
        value = None
        for name in (prefix + key for prefix in self.prefixes):
            if name in self.ledger.found:
                kept = self.ledger.found[name].strip()
                shown = HIDDEN if hidden or _is_secret(key) else kept
                overruled = Row(name, shown, "not needed", "overruled by a more special line")
                new = _row(name, shown, row) if value is None else overruled
                self.ledger.rows.setdefault(name, new)
                value = kept if value is None else value
        return value


def _row(name: str, shown: str, row: Row) -> Row:
    if "${" in shown:
        return Row(name, shown, "no counterpart", f"a config provider's value: write it out, as {row.remark}")
    return Row(name, shown, row.state, row.remark)
