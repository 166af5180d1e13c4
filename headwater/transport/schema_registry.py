"""Schemas by the registry's id: the REST interface that Confluent, Redpanda, Karapace and Apicurio have in common.

Only what a decoder needs (docs.confluent.io, "Schema Registry API Reference"): `GET /schemas/ids/{id}` and
`GET /subjects/{subject}/versions/latest`. Standard library alone: the registry client of confluent-kafka brings an
HTTP client, an OAuth client and three more packages for the same. Calls block; no proxy is used, no redirect followed.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, quote, urlsplit

import msgspec

from headwater.contract.errors import BadInput, BadSetting, HeadwaterError, Refused, Unreachable, Untrusted
from headwater.transport import tls as encryption
from headwater.transport.schema_registry_settings import SchemaRegistrySettings

__all__ = ["MAX_SCHEMAS", "MISSES_A_MINUTE", "SchemaRegistry", "SchemaRegistrySettings"]

MAX_ANSWER_BYTES = 1 << 20
MAX_SCHEMAS = 1024  # kept at a time; a plant has tens
MISSES_A_MINUTE = 100  # then ids never seen are unknown unasked: a publisher can make up four billion of them
_NO_ID = 2_147_483_647  # the largest; asked for to see whether there is a registry
_ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"


class _Answer(msgspec.Struct):
    schema: str
    schemaType: str = "AVRO"  # noqa: N815  # as the registry spells it; left out for Avro
    references: list[msgspec.Raw] = []
    id: int | None = None


class SchemaRegistry:
    """Schemas of one registry, each fetched once. Safe to share between threads, which wait for each other."""

    def __init__(self, settings: SchemaRegistrySettings) -> None:
        self._settings = settings
        self._address: SplitResult = urlsplit(settings.url)
        self._tls = encryption.context(settings, settings.url)
        self._known: dict[int, bytes] = {}
        self._unknown: dict[int, float] = {}  # id: when it may be asked for again, monotonic seconds
        self._misses: list[float] = []
        self._lock = threading.Lock()

    def schema(self, schema_id: int) -> bytes:
        """The schema of an id, from memory when it was fetched before.

        BadInput: the registry has none of this id (or had none a moment ago), or one that cannot be used alone.
        Unreachable: no answer in `timeout_s`; trying again may help. Refused: the login is not allowed.
        Untrusted: its certificate is not.
        """
        with self._lock:
            found = self._known.get(schema_id)
            if found is None:
                self._check_worth_asking(schema_id)
                found = self._fetch(schema_id)
                if len(self._known) >= MAX_SCHEMAS:
                    self._known.clear()
                self._known[schema_id] = found
            return found

    def latest(self, subject: str) -> tuple[int, bytes]:
        """Id and text of a subject's newest schema, asked for anew each time; errors as `schema`."""
        answer = self._get(f"/subjects/{quote(subject, safe='')}/versions/latest")
        if answer is None or answer.id is None:
            raise BadInput(f"the schema registry {self._settings.url} has no subject {subject!r}")
        return answer.id, self._text(answer, f"subject {subject!r}")

    def reach(self) -> None:
        """Return if a registry answers there as `schema` needs it; errors as there."""
        path = f"/schemas/ids/{_NO_ID}"
        status, location, body = self._ask(path)
        if status not in (http.HTTPStatus.OK, http.HTTPStatus.NOT_FOUND):
            raise _refusal(status, location, f"{self._settings.url}{path}")
        if status == http.HTTPStatus.NOT_FOUND and b'"error_code"' not in body:
            raise BadInput(f"{self._settings.url} is no schema registry: it has no {path}", hint="is the path missing?")

    def _check_worth_asking(self, schema_id: int) -> None:
        now = time.monotonic()
        if now < self._unknown.get(schema_id, 0.0):
            raise self._unknown_id(schema_id)
        self._misses = [at for at in self._misses if at > now - 60]
        if len(self._misses) >= MISSES_A_MINUTE:
            raise BadInput(
                f"schema {schema_id} is not asked for: {MISSES_A_MINUTE} ids in a minute did not exist",
                hint="a publisher names schemas that the registry does not have; see the dead letters",
            )

    def _fetch(self, schema_id: int) -> bytes:
        answer = self._get(f"/schemas/ids/{schema_id}")
        if answer is None:
            now = time.monotonic()
            self._misses.append(now)
            if len(self._unknown) >= MAX_SCHEMAS:
                self._unknown.clear()
            self._unknown[schema_id] = now + self._settings.unknown_s
            raise self._unknown_id(schema_id)
        return self._text(answer, f"schema {schema_id}")

    def _unknown_id(self, schema_id: int) -> BadInput:
        return BadInput(f"the schema registry {self._settings.url} has no schema {schema_id}")

    def _text(self, answer: _Answer, what: str) -> bytes:
        if answer.references:
            raise BadInput(
                f"{what} of {self._settings.url} refers to other schemas, which is not supported",
                hint="register one schema that holds all of its types",
            )
        return answer.schema.encode()

    def _get(self, path: str) -> _Answer | None:
        """What the registry answers, None where it has no such thing."""
        status, location, body = self._ask(path)
        where = f"{self._settings.url}{path}"
        if status == http.HTTPStatus.NOT_FOUND:
            return None
        if status != http.HTTPStatus.OK:
            raise _refusal(status, location, where)
        if len(body) > MAX_ANSWER_BYTES:
            raise BadInput(f"{where} answers with more than {MAX_ANSWER_BYTES} bytes")
        try:
            return msgspec.json.decode(body, type=_Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadInput(f"{where} is no schema registry: {error}", hint="is the address right?") from error

    def _ask(self, path: str) -> tuple[int, str, bytes]:
        connection = self._connection()
        try:
            with _turned(self._settings), _ended_after(connection, self._settings.timeout_s):
                connection.request("GET", self._address.path + path, headers=self._headers())
                response = connection.getresponse()
                return response.status, response.headers.get("Location", ""), response.read(MAX_ANSWER_BYTES + 1)
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port, wait = self._address.hostname or "", self._address.port, self._settings.timeout_s
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=wait)
        return http.client.HTTPSConnection(host, port, timeout=wait, context=self._tls)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": _ACCEPT, "User-Agent": "headwater"}
        if self._settings.username is not None:
            secret = self._settings.password.get_secret_value() if self._settings.password else ""
            pair = f"{self._settings.username}:{secret}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return headers


