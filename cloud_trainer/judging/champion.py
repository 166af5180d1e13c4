"""Whom a challenger has to beat: the version that the sites run, else the newest one."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import structlog

from cloud_trainer.judging.decision import Decision
from cloud_trainer.settings import TrainerSettings
from cloud_trainer.tracing import models
from cloud_trainer.tracing.finding import found, published
from cloud_trainer.tracing.models import Model, Published, from_published
from headwater.contract.errors import BadInput, DataMissing, Untrusted
from headwater.contract.names import PATTERN
from headwater.contract.rollout import Rollout, decode_rollout, in_field, newest_generation, rollout_path

_log = structlog.get_logger(__name__)


class Champion(NamedTuple):
    """A model, and why it is the champion; no reason where somebody named it."""

    model: Model
    why: str

    def noted(self, decision: Decision) -> Decision:
        """The decision with this reason before its other notes."""
        return msgspec.structs.replace(decision, notes=[*([self.why] if self.why else []), *decision.notes])


def champion_of(signed: Published, asset_class: str) -> Champion | None:
    """The version that the rollouts left in the field, else the newest; passed over is what does not read back.

    None where no version is published; Untrusted where some are and none reads back.
    """
    versions = signed.versions(asset_class)
    if not versions:
        return None
    field, why = _in_field(signed, asset_class)
    passed: list[str] = []
    for version in sorted(versions, key=lambda one: (one == field, one), reverse=True):
        try:
            model = from_published(signed, asset_class, version)
        except (Untrusted, DataMissing) as error:
            passed.append(f"version {version} is passed over: {error}")
            _log.warning("a published version does not read back", of=asset_class, version=version, why=str(error))
            continue
        reason = why if version == field or field is None else "the newest that reads back"
        return Champion(model, "; ".join([f"the champion is version {version}, {reason}", *passed]))
    raise Untrusted(
        f"no published version of {asset_class} reads back, so that there is no champion: {'; '.join(passed)}",
        hint='publish without a judge: headwater train publish DIR --unjudged --reason "no version reads back"',
    )


def named(settings: TrainerSettings, name: str) -> Champion:
    """The champion of the class `name`, or the model that people call so; BadInput where there is none."""
    if PATTERN.fullmatch(name) and not models.is_folder(name):
        champion = champion_of(published(settings), name)
        if champion is not None:
            return champion
    return Champion(found(settings, name), "")


def _in_field(signed: Published, asset_class: str) -> tuple[int | None, str]:
    """The version that the rollouts left in the field, if one is known, and a word on it."""
    try:
        rollout = _rollout(signed, asset_class)
    except (Untrusted, DataMissing, BadInput) as error:
        _log.warning("the version in the field is not known", of=asset_class, why=str(error))
        return None, f"the newest; which one is in the field is not known: {error}"
    target = None if rollout is None else in_field(rollout)
    if rollout is None or target is None:
        return None, "the newest; no rollout has left one in the field"
    return target.version, f"the one in the field (rollout {rollout.rollout_id} is {rollout.state})"


def _rollout(signed: Published, asset_class: str) -> Rollout | None:
    generation = newest_generation(signed.targets(f"rollout/{asset_class}/"), asset_class)
    return decode_rollout(signed.read(rollout_path(asset_class, generation))) if generation else None
