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
from replicator.mm2.importing.book import Book, Ledger, Row, shown
from replicator.mm2.importing.counterparts import fate
from replicator.mm2.importing.duties import duties
from replicator.mm2.importing.patterns import HINT, Listed, all_usable, listed, usable
from replicator.mm2.importing.properties import parse_properties, words
from replicator.mm2.importing.security import cluster_table
from replicator.mm2.importing.slips import refuse_plain
from replicator.mm2.importing.transforms import Transforms
from replicator.mm2.settings import NamingSettings
from replicator.settings import ReplicatorSettings

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")  # as a pattern it fits itself alone
_POLICIES = "org.apache.kafka.connect.mirror."
_UNDONE = re.compile(r"(.*\.)?(transforms(\.[^.]+\.type)?( \(default\))?|(ssl|sasl)\..*)")
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
        """The settings as a part of headwater.toml; transforms and logins that are not taken over are comments."""
        lines = [f"# {self.flow}, from a file of MirrorMaker 2"]
        lines += [f"# a secret, for the folder that HEADWATER_SECRETS names: {name}" for name in self.secrets]
        lines += [_comment(row) for row in self.rows if row.state == "no counterpart" and _UNDONE.fullmatch(row.key)]
        return "\n".join([*lines, *_toml("replicator", self.settings), ""])


def import_flow(data: bytes, wanted: str | None = None) -> Imported:
    """Make settings of one flow, `A->B`; BadInput where none is enabled, or several and none is wanted."""
    found = parse_properties(data)
    source, target = _flow(found, wanted)
    ledger, flow = Ledger(found), f"{source}->{target}."
    ends = {"source": Book(ledger, (f"{source}.", "")), "target": Book(ledger, (f"{target}.", ""))}
    book = Book(ledger, (flow, ""))
    others = tuple(f"{each}." for each in words(found["clusters"]) if each not in (source, target))
    refuse_plain(found, flow, (f"{source}.", f"{target}."), others)
    settings = _names(book, source, target)
    settings |= {end: cluster_table(each, end) for end, each in ends.items()}
    settings |= _topics(book)
    settings |= duties(book)
    aliases = {"source": source, "target": target}
    _check(settings, aliases)
    settings |= _rules(book, settings)
    if "sync.topic.acls.enabled" not in found and flow + "sync.topic.acls.enabled" not in found:
        book.note("sync.topic.acls.enabled", "true", *fate("sync.topic.acls.enabled"))
    ledger.rest((flow, f"{source}.", f"{target}."), others)
    _check(settings, aliases)
    return Imported(flow[:-1], settings, ledger.secrets, [ledger.rows[key] for key in sorted(ledger.rows)])


def _flow(found: Mapping[str, str], wanted: str | None) -> tuple[str, str]:
    clusters = words(found.get("clusters", ""))
    pairs = [(here, there) for here in clusters for there in clusters if here != there]
    for here, there in pairs:
        key = f"{here}->{there}.enabled"
        if (value := found.get(key, "false").strip()).lower() not in {"true", "false"}:
            raise BadInput(f"{key} = {shown(key, value)!r} is neither true nor false", hint="correct the file")
    flows = {
        f"{here}->{there}": (here, there) for here, there in pairs if _is_on(found.get(f"{here}->{there}.enabled"))
    }
    told = ", ".join(flows) or "none"
    if wanted is not None and wanted not in flows:
        raise BadInput(f"the flow {wanted} is not enabled in this file{_seen(found)}", hint=f"enabled: {told}")
    if wanted is None and len(flows) > 1:
        message = f"{len(flows)} flows are enabled in this file; a link is one"
        raise BadInput(message, hint=f"choose one with --flow: {told}")
    if not flows:
        hint = "it needs lines as `clusters = A, B` and `A->B.enabled = true`"
        raise BadInput(f"no flows are enabled in this file{_seen(found)}; a link is one", hint=hint)
    return flows[wanted or told]


def _seen(found: Mapping[str, str]) -> str:
    """The lines that would enable a flow, were they as MirrorMaker asks for."""
    keys = [key for key in found if key == "clusters" or ("->" in key and key.endswith(".enabled"))]
    seen = ", ".join(f"{key} = {shown(key, found[key].strip())!r}" for key in keys)
    return f" ({seen})" if seen else ""


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
    chosen = listed(book, "topics", "topics.whitelist", "topics, selection.include")
    if chosen is None:
        chosen = Listed("topics", (".*",))
    names = [each for each in chosen.words if _PLAIN.fullmatch(each)]
    patterns = usable(book, Listed(chosen.key, tuple(each for each in chosen.words if each not in names)))
    if not names and not patterns:
        told = ", ".join(map(repr, chosen.words))
        message = f"{told} cannot be used, and nothing else is to be shipped" if told else "no topic is named"
        raise BadInput(f"{book.name(chosen.key)}: {message}", hint=HINT)
    selection: Table = {"include": patterns} if patterns else {}
    excluded = listed(book, "topics.exclude", "topics.blacklist", "selection.exclude")
    if excluded is not None:
        selection["exclude"] = all_usable(book, excluded)
    return {"topics": names, **({"selection": selection} if selection else {})}


def _rules(book: Book, settings: Table) -> Table:
    naming = NamingSettings.model_validate(settings["naming"]).of(str(settings["site"]))
    names, patterns = cast("list[str]", settings["topics"]), "selection" in settings
    found = Transforms(book, naming, names, has_patterns=patterns).rules()
    return {"records": found} if found else {}


def _check(settings: Table, aliases: Mapping[str, str]) -> None:
    """Raise BadInput unless a link would start with these settings, once the secrets are there."""
    tried = json.loads(json.dumps(settings))
    for end in aliases:
        how = tried[end].get("sasl_mechanism", "GSSAPI")
        if how == "OAUTHBEARER":
            tried[end]["token_file"] = "?"  # noqa: S105  # stands for the one that a hint asks for
        elif how != "GSSAPI":
            tried[end].setdefault("username", "?")
            tried[end]["password"] = "?"  # noqa: S105  # stands for the one in the file of secrets
    try:
        ReplicatorSettings.model_validate(tried)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, wrong["loc"])) or "the settings"
        message = wrong["msg"].removeprefix("Value error, ")
        if where in aliases and message.startswith("brokers: "):
            where, message = f"{aliases[where]}.bootstrap.servers", message.removeprefix("brokers: ")
        raise BadInput(f"nothing can be made of this flow: {where}: {message}", hint="correct the file") from None


def _comment(row: Row) -> str:
    told = f"# no counterpart: {row.key}{row.value and f' = {row.value}'} ({row.remark})"
    return "".join(each if each.isprintable() else "?" for each in told)  # a line feed would end the comment


def _toml(name: str, table: Mapping[str, object]) -> list[str]:
    """A table and those inside of it; JSON's strings, numbers, lists and keys are TOML's too."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict) and key != "records"}
    lines = ["", f"[{name}]"]
    lines += [f"{_key(key)} = {_json(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _toml(f"{name}.{key}", value)
    for each in cast("list[Table]", table.get("records", [])):
        first, _, *rest = _toml(f"{name}.records", each)
        lines += [first, f"[[{name}.records]]", *rest]
    return lines


def _key(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else _json(name)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # which TOML has no other way to write