def _refusal(status: int, location: str, where: str) -> HeadwaterError:
    if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        return Refused(f"{where} refuses the login ({status})", hint="check `username` and `password` of the registry")
    if status == http.HTTPStatus.TOO_MANY_REQUESTS or status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unreachable(f"{where} answers {status}")
    if location:
        return BadSetting(
            f"{where} has moved to {location[:200]!r}", hint="set that address; redirects are not followed"
        )
    return BadInput(f"{where} answers {status}", hint="is it a schema registry?")


@contextmanager
def _turned(settings: SchemaRegistrySettings) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise Untrusted(f"the certificate of {settings.url} is not trusted: {error.verify_message}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(
            f"the schema registry {settings.url} {_silence(error, settings.timeout_s)}",
            hint="is the address right, and the registry running?",
        ) from error


def _silence(error: Exception, timeout_s: float) -> str:
    """Why there is no answer, in words."""
    if isinstance(error, TimeoutError):
        return f"does not answer in {timeout_s:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "does not answer: nothing listens there"
    if isinstance(error, socket.gaierror):
        return f"does not answer: its name is not known here ({error.strerror})"
    if isinstance(error, ssl.SSLError):
        return f"does not answer: it does not speak TLS as asked ({error.reason})"
    if isinstance(error, (http.client.HTTPException, ConnectionError)):
        return "does not answer: it ended the connection, or what it sends is not HTTP"
    return f"does not answer: {error.strerror if isinstance(error, OSError) else error}"


@contextmanager
def _ended_after(connection: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """Connect, and cut the connection after that time: the socket's own time limit starts anew with every byte."""
    connection.connect()
    connected: socket.socket = connection.sock
    is_over = threading.Event()

    def cut() -> None:
        is_over.set()
        try:
            connected.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed already

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if is_over.is_set():
            raise TimeoutError("the answer did not end") from error
        raise
    finally:
        timer.cancel()
    if is_over.is_set():
        raise TimeoutError("the answer did not end")
