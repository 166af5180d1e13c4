"""Where an MQTT broker is and how to log in to it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from headwater.transport import tls as encryption

WEEK_S = 7 * 86_400


class MqttSettings(BaseModel):
    """One broker and one session on it. `receive_maximum` and `session_expiry_s` are sent with MQTT 5 only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="address of the broker")
    port: int = Field(default=1883, gt=0, lt=65536, description="port of the broker; 8883 is usual with tls")
    client_id: str | None = Field(
        default=None, min_length=1, description="names the session on the broker; derived from the site when left out"
    )
    username: str | None = Field(default=None, description="user name, where the broker asks for one")
    password: SecretStr | None = Field(default=None, description="password of `username`")
    tls: bool = Field(default=False, description="encrypt, and check the broker's certificate")
    ca_file: Path | None = Field(default=None, description="authorities to trust instead of the system's (PEM)")
    cert_file: Path | None = Field(default=None, description="client certificate (PEM)")
    key_file: Path | None = Field(default=None, description="key of the client certificate (PEM)")
    protocol: Literal["5", "3.1.1"] = Field(default="5", description="version of MQTT to speak")
    transport: Literal["tcp", "websockets"] = Field(
        default="tcp", description="what MQTT runs on; websockets are read by paho itself, at ten times the cost"
    )
    websocket_path: str = Field(default="/mqtt", description="path of the broker's WebSocket")
    reader: Literal["bulk", "stock"] = Field(
        default="bulk", description="stock: read by paho itself, at ten times the cost; for comparison and for doubts"
    )
    qos: int = Field(
        default=1,
        ge=1,
        le=2,
        description="highest QoS to subscribe with; nothing published at 1 or 2 is lost with either, what is published "
        "at 0 has no promise while the bridge is away, restarts or reloads",
    )
    share_group: str | None = Field(
        default=None,
        pattern=r"^[^/+#]+$",
        description="share the subscription with others under this name; then the order of an asset is not kept",
    )
    retained: Literal["new", "always", "never"] = Field(
        default="new", description="when the broker sends retained messages (MQTT 5): at a new subscription only, ..."
    )
    topic_aliases: int = Field(
        default=0, ge=0, le=65_535, description="topics that the broker may shorten to a number (MQTT 5)"
    )
    keepalive_s: int = Field(default=30, ge=5, le=65535, description="a broker that is silent for longer is left")
    pulse_s: float = Field(
        default=30.0,
        ge=0,
        description="after so much silence a message of our own, on `headwater-pulse/<client id>` at QoS 0, must come "
        "back, or the connection is made anew; 0: never",
    )
    connect_timeout_s: float = Field(default=10.0, gt=0, description="TCP, TLS and login together")
    receive_maximum: int = Field(
        default=5000,
        gt=0,
        le=10_000,
        description="messages the broker may send ahead of their acknowledgement; at 3.1.1 its own limit decides",
    )
    session_expiry_s: int = Field(
        default=WEEK_S, ge=0, lt=1 << 32, description="how long the broker keeps messages for us while we are away"
    )

    @model_validator(mode="after")
    def _complete(self) -> MqttSettings:
        encryption.check_complete(self)
        if self.password is not None and self.username is None:
            raise ValueError("password needs username")
        return self

    @property
    def where(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"

    def tls_context(self) -> ssl.SSLContext | None:
        """Build the TLS context, or None without TLS; BadSetting if a file cannot be read or is no PEM."""
        return encryption.context(self, self.where)
