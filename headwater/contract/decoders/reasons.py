"""Why a decoder refuses a message: every code that can stand in `BadInput.reason` when a decoder raised it.

docs/decoders.md shows the same table; a test compares the two.
"""

from __future__ import annotations

from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.errors import BadInput

TOO_LARGE = "too-large"
TOO_MANY = "too-many"
BAD_TIME = "bad-time"
BAD_ASSET = "bad-asset"
NO_VALUES = "no-values"
VALUE_MISSING = "value-missing"
SCHEMA_UNKNOWN = "schema-unknown"

REASONS: dict[str, str] = {
    BAD_PAYLOAD: "the payload is not what the decoder of its route reads",
    TOO_LARGE: "the payload, or the readings that it would become, have more bytes than is allowed",
    TOO_MANY: "the message has more samples, a sample more channels, or both together more values, than is allowed",
    BAD_TIME: "a sample has no usable time where the route says that it has one",
    BAD_ASSET: "a sample names an asset that cannot be one",
    NO_VALUES: "a sample has no channel",
    VALUE_MISSING: "a channel is missing, and the route says to refuse such a message",
    SCHEMA_UNKNOWN: "the message names a schema that is not known here (yet)",
}

_WORDS_MOST = 200


class SchemaUnknown(BadInput):
    """The message names schema `schema_id` of the registry; fetch it, put it among the schemas, decode again."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(
            f"the message names schema {schema_id}, which is not known here",
            hint="is the schema registry reachable, and does it have this schema?",
            reason=SCHEMA_UNKNOWN,
        )
        self.schema_id = schema_id


def refused(reason: str, message: str, *, hint: str = "") -> BadInput:
    """The error to raise for a message; its words are UTF-8 and short whatever the payload says."""
    return BadInput(in_words(message), hint=hint, reason=reason)


def in_words(message: object) -> str:
    """`message` as text of at most 200 characters that any header can carry."""
    return str(message)[:_WORDS_MOST].encode("utf-8", "replace").decode()
