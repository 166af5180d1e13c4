"""The digest of a dataset: the rule, and its computing.

Of each partition six columns are hashed with SHA-256, each over all records of the range in the order of their offsets:
`offsets` and `times` (log time, ms since 1970) as big-endian int64; `sizes`: of each record the sizes of class, key and
value as big-endian int64, -1 for one that is null; `classes` (the header `hw-class`), `keys` and `values`: their bytes,
one behind the other. The digest of the partition is the SHA-256 of the canonical JSON (headwater/contract/canonical.py)
of the six hex digests by name and the number of `records`. The digest of the dataset is that of the canonical JSON of
`{"asset_class": ..., "site": ..., "spans": {topic: {partition: [start, end, digest of the partition]}}}`: the same
records read as another class, or recordings taken for another site's, are another dataset.

So it does not depend on how records are batched, compressed or stored: a frozen copy has the same. Of recordings, the
file's name stands for the topic, 0 for the partition, row numbers for offsets, sensor time for log time, the asset for
the key, and the payload that the edge would have written for the value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from headwater.contract.canonical import digest
from headwater.transport.record_columns import RecordColumns


class Span(NamedTuple):
    """A range [start, end) of a partition, the digest of its records, and how many there are."""

    start: int
    end: int
    sha256: str
    records: int


Spans = Mapping[str, Mapping[str, Span]]  # by topic and partition


class PartitionDigest:
    """Takes the records of one partition in any pieces."""

    _COLUMNS = ("offsets", "times", "sizes", "classes", "keys", "values")

    def __init__(self) -> None:
        self._hashes = {name: hashlib.sha256() for name in self._COLUMNS}
        self.records = 0

    def add(self, found: RecordColumns) -> None:
        """The next records."""
        texts = (found.marks, found.keys, found.values)
        sizes = np.array([[-1 if each is None else len(each) for each in column] for column in texts], ">i8")
        self._hashes["offsets"].update(found.offsets.astype(">i8").tobytes())
        self._hashes["times"].update(found.timestamps_ms.astype(">i8").tobytes())
        self._hashes["sizes"].update(np.ascontiguousarray(sizes.T).tobytes())
        for name, column in zip(("classes", "keys", "values"), texts, strict=True):
            try:
                joined = b"".join(column)  # type: ignore[arg-type]  # a null is among them if it is not bytes
            except TypeError:
                joined = b"".join(each or b"" for each in column)
            self._hashes[name].update(joined)
        self.records += len(found.offsets)

    def hexdigest(self) -> str:
        """The digest of the partition, in hex."""
        return digest({"records": self.records, **{name: each.hexdigest() for name, each in self._hashes.items()}})


def dataset_digest(asset_class: str, site: str, spans: Spans) -> str:
    """The digest of the dataset, in hex; `site` is that of recordings, empty for topics."""
    ranges = {
        topic: {partition: [span.start, span.end, span.sha256] for partition, span in of.items()}
        for topic, of in spans.items()
    }
    return digest({"asset_class": asset_class, "site": site, "spans": ranges})
