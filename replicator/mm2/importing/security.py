"""How to reach a cluster: MirrorMaker's client settings as a table of `KafkaSettings`.

Secrets are never values of the result: it says where they go, and whoever imports puts them there.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import get_args

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch.settings import Mechanism
from replicator.mm2.importing.book import HIDDEN, Book, is_provided, shown
from replicator.mm2.importing.properties import parse_login

# What Java asks for to open its stores; the commands that make PEM files of them ask for it too.
_OPENING = ("ssl.keystore.password", "ssl.truststore.password", "ssl.key.password")
_ISSUER = "sasl.oauthbearer.client.credentials.client.secret"
# PEM in the file itself (SslConfigs in Apache Kafka 4.3), and the setting that names a file with it.
_INLINE = {
    "ssl.keystore.key": "key_file",
    "ssl.keystore.certificate.chain": "cert_file",
    "ssl.truststore.certificates": "ca_file",
}
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


def cluster_table(book: Book, end: str) -> dict[str, object]:
    """The settings of one end, `source` or `target`, from those of its cluster in the book.

    BadInput where no brokers are named, or where it is not sure whether the connection is to be encrypted.
    """
    table: dict[str, object] = {"brokers": _brokers(book, end)}
    protocol = _protocol(book, end)
    if protocol.endswith("SSL"):
        table["tls"] = True
        table |= _files(book, end)
    if protocol.startswith("SASL"):
        table |= _login(book, end)
    for key in _OPENING:
        book.hide(key, "not needed where the file is PEM without a password")
    book.hide(_ISSUER, "tokens are not fetched from their issuer: token_file", "no counterpart")
    return table


def _setting(book: Book, key: str, end: str, name: str) -> str:
    """A setting of one end, or of both where the line that it is told of is one for all clusters."""
    return f"source.{name} and target.{name}" if book.name(key) == key else f"{end}.{name}"


def _brokers(book: Book, end: str) -> str:
    found = book.take("bootstrap.servers", f"{end}.brokers")
    if found is None:
        raise BadInput(f"{book.prefixes[0]}bootstrap.servers is missing", hint="it names the cluster's brokers")
    if shown("bootstrap.servers", found) != found:
        name = book.name("bootstrap.servers")
        raise BadInput(f"{name} seems to hold a login", hint="write it as host:port,host:port; logins are sasl.* lines")
    return ",".join(part.strip() for part in found.split(","))


def _protocol(book: Book, end: str) -> str:
    """One of Kafka's four, in any case; a slip of the pen would send a password in the clear."""
    found = book.take("security.protocol", f"{end}.tls, {end}.sasl_mechanism")
    protocol = "PLAINTEXT" if found is None else found.upper()
    if protocol not in _PROTOCOLS:
        told = f"{book.name('security.protocol')} = {shown('security.protocol', found or '')!r}"
        raise BadInput(f"{told} is no protocol of Kafka", hint=f"write one of {', '.join(_PROTOCOLS)}")
    return protocol


def _login(book: Book, end: str) -> dict[str, object]:
    mechanism = (book.take("sasl.mechanism", f"{end}.sasl_mechanism") or "GSSAPI").upper()
    if mechanism == "GSSAPI":
        return _kerberos(book, end)
    if mechanism == "OAUTHBEARER":
        token = f"set {_setting(book, 'sasl.mechanism', end, 'token_file')} to a file that holds the token"
        book.note("sasl.mechanism", mechanism, "no counterpart", f"{token}; it is not fetched from its issuer")
        book.hide("sasl.jaas.config", f"{token}, which whoever fetches it keeps fresh")
        return {"sasl_mechanism": mechanism}
    if mechanism not in get_args(Mechanism):
        known = ", ".join(get_args(Mechanism))
        book.note("sasl.mechanism", mechanism, "no counterpart", f"logins are by {known}")
        book.hide("sasl.jaas.config", f"there is no login by {mechanism}", "no counterpart")
        return {}
    user = _setting(book, "sasl.jaas.config", end, "username")
    into = f"the password into the file replicator__{end}__password"
    line = book.secret("sasl.jaas.config", f"{end}.username; {into}") or ""
    login = parse_login(line)
    book.needs_secret(f"replicator__{end}__password")
    table: dict[str, object] = {"sasl_mechanism": mechanism}
    if is_provided(line) and not login.get("username"):
        _unread(book, f"a config provider's value: write its username out, as {user}; {into}")
    elif not login.get("username"):
        _unread(book, f"no username found in it: set {user}; {into}")
    elif is_provided(login["username"]):
        _unread(book, f"its username is a config provider's value: write it out, as {user}; {into}")
    else:
        table["username"] = login["username"]
    return table


