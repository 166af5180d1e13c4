"""One flow of a MirrorMaker 2 file as the settings of a link."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import cast

import msgspec
from pydantic import ValidationError

from headwater.contract.errors import BadInput
from headwater.contract.names import check_site
from replicator.mm2.importing.book import Book, Ledger, Row
from replicator.mm2.importing.counterparts import fate
from replicator.mm2.importing.properties import parse_properties, words
from replicator.mm2.importing.security import cluster_table
from replicator.mm2.importing.transforms import Transforms
from replicator.mm2.settings import NamingSettings
from replicator.settings import ReplicatorSettings

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")  # as a pattern it fits itself alone
_POLICIES = "org.apache.kafka.connect.mirror."
_ONLY_JAVA = re.compile(r"\\[pPQEGRX]|&&|\(\?<[A-Za-z]")  # what Python's patterns lack or write otherwise
_NO_NAME = re.compile(r"[^a-z0-9-]+")
Table = dict[str, object]


class Imported(msgspec.Struct, frozen=True):
    """`settings` is nested as ReplicatorSettings and has no secrets; `secrets` names the files that they go into."""

    flow: str
    settings: Table
    secrets: list[str]
    rows: list[Row]

    @property
    def toml(self) -> str:
        """The settings as a part of headwater.toml."""
        lines = [f"# {self.flow}, from a file of MirrorMaker 2"]
        lines += [f"# a secret, for the folder that HEADWATER_SECRETS names: {name}" for name in self.secrets]
        return "\n".join([*lines, *_toml("replicator", self.settings), ""])


def import_flow(data: bytes, wanted: str | None = None) -> Imported:
    """Make settings of one flow, `A->B`; BadInput where none is enabled, or several and none is wanted."""
    found = parse_properties(data)
    source, target = _flow(found, wanted)
    ledger, flow = Ledger(found), f"{source}->{target}."
    ends = {"source": Book(ledger, (f"{source}.", "")), "target": Book(ledger, (f"{target}.", ""))}
    book = Book(ledger, (flow, ""))
    settings = _names(book, source, target)
    settings |= {end: cluster_table(each, end) for end, each in ends.items()}
    settings |= _topics(book)
    settings |= _duties(book)
    _check(settings)
    settings |= _rules(book, settings)
    if "sync.topic.acls.enabled" not in found and flow + "sync.topic.acls.enabled" not in found:
        book.note("sync.topic.acls.enabled", "true", *fate("sync.topic.acls.enabled"))
    others = [each for each in words(found["clusters"]) if each not in (source, target)]
    ledger.rest((flow, f"{source}.", f"{target}."), tuple(f"{each}." for each in others))
    _check(settings)
    return Imported(flow[:-1], settings, ledger.secrets, [ledger.rows[key] for key in sorted(ledger.rows)])


def _flow(found: Mapping[str, str], wanted: str | None) -> tuple[str, str]:
    clusters = words(found.get("clusters", ""))
    pairs = [(here, there) for here in clusters for there in clusters if here != there]
    flows = {
        f"{here}->{there}": (here, there) for here, there in pairs if _is_on(found.get(f"{here}->{there}.enabled"))
    }
    told = ", ".join(flows) or "none"
    if wanted is not None and wanted not in flows:
        raise BadInput(f"the flow {wanted} is not enabled in this file", hint=f"enabled: {told}")
    if wanted is None and len(flows) != 1:
        hint = f"choose one with --flow: {told}" if flows else "it needs lines as `clusters` and `A->B.enabled = true`"
        raise BadInput(f"{len(flows) or 'no'} flows are enabled in this file; a link is one", hint=hint)
    return flows[wanted or told]


def _is_on(value: str | None) -> bool:
    return value is not None and value.strip().lower() == "true"


def _names(book: Book, source: str, target: str) -> Table:
    naming: Table = {"target_alias": target}
    site = _NO_NAME.sub("-", source.lower())[:40].strip("-")
    try:
        check_site(site)
    except BadInput:
        site = f"site-{site}"[:40].strip("-")
    if site != source:
        naming["source_alias"] = source
        book.note("clusters", source, "taken over", f"the link is called {site}; topics keep the prefix {source}")
    separator = book.take("replication.policy.separator", "naming.separator")
    if separator is not None:
        naming["separator"] = separator
    policy = (book.take("replication.policy.class", "naming.keep_names") or "").removeprefix(_POLICIES)
    if policy == "IdentityReplicationPolicy":
        naming["keep_names"] = True
    elif policy not in {"", "DefaultReplicationPolicy"}:
        book.note("replication.policy.class", policy, "no counterpart", "names are <alias><separator><topic>, or kept")
    return {"site": site, "naming": naming}


def _topics(book: Book) -> Table:
    topics = words(_either(book, "topics", "topics.whitelist", "topics, selection.include") or ".*")
    names = [each for each in topics if _PLAIN.fullmatch(each)]
    patterns = _usable(book, "topics", [each for each in topics if each not in names])
    selection: Table = {"include": patterns} if patterns else {}
    excluded = _either(book, "topics.exclude", "topics.blacklist", "selection.exclude")
    if excluded is not None:
        selection["exclude"] = _usable(book, "topics.exclude", words(excluded))
    return {"topics": names, **({"selection": selection} if selection else {})}


def _either(book: Book, key: str, former: str, becomes: str) -> str | None:
    value = book.take(key, becomes)
    return value if value is not None else book.take(former, becomes)


def _usable(book: Book, key: str, patterns: tuple[str, ...] | list[str]) -> list[str]:
    """Those of Java's patterns that mean the same in Python; the others are told."""
    usable = []
    for pattern in patterns:
        try:
            re.compile(pattern)
            fits = not _ONLY_JAVA.search(pattern)
        except re.error:
            fits = False
        if fits:
            usable.append(pattern)
        else:
            book.note(key, pattern, "no counterpart", "Java's alone: write it as Python's re understands it")
    return usable


