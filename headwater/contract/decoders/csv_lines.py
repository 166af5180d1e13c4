"""`csv`: each line is a sample (RFC 4180, any separator); columns are named by the spec or by the first line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.decoders.decoded import Decoded
from headwater.contract.decoders.reasons import refused
from headwater.contract.decoders.shape import Sampler, check_size, gathered
from headwater.contract.decoders.spec import DecoderSpec, nearest

MAX_COLUMNS = 4096


class _Columns:
    """Which column is what."""

    def __init__(self, names: Sequence[str], spec: DecoderSpec) -> None:
        self.count = len(names)
        at = {name: index for index, name in enumerate(names) if name}
        self.time = None if spec.time is None else _index(at, spec.time)
        self.asset = None if spec.asset is None else _index(at, spec.asset)
        if spec.values:
            self.values = [(channel, _index(at, column)) for channel, column in spec.values.items()]
        else:
            self.values = [(name, index) for name, index in at.items() if index not in (self.time, self.asset)]


def _index(at: Mapping[str, int], column: str) -> int:
    if column not in at:
        raise refused(BAD_PAYLOAD, f"the first line names no column {column!r}", hint=nearest(column, list(at)[:100]))
    return at[column]


class CsvDecoder:
    """One or many lines a message."""

    def __init__(self, spec: DecoderSpec) -> None:
        self._spec = spec
        self._sampler = Sampler(spec)
        self._columns = None if spec.header else _Columns(spec.columns, spec)
        self._comma = spec.decimal == ","

    def decode(self, topic: str, payload: bytes, received_ms: int) -> Sequence[Decoded]:
        """See Decoder."""
        del topic
        check_size(payload, self._spec.max_payload_bytes)
        try:
            lines = io.StringIO(payload.decode("utf-8-sig"), newline="")
            return gathered(self._readings(lines, received_ms), self._spec.max_samples)
        except UnicodeDecodeError as error:
            raise refused(BAD_PAYLOAD, "the payload is not UTF-8 text") from error
        except csv.Error as error:
            raise refused(BAD_PAYLOAD, f"not CSV: {error}") from error

    def _readings(self, lines: io.StringIO, received_ms: int) -> Iterator[Decoded]:
        columns = self._columns
        read = csv.reader(lines, delimiter=self._spec.separator, strict=True)
        for row in read:
            if not row:
                continue
            if columns is None:
                columns = self._header(row)
                continue
            if len(row) != columns.count:
                where = f"line {read.line_num} has {len(row)} columns, expected {columns.count}"
                raise refused(BAD_PAYLOAD, where, hint="see `columns` and `separator` of the route")
            yield self._reading(row, columns, received_ms)

    def _header(self, row: list[str]) -> _Columns:
        names = [name.strip() for name in row]
        if len(names) > MAX_COLUMNS or len(set(names)) != len(names):
            raise refused(BAD_PAYLOAD, f"the first line names a column twice, or more than {MAX_COLUMNS}")
        return _Columns(names, self._spec)

    def _reading(self, row: list[str], columns: _Columns, received_ms: int) -> Decoded:
        time = None if columns.time is None else row[columns.time].strip() or None
        asset = None if columns.asset is None else row[columns.asset].strip()
        channels = ((name, self._plain(row[index])) for name, index in columns.values)
        return self._sampler.reading(time, asset, channels, received_ms)

    def _plain(self, cell: str) -> str:
        return cell.strip().replace(",", ".") if self._comma else cell.strip()


def build(spec: DecoderSpec, schemas: Mapping[str, bytes]) -> CsvDecoder:
    """The decoder of a spec."""
    del schemas
    return CsvDecoder(spec)
