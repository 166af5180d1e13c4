"""Where a schema registry is and how to log in to it; apart from its client, which loads an HTTP client."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from headwater.transport import tls as encryption


class SchemaRegistrySettings(BaseModel):
    """Where a schema registry is and how to log in to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(description="address of the registry, such as https://registry.example.com:8081")
    username: str | None = Field(default=None, description="user name or API key, where the registry asks for one")
    password: SecretStr | None = Field(default=None, description="password of `username`, or the secret of the API key")
    ca_file: Path | None = Field(default=None, description="authorities to trust instead of the system's (PEM)")
    cert_file: Path | None = Field(default=None, description="client certificate (PEM)")
    key_file: Path | None = Field(default=None, description="key of the client certificate (PEM)")
    timeout_s: float = Field(default=10.0, gt=0, le=300, description="longest wait for one answer, in seconds")
    unknown_s: float = Field(
        default=60.0,
        ge=0,
        description="how long an id that the registry does not have is not asked for again, in seconds",
    )

    @field_validator("url")
    @classmethod
    def _usable(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError as error:
            raise ValueError(f"not an address: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address begins with http:// or https:// and has a host")
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("an address has neither blanks nor letters beyond ASCII")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("the address has neither user nor query: use `username` and `password`")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _complete(self) -> SchemaRegistrySettings:
        encryption.check_complete(self)
        if self.password is not None and self.username is None:
            raise ValueError("password needs username")
        return self

    @property
    def tls(self) -> bool:
        """Whether to encrypt: the address says it."""
        return self.url.startswith("https:")
