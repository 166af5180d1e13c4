"""Where a Kafka cluster is and how to log in to it; shared with headwater/transport/kafka.py."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from headwater.contract.errors import BadSetting
from headwater.transport import tls as encryption

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"]


class KafkaSettings(BaseModel):
    """One cluster. Times are in seconds; `ca_file` replaces the system's certificate authorities."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    brokers: str = Field(description="bootstrap brokers, host:port separated by commas")
    tls: bool = Field(default=False, description="encrypt, and check the brokers' certificates")
    ca_file: Path | None = Field(default=None, description="authorities to trust instead of the system's (PEM)")
    cert_file: Path | None = Field(default=None, description="client certificate (PEM)")
    key_file: Path | None = Field(default=None, description="key of the client certificate (PEM)")
    sasl_mechanism: Mechanism | None = Field(default=None, description="how to log in, where the brokers ask for it")
    username: str | None = Field(default=None, description="user name for `sasl_mechanism`; for GSSAPI the principal")
    password: SecretStr | None = Field(default=None, description="password of `username`")
    token_file: Path | None = Field(
        default=None, description="file with the token for OAUTHBEARER, read at each login, so that it may be renewed"
    )
    keytab_file: Path | None = Field(default=None, description="keytab for GSSAPI (Kerberos)")
    ccache_file: Path | None = Field(
        default=None, description="file with tickets for GSSAPI instead of a keytab, renewed by whoever keeps it"
    )
    kerberos_service: str = Field(default="kafka", min_length=1, description="service of the brokers' principals")
    request_timeout_s: float = Field(
        default=30.0, gt=0, le=3600, description="a connection without progress is given up"
    )
    connect_timeout_s: float = Field(default=10.0, gt=0, le=3600, description="TCP, TLS and login together")

    @model_validator(mode="after")
    def _complete(self) -> KafkaSettings:
        self.addresses()
        if self.sasl_mechanism == "OAUTHBEARER":
            if self.token_file is None:
                raise ValueError("sasl_mechanism OAUTHBEARER needs token_file")
        elif self.sasl_mechanism == "GSSAPI":
            if self.password is not None:
                raise ValueError("sasl_mechanism GSSAPI takes no password; set keytab_file or ccache_file")
            if self.keytab_file and self.ccache_file:
                raise ValueError("keytab_file and ccache_file exclude each other")
        elif self.sasl_mechanism and (self.username is None or self.password is None):
            missing = [name for name in ("username", "password") if getattr(self, name) is None]
            raise ValueError(f"sasl_mechanism {self.sasl_mechanism} needs {' and '.join(missing)}")
        if self.sasl_mechanism is None and (self.username is not None or self.password is not None):
            raise ValueError("username and password have no effect without sasl_mechanism, such as SCRAM-SHA-512")
        if self.sasl_mechanism != "OAUTHBEARER" and self.token_file is not None:
            raise ValueError("token_file has no effect without sasl_mechanism = OAUTHBEARER")
        if self.sasl_mechanism != "GSSAPI" and (self.keytab_file or self.ccache_file):
            raise ValueError("keytab_file and ccache_file have no effect without sasl_mechanism = GSSAPI")
        encryption.check_complete(self)
        return self

    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each bootstrap broker; ValueError if the text is not host:port,host:port."""
        if "@" in self.brokers:  # which is logged and shown
            raise ValueError("brokers: a user name or a password belongs into username and password")
        found = []
        for part in filter(None, (piece.strip() for piece in self.brokers.split(","))):
            host, colon, port = part.rpartition(":")
            if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError(f"brokers: {part!r} is not host:port")
            found.append((host.strip("[]"), int(port)))
        if not found:
            raise ValueError("brokers: no broker is named")
        return found

    def token(self) -> str:
        """Read the bearer token; BadSetting if there is none."""
        path = self.token_file
        try:
            found = path.read_text(encoding="ascii").strip() if path is not None else ""
        except (OSError, UnicodeDecodeError) as error:
            raise BadSetting(f"{path}: the token cannot be read ({error})", hint="set token_file") from error
        if not found or len(found.split()) != 1:
            raise BadSetting(f"{path} holds no token", hint="it is one word of ASCII, as the issuer gave it out")
        return found

    def tls_context(self) -> ssl.SSLContext | None:
        """Build the TLS context, or None without TLS; BadSetting if a file cannot be read or is no PEM."""
        return encryption.context(self, self.brokers)
