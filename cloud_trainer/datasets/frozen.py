"""Frozen datasets: the records of a dataset in an object store, so that it outlives the retention of the log.

Below `datasets/<sha256 of the dataset>/`: the records in Parquet files (headwater/transport/parquet.py) called by the
SHA-256 of their bytes, and `dataset.json`, written last, which names them. So a freeze that was killed is no dataset
yet, and freezing again completes it. One whose files were damaged or lost is written again from its source, and its
index is replaced only once all records of the source have proved to be those of the digest.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator

import msgspec
import structlog

from cloud_trainer.datasets.collecting import Collected, Told, collect
from cloud_trainer.datasets.digest import PartitionDigest, Span
from cloud_trainer.datasets.file import MOST_BYTES, DatasetFile, describe, differences
from cloud_trainer.datasets.ranges import Offsets, Part, parts
from cloud_trainer.datasets.sources import Source
from headwater.contract.canonical import canonical_json, sha256
from headwater.contract.errors import BadInput, Conflict, DataMissing, Untrusted
from headwater.transport import parquet
from headwater.transport.objects import ObjectStore
from headwater.transport.record_columns import RecordColumns, joined

_log = structlog.get_logger(__name__)
FOLDER = "datasets"
_DIGEST, _WHOLE = re.compile(r"[0-9a-f]{8,64}"), re.compile(r"[0-9a-f]{64}")
_PART_RECORDS = 200_000
_PART_BYTES = 48 << 20  # of values, before they are compressed: one object is one request
_CUT = 4_096  # records that are looked at together when a file is filled
_PIECE = 16_384  # records handed on at a time


class FrozenPart(msgspec.Struct, frozen=True):
    """One Parquet file: records of a partition from the offset `first` on."""

    topic: str
    partition: int
    first: int
    records: int
    sha256: str
    size_bytes: int


class Frozen(msgspec.Struct, frozen=True):
    """What `dataset.json` holds."""

    dataset: DatasetFile
    parts: list[FrozenPart]
    v: int = 1

    @property
    def size_bytes(self) -> int:
        """Bytes of all its Parquet files."""
        return sum(part.size_bytes for part in self.parts)


class FrozenSource:
    """The records of a frozen dataset."""

    def __init__(self, store: ObjectStore, frozen: Frozen) -> None:
        self._store, self._frozen = store, frozen
        self.site = frozen.dataset.site
        self.offsets: Offsets = frozen.dataset.offsets

    async def read(self, part: Part) -> AsyncGenerator[RecordColumns]:
        """As `Source` says; Untrusted when a file was altered."""
        for each in self._frozen.parts:
            if (each.topic, each.partition) == part[:2]:
                data = await asyncio.to_thread(_part, self._store, self._frozen.dataset.sha256, each)
                found = parquet.decode(data, _key(self._frozen.dataset.sha256, each), each.records)
                for at in range(0, len(found.keys), _PIECE):
                    yield found.rows(at, at + _PIECE)


async def freeze(source: Source, dataset: DatasetFile, store: ObjectStore, told: Told | None = None) -> Frozen:
    """Write the records of a dataset to the store, read back each file, and name them; harmless to repeat.

    What is frozen already is read and proven; what of it is damaged or gone is written again. Untrusted when the source
    holds other records than the dataset, or the store gives back other bytes; DataMissing and Transient as the source
    and the store do.
    """
    there, tag = await _standing(store, dataset.sha256, told)
    if there is not None:
        return there
    written: list[FrozenPart] = []
    spans: dict[str, dict[str, Span]] = {}
    for part in parts(source.offsets):
        digest = PartitionDigest()
        async for records in _in_files(source.read(part)):
            digest.add(records)
            written.append(await asyncio.to_thread(_put, store, dataset.sha256, part, records))
            if told is not None:
                told(len(records.offsets))
        span = Span(part.start, part.end, digest.hexdigest(), digest.records)
        spans.setdefault(part.topic, {})[str(part.partition)] = span
    if spans != dataset.spans:
        raise _other(differences(dataset, msgspec.structs.replace(dataset, spans=spans)))
    frozen = Frozen(dataset, written)
    try:
        store.put(_index_key(dataset.sha256), canonical_json(frozen), if_absent=tag is None, if_match=tag)
    except Conflict:  # another one froze it meanwhile: whose files are named does not matter
        return open_frozen(store, dataset.sha256)
    return frozen


async def _standing(store: ObjectStore, digest: str, told: Told | None) -> tuple[Frozen | None, str | None]:
    """A frozen dataset that proves itself, and the tag of the index that is there, also of one that does not."""
    raw = store.get(_index_key(digest), max_bytes=MOST_BYTES)
    if raw is None:
        return None, None
    try:
        frozen = _parsed(raw.data, digest)
        await read_frozen(store, frozen, told)
    except (Untrusted, DataMissing, BadInput) as error:
        _log.warning("a frozen dataset is damaged: it is written again from its source", dataset=digest, why=str(error))
        return None, raw.etag
    return frozen, raw.etag


def index_tag(store: ObjectStore, digest: str) -> str | None:
    """The tag of a frozen dataset's index, which changes when it is written; None where there is none."""
    found = store.get(_index_key(digest), max_bytes=MOST_BYTES)
    return None if found is None else found.etag


