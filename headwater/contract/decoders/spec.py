"""What a route says of its decoder: the kind, and options that the kind has."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from headwater.contract.decoders.paths import parse
from headwater.contract.decoders.quantities import TimeUnit
from headwater.contract.errors import BadSetting
from headwater.contract.reading import MAX_PAYLOAD_BYTES

MOST_SAMPLES = 10_000

Kind = Literal["raw", "json", "scalar", "csv", "cbor", "protobuf", "avro", "sparkplug-b"]
Encoding = Literal["text", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"]

_BOUNDS = frozenset({"max_payload_bytes"})
_SHAPE = frozenset({"time", "time_unit", "asset", "values", "missing", "missing_values", "max_samples"})
_TREE = _BOUNDS | _SHAPE | {"samples", "below"}
_SCHEMA = _TREE | {"framing", "schema_name"}

OPTIONS: dict[str, frozenset[str]] = {
    "raw": _BOUNDS,
    "json": _TREE | {"framing"},
    "scalar": _BOUNDS | {"encoding", "byte_order", "decimal", "channel", "channel_word"},
    "csv": _BOUNDS | _SHAPE | {"separator", "decimal", "columns", "header"},
    "cbor": _TREE,
    "protobuf": _SCHEMA | {"message"},
    "avro": _SCHEMA,
    "sparkplug-b": frozenset(
        {"role", "host_id", "asset_words", "after_gap", "transient", "reorder_ms", "rebirth_ms", "device_birth_ms"}
    ),
}


class DecoderSpec(BaseModel):
    """How payloads become readings. Paths look like `a.b[0].c`, from the whole message when they begin with `$`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = Field("raw", description="Format of the payload; raw passes it on unread.")
    max_payload_bytes: int = Field(
        MAX_PAYLOAD_BYTES, ge=1, le=16 << 20, description="Longer payloads are refused unread, in bytes."
    )
    max_samples: int = Field(MOST_SAMPLES, ge=1, le=MOST_SAMPLES, description="Most samples of one message.")
    samples: str = Field(
        "", description="Path of the array whose elements are samples; empty: the message, or each element of it."
    )
    time: str | None = Field(
        None, description="Path or column of the sample's time; none: the time of receipt stands for it."
    )
    time_unit: TimeUnit = Field("ms", description="Unit of `time`, since 1970; iso8601 without a zone is UTC.")
    asset: str | None = Field(None, description="Path or column of the asset's name; none: the MQTT topic names it.")
    values: dict[str, str] = Field({}, description="Channel = path or column, for each channel to read.")
    below: str = Field(
        "", description="Without `values`: path below which every number is a channel, named by its path."
    )
    missing: Literal["null", "omit", "refuse"] = Field(
        "null",
        description="What a channel without a number becomes: null, left out, or a reason to refuse the message.",
    )
    missing_values: tuple[float | str, ...] = Field((), description="Numbers and texts that mean missing, as -9999.")
    encoding: Encoding = Field("text", description="How a scalar is written: as text, or a number of so many bits.")
    byte_order: Literal["little", "big"] = Field("little", description="Order of a scalar's bytes.")
    channel: str | None = Field(None, description="Channel of a scalar; none: a word of the MQTT topic names it.")
    channel_word: int = Field(
        -1,
        ge=-128,
        le=127,
        description="Which word of the topic names a scalar's channel: 0 is the first, -1 the last.",
    )
    separator: str = Field(",", min_length=1, max_length=1, description="Character between columns.")
    decimal: Literal[".", ","] = Field(".", description="Character before the fraction of a number in text.")
    columns: tuple[str, ...] = Field((), description="Names of the columns in order; an empty name skips a column.")
    header: bool = Field(False, description="Whether the first line of every message names the columns.")
    framing: Literal["none", "confluent"] = Field(
        "none", description="confluent: a zero byte and a schema id of four bytes come before the payload."
    )
    schema_name: str | None = Field(
        None, description="Schema without a registry: Avro's JSON, or a FileDescriptorSet of protobuf, by its name."
    )
    message: str | None = Field(None, description="Full name of the protobuf message, with its package.")
    role: Literal["passive", "active", "primary"] = Field(
        "active",
        description="passive publishes nothing; active asks edge nodes for births that it misses; primary also says on "
        "`spBv1.0/STATE/<host_id>` whether it is there, so that edge nodes may keep their data while it is not.",
    )
    host_id: str = Field("", description="Name of this host, for the role primary.")
    asset_words: Literal["device", "node-device", "group-node-device"] = Field(
        "device", description="Words of the topic that name the asset; two that get the same name are refused."
    )
    after_gap: Literal["mark", "refuse"] = Field(
        "mark", description="Data after a lost message, until the next birth: read and marked, or refused."
    )
    transient: Literal["keep", "skip"] = Field("keep", description="Values that no historian should keep.")
    reorder_ms: int = Field(
        2_000,
        ge=1,
        le=60_000,
        description="Longest wait for a message that is missing; those behind it wait too.",
    )
    rebirth_ms: int = Field(
        1_000,
        ge=100,
        le=3_600_000,
        description="Shortest time between two requests to an edge node for its births; doubled while none helps.",
    )
    device_birth_ms: int = Field(
        30_000, ge=1_000, le=3_600_000, description="Devices not born within it after their edge node are stale."
    )

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """The spec in a table of settings; BadSetting names what is wrong, and the nearest right name."""
        for name in table:
            if name not in cls.model_fields:
                raise BadSetting(f"a decoder has no option {str(name)!r}", hint=nearest(str(name), cls.model_fields))
        kind = table.get("kind", "raw")
        if not isinstance(kind, str) or kind not in OPTIONS:
            raise BadSetting(f"there is no decoder {kind!r}", hint=nearest(str(kind), OPTIONS))
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = "".join(f"{part}: " for part in first["loc"])
            words = first["msg"].removeprefix("Value error, ")
            raise BadSetting(f"decoder {kind}: {where}{words}") from error

    @model_validator(mode="after")
    def _fits(self) -> Self:
        allowed = OPTIONS[self.kind] | {"kind"}
        for name in sorted(self.model_fields_set - allowed):
            raise ValueError(f"`{name}` has no effect on {self.kind}, which takes {', '.join(sorted(allowed))}")
        if self.values and "below" in self.model_fields_set:
            raise ValueError("`values` names the channels and `below` takes all: give one of them")
        if self.kind == "csv":
            self._check_csv()
        else:
            for path in (self.samples, self.time, self.asset, self.below, *self.values.values()):
                parse(path or "")
        if self.kind == "protobuf" and not (self.message and self.schema_name):
            raise ValueError("protobuf needs `message` and `schema_name`")
        if self.kind == "avro" and (self.framing == "none") == (self.schema_name is None):
            raise ValueError("avro needs `schema_name`, or `framing` with a registry, and not both")
        if (self.role == "primary") != bool(self.host_id) or set(self.host_id) & set("/+#\0"):
            raise ValueError("the role primary needs `host_id`, a word without /, + and #; other roles have none")
        return self

    def _check_csv(self) -> None:
        if self.header == bool(self.columns):
            raise ValueError("csv needs either `columns` or `header`")
        if self.separator == self.decimal or self.separator in '"\r\n' or self.separator.isalnum():
            raise ValueError(f"{self.separator!r} cannot be the separator")
        named = [name for name in self.columns if name]
        if len(set(named)) != len(named):
            raise ValueError("a column is named twice")
        for name in (self.time, self.asset, *self.values.values()) if named else ():
            if name is not None and name not in named:
                raise ValueError(f"there is no column {name!r}; {nearest(name, named)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the known name that is nearest to a wrong one."""
    names = list(known)
    if not names:
        return "there are none"
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {found[0]}?" if found else f"there are {', '.join(sorted(names)[:20])}"
