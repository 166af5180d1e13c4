"""How to reach a cluster: MirrorMaker's client settings as a table of `KafkaSettings`.

Secrets are never values of the result: it says where they go, and whoever imports puts them there.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import get_args

from headwater.transport.kafka_batch.settings import Mechanism
from replicator.mm2.importing.book import Book
from replicator.mm2.importing.properties import parse_login

_SECRETS = (
    "ssl.key.password",
    "ssl.keystore.password",
    "ssl.truststore.password",
    "ssl.keystore.key",
    "sasl.oauthbearer.client.credentials.client.secret",
)


def cluster_table(book: Book, end: str) -> dict[str, object]:
    """The settings of one end, `source` or `target`, from those of its cluster in the book."""
    table: dict[str, object] = {}
    if (brokers := book.take("bootstrap.servers", f"{end}.brokers")) is not None:
        table["brokers"] = ",".join(part.strip() for part in brokers.split(","))
    protocol = (book.take("security.protocol", f"{end}.tls, {end}.sasl_mechanism") or "PLAINTEXT").upper()
    if protocol.endswith("SSL"):
        table["tls"] = True
        table |= _files(book, end)
    if protocol.startswith("SASL"):
        table |= _login(book, end)
    for key in _SECRETS:
        book.hide(key, "not needed where the file is PEM without a password")
    return table


def _login(book: Book, end: str) -> dict[str, object]:
    mechanism = (book.take("sasl.mechanism", f"{end}.sasl_mechanism") or "GSSAPI").upper()
    if mechanism == "GSSAPI":
        return _kerberos(book, end)
    line = book.secret("sasl.jaas.config", f"{end}.username; the password into the file replicator__{end}__password")
    if mechanism not in get_args(Mechanism):
        known = ", ".join(get_args(Mechanism))
        book.note("sasl.mechanism", mechanism, "no counterpart", f"logins are by {known}")
        return {}
    if mechanism == "OAUTHBEARER":
        book.note("sasl.mechanism", mechanism, "no counterpart", f"set {end}.token_file to a file that holds the token")
        return {}
    table: dict[str, object] = {"sasl_mechanism": mechanism}
    login = parse_login(line or "")
    if "username" in login:
        table["username"] = login["username"]
    book.needs_secret(f"replicator__{end}__password")
    return table


def _kerberos(book: Book, end: str) -> dict[str, object]:
    """Keytab and principal of Java's Krb5LoginModule; nothing in them is a secret, the keytab's content is."""
    line = book.secret("sasl.jaas.config", f"{end}.username, {end}.keytab_file or {end}.ccache_file")
    login = parse_login(line or "")
    taken = {"principal": "username", "keyTab": "keytab_file", "ticketCache": "ccache_file"}
    if "keyTab" in login:
        login.pop("ticketCache", None)
    table: dict[str, object] = {"sasl_mechanism": "GSSAPI"}
    table |= {becomes: login[option].removeprefix("FILE:") for option, becomes in taken.items() if option in login}
    if (service := book.take("sasl.kerberos.service.name", f"{end}.kerberos_service")) is not None:
        table["kerberos_service"] = service
    return table


def _files(book: Book, end: str) -> dict[str, object]:
    table: dict[str, object] = {}
    trusted = _pem(book, "truststore", f"{end}.ca_file", "-nokeys")
    if trusted:
        table["ca_file"] = trusted
    own = _pem(book, "keystore", f"{end}.cert_file, {end}.key_file", "-nodes")
    if own:
        table |= {"cert_file": own, "key_file": own}
    return table


def _pem(book: Book, store: str, becomes: str, option: str) -> str | None:
    """The PEM file for a key store, which is one already or is to be made from it."""
    kind = (book.take(f"ssl.{store}.type", becomes) or "JKS").upper()
    location = book.take(f"ssl.{store}.location", becomes)
    if location is None or kind == "PEM":
        return location
    made = str(PurePosixPath(location).with_suffix(".pem"))
    convert = f"openssl pkcs12 -in {location} {option} -out {made}"
    if kind == "JKS":
        p12 = PurePosixPath(location).with_suffix(".p12")
        first = f"keytool -importkeystore -srckeystore {location} -destkeystore {p12} -deststoretype PKCS12"
        convert = f"{first} && openssl pkcs12 -in {p12} {option} -out {made}"
    book.note(f"ssl.{store}.location", location, "taken over", f"{becomes} = {made}, to be made: {convert}")
    return made
