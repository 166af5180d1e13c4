"""One look at the store: what is signed, what is asked of this site, and what becomes of it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from msgspec.structs import replace

from edge_agent.updater import plan, unloaded
from edge_agent.updater.fetch import Fetcher
from edge_agent.updater.memory import Memory, note_failure
from edge_agent.updater.settings import UpdaterSettings
from edge_agent.updater.shelf import Shelf
from headwater.contract.desired import Desired, UpdaterState, Wanted
from headwater.contract.errors import BadSetting, Conflict, GateFailed, HeadwaterError, Untrusted
from headwater.contract.manifest import MANIFEST_FILE, model_path
from headwater.contract.messages import Refusal
from headwater.contract.refusals import REVOKED
from headwater.contract.rollout import (
    MAX_ROLLOUT_BYTES,
    Rollout,
    Target,
    desired,
    newest_generation,
    rollout_path,
)
from headwater.transport.files import file_error
from headwater.transport.objects import ObjectStore, open_store
from headwater.transport.registry.client import Client, Refreshed

_log = structlog.get_logger(__name__)
_LOCK_FILE = "updater.lock"
ROOT_FILE = "root.json"


def once(settings: UpdaterSettings, site: str, state: Path, store: ObjectStore | None = None) -> Desired:
    """Look once and return what desired.json says now.

    A store that is away, or what it serves, never raises: it is reported in `updater`, and what runs keeps running.
    Raises Conflict when another updater works on the state folder, BadSetting without a root.json, Permanent when
    the disk cannot be written.
    """
    return _looked(settings, site, state, store)[0]


def demand(settings: UpdaterSettings, site: str, state: Path, store: ObjectStore | None = None) -> Desired:
    """Look once, and raise afterwards what kept this site from running what it should.

    As `once`; further Unreachable, Untrusted and the like for the moment's problem, GateFailed when the version that
    the newest rollout asks for was refused, now or at an earlier look.
    """
    found, problem = _looked(settings, site, state, store)
    if problem is not None:
        raise problem
    for refusal in found.refused:
        if found.generations.get(refusal.asset_class) == refusal.generation:
            raise GateFailed(
                f"{site} refused version {refusal.version} of {refusal.asset_class}: {refusal.reason} "
                f"({refusal.detail})",
                hint="what ran before keeps running; the next rollout document is tried anew",
                reason=refusal.reason,
            )
    return found


def _looked(
    settings: UpdaterSettings, site: str, state: Path, store: ObjectStore | None
) -> tuple[Desired, HeadwaterError | None]:
    with _alone(state):
        try:
            client = Client(store or open_store(settings.objects), state / "trust", _root(settings, state))
            cycle = Cycle(settings, site, state, client)
            return cycle.run(), cycle.problem
        except HeadwaterError as error:
            note_failure(state, plan.phase_after(error), str(error))
            raise


class Cycle:
    """The steps of one look. The caller holds the lock of `state`."""

    def __init__(
        self,
        settings: UpdaterSettings,
        site: str,
        state: Path,
        client: Client,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._site = site
        self._client = client
        self.problem: HeadwaterError | None = None  # of the last run
        self._clock_ms = clock_ms
        self._shelf = Shelf(state)
        self._memory = Memory(state)
        self._fetcher = Fetcher(client, self._shelf, settings)

    def run(self) -> Desired:
        """Refresh, then follow each asset class; write desired.json after each, so that one cannot hold up another."""
        refreshed = self._client.refresh()
        problem = refreshed.problem
        if problem is None:
            loaded = self._settings.asset_classes
            self._write(unloaded.forgiven(self._memory.desired, loaded))
            for asset_class in loaded:
                problem = self._followed(asset_class) or problem
            problem = self._tell_of_unloaded() or problem
        if problem is not None:
            _log.warning("no newer model", site=self._site, why=str(problem), freshness=refreshed.freshness)
        self._write(self._state(refreshed, problem))
        self.problem = problem
        return self._memory.desired

    def _tell_of_unloaded(self) -> HeadwaterError | None:
        now = self._memory.desired
        try:
            self._write(unloaded.refused(self._client, now, self._settings.asset_classes, self._site, self._clock_ms()))
        except HeadwaterError as error:
            return error
        return None

    def _followed(self, asset_class: str) -> HeadwaterError | None:
        """Follow one class; the problem, if the moment was bad."""
        before = self._client.fetched_bytes
        try:
            self._follow(asset_class)
        except HeadwaterError as error:
            return error
        finally:
            self._count(self._client.fetched_bytes - before)
        return None

    def _follow(self, asset_class: str) -> None:
        newest = newest_generation(self._client.targets(f"rollout/{asset_class}/"), asset_class)
        plan.check_generation(asset_class, newest, self._memory.floors.generation.get(asset_class, 0))
        now = self._memory.desired
        wanted = now.classes.get(asset_class)
        if newest == 0:
            return
        if plan.is_settled(asset_class, newest, wanted, now.refused):
            if wanted is not None and not self._is_whole(asset_class, wanted):
                self._place(asset_class, plan.target_of(wanted), wanted.generation, wanted.rollout_id)
            return
        self._memory.keep_floors(self._memory.floors.raised(asset_class, generation=newest))
        self._write(replace(now, generations={**now.generations, asset_class: newest}))
        version = 0
        try:
            document = self._document(asset_class, newest)
            target = desired(document, self._site)
            version = target.version if target else 0
            self._obey(asset_class, document, target)
        except HeadwaterError as error:
            if not plan.is_refusal(error):
                raise
            self._refuse(Refusal(asset_class, version, error.reason, str(error), newest, self._clock_ms()))

    def _document(self, asset_class: str, generation: int) -> Rollout:
        before = self._client.fetched_bytes
        data = self._client.read(rollout_path(asset_class, generation), max_bytes=MAX_ROLLOUT_BYTES)
        self._client.fetched_bytes = before  # counted are models and manifests
        return plan.read_document(data, asset_class, generation)

    def _obey(self, asset_class: str, document: Rollout, target: Target | None) -> None:
        wanted = self._memory.desired.classes.get(asset_class)
        todo = plan.step(wanted, target)
        if todo == "same" and wanted is not None and self._is_whole(asset_class, wanted):
            self._want(asset_class, replace(wanted, generation=document.generation, rollout_id=document.rollout_id))
        elif todo != "stay" and target is not None:
            self._place(asset_class, target, document.generation, document.rollout_id)

    def _is_whole(self, asset_class: str, wanted: Wanted) -> bool:
        """Whether what was placed lies there still; never for a version placed without the manifest's digest."""
        return self._shelf.has(asset_class, plan.target_of(wanted), wanted.manifest_sha256)

    def _place(self, asset_class: str, target: Target, generation: int, rollout_id: str) -> None:
        """Have a version on the shelf, proven, and say so in desired.json."""
        on_disk = self._shelf.has(asset_class, target, self._manifest_digest(asset_class, target.version))
        self._check_not_revoked(asset_class, target.version, on_disk=on_disk)
        fetched = 0 if on_disk else self._fetcher.bring(asset_class, target)
        new = Wanted(
            version=target.version,
            sha256=target.sha256,
            generation=generation,
            placed_at=self._clock_ms(),
            source="disk" if on_disk else "download",
            rollout_id=rollout_id,
            fetched_bytes=fetched,
            manifest_sha256=self._manifest_digest(asset_class, target.version),
        )
        self._shelf.touch(asset_class, target.version)
        self._memory.keep_floors(self._memory.floors.placed(asset_class, new.version, new.manifest_sha256))
        self._want(asset_class, new)
        _log.info("placed", site=self._site, asset_class=asset_class, version=new.version, source=new.source)
        gone = self._shelf.prune(asset_class, self._settings.keep_versions, target.version)
        self._memory.keep_floors(self._memory.floors.gone(asset_class, gone))

    def _manifest_digest(self, asset_class: str, version: int) -> str:
        """The signed digest; the one under which the version was placed, while the role that signs it cannot be had.

        "" where neither is known: no file has that digest.
        """
        try:
            signed = self._client.target(model_path(asset_class, version, MANIFEST_FILE))
        except HeadwaterError:
            return self._memory.floors.manifest(asset_class, version)
        return signed.sha256 if signed is not None else ""

    def _check_not_revoked(self, asset_class: str, version: int, *, on_disk: bool) -> None:
        """The signed floor can be on any file of the class; a version on disk is judged by what was seen of it."""
        try:
            signed = self._client.targets(f"models/{asset_class}/")
        except HeadwaterError:
            if not on_disk:
                raise
            signed = {}
        below = [info.custom.get("revoked_below", 0) for info in signed.values()]
        floor = max([n for n in below if isinstance(n, int)], default=0)
        self._memory.keep_floors(self._memory.floors.raised(asset_class, revoked_below=floor))
        if version < self._memory.floors.revoked_below[asset_class]:
            raise Untrusted(f"{asset_class} v{version} is revoked", reason=REVOKED)

    def _refuse(self, refusal: Refusal) -> None:
        _log.error(
            "version refused",
            site=self._site,
            asset_class=refusal.asset_class,
            version=refusal.version,
            reason=refusal.reason,
            detail=refusal.detail,
        )
        now = self._memory.desired
        self._write(replace(now, refused=plan.with_refusal(now.refused, refusal)))

    def _want(self, asset_class: str, wanted: Wanted) -> None:
        now = self._memory.desired
        self._write(replace(now, classes={**now.classes, asset_class: wanted}))

    def _count(self, fetched: int) -> None:
        if fetched:
            now = self._memory.desired
            total = now.updater.fetched_bytes + fetched
            self._write(replace(now, updater=replace(now.updater, fetched_bytes=total)))

    def _state(self, refreshed: Refreshed, problem: HeadwaterError | None) -> Desired:
        now = self._memory.desired
        state = UpdaterState(
            phase=plan.phase_after(problem),
            last_error="" if problem is None else str(problem),
            fetched_bytes=now.updater.fetched_bytes,
            freshness=refreshed.freshness,
            checked_at=self._clock_ms(),
        )
        return replace(now, updater=state)

    def _write(self, new: Desired) -> None:
        self._memory.keep_desired(new)


def _root(settings: UpdaterSettings, state: Path) -> bytes:
    path = settings.root_file or state / ROOT_FILE
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSetting(
            f"the fleet's root of trust {path} cannot be read: {error.strerror}",
            hint="copy root.json here from where `headwater fleet keys init` was run",
        ) from error


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    try:
        state.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(state / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise file_error(error, state) from error
    try:
        _lock(descriptor, state)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, state: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(f"another updater works on {state}", hint="stop it, or give this one a state folder") from error
