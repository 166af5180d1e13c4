"""`desired.json`: what the updater tells the scorer, in one small file that is replaced as a whole.

Every version named in it lies in `model_folder(...)` below the same state folder, verified and tried. The scorer
reads the file when it changes, loads what it names and declares the swap; it writes nothing here.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput
from headwater.contract.messages import Refusal
from headwater.contract.names import check_name

DESIRED_FILE = "desired.json"
MAX_DESIRED_BYTES = 1 << 20

Freshness = Literal["never", "fresh", "stale", "frozen", "unreachable", "unverified"]


class Wanted(msgspec.Struct, frozen=True):
    """The version of a class that should run. `placed_at` (ms) changes only when it is placed.

    The scorer hashes the bytes of both files that it loads. A desired.json by an agent that did not write
    `manifest_sha256` reads as one with the empty digest, which no file has: the scorer refuses the version
    (`bad-digest`) and its readings wait, until the updater's next look proves the files on the disk against the signed
    digests and places the version anew. To run it on trust meanwhile would be the one load without a proof.
    """

    version: int
    sha256: str  # of model.tflite
    generation: int  # of the rollout document that asks for it
    placed_at: int
    source: Literal["download", "disk"]
    rollout_id: str
    fetched_bytes: int = 0  # downloaded to place it: 0 for a version that was on disk
    manifest_sha256: str = ""  # of the bytes of manifest.json


class UpdaterState(msgspec.Struct, frozen=True):
    """How the last cycle went; copied into `Status.updater`.

    `freshness`: fresh; stale (no good refresh for 48 h although the store answers); frozen (signed metadata expired
    while the store answers); unreachable; unverified (the root cannot be read, or what the store serves does not
    follow from it); never (before the first cycle).
    `phase`: idle; waiting (`last_error` may heal by itself, such as a store that is away); stuck (somebody has to do
    something here: no root of trust, signatures that it does not vouch for, keys that the store refuses).
    """

    phase: Literal["idle", "waiting", "stuck"] = "idle"
    last_error: str = ""
    fetched_bytes: int = 0  # models and manifests, in all since the state folder was made
    freshness: Freshness = "never"
    checked_at: int = 0  # ms, end of the last cycle


class Desired(msgspec.Struct, frozen=True):
    """The whole file. `generations` has the highest generation seen of each class, refused or not."""

    classes: dict[str, Wanted] = {}
    refused: list[Refusal] = []
    generations: dict[str, int] = {}
    updater: UpdaterState = UpdaterState()
    v: int = 1

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self)


def decode_desired(data: bytes) -> Desired:
    """The content of a desired.json; BadInput when it is not one of this version."""
    if len(data) > MAX_DESIRED_BYTES:
        raise BadInput(f"{DESIRED_FILE} of {len(data)} bytes, at most {MAX_DESIRED_BYTES}")
    try:
        desired = msgspec.json.decode(data, type=Desired)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"not a {DESIRED_FILE}: {error}") from error
    if desired.v != 1:
        raise BadInput(f"{DESIRED_FILE} of version {desired.v}, this agent knows 1", hint="update the agent")
    for name in desired.classes:
        check_name(name, "asset class")
    return desired


def model_folder(asset_class: str, version: int) -> str:
    """Folder of a version below the state folder, as a relative path: `models/pump/3`."""
    return f"models/{check_name(asset_class, 'asset class')}/{version}"
