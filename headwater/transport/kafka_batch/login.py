"""What is said first on a connection: which versions the broker speaks, then SASL.

PLAIN (RFC 4616), SCRAM (RFC 5802 and 7677), OAUTHBEARER (RFC 7628) and GSSAPI (RFC 4752).
`login` is a generator that yields calls (and errands, which block) and is sent their answers, so that it does no I/O
itself. Running it again on a
live connection renews a session that expires (KIP-368).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple

from headwater.contract.errors import Refused, Untrusted
from headwater.transport.kafka_batch import calls, codes, kerberos, transactions
from headwater.transport.kafka_batch.kerberos import Errand
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.kafka_batch.wire import INT32, Api, Call, Reader, string

API_VERSIONS = Api("ApiVersions", 18, 0)
SASL_HANDSHAKE = Api("SaslHandshake", 17, 1)
SASL_AUTHENTICATE = Api("SaslAuthenticate", 36, 1)

SPOKEN = (
    calls.PRODUCE,
    calls.FETCH,
    calls.LIST_OFFSETS,
    calls.METADATA,
    transactions.FIND_COORDINATOR,
    transactions.INIT_PRODUCER_ID,
    transactions.ADD_PARTITIONS_TO_TXN,
    transactions.END_TXN,
    transactions.DESCRIBE_PRODUCERS,
)
_ABOUT_TOKENS = "check token_file: who issued the token, for whom, until when"
_FEWEST_ITERATIONS = 4096  # RFC 7677, section 4
_HASHES: dict[str, Callable[..., Any]] = {"SCRAM-SHA-256": hashlib.sha256, "SCRAM-SHA-512": hashlib.sha512}

Step = Generator[Call[Any] | Errand, Any, int]
Exchange = Generator[Call[Any] | Errand, Any, "Token"]


class Token(NamedTuple):
    """One answer of the broker in a SASL exchange."""

    error: int
    detail: str
    data: bytes
    lifetime_ms: int


def login(settings: KafkaSettings, where: str) -> Step:
    """Check the versions and log in; returns the session's lifetime in ms, 0 if it does not end.

    Refused: the broker lacks a call, the mechanism, or does not accept the password. Untrusted: the broker could not
    prove that it knows the password (SCRAM).
    """
    yield from check_versions(where)
    return (yield from authenticate(settings, where))


def check_versions(where: str) -> Generator[Call[Any], Any, None]:
    """Refused unless the broker speaks every call at our version."""
    error, offered = yield Call(API_VERSIONS, [], _read_api_versions)
    codes.check(error, f"asking broker {where} for its versions")
    for api in SPOKEN:
        low, high = offered.get(api.key, (0, -1))
        if not low <= api.version <= high:
            has = f"versions {low} to {high}" if high >= low else "none"
            raise Refused(
                f"broker {where} does not speak {api.name} version {api.version} (it offers {has})",
                hint="Apache Kafka 2.8 to 4.3 do",
            )


def authenticate(settings: KafkaSettings, where: str) -> Step:
    """Log in by SASL if the settings say so; raises and returns as `login` does."""
    mechanism = settings.sasl_mechanism
    if mechanism is None:
        return 0
    error, offered = yield Call(SASL_HANDSHAKE, [string(mechanism)], _read_handshake)
    codes.check(
        error, f"login at broker {where} by {mechanism}", ", ".join(offered) and f"it offers {', '.join(offered)}"
    )
    if mechanism == "OAUTHBEARER":
        return (yield from _bearer(settings, where)).lifetime_ms
    if mechanism == "GSSAPI":
        return (yield from _kerberos(settings, where)).lifetime_ms
    user, secret = settings.username or "", settings.password.get_secret_value() if settings.password else ""
    if mechanism == "PLAIN":
        last = yield from _exchange(f"\0{user}\0{secret}".encode(), where, user)
    else:
        last = yield from _scram(_HASHES[mechanism], user, secret, where)
    return last.lifetime_ms


def _exchange(
    data: bytes, where: str, user: str, hint: str = "check username, password and sasl_mechanism"
) -> Exchange:
    token: Token = yield Call(SASL_AUTHENTICATE, [INT32.pack(len(data)) + data], _read_token)
    if token.error:
        raise Refused(
            f"broker {where} refuses the login of {user}: {token.detail or codes.name(token.error)}",
            hint=hint,
        )
    return token


def _bearer(settings: KafkaSettings, where: str) -> Exchange:
    token: Token = yield from _exchange(
        b"n,,\x01auth=Bearer %s\x01\x01" % settings.token().encode(), where, "the bearer of a token", _ABOUT_TOKENS
    )
    if token.data:  # the broker says why in JSON, and closes after our answer (RFC 7628, 3.2.3)
        why = bytes(token.data).decode(errors="replace")
        yield from _exchange(b"\x01", where, "the bearer of a token", f"the broker says {why}; {_ABOUT_TOKENS}")
        raise Refused(f"broker {where} refuses the token: {why}", hint=_ABOUT_TOKENS)
    return token


def _kerberos(settings: KafkaSettings, where: str) -> Exchange:
    context, user = kerberos.Context(settings, where), settings.username or "the holder of a ticket"
    token = yield from _exchange((yield Errand(context.step)), where, user, kerberos.HINT)
    while not context.complete:
        answer = yield Errand(partial(context.step, token.data))
        token = yield from _exchange(answer, where, user, kerberos.HINT)
    return (yield from _exchange(context.decline(token.data), where, user, kerberos.HINT))


def _scram(digest: Callable[..., Any], user: str, secret: str, where: str) -> Exchange:
    nonce = base64.b64encode(os.urandom(24)).decode()
    bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
    first = (yield from _exchange(b"n,," + bare.encode(), where, user)).data.decode(errors="replace")
    fields = _attributes(first)
    rounds = int(fields.get("i", "0")) if fields.get("i", "0").isdecimal() else 0
    if not fields.get("r", "").startswith(nonce) or rounds < _FEWEST_ITERATIONS:
        raise Untrusted(f"broker {where} answers SCRAM with a foreign nonce or with {rounds} iterations")
    name = digest().name
    salted = hashlib.pbkdf2_hmac(name, secret.encode(), _decoded(fields.get("s", "")), rounds)
    key = hmac.digest(salted, b"Client Key", name)
    final = f"c=biws,r={fields['r']}"
    message = f"{bare},{first},{final}".encode()
    mask = hmac.digest(digest(key).digest(), message, name)
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, mask, strict=True))).decode()
    last = yield from _exchange(f"{final},p={proof}".encode(), where, user)
    expected = hmac.digest(hmac.digest(salted, b"Server Key", name), message, name)
    given = _decoded(_attributes(last.data.decode(errors="replace")).get("v", ""))
    if not hmac.compare_digest(given, expected):
        raise Untrusted(f"broker {where} could not prove that it knows the password of {user}")
    return last


def _attributes(message: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in message.split(",") if "=" in part)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _read_api_versions(r: Reader) -> tuple[int, dict[int, tuple[int, int]]]:
    error = r.int16()
    return error, {key: (low, high) for key, low, high in (r.take(_RANGE) for _ in r.times())}


_RANGE = struct.Struct(">hhh")


def _read_handshake(r: Reader) -> tuple[int, list[str]]:
    return r.int16(), [r.name() for _ in r.times()]


def _read_token(r: Reader) -> Token:
    return Token(r.int16(), r.name(), bytes(r.blob()), r.int64())