def open_frozen(store: ObjectStore, digest: str) -> Frozen:
    """The frozen dataset with this digest, or with the only one that begins so; DataMissing when there is none."""
    if not _DIGEST.fullmatch(digest):
        raise BadInput(f"{digest!r} is no digest of a dataset", hint="8 to 64 of the characters 0-9 and a-f")
    full = digest if len(digest) == 64 else _completed(store, digest)
    found = _index(store, full)
    if found is None:
        raise DataMissing(f"no dataset {digest} is frozen there", hint="headwater train dataset list")
    return found


def frozen_digests(store: ObjectStore, beginning: str = "") -> list[str]:
    """Digests of all frozen datasets."""
    keys = [key.split("/") for key in store.keys(f"{FOLDER}/{beginning}")]
    return sorted({key[1] for key in keys if len(key) == 3 and key[2] == "dataset.json"})


async def read_frozen(
    store: ObjectStore, frozen: Frozen, told: Told | None = None, most_records: int | None = None
) -> Collected:
    """All of a frozen dataset; Untrusted when it is not what its digest says, DataMissing when a file is gone.

    Refused when it holds more than `most_records` readings.
    """
    found = await read_unproven(store, frozen, told, most_records)
    expect(frozen.dataset, found)
    return found


async def read_unproven(
    store: ObjectStore, frozen: Frozen, told: Told | None = None, most_records: int | None = None
) -> Collected:
    """As `read_frozen`, without comparing the digest of the whole."""
    return await collect(FrozenSource(store, frozen), frozen.dataset.asset_class, told, most_records)


def expect(dataset: DatasetFile, found: Collected) -> None:
    """Untrusted, naming what differs, unless the records that were read are those of the dataset."""
    if found.sha256 != dataset.sha256:
        raise _other(differences(dataset, describe(found)))


def _other(said: Iterator[str]) -> Untrusted:
    return Untrusted(
        f"these are not the records of the dataset: {next(said, 'another digest')}",
        hint="the topic was made anew, or a file was changed: headwater train dataset verify names all of it",
    )


async def _in_files(pieces: AsyncGenerator[RecordColumns]) -> AsyncGenerator[RecordColumns]:
    """Records in pieces of the size of a file."""
    waiting: list[RecordColumns] = []
    count = size = 0
    async for piece in pieces:
        for some in _cut(piece):
            waiting.append(some)
            count += len(some.keys)
            size += _size(some)
            if count >= _PART_RECORDS or size >= _PART_BYTES:
                yield joined(waiting)
                waiting, count, size = [], 0, 0
    if count:
        yield joined(waiting)


