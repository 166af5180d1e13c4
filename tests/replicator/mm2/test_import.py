"""A properties file of MirrorMaker 2 becomes the settings of a link, and nothing of it is passed over."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from headwater.contract.errors import BadInput
from headwater.transport import settings as sources
from replicator.cli import app
from replicator.mm2.importing.flow import Imported, import_flow
from replicator.mm2.importing.properties import parse_login, parse_properties
from replicator.settings import ReplicatorSettings

FILE = rb"""
clusters = Edge_1, cloud, other
Edge_1.bootstrap.servers = edge1:9092, \
    edge2:9092
cloud.bootstrap.servers = cloud:9093
cloud.security.protocol=SASL_SSL
cloud.sasl.mechanism: SCRAM-SHA-512
cloud.sasl.jaas.config = org.apache.kafka.common.security.scram.ScramLoginModule required username="mm2" \
    password="top\\"s;ecret";
cloud.ssl.truststore.location=/etc/kafka/trust.jks
cloud.ssl.truststore.password=hushhush
cloud.ssl.keystore.location=/etc/kafka/me.pem
cloud.ssl.keystore.type=PEM
cloud.ssl.key.password=hush-too
other.sasl.jaas.config = x required username="u" password="not-shown-either";
Edge_1->cloud.enabled = true
cloud->Edge_1.enabled = false
Edge_1->cloud.topics = readings, orders\\..*, alarms, \\p{Upper}.*
topics.exclude = .*\\.tmp
Edge_1->cloud.groups = app-.*
Edge_1->cloud.sync.group.offsets.enabled = true
sync.group.offsets.enabled = false
Edge_1->cloud.emit.checkpoints.interval.seconds = 30
replication.policy.separator = _x_
replication.factor = 3
offset-syncs.topic.location=target
sync.topic.configs.enabled = false
cloud.producer.batch.size = 300000
Edge_1.consumer.auto.offset.reset = latest
tasks.max = 8
foo.bar = baz
"""
SECRETS = ("s;ecret", "hushhush", "hush-too", "not-shown-either")


def _loaded(imported: Imported, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ReplicatorSettings:
    """The settings as a link would load them, with the secrets in their files."""
    (folder / "headwater.toml").write_text(imported.toml)
    (folder / "secrets").mkdir()
    for name in imported.secrets:
        (folder / "secrets" / name).write_text("s3cret")
    monkeypatch.setenv("HEADWATER_CONFIG", str(folder / "headwater.toml"))
    monkeypatch.setenv("HEADWATER_SECRETS", str(folder / "secrets"))
    return sources.load("replicator", ReplicatorSettings)


def test_a_file_becomes_settings_that_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The printed TOML, with the secret in the file that it names, is what `replicate run` loads."""
    found = _loaded(import_flow(FILE), tmp_path, monkeypatch)
    assert (found.site, found.names.source, found.names.target) == ("edge-1", "Edge_1", "cloud")
    assert found.names.remote("readings") == "Edge_1_x_readings"
    assert found.source.brokers == "edge1:9092,edge2:9092"
    assert not found.source.tls
    target = found.target
    assert (target.tls, target.sasl_mechanism, target.username) == (True, "SCRAM-SHA-512", "mm2")
    assert target.password is not None
    assert target.password.get_secret_value() == "s3cret"
    assert (str(target.ca_file), str(target.cert_file)) == ("/etc/kafka/trust.pem", "/etc/kafka/me.pem")
    assert found.topics == ("readings", "alarms")
    assert (found.selection.include, found.selection.exclude) == ((r"orders\..*",), (r".*\.tmp",))
    mm2 = found.mm2
    assert (mm2.publish, mm2.sync_group_offsets, mm2.checkpoint_interval_s) == (True, True, 30)
    assert (mm2.groups, mm2.offset_syncs_at) == (("app-.*",), "target")
    assert (found.replication_factor, found.topic_configs.follow) == (3, False)


