"""Every error that Headwater raises on purpose.

HeadwaterError
├── Transient            trying again may help
│   ├── Unreachable      a service does not answer (exit 5)
│   └── Conflict         somebody else was faster; read again, then retry (exit 4)
├── Permanent            trying again cannot help
│   ├── BadInput         a payload, file or option that cannot be used (exit 2)
│   │   └── BadSetting   a setting that does not exist or has no sense
│   ├── Refused          against a policy, such as a store without conditional writes (exit 3)
│   ├── GateFailed       a model or a rollout did not pass its gate (exit 6)
│   ├── Untrusted        a signature, length or digest does not match (exit 7)
│   ├── DataMissing      a range of a log is gone: retention, truncation, a new topic (exit 8)
│   └── Fenced           another life of this writer has taken over
└── Defect               a rule of our own is broken (exit 70)

The first line of a message says what happened and where; `hint` says what to do next; `reason` is a code for
programs where there is one (headwater/contract/refusals.py).
"""

from __future__ import annotations


class HeadwaterError(Exception):
    """Base of the tree; `exit_code` is what a command ends with (docs/exit-codes.md)."""

    exit_code = 70

    def __init__(self, message: str, *, hint: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.reason = reason


class Transient(HeadwaterError):
    """Trying again may help."""

    exit_code = 5


class Unreachable(Transient):
    """A service does not answer, or not in time."""


class Conflict(Transient):
    """Somebody else wrote first; read again before retrying."""

    exit_code = 4


class Permanent(HeadwaterError):
    """Trying again cannot help."""

    exit_code = 2


class BadInput(Permanent):
    """A payload, file, option or answer that cannot be used."""


class BadSetting(BadInput):
    """A setting that does not exist, or whose value has no sense."""


class Refused(Permanent):
    """Against a policy; nothing was changed."""

    exit_code = 3


class GateFailed(Permanent):
    """A model or a rollout did not pass its gate."""

    exit_code = 6


class Untrusted(Permanent):
    """A signature, a length or a digest does not match what was promised."""

    exit_code = 7


class DataMissing(Permanent):
    """Part of a log range does not exist (any more)."""

    exit_code = 8


class Fenced(Permanent):
    """Another life of this writer has taken over; this one must end."""

    exit_code = 4


class Defect(HeadwaterError):
    """A rule of our own is broken: a bug."""
