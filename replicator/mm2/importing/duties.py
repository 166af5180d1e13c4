"""What is written beside the records, and how topics are made and kept."""

from __future__ import annotations

from headwater.contract.errors import BadInput
from replicator.mm2.importing.book import Book, shown
from replicator.mm2.importing.patterns import all_usable, listed, usable
from replicator.mm2.settings import LONGEST_S

Table = dict[str, object]
_TOGETHER = "mm2.publish: heartbeats, checkpoints and offset syncs together"
_KINDS = ("heartbeats", "checkpoints", "offset-syncs")
_INTERVALS = (("heartbeats", "heartbeat_interval_s"), ("checkpoints", "checkpoint_interval_s"))


def duties(book: Book) -> Table:
    """The tables `mm2` and `topic_configs`, and `replication_factor`; BadInput for a value that is none."""
    mm2 = _published(book)
    mm2["sync_group_offsets"] = _is_on(book, "sync.group.offsets.enabled", "mm2.sync_group_offsets", default=False)
    if (groups := listed(book, "groups", "groups.whitelist", "mm2.groups")) is not None:
        mm2["groups"] = usable(book, groups)
    if (excluded := listed(book, "groups.exclude", "groups.blacklist", "mm2.groups_exclude")) is not None:
        mm2["groups_exclude"] = all_usable(book, excluded)
    if where := book.take("offset-syncs.topic.location", "mm2.offset_syncs_at"):
        mm2["offset_syncs_at"] = where.lower()
    found: Table = {"mm2": mm2, "topic_configs": _configs(book)}
    copies = book.take("replication.factor", "replication_factor") or "2"
    if copies == "-1":
        book.note("replication.factor", copies, "no counterpart", "name the number of copies: replication_factor")
        return found
    return {"replication_factor": _number(copies, "replication.factor"), **found}


def _published(book: Book) -> Table:
    """MirrorMaker's scheduler does nothing at a negative interval (connect/mirror/Scheduler in Apache Kafka 4.3)."""
    found: Table = {}
    on = {kind: _is_on(book, f"emit.{kind}.enabled", _TOGETHER, default=True) for kind in _KINDS}
    told_by = {kind: f"emit.{kind}.enabled" for kind in _KINDS}
    for kind, name in _INTERVALS:
        key = f"emit.{kind}.interval.seconds"
        interval = book.take(key, f"mm2.{name}")
        if interval and (seconds := _number(interval, key)) >= 0:
            found[name] = _span(book, key, seconds)
        elif interval:
            on[kind], told_by[kind] = False, key
            book.note(key, interval, "taken over", f"negative, which turns them off; {_TOGETHER}")
    publish = on["heartbeats"] or on["checkpoints"]  # offset syncs are of no use alone
    for kind, key in told_by.items():
        value = book.take(key, _TOGETHER)
        if value is not None and on[kind] != publish:
            become = "written too" if publish else "not written"
            book.note(key, value, "no counterpart", f"{kind} are {become}: it is all three or none (mm2.publish)")
    return {"publish": publish, **found}


def _configs(book: Book) -> Table:
    configs: Table = {"follow": _is_on(book, "sync.topic.configs.enabled", "topic_configs.follow", default=True)}
    key = "sync.topic.configs.interval.seconds"
    interval = book.take(key, "topic_configs.refresh_s")
    if interval and (seconds := _number(interval, key)) >= 0:
        configs["refresh_s"] = _span(book, key, seconds)
    elif interval:
        configs["follow"] = False
        book.note(key, interval, "taken over", "negative, which turns it off: topic_configs.follow")
    return configs


def _span(book: Book, key: str, seconds: int) -> float:
    if seconds > LONGEST_S:
        book.note(key, str(seconds), "taken over", f"as {LONGEST_S} s, a week: longer cannot be set")
    return float(min(max(seconds, 1), LONGEST_S))


def _is_on(book: Book, key: str, becomes: str, *, default: bool) -> bool:
    value = book.take(key, becomes)
    if value is None:
        return default
    if value.lower() not in {"true", "false"}:
        raise BadInput(f"{book.name(key)} = {shown(key, value)!r} is neither true nor false", hint="correct the file")
    return value.lower() == "true"


def _number(text: str, key: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise BadInput(f"{key} = {shown(key, text)!r} is not a whole number", hint="correct the file") from error