def _duties(book: Book) -> Table:
    """What is written beside the records, and how topics are made."""
    mm2: Table = {}
    kinds = ("heartbeats", "checkpoints", "offset-syncs")
    emitted = [book.take(f"emit.{kind}.enabled", "mm2.publish (all three together)") for kind in kinds]
    mm2["publish"] = any(each is None or _is_on(each) for each in emitted)
    mm2["sync_group_offsets"] = _is_on(book.take("sync.group.offsets.enabled", "mm2.sync_group_offsets"))
    for kind, name in (("heartbeats", "heartbeat_interval_s"), ("checkpoints", "checkpoint_interval_s")):
        if interval := book.take(f"emit.{kind}.interval.seconds", f"mm2.{name}"):
            mm2[name] = _seconds(interval, kind)
    groups = _either(book, "groups", "groups.whitelist", "mm2.groups")
    if groups is not None:
        mm2["groups"] = _usable(book, "groups", words(groups))
    excluded = _either(book, "groups.exclude", "groups.blacklist", "mm2.groups_exclude")
    if excluded is not None:
        mm2["groups_exclude"] = _usable(book, "groups.exclude", words(excluded))
    if where := book.take("offset-syncs.topic.location", "mm2.offset_syncs_at"):
        mm2["offset_syncs_at"] = where.strip().lower()
    configs: Table = {"follow": _is_on(book.take("sync.topic.configs.enabled", "topic_configs.follow") or "true")}
    if interval := book.take("sync.topic.configs.interval.seconds", "topic_configs.refresh_s"):
        configs["refresh_s"] = _seconds(interval, "topic configs")
    found: Table = {"mm2": mm2, "topic_configs": configs}
    copies = book.take("replication.factor", "replication_factor") or "2"
    if copies.strip() == "-1":
        book.note("replication.factor", copies, "no counterpart", "name the number of copies: replication_factor")
        return found
    return {"replication_factor": _number(copies, "replication.factor"), **found}


def _rules(book: Book, settings: Table) -> Table:
    naming = NamingSettings.model_validate(settings["naming"]).of(str(settings["site"]))
    names, patterns = cast("list[str]", settings["topics"]), "selection" in settings
    found = Transforms(book, naming, names, has_patterns=patterns).rules()
    return {"records": found} if found else {}


def _seconds(text: str, what: str) -> float:
    return float(max(_number(text, what), 1))


def _number(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise BadInput(f"{what}: {text!r} is not a whole number") from error


def _check(settings: Table) -> None:
    """Raise BadInput unless a link would start with these settings, once the secrets are there."""
    tried = json.loads(json.dumps(settings))
    for end in ("source", "target"):
        if tried[end].get("sasl_mechanism", "GSSAPI") != "GSSAPI":
            tried[end].setdefault("username", "?")
            tried[end]["password"] = "?"  # noqa: S105  # stands for the one in the file of secrets
    try:
        ReplicatorSettings.model_validate(tried)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, wrong["loc"])) or "the settings"
        raise BadInput(f"nothing can be made of this flow: {where}: {wrong['msg']}", hint="correct the file") from None


def _toml(name: str, table: Mapping[str, object]) -> list[str]:
    """A table and those inside of it; JSON's strings, numbers, lists and keys are TOML's too."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict) and key != "records"}
    lines = ["", f"[{name}]"]
    lines += [f"{_key(key)} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _toml(f"{name}.{key}", value)
    for each in cast("list[Table]", table.get("records", [])):
        first, _, *rest = _toml(f"{name}.records", each)
        lines += [first, f"[[{name}.records]]", *rest]
    return lines


def _key(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)
