"""Rollouts of classes that this site does not load: each is refused once, so that nobody waits for it."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from edge_agent.updater import plan
from headwater.contract.desired import Desired
from headwater.contract.errors import BadInput, HeadwaterError
from headwater.contract.messages import Refusal
from headwater.contract.names import PATTERN
from headwater.contract.refusals import CLASS_NOT_LOADED
from headwater.contract.rollout import MAX_ROLLOUT_BYTES, Rollout, desired, newest_generation, rollout_path
from headwater.transport.registry.client import Client

_log = structlog.get_logger(__name__)


def forgiven(now: Desired, loaded: Sequence[str]) -> Desired:
    """Without refusals of classes that this site has come to load: their documents are looked at anew."""
    kept = [one for one in now.refused if one.reason != CLASS_NOT_LOADED or one.asset_class not in loaded]
    return replace(now, refused=kept) if len(kept) < len(now.refused) else now


def refused(client: Client, now: Desired, loaded: Sequence[str], site: str, at: int) -> Desired:
    """With a refusal of each open rollout that sends this site a class which it does not load; `at` in ms.

    A document is read once. One that cannot be had is asked for again at the next look, and is no problem of this site.
    """
    paths = list(client.targets("rollout/"))
    for asset_class in sorted({path.split("/")[1] for path in paths} - set(loaded)):
        newest = newest_generation(paths, asset_class)
        if not PATTERN.fullmatch(asset_class) or newest <= now.generations.get(asset_class, 0):
            continue
        try:
            document = _document(client, asset_class, newest)
        except HeadwaterError as error:
            _log.info("a rollout of a class that is not loaded is not read", of=asset_class, why=str(error))
            continue
        now = replace(now, generations={**now.generations, asset_class: newest})
        if document is not None and _is_sent(document, site):
            detail = f"class {asset_class} is not among edge.asset_classes of {site} ({', '.join(loaded)})"
            _log.error("version refused", site=site, reason=CLASS_NOT_LOADED, detail=detail)
            refusal = Refusal(asset_class, document.target.version, CLASS_NOT_LOADED, detail, newest, at)
            now = replace(now, refused=plan.with_refusal(now.refused, refusal))
    return now


def _document(client: Client, asset_class: str, generation: int) -> Rollout | None:
    before = client.fetched_bytes
    data = client.read(rollout_path(asset_class, generation), max_bytes=MAX_ROLLOUT_BYTES)
    client.fetched_bytes = before  # counted are models and manifests
    try:
        return plan.read_document(data, asset_class, generation)
    except BadInput:
        return None  # of another class, and so for another site to refuse


def _is_sent(document: Rollout, site: str) -> bool:
    """Whether an open rollout waits for this site, by its name."""
    is_open = document.state in ("running", "paused") and site in document.sites and site not in document.pins
    return is_open and desired(document, site) == document.target
