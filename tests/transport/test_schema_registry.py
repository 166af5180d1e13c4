"""A schema registry over HTTP: asked once an id, never waited for beyond the limit."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from headwater.contract.decoders import DecoderSpec, SchemaUnknown, make
from headwater.contract.errors import BadInput, BadSetting, HeadwaterError, Refused, Unreachable, Untrusted
from headwater.transport.schema_registry import MISSES_A_MINUTE, SchemaRegistry, SchemaRegistrySettings

DOUBLE = {"schema": '"double"'}


class Registry(ThreadingHTTPServer):
    """A registry of a few paths; `asked` has every request with its login."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def has(self, path: str, answer: Any, status: int = 200) -> None:
        """Answer a path with JSON, or with bytes as they are."""
        self.answers[path] = (status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if self.path.endswith("/ids/666"):
            self._drip()
            return
        missing = (404, b'{"error_code":40403,"message":"Schema not found"}')
        status, body = self.server.answers.get(self.path, missing)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://elsewhere.example/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        """A byte every 50 ms, without end, as a broken proxy may send."""
        self.send_response(200)
        self.end_headers()
        try:
            while not self.server.ended.wait(0.05):
                self.wfile.write(b" ")
        except OSError:
            return

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.ended.set()
        server.shutdown()
        thread.join(5)


def client(url: str, **more: Any) -> SchemaRegistry:
    return SchemaRegistry(SchemaRegistrySettings(url=url, **more))


def test_a_schema_is_fetched_once(registry: Registry) -> None:
    """An id never changes its schema, so that a message costs no request."""
    registry.has("/apis/ccompat/v7/schemas/ids/7", DOUBLE)
    schemas = client(registry.url + "/apis/ccompat/v7/", username="edge", password="secret")

    assert [schemas.schema(7) for _ in range(3)] == [b'"double"'] * 3
    assert registry.asked == [("/apis/ccompat/v7/schemas/ids/7", "Basic ZWRnZTpzZWNyZXQ=")]


def test_a_framed_message_is_read_after_its_schema_was_fetched(registry: Registry) -> None:
    """Decoder and registry together, as a bridge uses them."""
    registry.has("/schemas/ids/258", DOUBLE)
    known: dict[str, bytes] = {}
    decoder = make(DecoderSpec(kind="avro", framing="confluent", values={"flow": ""}), known)
    payload = b"\0\0\0\x01\x02" + bytes(6) + b"\xf8\x3f"

    with pytest.raises(SchemaUnknown) as caught:
        decoder.decode("a/b", payload, 5)
    known[str(caught.value.schema_id)] = client(registry.url).schema(caught.value.schema_id)

    assert decoder.decode("a/b", payload, 5)[0].value == b'{"v":1,"t":5,"values":{"flow":1.5}}'


def test_the_newest_schema_of_a_subject_is_found(registry: Registry) -> None:
    """Under any name; asked anew each time."""
    registry.has("/subjects/pump%2Fvalue/versions/latest", {**DOUBLE, "id": 9, "version": 3, "subject": "pump/value"})

    assert client(registry.url).latest("pump/value") == (9, b'"double"')
    with pytest.raises(BadInput, match="no subject 'valve'"):
        client(registry.url).latest("valve")


def test_an_unknown_id_is_not_asked_for_again_at_once(registry: Registry) -> None:
    """But it is later: the publisher may have been faster than the registry."""
    schemas = client(registry.url, unknown_s=0.2)
    for _ in range(3):
        with pytest.raises(BadInput, match="has no schema 7"):
            schemas.schema(7)
    assert len(registry.asked) == 1
    registry.has("/schemas/ids/7", DOUBLE)

    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            assert schemas.schema(7) == b'"double"'
            break
        except BadInput:
            time.sleep(0.02)

    assert len(registry.asked) == 2


def test_made_up_ids_do_not_flood_the_registry(registry: Registry) -> None:
    """After a hundred in a minute that do not exist, ids never seen are refused unasked; known ones are read."""
    registry.has("/schemas/ids/7", DOUBLE)
    schemas = client(registry.url)
    schemas.schema(7)
    for made_up in range(1000, 1000 + 3 * MISSES_A_MINUTE):
        with pytest.raises(BadInput):
            schemas.schema(made_up)

    assert len(registry.asked) == 1 + MISSES_A_MINUTE
    assert schemas.schema(7) == b'"double"'


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b"", Refused), (403, b"", Refused), (429, b"", Unreachable), (500, b"", Unreachable),
        (503, b"", Unreachable), (302, b"", BadSetting), (400, b"", BadInput), (200, b"<html>", BadInput),
        (200, b"{}", BadInput),
        (200, b'{"schema":7}', BadInput), (200, b"\xff", BadInput), (200, b"[" * 100_000, BadInput),
        (200, b'{"schema":"' + b"x" * (1 << 20) + b'"}', BadInput),
        (200, b'{"schema":"1","references":[{"name":"a","subject":"b","version":1}]}', BadInput),
    ],
)  # fmt: skip
def test_what_the_registry_answers_is_an_error_of_ours(
    registry: Registry, status: int, body: bytes, error: type[HeadwaterError]
) -> None:
    """Refused logins, redirects, other servers, answers without end; nothing of it is remembered as a schema."""
    registry.has("/schemas/ids/7", body, status)
    schemas = client(registry.url)

    with pytest.raises(error) as caught:
        schemas.schema(7)
    assert type(caught.value) is error
    registry.has("/schemas/ids/7", DOUBLE)
    assert schemas.schema(7) == b'"double"'


