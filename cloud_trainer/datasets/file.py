"""The dataset file: which records a model learns from, and the digest that proves it; small, canonical JSON.

The same ranges give the same file, byte for byte, so it can be kept in version control. Fields:

| field | what |
|---|---|
| `asset_class` | class whose readings are learned from |
| `site` | of recordings: the site that their assets belong to; empty for ranges of topics |
| `spans` | by topic (or recording) and partition: `[start, end, SHA-256, records]`, offsets or rows |
| `sha256` | digest of the dataset (digest.py) |
| `readings`, `channels` | of the class, by `site/asset`; names |
| `columns_sha256` | digest of what is in the readings, wherever they were read from (see `columns_digest`) |
| `excluded` | records that were left out, by reason |
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from cloud_trainer.datasets.collecting import Collected
from cloud_trainer.datasets.digest import Span, dataset_digest
from cloud_trainer.datasets.ranges import Offsets, check_form
from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput
from headwater.contract.names import check_name
from headwater.transport.files import read_named, replace_durably

MOST_BYTES = 64 << 20
_EXPECTED = "make one with: headwater train dataset build"


class DatasetFile(msgspec.Struct, frozen=True):
    """See above."""

    asset_class: str
    spans: dict[str, dict[str, Span]]
    sha256: str
    readings: dict[str, int]
    channels: tuple[str, ...]
    columns_sha256: str
    excluded: dict[str, int] = {}
    site: str = ""
    v: int = 1

    @property
    def offsets(self) -> Offsets:
        """The ranges alone."""
        return {topic: {p: (span.start, span.end) for p, span in of.items()} for topic, of in self.spans.items()}

    @property
    def records(self) -> int:
        """Records in all ranges, those of other classes and alarms too."""
        return sum(span.records for of in self.spans.values() for span in of.values())

    def check(self) -> None:
        """BadInput unless it names a class, a site and ranges, and its digest is that of its ranges."""
        check_name(self.asset_class, "asset class")
        check_form(self.offsets, self.site)
        if self.v != 1:
            raise BadInput(f"dataset of version {self.v}, this program knows 1", hint="update this program")
        if dataset_digest(self.asset_class, self.site, self.spans) != self.sha256:
            raise BadInput(
                "the digest of the dataset is not that of its class, site and ranges: the file was altered",
                hint=_EXPECTED,
            )

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self)


def columns_digest(found: Collected) -> str:
    """SHA-256 of what the readings of a class say, the same from Kafka, a frozen copy or recordings of them.

    Over the canonical JSON of class and channels, then for each `site/asset` in order: its name behind a 0 byte, the
    number of readings, sensor times (both big-endian int64), and values by row (big-endian float64, one NaN for all).
    """
    hashed = hashlib.sha256(canonical_json([found.asset_class, list(found.channels)]))
    for key, one in found.tables().items():
        values = np.where(np.isnan(one.values), np.nan, one.values).astype(">f8")
        hashed.update(b"\0" + key.encode() + len(one.t).to_bytes(8, "big") + one.t.astype(">i8").tobytes())
        hashed.update(np.ascontiguousarray(values).tobytes())
    return hashed.hexdigest()


def describe(found: Collected) -> DatasetFile:
    """The file of what was read."""
    return DatasetFile(
        asset_class=found.asset_class,
        spans=found.spans,
        sha256=found.sha256,
        readings={key: len(one) for key, one in sorted(found.columns.items())},
        channels=found.channels,
        columns_sha256=columns_digest(found),
        excluded=dict(+found.excluded),
        site=found.site,
    )


def decode_file(data: bytes, where: str) -> DatasetFile:
    """The dataset in a file; BadInput, naming it, when there is none."""
    try:
        found = msgspec.json.decode(data, type=DatasetFile)
        found.check()
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{where} is no dataset: {error}", hint=_EXPECTED) from error
    except BadInput as error:
        raise BadInput(f"{where}: {error}", hint=error.hint) from error
    return found


def read_file(path: Path) -> DatasetFile:
    """The dataset file at `path`; BadInput when there is none, or it is another file."""
    return decode_file(read_named(path, MOST_BYTES), str(path))


def write_file(path: Path, dataset: DatasetFile) -> None:
    """Write it durably."""
    replace_durably(path, dataset.encode() + b"\n")


def differences(wanted: DatasetFile, found: DatasetFile) -> Iterator[str]:
    """In words, what of a dataset is not as its file says; nothing where it is the same."""
    for what, before, now in (
        ("class", wanted.asset_class, found.asset_class),
        ("site", wanted.site or "none", found.site or "none"),
    ):
        if before != now:
            yield f"read as one of the {what} {now}, the dataset is of {before}"
    for topic, of in sorted(wanted.spans.items()):
        for partition, span in sorted(of.items(), key=lambda item: int(item[0])):
            there = found.spans.get(topic, {}).get(partition)
            if there is None:
                yield f"{topic}[{partition}]: offsets {span.start} to {span.end - 1} were not read"
            elif there != span:
                yield (
                    f"{topic}[{partition}], offsets {span.start} to {span.end - 1}: {there.records:,} records with "
                    f"digest {there.sha256[:16]}, the dataset has {span.records:,} with {span.sha256[:16]}"
                )
    for key in sorted({*wanted.readings, *found.readings}):
        there_were, there_are = wanted.readings.get(key, 0), found.readings.get(key, 0)
        if there_were != there_are:
            yield f"{key}: {there_are:,} readings, the dataset has {there_were:,}"
    if wanted.channels != found.channels:
        yield f"channels {', '.join(found.channels)}, the dataset has {', '.join(wanted.channels)}"
    if wanted.excluded != found.excluded:
        yield f"left out {found.excluded}, the dataset has {wanted.excluded}"
    if wanted.columns_sha256 != found.columns_sha256:
        yield "the readings have other times or values than those of the dataset"
