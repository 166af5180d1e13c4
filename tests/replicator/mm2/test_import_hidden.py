"""No secret of a MirrorMaker 2 file is printed, wherever it stands and however its key is written."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from headwater.contract.errors import BadInput
from replicator.cli import app
from replicator.mm2.importing.flow import Imported, import_flow

BASE = ("clusters=A,B,C", "A.bootstrap.servers=a:1", "B.bootstrap.servers=b:1", "A->B.enabled=true")
LINE = 'x.PlainLoginModule required username="u" password="hush";'
INSERT = "transforms=h\ntransforms.h.type=org.apache.kafka.connect.transforms.InsertHeader"


def _import(*lines: str) -> Imported:
    return import_flow("\n".join([*BASE, *lines]).encode())


def _printed(folder: Path, *lines: str) -> str:
    path = folder / "mm2.properties"
    path.write_text("\n".join([*BASE, *lines]))
    done = [CliRunner().invoke(app, ["import-mm2", str(path), *more]) for more in ([], ["--json"])]
    assert [each.exit_code for each in done] == [0, 0]
    assert tomllib.loads(done[0].stdout)["replicator"]["site"] == "a"
    return "".join(each.output for each in done)


@pytest.mark.parametrize(
    "line",
    [
        f"A.sasl.jass.config={LINE}",
        "A.basic.auth.credentials=user:hush",
        "A->B.schema.registry.basic.auth.user.info=user:hush",
        "rest.advertised.url=http://u:hush@h:8083",
        "custom.url=https://h/x?sig=hush&token=hush",
        "api.key=hush",
        "vault.auth=hush",
        "A.producer.clientkey=hush",
        'licence=username="u" password="hush"',
        "A.producer.sasl.jass.config=username=u pin=hush",
        "config.providers.vault.param.pin=hush",
        "C.pin=hush",
        "C->B.pin=hush",
        f"A.sasl.jaas.config=x\n{LINE}",
        f"{'hush' * 16}",
        "hush/abc+" * 5,
        "A->B.transforms=h\nA->B.transforms.h.pin=hush",
        f"{INSERT}\ntransforms.h.header=Authorization\ntransforms.h.value.literal=Bearer hush",
        "A.client.id=http://u:hush@h",
    ],
)
def test_no_secret_is_printed(tmp_path: Path, line: str) -> None:
    """Neither of a key that is misspelt or unknown nor in a value of a known one; table, TOML and JSON."""
    printed = _printed(tmp_path, line)
    assert "hush" not in printed
    assert "hidden" in printed


def test_values_of_known_settings_are_shown() -> None:
    """What has a counterpart or none, and why, is of use with its value; one that is not known has none to show."""
    rows = {row.key: row.value for row in _import("tasks.max=8", "A.producer.batch.size=3", "foo.bar=baz").rows}
    assert (rows["tasks.max"], rows["A.producer.batch.size"], rows["foo.bar"]) == ("8", "3", "(hidden)")


def test_a_login_among_the_brokers_is_not_repeated() -> None:
    """A password in the address is refused without saying it again."""
    with pytest.raises(BadInput, match=r"A\.bootstrap\.servers seems to hold a login") as caught:
        import_flow(b"clusters=A,B\nA->B.enabled=true\nA.bootstrap.servers=u:hush@a:1")
    assert "hush" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    ("lines", "key", "told"),
    [
        (["ssl.keystore.key=hush"], "ssl.keystore.key", "source.key_file and target.key_file"),
        (["A.ssl.keystore.key=hush", "A.ssl.key.password=p"], "A.ssl.keystore.key", "openssl pkey -in"),
        (["A.ssl.keystore.certificate.chain=hush"], "A.ssl.keystore.certificate.chain", "source.cert_file"),
        (["A.ssl.truststore.certificates=hush"], "A.ssl.truststore.certificates", "source.ca_file"),
    ],
)
def test_pem_in_the_file_itself_goes_into_files(tmp_path: Path, lines: list[str], key: str, told: str) -> None:
    """Keys and certificates that stand in the properties: it is said which setting names a file with them."""
    row = {row.key: row for row in _import("A.security.protocol=SSL", *lines).rows}[key]
    assert row.state == "no counterpart"
    assert told in row.remark
    assert "hush" not in _printed(tmp_path, "A.security.protocol=SSL", *lines)


def test_an_encrypted_key_is_to_be_decrypted_first() -> None:
    """A PEM store with a password: the command that decrypts its key, and the settings with the file it makes."""
    imported = _import(
        *("A.security.protocol=SSL", "A.ssl.keystore.type=PEM", "A.ssl.keystore.location=/etc/me.pem"),
        "A.ssl.key.password=hush",
    )
    source: Any = imported.settings["source"]
    assert (source["cert_file"], source["key_file"]) == ("/etc/me.pem", "/etc/me-key.pem")
    rows = {row.key: row for row in imported.rows}
    convert = "openssl pkey -in /etc/me.pem -out /etc/me-key.pem"
    assert f", to be made: {convert}" in rows["A.ssl.keystore.location"].remark
    assert convert in rows["A.ssl.key.password"].remark


def test_tokens_come_from_a_file() -> None:
    """OAUTHBEARER is set, the token's file is asked for, and there is neither a user nor a password to write."""
    line = 'x required clientId="me" clientSecret="hush";'
    imported = _import("A.security.protocol=SASL_SSL", "A.sasl.mechanism=OAUTHBEARER", f"A.sasl.jaas.config={line}")
    assert imported.settings["source"] == {"brokers": "a:1", "tls": True, "sasl_mechanism": "OAUTHBEARER"}
    assert imported.secrets == []
    rows = {row.key: row for row in imported.rows}
    assert "source.token_file" in rows["A.sasl.mechanism"].remark
    assert "source.token_file" in imported.toml
    assert "password" not in rows["A.sasl.jaas.config"].remark + imported.toml
    assert "hush" not in msgspec.json.encode(imported).decode()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize(
    ("lines", "key", "told"),
    [
        (["A.sasl.jaas.config=garbage"], "A.sasl.jaas.config", "no username found in it"),
        ([], "A.sasl.jaas.config (missing)", "no username found in it"),
        (['A.sasl.jaas.config=x required username="${file:/x:u}";'], "A.sasl.jaas.config", "a config provider's value"),
        (["A.sasl.jaas.config=${file:/x:jaas}"], "A.sasl.jaas.config", "a config provider's value"),
    ],
)
def test_a_login_without_a_user_is_said(mechanism: str, lines: list[str], key: str, told: str) -> None:
    """Nothing is called taken over that was not there, and no reference of a config provider becomes a user's name."""
    imported = _import("A.security.protocol=SASL_SSL", f"A.sasl.mechanism={mechanism}", *lines)
    assert imported.settings["source"] == {"brokers": "a:1", "tls": True, "sasl_mechanism": mechanism}
    row = {row.key: row for row in imported.rows}[key]
    assert row.state == "no counterpart"
    assert told in row.remark
    assert told in imported.toml


def test_kerberos_by_a_config_provider_is_not_copied() -> None:
    """A principal that a config provider puts in is asked for, the keytab beside it taken over."""
    line = 'x required principal="${file:/x:p}" keyTab="/k.keytab";'
    imported = _import("A.security.protocol=SASL_SSL", f"A.sasl.jaas.config={line}")
    source: Any = imported.settings["source"]
    assert (source.get("username"), source["keytab_file"]) == (None, "/k.keytab")
    assert "source.username" in {row.key: row for row in imported.rows}["A.sasl.jaas.config"].remark


def test_logins_of_single_clients_are_said() -> None:
    """A login for the producer alone is no tuning."""
    rows = {
        row.key: row
        for row in _import("B.producer.security.protocol=SSL", "B.security.protocol=SSL", "sasl.login.class=x").rows
    }
    assert rows["B.producer.security.protocol"].state == "no counterpart"
    assert "Kerberos" in rows["sasl.login.class"].remark
