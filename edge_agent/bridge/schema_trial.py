"""The schema that one message on trial names: of those that the bridge keeps on disk, or from the registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_agent.bridge.schemas import kept_in
from edge_agent.bridge.settings import BridgeSettings
from headwater.contract.decoders.reasons import SCHEMA_UNKNOWN
from headwater.contract.errors import BadInput, HeadwaterError


def fetching(settings: BridgeSettings, folder: Path, *, offline: bool = False) -> Callable[[int], bytes]:
    """What gives the schema of an id; BadInput says why there is none. `folder` is that of the site."""

    def fetch(schema_id: int) -> bytes:
        wanted = settings.schema_registry
        if wanted is None:
            raise _unknown(
                f"the message names schema {schema_id}, and there is no schema registry to ask",
                "set edge.bridge.schema_registry.url",
            )
        try:
            return (kept_in(folder, wanted.url) / str(schema_id)).read_bytes()
        except OSError:
            pass  # the bridge never needed it here, or runs as somebody else
        if offline:
            raise _unknown(
                f"the message names schema {schema_id}, which this box has not kept, and nothing is asked (--offline)",
                f"without --offline it is fetched from {wanted.url}",
            )
        from headwater.transport.schema_registry import SchemaRegistry  # noqa: PLC0415 - brings an HTTP client

        try:
            return SchemaRegistry(wanted).schema(schema_id)
        except BadInput as error:
            raise _unknown(str(error), error.hint) from error
        except HeadwaterError as error:
            raise _unknown(
                f"schema {schema_id} could not be fetched: {error}",
                f"the bridge would hold the message for up to {settings.schema_wait_s:g} s; {error.hint}".rstrip("; "),
            ) from error

    return fetch


def _unknown(what: str, hint: str) -> BadInput:
    return BadInput(what, hint=hint, reason=SCHEMA_UNKNOWN)