def test_every_line_has_a_fate() -> None:
    """Each setting of the file is told once: taken over, a secret, not needed, or without a counterpart, and why."""
    rows = {row.key: row for row in import_flow(FILE).rows}
    assert parse_properties(FILE).keys() <= rows.keys()
    assert all(row.remark for row in rows.values())
    states = {key: rows[key].state for key in rows}
    assert states["cloud.sasl.jaas.config"] == "secret"
    assert states["Edge_1->cloud.topics"] == "no counterpart"  # one of its patterns is Java's alone
    assert states["Edge_1.consumer.auto.offset.reset"] == states["foo.bar"] == "no counterpart"
    assert states["sync.topic.acls.enabled (default)"] == "no counterpart"
    for key in ("tasks.max", "cloud.producer.batch.size", "cloud->Edge_1.enabled", "sync.group.offsets.enabled"):
        assert states[key] == "not needed", key
    assert "openssl pkcs12" in rows["cloud.ssl.truststore.location"].remark


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    """Neither the settings nor the table nor the JSON has a password; the file that it goes into is named."""
    path = tmp_path / "mm2.properties"
    path.write_bytes(FILE)
    for more in ([], ["--json"]):
        done = CliRunner().invoke(app, ["import-mm2", str(path), *more])
        assert done.exit_code == 0
        assert not [secret for secret in SECRETS if secret in done.output]
        assert "replicator__target__password" in done.output
    settings = msgspec.json.decode(done.stdout)["settings"]
    assert settings["target"]["username"] == "mm2"


def test_the_table_goes_beside_the_settings(tmp_path: Path) -> None:
    """Standard output is a file for a link, and nothing else; what has no counterpart is told on standard error."""
    path = tmp_path / "mm2.properties"
    path.write_bytes(FILE)
    done = CliRunner().invoke(app, ["import-mm2", str(path)])
    assert tomllib.loads(done.stdout)["replicator"]["site"] == "edge-1"
    assert "auto.offset.reset" in done.stderr
    assert "no counterpart" in done.stderr


def _minimal(*lines: str) -> Imported:
    base = ("clusters=a,b", "a.bootstrap.servers=a:1", "b.bootstrap.servers=b:1", "a->b.enabled=true")
    return import_flow("\n".join([*base, *lines]).encode())


def test_defaults_are_mirrormakers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file leaves out is as MirrorMaker has it: all topics, two copies, configurations that follow."""
    found = _loaded(_minimal(), tmp_path, monkeypatch)
    assert (found.topics, found.selection.include, found.replication_factor) == ((), (".*",), 2)
    assert (found.mm2.publish, found.mm2.sync_group_offsets, found.topic_configs.follow) == (True, False, True)
    assert found.names == ("a", "b", ".", False)


@pytest.mark.parametrize(
    ("lines", "path", "value"),
    [
        (
            ["replication.policy.class=org.apache.kafka.connect.mirror.IdentityReplicationPolicy"],
            "naming.keep_names",
            True,
        ),
        (
            ["a.security.protocol=SSL", "ssl.truststore.location=/ca.pem", "ssl.truststore.type=PEM"],
            "source.ca_file",
            "/ca.pem",
        ),
        (["a.security.protocol=SSL", "a.ssl.keystore.location=/k.p12"], "source.key_file", "/k.pem"),
        (["topics.blacklist=x"], "selection.exclude", ["x"]),
        (["topics=x, y"], "topics", ["x", "y"]),
        (
            ["emit.heartbeats.enabled=false", "emit.checkpoints.enabled=false", "emit.offset-syncs.enabled=false"],
            "mm2.publish",
            False,
        ),
        (["a->b.sync.topic.configs.interval.seconds=5"], "topic_configs.refresh_s", 5),
    ],
)
def test_settings_are_taken_over(lines: list[str], path: str, value: Any) -> None:
    """Names, security, topics and duties become the settings of ours that do the same."""
    found: Any = _minimal(*lines).settings
    for name in path.split("."):
        found = found[name]
    assert found == value


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        (["replication.policy.class=com.example.Mine"], "replication.policy.class"),
        (["a.security.protocol=SASL_PLAINTEXT", "a.sasl.mechanism=OAUTHBEARER"], "a.sasl.mechanism"),
        (["a.security.protocol=SASL_PLAINTEXT", "a.sasl.mechanism=MINE"], "a.sasl.mechanism"),
        (["a->b.transforms=x"], "a->b.transforms"),
        (["topic.filter.class=com.example.Filter"], "topic.filter.class"),
        (["replication.factor=-1"], "replication.factor"),
        (["a->b.groups=${file:/x:groups}"], "a->b.groups"),
    ],
)
def test_what_has_no_counterpart_is_said(lines: list[str], key: str) -> None:
    """What a link cannot do as MirrorMaker would is in the table, though the file can be used otherwise."""
    assert {row.key: row.state for row in _minimal(*lines).rows}[key] == "no counterpart"


def test_kerberos_is_taken_over() -> None:
    """Java's default mechanism: principal, keytab and service name of its login module."""
    module = 'com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true keyTab="/etc/mm2.keytab"'
    found: Any = _minimal(
        "a.security.protocol=SASL_PLAINTEXT",
        f'a.sasl.jaas.config={module} principal="mm2/edge@PLANT.EXAMPLE";',
        "a.sasl.kerberos.service.name=broker",
    ).settings
    assert {key: value for key, value in found["source"].items() if key != "brokers"} == {
        "sasl_mechanism": "GSSAPI",
        "username": "mm2/edge@PLANT.EXAMPLE",
        "keytab_file": "/etc/mm2.keytab",
        "kerberos_service": "broker",
    }


