"""What becomes of the settings of MirrorMaker 2 that are not simply taken over, and why (Kafka 4.3's names)."""

from __future__ import annotations

import re
from typing import Literal

State = Literal["taken over", "secret", "not needed", "no counterpart"]

_CONNECT = "there is no Kafka Connect: the link keeps its positions at the target itself"
_TUNING = "batches go across whole, and request sizes follow the link"
_NOT_ASKED = "security.protocol does not ask for it"
_ONE_LOOK = "looked at with every checkpoint (mm2.checkpoint_interval_s)"

# The first that fits the key without its cluster or flow; in the order of how special they are.
_RULES: tuple[tuple[str, State, str], ...] = (
    (r"sync\.topic\.acls\..*", "no counterpart", "ACLs are not copied: set them at the target once"),
    (r"(topic|group|config\.property)\.filter\.class", "no counterpart", "filters are patterns: selection, mm2.groups"),
    (
        r"config\.properties\.(exclude|blacklist)|use\.defaults\.from",
        "no counterpart",
        "the list is fixed; docs/replicator.md",
    ),
    (r"replication\.policy\.internal\.topic\.separator\.enabled", "no counterpart", "one separator is for all names"),
    (r"transforms.*|predicates.*", "no counterpart", "no rule is made of it; see [[replicator.records]]"),
    (r"config\.providers.*", "no counterpart", "secrets come from files of a folder (HEADWATER_SECRETS)"),
    (r"(.*\.)?auto\.offset\.reset", "no counterpart", "a topic is shipped from its first record on"),
    (r"forwarding\.admin\.class", "no counterpart", "the target must allow the link to make its topics"),
    (r"refresh\.topics\.enabled", "no counterpart", "new topics and partitions are always looked for"),
    (
        r"heartbeats\.replication\.enabled",
        "no counterpart",
        "heartbeats are shipped where they are written (mm2.publish)",
    ),
    (
        r"(source\.|target\.)?(producer\.)?compression\.type",
        "no counterpart",
        'batches keep the codec of the source; replicator.link.recompress = "zstd" compresses them on the way',
    ),
    (
        r"(source\.|target\.)?(producer|consumer|admin)\.(bootstrap|security|sasl|ssl)\..*",
        "no counterpart",
        "a cluster has one login for all: write it without `producer`, `consumer` or `admin`",
    ),
    (
        r"sasl\.(oauthbearer|kerberos|login)\..*|sasl\.client\.callback.*",
        "no counterpart",
        "PLAIN, SCRAM, OAUTHBEARER (token_file) and Kerberos are spoken, without Java's modules",
    ),
    (r"sasl\.(mechanism|jaas\.config)|ssl\.(keystore|truststore|key)\..*", "not needed", _NOT_ASKED),
    (r"ssl\.endpoint\.identification\.algorithm", "no counterpart", "names in certificates are always checked"),
    (r"ssl\.(engine|provider|keymanager|trustmanager|secure).*", "no counterpart", "the system's OpenSSL is used"),
    (r"ssl\.(protocol|enabled\.protocols|cipher\.suites)", "not needed", "TLS 1.2 and 1.3 as OpenSSL offers them"),
    (r"metrics?\..*|metric\..*|.*\.metric\.reporters", "not needed", "metrics are Prometheus's: metrics_port"),
    (r"(.*\.)?isolation\.level", "not needed", "aborted data is never shipped"),
    (r"(.*\.)?exactly\.once\.source\.support|.*transaction.*", "not needed", "every record is shipped exactly once"),
    (r"offset\.lag\.max", "not needed", "offsets are translated exactly"),
    (r"refresh\.groups\..*|sync\.group\.offsets\.interval\.seconds", "not needed", _ONE_LOOK),
    (r"refresh\.topics\.interval\.seconds", "not needed", "looked for every 3 s (selection.refresh_s)"),
    (r"(checkpoints|heartbeats|offset-syncs)\.topic\.replication\.factor", "not needed", "as replication_factor"),
    (r"(offset|config|status)\.storage\..*|group\.id|dedicated\..*|listeners|rest\..*", "not needed", _CONNECT),
    (r"(key|value|header)\.converter.*|tasks\..*|name|connector\..*|plugin\..*|errors\..*", "not needed", _CONNECT),
    (r"(source|target)\.cluster\.alias|(.*\.)?client\.id", "not needed", "named after site and aliases"),
    (r"(producer|consumer|admin)\..*|.*\.(ms|bytes|size|records|interval\.seconds)", "not needed", _TUNING),
    (r"acks|.*in\.flight.*|enable\.idempotence|compression\..*|retries|.*backoff.*", "not needed", _TUNING),
    (r"clusters|enabled", "not needed", "a link is one flow; another one has settings of its own"),
)

# Names whose values are words, numbers or classes of Kafka's; what else fits a rule with a * may hold anything.
_HARMLESS = re.compile(
    r"clusters|listeners|name|acks|retries|(.*\.)?"
    r"(ms|bytes|size|records|seconds|factor|partitions|topic|enabled|enable|idempotence|class|type|max|reset|level"
    r"|support|alias|id|algorithm|protocols?|mechanism|suites|reporters|converter|location)"
)
_STRANGERS = re.compile(r"(transforms|predicates|config\.providers)\..*(?<!\.type)(?<!\.class)")


def is_harmless(key: str) -> bool:
    """Whether a setting is known here, and its value may be printed."""
    known = any(re.fullmatch(pattern, key) for pattern, _, _ in _RULES)
    return known and _HARMLESS.fullmatch(key) is not None and not _STRANGERS.fullmatch(key)


def fate(key: str) -> tuple[State, str]:
    """What becomes of a setting that nothing of ours is made from."""
    for pattern, state, why in _RULES:
        if re.fullmatch(pattern, key):
            return state, why
    return "no counterpart", "not a setting of MirrorMaker 2 that is known here"
