"""What a store of objects promises, and the settings that say which one."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from headwater.contract.errors import BadInput, Untrusted
from headwater.contract.refusals import BAD_LENGTH

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){0,15}")


class ObjectSettings(BaseModel):
    """Where signed models and rollouts are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint: str | None = Field(
        None, description="Address of the S3 server, or file:///folder; without it Amazon's, by region."
    )
    bucket: str = Field("headwater", description="Bucket, or the folder below a file:// endpoint.")
    prefix: str = Field("", description="What every key begins with, such as `fleet/`.")
    region: str = Field("us-east-1", description="Region that requests are signed for.")
    access_key: str | None = Field(None, description="Access key id; without it the usual AWS sources are asked.")
    secret_key: SecretStr | None = Field(None, description="Secret access key that belongs to `access_key`.")
    checksums: Literal["when_supported", "when_required"] = Field(
        "when_supported",
        description="Whether requests carry a CRC32; `when_required` for servers that do not know them.",
    )
    connect_timeout_s: float = Field(3.0, gt=0, description="How long a connection may take, in seconds.")
    read_timeout_s: float = Field(10.0, gt=0, description="How long the server may be silent, in seconds.")
    attempts: int = Field(3, ge=1, le=10, description="How often a request is sent before the store is unreachable.")

    @field_validator("endpoint")
    @classmethod
    def _is_address(cls, endpoint: str | None) -> str | None:
        """Refuse what is no address, and what holds a password: addresses are logged and shown."""
        if endpoint is None:
            return None
        if "@" in endpoint.partition("//")[2].partition("/")[0] or ("@" in endpoint and "//" not in endpoint):
            raise ValueError("it holds a user name or a password, which belong into access_key and secret_key")
        try:
            url = urlsplit(endpoint)
            valid = bool(url.hostname) and url.port != 0 if url.scheme in ("http", "https") else url.scheme == "file"
        except ValueError:  # a port that is none; its text shows it
            valid = False
        if not valid:
            raise ValueError("it is not an address: expected http://host:port, https://host or file:///folder")
        if url.scheme == "file" and (url.netloc or not url.path.startswith("/")):
            raise ValueError("it names no folder: expected file:///a/folder")
        return endpoint


class Object(NamedTuple):
    """Content, and the tag that changes with it."""

    data: bytes
    etag: str


class Head(NamedTuple):
    """Size in bytes, and the tag."""

    size_bytes: int
    etag: str


class ObjectStore(Protocol):
    """Objects under keys such as `metadata/3.root.json`.

    Every method raises BadInput for a hostile key, Unreachable when the store does not answer, Refused when it
    denies. A missing object is None, which is an answer, not an error.
    """

    def get(self, key: str, *, max_bytes: int, offset: int = 0, if_match: str | None = None) -> Object | None:
        """Content from `offset` on; Untrusted if that is more than `max_bytes`, Conflict if the tag is another."""
        ...

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write the whole object, or not at all, and return its tag; Conflict when the condition does not hold."""
        ...

    def head(self, key: str) -> Head | None:
        """Size and tag."""
        ...

    def keys(self, prefix: str = "") -> list[str]:
        """Keys that begin with `prefix`, in order."""
        ...


def check_key(key: str) -> str:
    """Return `key` if it is safe in a URL and as a path below a folder; BadInput otherwise."""
    if not _KEY.fullmatch(key) or ".." in key:
        raise BadInput(f"object key {key!r} is not allowed", hint="segments of A-Z a-z 0-9 . _ - divided by /")
    return key


def too_long(key: str, max_bytes: int) -> Untrusted:
    """The error for an object with more than the promised bytes."""
    return Untrusted(f"object {key} has more than the {max_bytes} bytes that it may have", reason=BAD_LENGTH)
