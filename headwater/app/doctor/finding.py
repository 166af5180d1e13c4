"""What a check found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from headwater.contract.errors import HeadwaterError

State = Literal["good", "warning", "bad"]


@dataclass(frozen=True)
class Finding:
    """One check; `fix` is empty where nothing needs to be done. `exit_code` counts for bad ones only."""

    check: str
    state: State
    says: str
    fix: str = ""
    exit_code: int = 5

    def plain(self) -> dict[str, Any]:
        """As JSON has it: `exit_code` is 0 unless it is bad."""
        return asdict(self) | {"exit_code": self.exit_code if self.state == "bad" else 0}


def good(check: str, says: str) -> Finding:
    """All is well."""
    return Finding(check, "good", says)


def warning(check: str, says: str, fix: str) -> Finding:
    """It works, but a promise does not hold."""
    return Finding(check, "warning", says, fix)


def failed(check: str, error: HeadwaterError, fix: str = "") -> Finding:
    """It does not work."""
    return Finding(check, "bad", str(error), error.hint or fix, error.exit_code)


def attempt(check: str, do: Callable[[], Finding], fix: str = "") -> Finding:
    """What `do` found, or its error as a finding."""
    try:
        return do()
    except HeadwaterError as error:
        return failed(check, error, fix)
