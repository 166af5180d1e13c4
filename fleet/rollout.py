"""A rollout as it happens: wave after wave, watched, and taken back when a site refuses."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence

from fleet import documents
from fleet.documents import Documents
from fleet.events import Journal
from fleet.gate import verdict
from fleet.reports import Reports
from headwater.contract.errors import BadInput, Conflict, GateFailed, Refused, Unreachable
from headwater.contract.names import check_site
from headwater.contract.rollout import Rollout, desired

Progress = Callable[[str], None]
_REPEAT_S = 30.0  # between two lines that say the same
_WHEN = (
    "edges look for rollouts every edge.updater.poll_interval_s (900 s unless set); "
    "`headwater edge updater --once` there looks now"
)


class _Waiting:
    """Says whom we wait for: when that changes, and every so often."""

    def __init__(self, progress: Progress, repeat_s: float) -> None:
        self._progress, self._repeat_s = progress, repeat_s
        self._began = self._last = time.monotonic()
        self._said: tuple[str, ...] | None = None

    def tell(self, sites: tuple[str, ...]) -> None:
        """Call it at each look."""
        now = time.monotonic()
        if sites == self._said and now - self._last < self._repeat_s:
            return
        if self._said is None:
            self._progress(f"waiting for {', '.join(sites)}; {_WHEN}")
        else:
            self._progress(f"waiting for {', '.join(sites)}, {now - self._began:.0f} s by now")
        self._said, self._last = sites, now


class Rollouts:
    """Starts, pauses, resumes and undoes rollouts. `progress` gets one line a step."""

    def __init__(
        self,
        store: Documents,
        reports: Reports,
        journal: Journal,
        progress: Progress,
        *,
        timeout_s: float,
        poll_s: float,
        repeat_s: float = _REPEAT_S,
    ) -> None:
        self._store, self._reports, self._journal, self._progress = store, reports, journal, progress
        self._timeout_s, self._poll_s, self._repeat_s = timeout_s, poll_s, repeat_s

    def planned(self, asset_class: str, version: int, sites: Sequence[str], shares: Sequence[float]) -> list[list[str]]:
        """The sites of each wave, without publishing anything."""
        rollout = documents.begin(
            self._store.current(asset_class), asset_class, self._store.target(asset_class, version), sites, ""
        )
        ends = documents.waves(shares, len(rollout.sites))
        return [list(rollout.sites[start:end]) for start, end in zip([0, *ends], ends, strict=False)]

    def start(
        self, asset_class: str, version: int, sites: Sequence[str], shares: Sequence[float], reason: str = ""
    ) -> Rollout:
        """Publish wave after wave, each after the one before has passed its gate.

        A crash between two waves leaves the rollout running at the wave that was published; `resume` goes on.
        GateFailed, after the document was taken back to the previous version, names the site and its reason.
        """
        target = self._store.target(asset_class, version)
        rollout = documents.begin(self._store.current(asset_class), asset_class, target, sites, reason)
        return self._go_on(rollout, shares)

    def resume(self, asset_class: str, shares: Sequence[float]) -> Rollout:
        """Go on with an open rollout: watch the present wave again, then the later ones."""
        rollout = self._open(asset_class)
        return self._go_on(rollout, shares)

    def pause(self, asset_class: str) -> Rollout:
        """Publish no further wave; the sites that were reached keep the new version. Refused unless it runs."""
        rollout = self._open(asset_class)
        return self._publish("paused", documents.changed(rollout, state="paused"))

    def rollback(
        self, asset_class: str, site: str | None, version: int | None, reason: str, *, dry_run: bool = False
    ) -> Rollout:
        """Send one site back by a pin, or (without `site`) every site that is not pinned by cancelling the rollout.

        Without `version`, to what ran before the rollout. Done a second time it only writes the event again. BadInput
        when there is nothing to go back to, the version is not published, or nobody has heard of the site.
        """
        rollout = self._of(asset_class)
        target = rollout.previous if version is None else self._store.target(asset_class, version)
        if target is None:
            raise BadInput(f"there is nothing to go back to: no version was before {rollout.target.version}")
        if site is None:
            event, new = "cancelled", documents.sent_back(rollout, target, reason)
            detail = f"every site: {target.version}"
        else:
            self._check_known(rollout, site)
            if target == desired(rollout, site) and rollout.pins.get(site) != target:
                raise BadInput(f"{site} should run version {target.version} already", hint="name another one with --to")
            event, new = "pinned", documents.pinned(rollout, site, target, reason)
            detail = f"{site}: {target.version}"
        if dry_run:
            return new
        if (new.state, new.previous, new.pins) == (rollout.state, rollout.previous, rollout.pins):
            self._tell(event, rollout, detail)
            return rollout
        return self._publish(event, new, detail)

    def _check_known(self, rollout: Rollout, site: str) -> None:
        """BadInput for a site that is neither in the rollout nor has ever reported."""
        check_site(site)
        if site in rollout.sites or site in rollout.pins or self._reports.read([site]):
            return
        near = difflib.get_close_matches(site, rollout.sites, n=1)
        sites = f"did you mean {near[0]}?" if near else f"sites of the rollout: {', '.join(rollout.sites)}"
        raise BadInput(f"{site} is not in rollout {rollout.rollout_id} and has never reported", hint=sites)

    def unpin(self, asset_class: str, site: str) -> Rollout:
        """Let a site follow the rollout again; BadInput unless it is pinned."""
        rollout = self._of(asset_class)
        if site not in rollout.pins:
            raise BadInput(f"{site} is not pinned", hint=f"pinned: {', '.join(rollout.pins) or 'none'}")
        pins = {name: target for name, target in rollout.pins.items() if name != site}
        return self._publish("unpinned", documents.changed(rollout, pins=pins), site)

    def wait_for(self, asset_class: str, site: str) -> None:
        """Wait until a site reports the version that it should run; GateFailed after the wave timeout."""
        rollout = self._of(asset_class)
        wanted = desired(rollout, site)
        end = time.monotonic() + self._timeout_s
        waiting = _Waiting(self._progress, self._repeat_s)
        while wanted is not None:
            status = self._reports.read([site]).get(site)
            active = status.active.get(asset_class) if status else None
            if active is not None and active.sha256 == wanted.sha256:
                self._progress(f"{site} runs version {wanted.version}")
                return
            for refusal in status.refused if status else ():
                if (refusal.asset_class, refusal.generation) == (asset_class, rollout.generation):
                    raise GateFailed(
                        f"{site} refused version {refusal.version}: {refusal.reason} ({refusal.detail})",
                        reason=refusal.reason,
                    )
            if time.monotonic() > end:
                raise GateFailed(f"{site} did not report version {wanted.version} within {self._timeout_s:.0f} s")
            waiting.tell((site,))
            time.sleep(self._poll_s)

    def _go_on(self, rollout: Rollout, shares: Sequence[float]) -> Rollout:
        ends = documents.waves(shares, len(rollout.sites))
        self._reports.read(rollout.sites)  # nothing is signed for sites that could not be watched
        if set(rollout.sites) <= set(rollout.pins):
            self._progress(
                f"every site is pinned ({', '.join(rollout.sites)}): none is sent version {rollout.target.version} "
                "before headwater fleet rollout unpin"
            )
        try:
            if rollout.reached:
                self._watch(rollout)
            for number, end in enumerate(ends, start=1):
                if end <= rollout.reached:
                    continue
                new = list(rollout.sites[rollout.reached : end])
                rollout = self._publish("wave", documents.reach(rollout, end), f"wave {number}")
                self._progress(f"wave {number} of {len(ends)}: version {rollout.target.version} to {', '.join(new)}")
                self._watch(rollout)
        except KeyboardInterrupt:
            self._interrupted(rollout)
            raise
        return self._publish("complete", documents.changed(rollout, state="complete"))

    def _interrupted(self, rollout: Rollout) -> None:
        """What holds although nobody watches it any more."""
        name = rollout.asset_class
        if rollout.reached:
            self._progress(
                f"interrupted: version {rollout.target.version} stays signed for {rollout.reached} of "
                f"{len(rollout.sites)} sites, and nobody takes it back when one refuses; go on with: "
                f"headwater fleet rollout resume --class {name}, or undo it with: "
                f"headwater fleet rollout rollback --class {name}"
            )

    def _watch(self, rollout: Rollout) -> None:
        began = time.monotonic()
        waiting = _Waiting(self._progress, self._repeat_s)
        while True:
            statuses = self._reports.read(rollout.sites)
            found = verdict(rollout, statuses, waited_s=time.monotonic() - began, timeout_s=self._timeout_s)
            if found.state == "passed":
                if found.sites:
                    self._progress(f"{', '.join(found.sites)}: version {rollout.target.version} is active")
                return
            if found.state == "failed":
                self._take_back(rollout, f"{', '.join(found.sites)}: {found.reason}")
                raise GateFailed(
                    f"{', '.join(found.sites)} refused version {rollout.target.version} of {rollout.asset_class}: "
                    f"{found.reason} ({found.detail})",
                    hint="the rollout was cancelled; every site runs, or goes back to, the previous version",
                    reason=found.reason,
                )
            waiting.tell(tuple(found.sites))
            self._check_ours(rollout)
            time.sleep(self._poll_s)

    def _check_ours(self, rollout: Rollout) -> None:
        """Conflict when another operator has paused, pinned or ended the rollout that is being watched."""
        current = self._of(rollout.asset_class)
        if current.generation != rollout.generation:
            raise Conflict(
                f"somebody else changed rollout {rollout.rollout_id}: it is {current.state} at generation "
                f"{current.generation}{f' ({current.reason})' if current.reason else ''}",
                hint="see it with: headwater fleet rollout status; go on with: headwater fleet rollout resume",
            )

    def _take_back(self, rollout: Rollout, why: str) -> None:
        current = self._of(rollout.asset_class)
        if current.rollout_id == rollout.rollout_id and current.state in documents.OPEN:
            self._publish("cancelled", documents.changed(current, state="cancelled", reason=why[:500]), why)

    def _publish(self, event: str, rollout: Rollout, detail: str = "") -> Rollout:
        """Sign first, then tell: an event that is missing after a crash shows in the document's generation."""
        self._store.publish(rollout)
        self._tell(event, rollout, detail)
        return rollout

    def _tell(self, event: str, rollout: Rollout, detail: str) -> None:
        """Write an event; Unreachable says that the document counts all the same."""
        try:
            self._journal.write(event, rollout, detail)
        except Unreachable as error:
            way = "resume" if event == "wave" else "status"
            what = f"{event}, {detail}" if detail else event
            raise Unreachable(
                f"generation {rollout.generation} of {rollout.asset_class} ({what}) is signed and "
                f"takes effect; only its record on the topic fleet-events is missing: {error}",
                hint=f"when Kafka is back: headwater fleet rollout {way} --class {rollout.asset_class}"
                + ("; the same rollback again writes the record" if event in ("pinned", "cancelled") else ""),
            ) from error

    def _of(self, asset_class: str) -> Rollout:
        found = self._store.current(asset_class)
        if found is None:
            raise BadInput(f"there is no rollout of {asset_class}", hint="headwater fleet rollout start --help")
        return found

    def _open(self, asset_class: str) -> Rollout:
        rollout = self._of(asset_class)
        if rollout.state not in documents.OPEN:
            raise Refused(f"rollout {rollout.rollout_id} is {rollout.state}", hint="start a new one")
        return rollout
