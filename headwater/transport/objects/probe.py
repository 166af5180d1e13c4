"""Does a store keep its word about conditional writes? Asked by racing, since some servers only say so."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from headwater.contract.errors import Conflict
from headwater.transport.objects.store import ObjectStore


def probe_conditional_writes(store: ObjectStore, *, writers: int = 8) -> str | None:
    """None if exactly one of `writers` wins each race; otherwise a sentence that says what the store does wrong.

    Leaves one object of a few bytes under `probe/`, which a life-cycle rule may remove. Raises what the store raises.
    """
    key = f"probe/{secrets.token_hex(8)}"
    with ThreadPoolExecutor(writers) as pool:
        won = _winners(pool, lambda i: store.put(key, b"first %d" % i, if_absent=True), writers)
        if len(won) != 1:
            return f"{len(won)} of {writers} writers with If-None-Match created the same object"
        first = won[0]
        won = _winners(pool, lambda i: store.put(key, b"second %d" % i, if_match=first), writers)
        if len(won) != 1:
            return f"{len(won)} of {writers} writers with If-Match replaced the same version of an object"
        if _winners(pool, lambda _: store.put(key, b"late", if_match=first), 1):
            return "a writer with an outdated If-Match replaced an object"
    found = store.get(key, max_bytes=64)
    if found is None or not found.data.startswith(b"second") or found.etag != won[0]:
        return "an object does not read back as it was written"
    return None


def _winners(pool: ThreadPoolExecutor, write: Callable[[int], str], writers: int) -> list[str]:
    def attempt(i: int) -> str | None:
        try:
            return write(i)
        except Conflict:
            return None

    return [tag for tag in pool.map(attempt, range(writers)) if tag is not None]
