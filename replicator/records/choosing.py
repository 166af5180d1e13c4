"""Which topics go record by record because of rules, and why."""

from __future__ import annotations

from collections.abc import Iterable

from headwater.contract.errors import BadSetting
from replicator.position import Position
from replicator.records.chain import Chain
from replicator.records.settings import check_spans, rules_of
from replicator.settings import ReplicatorSettings

PLAIN = "record"
RULED = "record: rules"


def chain_of(settings: ReplicatorSettings, topic: str, positions: Iterable[Position | None] = ()) -> Chain | None:
    """The rules of a topic, for one partition; without any where the topic had some once; None where it never had.

    A topic that had rules stays record by record: its records at the target have numbers that tell nothing. BadSetting:
    the rules that meet in this topic cannot apply together.
    """
    rules = rules_of(settings.records, topic)
    try:
        check_spans(topic, rules)
    except ValueError as error:
        raise BadSetting(
            f"the setting replicator.records: {error}", hint="narrow the `topics` of one of them"
        ) from None
    if not rules and not any(each is not None and each.ruled is not None for each in positions):
        return None
    return Chain(rules, salt_of(settings))


def salt_of(settings: ReplicatorSettings) -> bytes:
    """What digests are salted with; empty where no rule needs it."""
    return b"" if settings.mask_salt is None else settings.mask_salt.get_secret_value().encode()


def engine_of(
    settings: ReplicatorSettings, topic: str, compacted: str, positions: Iterable[Position | None] = ()
) -> tuple[str, str]:
    """Which engine carries a topic, and why if not batches; `compacted`: the end where it is, source or target."""
    names = [name for name, _ in rules_of(settings.records, topic)]
    if names:
        return RULED, f"rules apply to it: {', '.join(names)}"
    if compacted:
        return PLAIN, f"the topic at the {compacted} is compacted"
    if any(each is not None and each.ruled is not None for each in positions):
        return PLAIN, "rules applied to it once"
    return "batch", ""
