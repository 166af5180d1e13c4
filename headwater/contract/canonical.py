"""One spelling of a value in bytes, and the digest of it.

Canonical JSON here: keys sorted, no blanks, UTF-8, floats as the shortest text that reads back to the
same number (what msgspec and Python's repr write). NaN and infinities are refused.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from headwater.contract.errors import BadInput


def canonical_json(value: Any) -> bytes:
    """Canonical JSON of a builtin value or a msgspec struct; BadInput for NaN or infinity."""
    plain = msgspec.to_builtins(value, str_keys=True)
    try:
        return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise BadInput(f"not a number that JSON can carry: {error}") from error


def sha256(data: bytes | memoryview) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """SHA-256 in hex of the canonical JSON of `value`."""
    return sha256(canonical_json(value))
