"""Names in the store: which role signs which path, and under which key each file lies.

`metadata/<n>.<role>.json` and `targets/<folder>/<sha256>.<name>` are written once; `metadata/timestamp.json` is the
one object that changes, and always last.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from headwater.contract.errors import BadInput

MODELS = "models"
ROLLOUT = "rollout"
ROOT_FILE = "root.json"
METADATA = "metadata/"
TARGETS = "targets/"
TIMESTAMP_KEY = METADATA + "timestamp.json"
_SEGMENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class RolePlan:
    """How a role is set up: number of keys, how many must sign, days until its metadata expires, paths it may sign."""

    keys: int
    threshold: int
    days: int
    pattern: str = ""


PLANS = {
    "root": RolePlan(3, 2, 365),
    "targets": RolePlan(2, 2, 365),
    "snapshot": RolePlan(1, 1, 90),
    "timestamp": RolePlan(1, 1, 45),
    MODELS: RolePlan(2, 1, 180, "models/*/*/*"),
    ROLLOUT: RolePlan(1, 1, 30, "rollout/*/*"),
}
DELEGATED = (MODELS, ROLLOUT)


@dataclass(frozen=True)
class TargetInfo:
    """What is signed about a file: digest (hex), length in bytes, and free JSON."""

    sha256: str
    length: int
    custom: dict[str, Any]


def check_path(path: str) -> str:
    """Return `path` if it may name a target; BadInput for anything that could leave its folder."""
    segments = path.split("/")
    if not 2 <= len(segments) <= 8 or ".." in path or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise BadInput(f"target path {path!r} is not allowed", hint="segments of a-z 0-9 . _ - divided by /")
    return path


def role_of(path: str) -> str:
    """The role that may sign `path`; BadInput when none may."""
    check_path(path)
    for role in DELEGATED:
        pattern = PLANS[role].pattern
        parts, wanted = path.split("/"), pattern.split("/")
        if len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted)):
            return role
    raise BadInput(
        f"no role may sign {path}", hint="expected models/<class>/<version>/<file> or rollout/<class>/<n>.json"
    )


def metadata_key(role: str, version: int) -> str:
    """Key of write-once metadata."""
    return f"{METADATA}{version}.{role}.json"


def target_key(path: str, sha256: str) -> str:
    """Key of a target's content, which is its digest."""
    folder, _, name = check_path(path).rpartition("/")
    return f"{TARGETS}{folder}/{sha256}.{name}"
