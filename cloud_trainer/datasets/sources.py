"""Where records come from: Kafka, or a folder of recordings; frozen datasets are in frozen.py."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from cloud_trainer.datasets.ranges import Offsets, Part, parts
from headwater.contract import headers, topics
from headwater.contract.errors import BadInput, DataMissing
from headwater.contract.names import check_site
from headwater.contract.reading import encode
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.exact import read_columns
from headwater.transport.record_columns import RecordColumns
from headwater.transport.recordings import Recording, recordings


class Role(NamedTuple):
    """What a topic is: whose, `readings` or `alarms`, and whether it holds what a link shipped beside the others."""

    site: str
    kind: str
    beside: bool


def role_of(topic: str, site: str) -> Role:
    """Role of a topic; with a `site` it is the name of a recording of that site."""
    if site:
        return Role(site, topics.READINGS, beside=False)
    return Role(*topics.origin(topic), beside=topic.endswith(f".{topics.BACKLOG}"))


class Source(Protocol):
    """Records of exact ranges. `site` is that of recordings, and empty where topics name their sites."""

    site: str
    offsets: Offsets

    def read(self, part: Part) -> AsyncGenerator[RecordColumns]:
        """The records of one range in order, with the header `hw-class`; DataMissing when one is gone."""
        ...


class KafkaSource:
    """Ranges of the cloud's topics."""

    site = ""

    def __init__(self, cluster: Cluster, offsets: Offsets) -> None:
        self._cluster, self.offsets = cluster, offsets

    def read(self, part: Part) -> AsyncGenerator[RecordColumns]:
        """As the protocol says; also Transient when the cluster is away."""
        return read_columns(self._cluster, *part, headers.CLASS)


class FolderSource:
    """The first rows of recordings, as the records that the edge would have written of them; labels are not read."""

    def __init__(self, folder: Path, asset_class: str, site: str, *, rows: int | None = None) -> None:
        """`rows` of each recording, or all of them. BadInput as `recordings` raises it."""
        if rows is not None and rows < 1:
            raise BadInput(f"{rows} rows of each recording are nothing to learn from")
        self.site = check_site(site)
        self.recordings = {each.path.relative_to(folder).as_posix(): each for each in recordings(folder)}
        self.offsets: Offsets = {
            name: {"0": (0, len(each.rows[:rows]))} for name, each in sorted(self.recordings.items())
        }
        self._folder, self._class = folder, asset_class

    @classmethod
    def of_offsets(cls, folder: Path, asset_class: str, site: str, offsets: Offsets) -> FolderSource:
        """The very rows of a dataset; DataMissing names a recording that is gone or is shorter now."""
        found = cls(folder, asset_class, site)
        for part in parts(offsets):
            there = found.recordings.get(part.topic)
            if there is None:
                raise DataMissing(f"there is no recording {part.topic} in {folder}")
            if part.partition != 0 or part.end > len(there.rows):
                raise DataMissing(f"{folder / part.topic}: rows {len(there.rows)} to {part.end - 1} are gone")
        found.offsets = offsets
        return found

    async def read(self, part: Part) -> AsyncGenerator[RecordColumns]:
        """As the protocol says."""
        yield columns_of(self.recordings[part.topic], self._class, part.start, part.end)


def columns_of(recording: Recording, asset_class: str, start: int, end: int) -> RecordColumns:
    """Rows [start, end) of a recording as records of `readings`; sensor time stands for log time."""
    rows = recording.rows[start:end]
    count = len(rows)
    return RecordColumns(
        np.arange(start, start + count, dtype=np.int64),
        np.array([row.t for row in rows], np.int64),
        [recording.asset.encode()] * count,
        [encode(row.t, row.values) for row in rows],
        [asset_class.encode()] * count,
    )
