"""What a slip of the pen in a MirrorMaker 2 file must not become: a link that encrypts less or ships more."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater.contract.errors import BadInput
from replicator.cli import app
from replicator.mm2.importing.flow import Imported, import_flow

BASE = ("clusters=A,B", "A.bootstrap.servers=a:1", "B.bootstrap.servers=b:1", "A->B.enabled=true")
KINDS = ("heartbeats", "checkpoints", "offset-syncs")
TRANSFORM = "org.apache.kafka.connect.transforms."


def _import(*lines: str) -> Imported:
    return import_flow("\n".join([*BASE, *lines]).encode())


@pytest.mark.parametrize("value", ["SASL_SLL", "SSLL", "SASL_PLAIN TEXT", "", "${env:PROTOCOL}"])
def test_an_unknown_protocol_is_refused(value: str) -> None:
    """A password must not cross in the clear because of a letter: key, value and Kafka's four are named."""
    with pytest.raises(BadInput) as caught:
        _import(f"A.security.protocol={value}", "A.sasl.mechanism=PLAIN")
    assert f"A.security.protocol = {value!r}" in str(caught.value)
    assert "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("A.security.protocl=SSL", "write A.security.protocol"),
        ("B.security.protokol = sasl_ssl", "write B.security.protocol"),
        ("B.security.protocl=${env:PROTOCOL}", "write B.security.protocol"),
        ("A.Security_Protocol=SSL", "write A.security.protocol"),
        ("securty.protocol=SSL", "write security.protocol"),
        ("A->B.security.protocl=SSL", "write A.security.protocol or B.security.protocol"),
        ("AA.security.protocol=SSL", "write A.security.protocol or B.security.protocol"),
        ("edge.security.protocol=SASL_SSL", "write A.security.protocol or B.security.protocol"),
        ("B.protocol=SSL", "write A.security.protocol or B.security.protocol"),
        ("B.producer.security.protocol=SASL_SSL", "write B.security.protocol"),
        ("A->B.consumer.security.protocol=SSL", "write A.security.protocol or B.security.protocol"),
    ],
)
def test_a_misspelt_protocol_is_refused(line: str, hint: str) -> None:
    """What seems to ask for encryption, and asks nobody, must not become a plain connection: the right key is named."""
    with pytest.raises(BadInput) as caught:
        _import(line)
    assert line.partition("=")[0].strip() in str(caught.value)
    assert hint in caught.value.hint


def test_protocols_that_are_no_slip_are_taken() -> None:
    """Nothing is refused that is right, of another cluster, or named by whoever wrote it."""
    lines = ("A.security.protocol=SSL", "A->C.security.protocol=SSL", "listeners.protocol=SSL", "ssl.protocol=TLSv1.3")
    assert _import(*lines, "A.consumer.security.protocol=SSL").settings["source"] == {"brokers": "a:1", "tls": True}
    base = "\n".join(BASE).replace("A,B", "A,B,C")
    assert import_flow(f"{base}\nC.security.protocl=SSL".encode()).settings["source"] == {"brokers": "a:1"}


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("A.ssl.truststore.loction", "A.ssl.truststore.location"),
        ("A.sasl.jass.config", "A.sasl.jaas.config"),
        ("topics.exlude", "topics.exclude"),
        ("A->B.topics.blacklst", "A->B.topics.blacklist"),
        ("B.producer.lingerms", "B.linger.ms"),
        ("replication_factor", "replication.factor"),
        ("sync.group.offset.enabled", "sync.group.offsets.enabled"),
    ],
)
def test_the_setting_that_was_meant_is_named(key: str, meant: str) -> None:
    """A key that neither Kafka nor MirrorMaker knows is told with the nearest one that they do."""
    (row,) = [row for row in _import(f"{key}=x").rows if row.key == key]
    assert (row.state, row.remark) == ("no counterpart", f"no setting of Kafka or MirrorMaker 2; {meant} is one")


def test_protocols_are_known_in_any_case() -> None:
    """As Kafka's clients read them."""
    assert _import("security.protocol= ssl ").settings["target"] == {"brokers": "b:1", "tls": True}


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        (r"topics.exclude=(?<x>.*),\\p{L}+", r"'(?<x>.*)', '\\p{L}+'"),
        ("A->B.topics.blacklist=ok,a(", "'a('"),
        ("topics.exclude=${file:/x:topics}", "${file:/x:topics}"),
        ("topics.exclude=[a[bc]]", "[a[bc]]"),
        ("topics.exclude=a{99999999999999999999}", "a{9"),
        ("groups.exclude=a(", "'a('"),
    ],
)
def test_what_leaves_out_is_never_dropped(line: str, bad: str) -> None:
    """With a pattern that cannot be used nothing is imported: the link would ship what MirrorMaker leaves out."""
    with pytest.raises(BadInput) as caught:
        _import("topics=.*", line)
    assert str(caught.value).startswith(line.partition("=")[0] + ": ")
    assert bad in str(caught.value)