def test_an_answer_has_a_time_limit_in_all(registry: Registry) -> None:
    """Also when it comes byte by byte, which starts the limit of a socket anew each time."""
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"0\.4 s"):
        client(registry.url, timeout_s=0.4).schema(666)
    assert 0.3 < time.monotonic() - began < 3


def test_a_registry_that_is_silent_or_away_is_unreachable() -> None:
    """It accepts and says nothing; or nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unreachable, match=r"0\.3 s"):
            client(url, timeout_s=0.3).schema(7)
    with pytest.raises(Unreachable):
        client(url, timeout_s=0.3).schema(7)


def _certificate(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry")])
    now = dt.datetime.now(dt.UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = built.add_extension(address, critical=False).sign(key, hashes.SHA256())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*form) + signed.public_bytes(serialization.Encoding.PEM))


def test_its_certificate_is_checked(registry: Registry, tmp_path: Path) -> None:
    """Encrypted where the address says https; a certificate that no known authority signed is not trusted."""
    _certificate(tmp_path / "registry.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "registry.pem")
    registry.socket = context.wrap_socket(registry.socket, server_side=True)
    registry.has("/schemas/ids/7", DOUBLE)
    url = registry.url.replace("http:", "https:")

    assert client(url, ca_file=tmp_path / "registry.pem").schema(7) == b'"double"'
    with pytest.raises(Untrusted):
        client(url).schema(7)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "registry:8081"}, {"url": "http://"}, {"url": "http://u:p@host"}, {"url": "http://h:x"},
        {"url": "http://a b"}, {"url": "http://h/?a"}, {"url": "http://h", "password": "x"},
        {"url": "http://h", "ca_file": "x"}, {"url": "http://h", "timeout_s": 0},
    ],
)  # fmt: skip
def test_settings_without_sense_are_refused(wrong: dict[str, Any]) -> None:
    """Before anything is asked."""
    with pytest.raises(ValidationError):
        SchemaRegistrySettings(**wrong)


def test_a_registry_is_reached_without_an_id(registry: Registry) -> None:
    """Its own 404 is an answer; that of another server is not, nor is silence, which is told as what it is."""
    client(registry.url).reach()
    registry.has("/schemas/ids/2147483647", b"<h1>not here</h1>", 404)
    with pytest.raises(BadInput, match="is no schema registry"):
        client(registry.url).reach()
    with pytest.raises(Unreachable, match="does not answer: nothing listens there") as caught:
        client("http://127.0.0.1:1").reach()
    assert "Error" not in str(caught.value)