def _unread(book: Book, why: str) -> None:
    """Tell of a login line that nothing, or not all, was made from."""
    if book.name("sasl.jaas.config") is None:
        book.missing("sasl.jaas.config", why)
    else:
        book.note("sasl.jaas.config", HIDDEN, "no counterpart", why)


def _kerberos(book: Book, end: str) -> dict[str, object]:
    """Keytab and principal of Java's Krb5LoginModule; nothing in them is a secret, the keytab's content is."""
    line = book.secret("sasl.jaas.config", f"{end}.username, {end}.keytab_file or {end}.ccache_file")
    login = parse_login(line or "")
    taken = {"principal": "username", "keyTab": "keytab_file", "ticketCache": "ccache_file"}
    if "keyTab" in login:
        login.pop("ticketCache", None)
    table: dict[str, object] = {"sasl_mechanism": "GSSAPI"}
    provided = [f"{end}.{taken[each]}" for each in taken if is_provided(login.get(each, ""))]
    if provided or is_provided(line or ""):
        told = " and ".join(provided) or f"{end}.username, {end}.keytab_file"
        _unread(book, f"a config provider's value: write it out, as {told}")
        login = {key: value for key, value in login.items() if not is_provided(value)}
    table |= {becomes: login[option].removeprefix("FILE:") for option, becomes in taken.items() if option in login}
    if (service := book.take("sasl.kerberos.service.name", f"{end}.kerberos_service")) is not None:
        table["kerberos_service"] = service
    return table


def _files(book: Book, end: str) -> dict[str, object]:
    table: dict[str, object] = {}
    encrypted = book.name("ssl.key.password") is not None
    for key, becomes in _INLINE.items():
        decrypted = " (decrypted: openssl pkey -in FILE -out FILE)" if encrypted and becomes == "key_file" else ""
        named = _setting(book, key, end, becomes)
        book.hide(key, f"write it to a file{decrypted}, and name that as {named}", "no counterpart")
    trusted = _pem(book, "truststore", f"{end}.ca_file", "-nokeys")
    if trusted:
        table["ca_file"] = trusted
    own = _pem(book, "keystore", f"{end}.cert_file, {end}.key_file", "-nodes")
    if own:
        table |= {"cert_file": own, "key_file": _decrypted(book, end, own) if encrypted else own}
    return table


def _decrypted(book: Book, end: str, own: str) -> str:
    """The file for the key of a PEM store with a password, which is to be made; the link has no place for that."""
    if (book.take("ssl.keystore.type", f"{end}.key_file") or "JKS").upper() != "PEM":
        return own
    place = PurePosixPath(own)
    made = str(place.with_name(f"{place.stem}-key.pem"))
    convert = f"openssl pkey -in {own} -out {made}"
    remark = f"{end}.cert_file = {own}, {end}.key_file = {made}, to be made: {convert}"
    book.note("ssl.keystore.location", own, "taken over", remark)
    book.hide("ssl.key.password", f"the key is encrypted; asked for by {convert}")
    return made


def _pem(book: Book, store: str, becomes: str, option: str) -> str | None:
    """The PEM file for a key store, which is one already or is to be made from it."""
    kind = (book.take(f"ssl.{store}.type", becomes) or "JKS").upper()
    location = book.take(f"ssl.{store}.location", becomes)
    if location is None or is_provided(location):
        return None
    if not PurePosixPath(location).name:
        raise BadInput(f"{book.name(f'ssl.{store}.location')} = {location!r} names no file", hint="correct the file")
    if kind == "PEM":
        return location
    made = str(PurePosixPath(location).with_suffix(".pem"))
    convert = f"openssl pkcs12 -in {location} {option} -out {made}"
    if kind == "JKS":
        p12 = PurePosixPath(location).with_suffix(".p12")
        first = f"keytool -importkeystore -srckeystore {location} -destkeystore {p12} -deststoretype PKCS12"
        convert = f"{first} && openssl pkcs12 -in {p12} {option} -out {made}"
    book.note(f"ssl.{store}.location", location, "taken over", f"{becomes} = {made}, to be made: {convert}")
    return made
