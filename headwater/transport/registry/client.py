"""For edges: what is signed, and the files themselves, once they are proven to be what was signed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from tuf.api.exceptions import DownloadHTTPError, ExpiredMetadataError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater

from headwater.contract.canonical import canonical_json, sha256
from headwater.contract.desired import Freshness
from headwater.contract.errors import BadInput, DataMissing, HeadwaterError, Refused, Unreachable, Untrusted
from headwater.contract.refusals import BAD_DIGEST, BAD_LENGTH, BAD_SIGNATURE, EXPIRED, NOT_SIGNED
from headwater.transport.files import file_error, replace_durably
from headwater.transport.objects import ObjectStore
from headwater.transport.registry.layout import (
    DELEGATED,
    METADATA,
    PLANS,
    TargetInfo,
    check_path,
    role_of,
    target_key,
)
from headwater.transport.registry.metadata import info

STALE_AFTER_MS = 48 * 3_600_000
_CLOCK_SLACK_MS = 86_400_000
_GOOD_EVERY_MS = 60_000
_FLOOR_FILE = "floor.json"


class Floor(msgspec.Struct, frozen=True):
    """What this edge has seen, kept apart from the cache of metadata: a wiped cache does not lower it."""

    root: int = 0
    timestamp: int = 0
    good_at: int = 0  # ms, the last refresh that succeeded, by this machine's clock
    signed_at: int = 0  # ms, when that timestamp was signed, by the publisher's clock

    @property
    def earliest(self) -> int:
        """What the clock must have reached, in ms: both clocks had passed it, so that neither alone misleads."""
        return min(self.good_at, self.signed_at)


class Refreshed(NamedTuple):
    """How up to date the signed metadata is, and why it is not newer."""

    freshness: Freshness
    problem: HeadwaterError | None


def freshness_of(problem: HeadwaterError | None, good_at: int, now: int) -> Freshness:
    """The word for the outcome of a refresh; times in ms. Expiry never stops what runs, it only blocks what is new."""
    if problem is None:
        return "fresh"
    if isinstance(problem, Unreachable):
        return "unreachable"
    if problem.reason == EXPIRED:
        return "frozen"
    if isinstance(problem, (Untrusted, BadInput)):
        return "unverified"
    if not good_at:
        return "never"
    return "stale" if abs(now - good_at) > STALE_AFTER_MS else "fresh"


class Client:
    """The signed files of one repository. One process a state folder: the caller holds a lock.

    `root` is the root.json that came with the installation; `clock_ms` is the machine's clock.
    """

    def __init__(
        self,
        store: ObjectStore,
        state_dir: Path,
        root: bytes,
        *,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._cache = state_dir / "metadata"
        self._floor_path = state_dir / _FLOOR_FILE
        self._root = root
        self._clock_ms = clock_ms
        self._updater: Updater | None = None
        self.fetched_bytes = 0  # of target files, since this object was made

    def refresh(self) -> Refreshed:
        """Read and verify the newest metadata (2 requests when nothing changed). Every failure is in the answer."""
        floor, now = Floor(), self._clock_ms()
        self._updater = None
        try:
            floor = self._floor()
            self._check_clock(now, floor)
            updater = self._verified()
            seen = self._seen(now)
            _refuse_older(seen, floor)
            if _is_news(seen, floor):
                replace_durably(self._floor_path, canonical_json(seen))
            self._updater = updater
        except HeadwaterError as problem:
            return Refreshed(freshness_of(problem, floor.good_at, now), problem)
        return Refreshed("fresh", None)

    def _check_clock(self, now: int, floor: Floor) -> None:
        """Refused when it has gone back: what has expired since would be accepted."""
        if now < floor.earliest - _CLOCK_SLACK_MS:
            raise Refused(
                f"the clock of this machine has gone back: metadata was signed and seen at {_utc(floor.earliest)} UTC",
                hint=f"set it, then retry; if it is right, and the clocks here and where models are signed both ran "
                f"ahead once, delete {self._floor_path} (the cache beside it still refuses older metadata)",
            )

    def target(self, path: str) -> TargetInfo | None:
        """What is signed about a file, or None.

        Raises Untrusted when the role that may sign it cannot be verified, Unreachable when it cannot be had.
        """
        check_path(path)
        if self._updater is None:
            raise Unreachable("signed metadata has not been refreshed")
        with _errors(f"the role that signs {path}", self._cache):
            found = self._updater.get_targetinfo(path)
        return None if found is None else info(found)

    def targets(self, prefix: str) -> dict[str, TargetInfo]:
        """What is signed about each file whose path begins with `prefix`, such as `rollout/pump/`; raises as `target`.

        Names come from the cached metadata and are only a hint: what counts about each is asked of the framework.
        Names that could leave their folder, and those that their role may not sign, are left out.
        """
        role = prefix.split("/", maxsplit=1)[0]
        if role not in DELEGATED:
            raise BadInput(f"no role signs paths that begin with {prefix!r}")
        self.target(PLANS[role].pattern.replace("*", "0"))  # makes the framework load and verify the role
        with _errors(f"metadata of {role}", self._cache):
            names = json.loads((self._cache / f"{role}.json").read_bytes())["signed"]["targets"]
        found = {name: self.target(name) for name in names if name.startswith(prefix) and _is_safe(name)}
        return {name: target for name, target in found.items() if target is not None}

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """The content of a signed file, proven by length and SHA-256.

        Raises Untrusted with a reason code when it is not signed or differs, DataMissing when the store has none.
        """
        target = self.target(path)
        if target is None:
            raise Untrusted(f"{path} is not signed by {role_of(path)}", reason=NOT_SIGNED)
        if target.length > max_bytes:
            raise Untrusted(f"{path} is signed with {target.length} bytes, at most {max_bytes}", reason=BAD_LENGTH)
        found = self._store.get(target_key(path, target.sha256), max_bytes=target.length)
        if found is None:
            raise DataMissing(f"the content of {path} is not in the store")
        self.fetched_bytes += len(found.data)
        if len(found.data) != target.length:
            raise Untrusted(f"{path} has {len(found.data)} bytes, signed are {target.length}", reason=BAD_LENGTH)
        if sha256(found.data) != target.sha256:
            raise Untrusted(f"{path} has other bytes than were signed", reason=BAD_DIGEST)
        return found.data

    def fetch(self, path: str, destination_dir: Path, *, max_bytes: int) -> Path:
        """Write the content of a signed file into a folder, durably and only when proven; raises as `read`."""
        destination = destination_dir / path.rpartition("/")[2]
        replace_durably(destination, self.read(path, max_bytes=max_bytes))
        return destination

    def _verified(self) -> Updater:
        with _errors("signed metadata", self._cache):
            self._cache.mkdir(parents=True, exist_ok=True)
            updater = Updater(str(self._cache), METADATA, fetcher=_Fetcher(self._store), bootstrap=self._root)
            updater.refresh()
        return updater

    def _seen(self, now: int) -> Floor:
        def read(name: str) -> dict[str, Any]:
            signed: dict[str, Any] = json.loads((self._cache / name).read_bytes())["signed"]
            return signed

        with _errors("signed metadata", self._cache):
            root, timestamp = read("root.json"), read("timestamp.json")
        signed_at = datetime.fromisoformat(timestamp["expires"]) - timedelta(days=PLANS["timestamp"].days)
        return Floor(int(root["version"]), int(timestamp["version"]), now, int(signed_at.timestamp() * 1000))

    def _floor(self) -> Floor:
        try:
            return msgspec.json.decode(self._floor_path.read_bytes(), type=Floor)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return Floor()
        except OSError as error:
            raise BadInput(
                f"{self._floor_path} cannot be read: {error.strerror}", hint="check what it is, its owner and its mode"
            ) from error


class _Fetcher(FetcherInterface):
    """Metadata by way of an object store, with the framework's bound on each length."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise NotImplementedError(url)  # only used for target files, which Client reads itself

    def download_bytes(self, url: str, max_length: int) -> bytes:
        try:
            found = self._store.get(url, max_bytes=max_length)
        except Refused as error:  # S3 without the permission to list answers so for what is not there
            raise DownloadHTTPError(str(error), 403) from error
        if found is None:
            raise DownloadHTTPError(f"{url} is not in the store", 404)
        return found.data