def _cut(piece: RecordColumns) -> Iterator[RecordColumns]:
    """In parts of at most `_CUT` records: a fetch may be larger than a file."""
    for at in range(0, len(piece.keys), _CUT):
        yield piece.rows(at, at + _CUT)


def _size(piece: RecordColumns) -> int:
    return sum(len(each) for texts in (piece.keys, piece.values, piece.marks) for each in texts if each is not None)


def _put(store: ObjectStore, digest: str, part: Part, records: RecordColumns) -> FrozenPart:
    data = parquet.encode(records)
    made = FrozenPart(part.topic, part.partition, int(records.offsets[0]), len(records.keys), sha256(data), len(data))
    try:
        store.put(_key(digest, made), data, if_absent=True)
    except Conflict:  # of a freeze that was killed, or damaged since; its name is the digest of these very bytes
        if not _is_whole(store, digest, made):
            store.put(_key(digest, made), data)
    _part(store, digest, made)
    return made


def _is_whole(store: ObjectStore, digest: str, part: FrozenPart) -> bool:
    try:
        _part(store, digest, part)
    except (Untrusted, DataMissing):
        return False
    return True


def _part(store: ObjectStore, digest: str, part: FrozenPart) -> bytes:
    key = _key(digest, part)
    found = store.get(key, max_bytes=part.size_bytes)
    if found is None:
        raise DataMissing(f"{key} is gone: offsets {part.first} and on of {part.topic}[{part.partition}]")
    if sha256(found.data) != part.sha256:
        raise Untrusted(f"{key} was altered: offsets {part.first} and on of {part.topic}[{part.partition}]")
    return found.data


def _key(digest: str, part: FrozenPart) -> str:
    return f"{FOLDER}/{digest}/{part.sha256}.parquet"


def _index_key(digest: str) -> str:
    return f"{FOLDER}/{digest}/dataset.json"


def _index(store: ObjectStore, digest: str) -> Frozen | None:
    found = store.get(_index_key(digest), max_bytes=MOST_BYTES)
    return None if found is None else _parsed(found.data, digest)


def _parsed(data: bytes, digest: str) -> Frozen:
    key = _index_key(digest)
    try:
        frozen = msgspec.json.decode(data, type=Frozen)
        frozen.dataset.check()
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError, BadInput) as error:
        raise Untrusted(f"{key} is no index of a dataset: {error}") from error
    if frozen.dataset.sha256 != digest:
        raise Untrusted(f"{key} is the index of another dataset, {frozen.dataset.sha256}")
    if not all(_is_file(part) for part in frozen.parts) or not _fits(frozen):
        raise Untrusted(f"{key} is no index of a dataset: it names files that are none")
    return frozen


def _is_file(part: FrozenPart) -> bool:
    return bool(_WHOLE.fullmatch(part.sha256)) and 0 < part.size_bytes <= parquet.MOST_BYTES and part.records > 0


def _fits(frozen: Frozen) -> bool:
    """Whether the files have the records of the dataset's ranges, by their number, and no more than offsets."""
    counts = Counter[tuple[str, str]]()
    for part in frozen.parts:
        counts[part.topic, str(part.partition)] += part.records
    spans = {(topic, p): span for topic, of in frozen.dataset.spans.items() for p, span in of.items()}
    return counts.keys() <= spans.keys() and all(
        counts[key] == span.records <= span.end - span.start for key, span in spans.items()
    )


def _completed(store: ObjectStore, beginning: str) -> str:
    found = frozen_digests(store, beginning)
    if len(found) > 1:
        raise BadInput(f"{len(found)} frozen datasets begin with {beginning}", hint="name more of its digest")
    if not found:
        raise DataMissing(f"no frozen dataset begins with {beginning}", hint="headwater train dataset list")
    return found[0]