def test_one_flow_is_chosen() -> None:
    """A file with several flows needs the choice of one; one without any is refused; both in a sentence."""
    both = FILE.replace(b"cloud->Edge_1.enabled = false", b"cloud->Edge_1.enabled = true")
    with pytest.raises(BadInput, match="2 flows are enabled") as caught:
        import_flow(both)
    assert "Edge_1->cloud, cloud->Edge_1" in caught.value.hint
    assert import_flow(both, "cloud->Edge_1").settings["site"] == "site-cloud"
    for wanted in ("Edge_1->other", "nonsense"):
        with pytest.raises(BadInput, match="is not enabled"):
            import_flow(both, wanted)
    for data in (b"", b"\0\xff", b"clusters=a,b", b"a->b.enabled=true"):
        with pytest.raises(BadInput, match="no flows are enabled"):
            import_flow(data)


@pytest.mark.parametrize(
    "lines", [["replication.factor=many"], ["a.bootstrap.servers=nowhere"], ["replication.policy.separator=/"]]
)
def test_a_file_of_which_nothing_can_be_made_is_refused(lines: list[str]) -> None:
    """Settings with which no link would start are refused here, not at its start."""
    with pytest.raises(BadInput):
        _minimal(*lines)


def test_properties_are_read_as_java_reads_them() -> None:
    """Comments, lines that go on, escapes and separators, as java.util.Properties has loaded this very text."""
    text = (
        "# c\n! d\n  a = 1  \nb:2\nc 3\nd\t=\t4\ne=x\\\n   y\nf=x\\\\\ng=a\\tb\\u00fc\nh\\ i=1\nj\\=k=l=m\nk:=5\nl\n"
        "m =\n\\#n=o\nz=1\nz=2\no=a\\\n#b\nA->B.topics = t1, t2\r\nq = C:\\\\x\\y\nr==s\nt=last\\"
    )
    expected = {"a": "1  ", "b": "2", "c": "3", "d": "4", "e": "xy", "f": "x\\", "g": "a\tbü", "h i": "1", "j=k": "l=m"}
    expected |= {"k": "=5", "l": "", "m": "", "#n": "o", "z": "2", "o": "a#b", "A->B.topics": "t1, t2", "q": "C:\\xy"}
    assert parse_properties(text.encode()) == {**expected, "r": "=s", "t": "last"}
    assert parse_properties("a=ü".encode("latin-1")) == {"a": "ü"}
    assert parse_properties(rb"a=\ud83d\ude00") == {"a": "\U0001f600"}
    with pytest.raises(BadInput, match="line 1 has half of a surrogate pair"):
        parse_properties(rb"a=\ud83d")


def test_any_text_is_toml() -> None:
    """What a pattern holds is what a link reads, whatever characters it is of."""
    text = '\x7f\x01"\U0001f600'
    imported = _minimal(r"topics.exclude=\u007f\u0001\"\ud83d\ude00")
    assert tomllib.loads(imported.toml)["replicator"]["selection"]["exclude"] == [text]


def test_logins_are_read_from_jaas_lines() -> None:
    """User and password are found in either kind of quotes, with escapes."""
    line = """x.PlainLoginModule required username="a b" password='p;"q' serviceName=kafka escaped="a\\\\b\\"c";"""
    assert parse_login(line) == {"username": "a b", "password": 'p;"q', "serviceName": "kafka", "escaped": 'a\\b"c'}


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(data: bytes) -> None:
    """Whatever is in a file, it is read or refused in a sentence."""
    try:
        _minimal_with(data)
    except BadInput:
        pass


def _minimal_with(data: bytes) -> Imported:
    lines = b"clusters=a,b\na.bootstrap.servers=a:1\nb.bootstrap.servers=b:1\na->b.enabled=true\n"
    return import_flow(lines + data)