def test_all_patterns_that_are_not_used_are_named() -> None:
    """In one row, and those that can be used are."""
    imported = _import("topics=a(,d(,c.*", "groups.whitelist=g(,h(,i")
    rows = {row.key: (row.state, row.value) for row in imported.rows}
    assert imported.settings["selection"] == {"include": ["c.*"]}
    assert rows["topics"] == ("no counterpart", "a(, d(")
    assert rows["groups.whitelist"] == ("no counterpart", "g(, h(")


def test_without_a_usable_pattern_it_is_named() -> None:
    """Where nothing would be shipped, the patterns are said and not only that there is none."""
    for lines, told in ((["A->B.topics=a(,d("], r"A->B\.topics: 'a\(', 'd\('"), (["topics=,"], "no topic is named")):
        with pytest.raises(BadInput, match=told):
            _import(*lines)


def test_transforms_without_a_rule_leave_a_trace_in_the_settings() -> None:
    """Whoever keeps the TOML alone sees that fields are not hidden any more; nothing of it gets out of the comment."""
    imported = _import(
        "transforms=t,u,v",
        f"transforms.t.type={TRANSFORM}ReplaceField$Value",
        "transforms.t.include=x",
        "transforms.u.type=Mine\\n[evil]\\u007f",
    )
    assert list(tomllib.loads(imported.toml)) == ["replicator"]
    comments = [line for line in imported.toml.splitlines() if line.startswith("# no counterpart: ")]
    assert f"transforms.t.type = {TRANSFORM}ReplaceField$Value (rules take fields out by name" in "".join(comments)
    assert [line.split()[3] for line in comments] == [
        "transforms",
        "transforms.t.type",
        "transforms.u.type",
        "transforms.v.type",
    ]


def test_parts_of_a_transform_that_was_not_taken_are_not_taken_over() -> None:
    """Its predicate and its fields have no counterpart; those that another one has in common have."""
    predicate = f"{TRANSFORM}predicates.TopicNameMatches"
    lines = [
        *("topics=x", "predicates=p,q", f"predicates.p.type={predicate}", "predicates.p.pattern=x"),
        *(f"predicates.q.type={TRANSFORM}predicates.HasHeaderKey", "predicates.q.name=h"),
        *("transforms=t", f"transforms.t.type={TRANSFORM}Filter", "transforms.t.predicate=p"),
    ]
    states = {row.key: row.state for row in _import(*lines).rows}
    assert {state for key, state in states.items() if key.startswith(("transforms", "predicates"))} == {
        "no counterpart"
    }
    more = ["transforms=t,u", f"transforms.u.type={TRANSFORM}DropHeaders", "transforms.u.headers=a"]
    states = {row.key: row.state for row in _import(*lines, *more, "transforms.u.predicate=q").rows}
    assert states["predicates"] == states["predicates.q.name"] == states["transforms.u.headers"] == "taken over"
    assert states["predicates.p.type"] == states["transforms.t.predicate"] == "no counterpart"


def test_what_a_config_provider_puts_in_is_no_part_of_a_rule() -> None:
    """A reference as the text of a header or a mask would be shipped as it stands."""
    imported = _import(
        *("transforms=t", f"transforms.t.type={TRANSFORM}InsertHeader", "transforms.t.header=plant"),
        "transforms.t.value.literal=${env:PLANT}",
    )
    assert "records" not in imported.settings


@pytest.mark.parametrize(
    ("lines", "mm2"),
    [
        (["emit.heartbeats.interval.seconds=-1"], {"publish": True}),
        (["emit.heartbeats.interval.seconds=-1", "emit.checkpoints.interval.seconds=-5"], {"publish": False}),
        (["emit.heartbeats.enabled=false", "emit.checkpoints.enabled=FALSE"], {"publish": False}),
        (["emit.heartbeats.enabled=false", "emit.checkpoints.interval.seconds=7"], {"publish": True}),
    ],
)
def test_what_is_off_is_off(lines: list[str], mm2: dict[str, bool]) -> None:
    """By `enabled = false` or by a negative interval; where a link can only do all of it, that is said."""
    imported = _import(*lines)
    found = imported.settings["mm2"]
    assert isinstance(found, dict)
    assert found["publish"] == mm2["publish"]
    assert "heartbeat_interval_s" not in found
    key = lines[0].partition("=")[0]
    expected = "no counterpart" if mm2["publish"] else "taken over"
    assert {row.key: row.state for row in imported.rows}[key] == expected


