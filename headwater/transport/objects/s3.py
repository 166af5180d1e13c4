"""S3 by boto3: single PutObject with conditions, GetObject with a bound, nothing else.

Conditional writes go by PutObject only: of multipart uploads several servers let every racer win.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ResponseStreamingError,
)
from botocore.exceptions import (
    ConnectionError as NoConnection,
)
from urllib3.exceptions import HTTPError as StreamError

from headwater.contract.errors import BadInput, BadSetting, Conflict, HeadwaterError, Refused, Unreachable
from headwater.transport.objects.store import Head, Object, ObjectSettings, check_key, too_long

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_CUT_OFF = (NoConnection, HTTPClientError, IncompleteReadError, ResponseStreamingError, StreamError, OSError)

_NO_CREDENTIALS = (
    "set access_key and secret_key beside this store's bucket: in [edge.updater.objects], [trainer.objects] or "
    "[fleet.objects], or by HEADWATER_EDGE__UPDATER__OBJECTS__ACCESS_KEY, HEADWATER_TRAINER__OBJECTS__ACCESS_KEY or "
    "HEADWATER_FLEET__OBJECTS__ACCESS_KEY and __SECRET_KEY; or use the usual AWS sources"
)


class ServerAnswer(NamedTuple):
    """Status of the answer about the bucket, `Server` header, and the server's and our time in s of Unix time."""

    status: int
    server: str
    date_s: float | None
    asked_s: float


class S3Store:
    """Objects in one bucket below one prefix. Safe to share between threads."""

    def __init__(self, client: S3Client, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    @classmethod
    def of(cls, settings: ObjectSettings) -> S3Store:
        """A store with a client of its own; no request is sent yet."""
        config = Config(
            connect_timeout=settings.connect_timeout_s,
            read_timeout=settings.read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": settings.attempts},
            request_checksum_calculation=settings.checksums,
            response_checksum_validation=settings.checksums,
            s3={"addressing_style": "path" if settings.endpoint else "auto"},
            tcp_keepalive=True,
        )
        secret = settings.secret_key.get_secret_value() if settings.secret_key else None
        try:
            client = boto3.client(
                "s3",
                endpoint_url=settings.endpoint,
                region_name=settings.region,
                aws_access_key_id=settings.access_key,
                aws_secret_access_key=secret,
                config=config,
            )
        except (ValueError, BotoCoreError) as error:
            raise BadSetting(f"the S3 client cannot be made: {error}") from error
        return cls(client, settings.bucket, settings.prefix)

    def get(self, key: str, *, max_bytes: int, offset: int = 0, if_match: str | None = None) -> Object | None:
        """As the protocol says; one request, and never more than `max_bytes` + 1 bytes of its answer are read."""
        more: dict[str, Any] = {} if if_match is None else {"IfMatch": if_match}
        if offset:
            more["Range"] = f"bytes={offset}-"
        try:
            with self._errors(key):
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key(key), **more)
                with answer["Body"] as body:
                    data = body.read(max_bytes + 1)
        except _Missing:
            return None
        if offset and not answer.get("ContentRange", "").startswith(f"bytes {offset}-"):
            raise Refused(f"S3 answered {key} from another place than byte {offset}", hint="it ignores Range")
        if len(data) > max_bytes:
            raise too_long(key, max_bytes)
        return Object(data, answer["ETag"])

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """As the protocol says. A server without the key answers If-Match by 404 or 412: both are Conflict."""
        more: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        if if_match is not None:
            more["IfMatch"] = if_match
        try:
            with self._errors(key):
                return self._client.put_object(Bucket=self._bucket, Key=self._key(key), Body=data, **more)["ETag"]
        except _Missing as error:
            raise Conflict(f"object {key} is not there to be replaced") from error

    def head(self, key: str) -> Head | None:
        """As the protocol says."""
        try:
            with self._errors(key):
                answer = self._client.head_object(Bucket=self._bucket, Key=self._key(key))
        except _Missing:
            return None
        return Head(answer["ContentLength"], answer["ETag"])

    def keys(self, prefix: str = "") -> list[str]:
        """As the protocol says; needs the permission to list."""
        found: list[str] = []
        with self._errors(prefix or "(all)"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                found.extend(entry["Key"].removeprefix(self._prefix) for entry in page.get("Contents", ()))
        return sorted(found)

    def ask_server(self) -> ServerAnswer:
        """What the server says of itself, whatever it thinks of the bucket; Unreachable if it does not answer."""
        began = time.time()
        said: Any
        with self._errors(""):
            try:
                said = self._client.head_bucket(Bucket=self._bucket)
            except ClientError as error:
                said = error.response
        ended = time.time()
        told = said.get("ResponseMetadata", {})
        headers = told.get("HTTPHeaders", {})
        return ServerAnswer(
            status=told.get("HTTPStatusCode", 0),
            server=headers.get("server", ""),
            date_s=_seconds(headers.get("date", "")),
            asked_s=(began + ended) / 2,
        )

    def ensure_bucket(self) -> None:
        """Create the bucket where it is missing (local stack, first set-up)."""
        with self._errors(""):
            try:
                self._client.create_bucket(Bucket=self._bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        where = f"s3://{self._bucket}/{self._prefix}{key} at {self._client.meta.endpoint_url}"
        try:
            yield
        except ClientError as error:
            raise _of_answer(error, where) from error
        except NoCredentialsError as error:
            raise BadSetting(f"no credentials for {where}", hint=_NO_CREDENTIALS) from error
        except _CUT_OFF as error:
            raise Unreachable(f"{where} does not answer: {error}", hint="is the S3 server running?") from error
        except BotoCoreError as error:
            raise BadInput(f"{where}: {error}") from error


def _seconds(date: str) -> float | None:
    """Unix time of an HTTP date (RFC 9110, 5.6.7), None if there is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


class _Missing(Exception):
    """There is no such object; never leaves this module."""


def _of_answer(error: ClientError, where: str) -> HeadwaterError | _Missing:
    """What an error answer means: status and code by the S3 API reference, "Error responses"."""
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        return BadSetting(f"there is no such bucket: {where}", hint="create it, or correct `bucket`")
    if status == 404:
        return _Missing(where)
    if status in (409, 412):
        return Conflict(f"{where} was written by somebody else ({code})")
    if status in (401, 403):
        return Refused(f"S3 denies {where} ({code})", hint="check the keys, the clock, and what they may do")
    if status in (408, 429) or status >= 500:
        return Unreachable(f"S3 is busy or broken at {where} ({status} {code})")
    return BadInput(f"S3 does not accept the request for {where} ({status} {code})")