def _is_news(seen: Floor, floor: Floor) -> bool:
    """Whether the floor is worth writing: it rose, or its time is a minute off (frequent looks spare the flash)."""
    same = (seen.root, seen.timestamp, seen.signed_at) == (floor.root, floor.timestamp, floor.signed_at)
    return not same or abs(seen.good_at - floor.good_at) > _GOOD_EVERY_MS


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="minutes")[:16]


def _refuse_older(seen: Floor, floor: Floor) -> None:
    """A new root may start the timestamp anew (recovery from fast-forward, TUF 5.3.11); the same root may not."""
    if seen.root < floor.root or (seen.root == floor.root and seen.timestamp < floor.timestamp):
        raise Untrusted(
            f"signed metadata went back from timestamp {floor.timestamp} to {seen.timestamp}", reason=BAD_SIGNATURE
        )


def _is_safe(path: str) -> bool:
    try:
        check_path(path)
    except BadInput:
        return False
    return True


@contextmanager
def _errors(what: str, cache: Path) -> Iterator[None]:
    """Turn the framework's errors into ours, with the reason code of each."""
    try:
        yield
    except ExpiredMetadataError as error:
        raise Untrusted(f"{what} has expired: {error}", hint="run `headwater fleet renew`", reason=EXPIRED) from error
    except RepositoryError as error:
        raise Untrusted(f"{what} cannot be trusted: {error}", reason=BAD_SIGNATURE) from error
    except DownloadHTTPError as error:
        if isinstance(error.__cause__, HeadwaterError):
            raise error.__cause__ from None
        hint = "has `headwater fleet keys init` been run for this store?"
        raise Unreachable(f"{what} is not there: {error}", hint=hint) from error
    except OSError as error:
        raise file_error(error, cache) from error