def test_a_negative_interval_of_configurations_is_off() -> None:
    """As MirrorMaker's scheduler has it."""
    assert _import("sync.topic.configs.interval.seconds=-1").settings["topic_configs"] == {"follow": False}


@pytest.mark.parametrize("key", ["A->B.sync.topic.configs.enabled", "emit.heartbeats.enabled"])
def test_a_switch_is_true_or_false(key: str) -> None:
    """Kafka refuses anything else, and nobody can know which was meant."""
    with pytest.raises(BadInput, match=f"{key} = 'yes' is neither true nor false"):
        _import(f"{key}=yes")


def test_a_flow_that_is_not_enabled_says_what_was_found(tmp_path: Path) -> None:
    """The value that is not `true` is named, on the command line too."""
    path = tmp_path / "mm2.properties"
    path.write_text("\n".join(BASE).replace("enabled=true", "enabled = yes"))
    for flow in (None, "A->B"):
        with pytest.raises(BadInput, match=r"A->B\.enabled = 'yes'"):
            import_flow(path.read_bytes(), flow)
    done = CliRunner().invoke(app, ["import-mm2", str(path)])
    assert isinstance(done.exception, BadInput)
    assert done.exception.exit_code == 2


def test_a_file_that_never_ends_is_refused() -> None:
    """A device is not read for ever: the command says what it is."""
    done = CliRunner().invoke(app, ["import-mm2", "/dev/zero"])
    assert isinstance(done.exception, BadInput)
    assert "/dev/zero cannot be read: it is no regular file" in str(done.exception)


def test_a_codec_of_the_producer_has_its_counterpart_named() -> None:
    """Without it a link carries what the source did not compress as it is."""
    found = _import("B.producer.compression.type=zstd")
    (row,) = [row for row in found.rows if row.key == "B.producer.compression.type"]
    assert (row.state, 'replicator.link.recompress = "zstd"' in row.remark) == ("no counterpart", True)


@pytest.mark.parametrize("value", ["maybe", ""])
def test_a_flow_that_is_neither_on_nor_off_is_refused(value: str) -> None:
    """It is not taken for one that is off."""
    with pytest.raises(BadInput, match=rf"A->B\.enabled = '{value}' is neither true nor false"):
        import_flow("\n".join(BASE).replace("enabled=true", f"enabled={value}").encode())


def test_an_interval_that_no_link_takes_becomes_its_longest() -> None:
    """MirrorMaker takes any; of what was meant as never the longest is taken, and that is said."""
    key = "emit.heartbeats.interval.seconds"
    found = _import(f"{key}={10**400}", "sync.topic.configs.interval.seconds=604800")
    mm2, configs = found.settings["mm2"], found.settings["topic_configs"]
    assert isinstance(mm2, dict)
    assert isinstance(configs, dict)
    assert (mm2["heartbeat_interval_s"], configs["refresh_s"]) == (604_800, 604_800)
    assert [row.remark for row in found.rows if row.key.endswith(key)] == ["as 604800 s, a week: longer cannot be set"]


def test_a_byte_order_mark_is_no_part_of_a_key() -> None:
    """Editors put one in front of the first line."""
    assert import_flow(b"\xef\xbb\xbf" + "\n".join(BASE).encode()).flow == "A->B"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("B.security.protocol=SSL\nssl.keystore.location=\nA.bootstrap.servers=a:1", "ssl.keystore.location = ''"),
        ("", "A.bootstrap.servers is missing"),
        ("A.bootstrap.servers=nowhere", "A.bootstrap.servers: 'nowhere' is not host:port"),
    ],
)
def test_what_is_wrong_is_named_as_in_the_file(line: str, told: str) -> None:
    """What is missing or wrong is told by its key there, not by that of a setting that it would become."""
    with pytest.raises(BadInput) as caught:
        import_flow("\n".join([BASE[0], *BASE[2:], line]).encode())
    assert told in str(caught.value)
    assert "Value error" not in str(caught.value)
