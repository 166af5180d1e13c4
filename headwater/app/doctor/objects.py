"""Does a store of objects do what Headwater needs of it? Asked by doing it."""

from __future__ import annotations

import os
import secrets
from urllib.parse import urlsplit

from headwater.app.doctor.certificate import certificate
from headwater.app.doctor.clock import clock
from headwater.app.doctor.finding import Finding, attempt, good, warning
from headwater.contract.errors import BadSetting, DataMissing, Refused, Unreachable
from headwater.transport.objects import ObjectSettings, ObjectStore, open_store, probe_conditional_writes
from headwater.transport.tls import trusted_context

_CA_BUNDLE = "AWS_CA_BUNDLE"  # boto3's own setting
HTTP_OK, HTTP_DENIED, HTTP_MISSING = 200, 403, 404


def check_objects(name: str, settings: ObjectSettings, *, publishes: bool) -> list[Finding]:
    """Server, clock, bucket and content; `publishes` adds what only a publisher needs."""
    store = open_store(settings)
    where = settings.endpoint or "Amazon S3"
    found = _server(name, settings) if not where.startswith("file://") else []
    if found and found[0].state == "bad":
        return [Finding(name, "bad", found[0].says, found[0].fix, found[0].exit_code), *found[1:]]
    reached = attempt(name, lambda: _read(name, store, where))
    found = [reached, *found]
    if not publishes or any(finding.state == "bad" for finding in found):  # SeaweedFS makes a bucket by the first write
        return found
    written = attempt(f"{name} write", lambda: _write(f"{name} write", store))
    if written.state == "bad":
        return [*found, written]
    race = f"{name} conditional writes"
    return [*found, written, attempt(race, lambda: _race(race, store, where))]


def _read(name: str, store: ObjectStore, where: str) -> Finding:
    if store.head("metadata/timestamp.json") is None:
        return warning(name, f"{where} answers, but nothing was published yet", "run: headwater fleet keys init")
    return good(name, f"{where} answers and holds signed metadata")


def _server(name: str, settings: ObjectSettings) -> list[Finding]:
    """What any answer of the server tells: who it is, what time it is there, whether there is the bucket."""
    from headwater.transport.objects.s3 import S3Store, ServerAnswer  # noqa: PLC0415  # boto3's 35 MB, for S3 only

    answers: list[ServerAnswer] = []

    def version() -> Finding:
        answers.append(S3Store.of(settings).ask_server())
        return good(f"{name} version", answers[0].server or "the server does not tell its name (no Server header)")

    found = [attempt(f"{name} version", version)]
    if answers:
        told = answers[0]
        found += [_clock(f"{name} clock", told.date_s, told.asked_s)]
        found += [attempt(f"{name} bucket", lambda: _bucket(f"{name} bucket", told.status, settings.bucket))]
        found += _tls(name, settings)
    return found


def _clock(check: str, date_s: float | None, asked_s: float) -> Finding:
    if date_s is None:
        return good(check, "not known: the server's answers carry no date")
    # The date counts whole seconds.
    return clock(check, date_s + 0.5 - asked_s, 1.0, "S3 refuses signed requests from 15 minutes on")


def _bucket(check: str, status: int, bucket: str) -> Finding:
    if status == HTTP_MISSING:
        raise BadSetting(f"there is no bucket {bucket}", hint="create it, or correct `bucket`")
    if status == HTTP_DENIED:
        return good(check, f"these keys may not ask for the bucket {bucket} itself, which readers need not")
    if status != HTTP_OK:
        raise Refused(f"asked for the bucket {bucket}, the server answers {status}", hint="look at the server's log")
    return good(check, f"{bucket} exists")


def _tls(name: str, settings: ObjectSettings) -> list[Finding]:
    url = urlsplit(settings.endpoint or "")
    if url.scheme != "https" or url.hostname is None:
        return []
    look = certificate(
        f"{name} certificate", url.hostname, url.port or 443, trusted_context(os.environ.get(_CA_BUNDLE))
    )
    behind_proxy = look.state == "bad" and look.exit_code == Unreachable.exit_code  # the store itself has answered
    return [] if behind_proxy else [look]


def _write(check: str, store: ObjectStore) -> Finding:
    key, data = f"probe/{secrets.token_hex(8)}", secrets.token_bytes(16)
    store.put(key, data)
    found = store.get(key, max_bytes=64)
    if found is None or found.data != data:
        raise DataMissing(f"object {key} does not read back as it was written", hint="use another store")
    return good(check, "these keys may write, and an object reads back whole")


def _race(check: str, store: ObjectStore, where: str) -> Finding:
    wrong = probe_conditional_writes(store)
    if wrong:
        raise Refused(
            f"{where}: {wrong}", hint="two publishers could overwrite each other; use a store with conditional writes"
        )
    return good(check, "of all racing writers exactly one wins")
