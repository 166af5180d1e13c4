"""The codecs of record batches: none, gzip, snappy (raw and xerial framing), lz4 frames, zstd.

What is inflated is bounded, so that a small batch cannot fill the memory.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from typing import Literal

import lz4.frame
import zstandard

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch.wire import Buffer

Codec = Literal["none", "gzip", "snappy", "lz4", "zstd"]
CODECS: tuple[Codec, ...] = ("none", "gzip", "snappy", "lz4", "zstd")  # in the order of the attribute's low three bits

INFLATED_BYTES = 256 << 20
_LIKELY_BYTES, _LIKELY = 1 << 16, 16  # what a batch inflates to at most, but for rare ones
_kept = threading.local()
_XERIAL = b"\x82SNAPPY\x00"
_LZ4_BLOCK = lz4.frame.BLOCKSIZE_MAX256KB  # a seventh smaller than with the default of 64 KB, which share nothing
_SMALL_INFLATED = 1 << 20
_ZSTD = zstandard.ZstdDecompressor()
_ZSTD_LEVEL = 1  # the next levels cost more CPU than they save in bytes on readings


def compress(codec: Codec, data: Buffer) -> Buffer:
    """Compress the records of a batch; BadInput for a codec that is only read (gzip, snappy)."""
    if codec == "none":
        return data
    if codec == "lz4":  # a broker refuses linked blocks with -1 UNKNOWN_SERVER_ERROR above 64 KiB
        return bytes(lz4.frame.compress(data, block_size=_LZ4_BLOCK, block_linked=False, store_size=False))
    if codec == "zstd":
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(data)
    raise BadInput(f"batches are not written with {codec}", hint="use none, lz4 or zstd")


def inflate(code: int, data: memoryview) -> Buffer:
    """Inflate the records of a batch by its codec number; BadInput if that fails or exceeds 256 MiB."""
    if code == 0:
        return data
    if not 0 < code < len(CODECS):
        raise BadInput(f"a batch with unknown codec {code}")
    try:
        return _INFLATERS[CODECS[code]](data)
    except (zlib.error, RuntimeError, zstandard.ZstdError, ValueError, EOFError) as error:
        raise BadInput(f"a batch whose {CODECS[code]} data cannot be inflated: {error}") from error


def inflate_small(code: int, data: bytes) -> bytes:
    """Inflate a few records quickly, of 64 KB in lz4 or zstd at most; nothing where that fails, or above 1 MiB."""
    try:
        if CODECS[code] == "lz4":
            found = bytes(lz4.frame.decompress(data))
            return found if len(found) <= _SMALL_INFLATED else b""
        return bytes(_ZSTD.decompress(data, max_output_size=_SMALL_INFLATED))
    except (RuntimeError, zstandard.ZstdError):
        return b""


def _bounded(data: bytes, finished: bool) -> bytes:
    if not finished:
        raise BadInput(f"a batch that ends early or inflates to more than {INFLATED_BYTES} bytes")
    return data


def _gzip(data: memoryview) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    return _bounded(stream.decompress(data, INFLATED_BYTES), stream.eof)


def _lz4(data: memoryview) -> bytes:
    """A frame, by the decompressor of this thread: to make one, and room for 256 MiB, costs more than a small batch.

    It is kept after whole frames only: what is left of a broken one outlives its reset.
    """
    stream = getattr(_kept, "lz4", None) or lz4.frame.LZ4FrameDecompressor()
    _kept.lz4 = None
    stream.reset()
    found: bytes = stream.decompress(data, min(INFLATED_BYTES, max(_LIKELY_BYTES, _LIKELY * len(data))))
    if not stream.eof:
        found += stream.decompress(b"", INFLATED_BYTES - len(found))
    _bounded(found, stream.eof)
    _kept.lz4 = stream
    return found


def _zstd(data: memoryview) -> bytes:
    """Frames, by the decompressor of this thread, as for lz4."""
    made = getattr(_kept, "zstd", None)
    if made is None:
        made = _kept.zstd = zstandard.ZstdDecompressor()
    stream = made.stream_reader(data, read_across_frames=True)
    likely = min(INFLATED_BYTES, max(_LIKELY_BYTES, _LIKELY * len(data)))
    inflated: bytes = stream.read(likely)
    if len(inflated) == likely:
        inflated += stream.read(INFLATED_BYTES + 1 - likely)
    return _bounded(inflated, len(inflated) <= INFLATED_BYTES)


def _snappy(data: memoryview) -> bytes:
    """Raw snappy, or the framing of snappy-java: 8 bytes magic, 8 bytes versions, then int32 length and block each."""
    if bytes(data[:8]) != _XERIAL:
        return _snappy_block(data, INFLATED_BYTES)
    out = bytearray()
    at = 16
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 4 + size > len(data):
            raise BadInput("a snappy block that ends early")
        out += _snappy_block(data[at + 4 : at + 4 + size], INFLATED_BYTES - len(out))
        at += 4 + size
    return bytes(out)


def _snappy_block(block: memoryview, most: int) -> bytes:
    import cramjam  # noqa: PLC0415  # 1.5 MB that a process which only writes does without

    raw = bytes(block)
    try:
        fits = int(cramjam.snappy.decompress_raw_len(raw)) <= most
        return _bounded(bytes(cramjam.snappy.decompress_raw(raw)) if fits else b"", fits)
    except cramjam.DecompressionError as error:
        raise ValueError(str(error)) from error


_INFLATERS: dict[Codec, Callable[[memoryview], bytes]] = {"gzip": _gzip, "snappy": _snappy, "lz4": _lz4, "zstd": _zstd}
