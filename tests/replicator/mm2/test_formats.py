"""The bytes of MirrorMaker 2's records, as MirrorMaker 4.3.1 itself wrote them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.contract.errors import BadInput
from replicator.mm2.formats import Checkpoint, Heartbeat, OffsetSync, read_checkpoint, read_heartbeat, read_offset_sync

# Key and value, printed by Checkpoint.recordKey() and its like of connect-mirror(-client)-4.3.1.jar.
CHECKPOINTS = {
    Checkpoint("alerts", "lyon.readings", 3, 1234567890123, 42): (
        "0006616c65727473000d6c796f6e2e72656164696e677300000003",
        "00000000011f71fb04cb000000000000002a0000",
    ),
    Checkpoint("gruppe-ü", "a.b", 0, 0, 0, "meta ☂"): (
        "00096772757070652dc3bc0003612e6200000000",
        "00000000000000000000000000000000000000086d65746120e29882",
    ),
}
HEARTBEAT = ("0005636c6f756400046c796f6e", "00000000019aa5cd8160")
SYNCS = {
    OffsetSync("readings", 7, 99, 1 << 40): (
        "000872656164696e677300000007",
        "00000000000000630000010000000000",
    ),
    OffsetSync("readings", 0, 0, 0): ("000872656164696e677300000000", "0" * 32),
}

NAMES = st.text(max_size=40)
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
PARTITIONS = st.integers(0, (1 << 31) - 1)


def test_checkpoints_have_mirrormakers_bytes() -> None:
    """A checkpoint is written and read as MirrorMaker writes it."""
    for checkpoint, (key, value) in CHECKPOINTS.items():
        assert (checkpoint.key.hex(), checkpoint.value.hex()) == (key, value)
        assert read_checkpoint(bytes.fromhex(key), bytes.fromhex(value)) == checkpoint


def test_heartbeats_have_mirrormakers_bytes() -> None:
    """A heartbeat is written and read as MirrorMaker writes it."""
    heartbeat = Heartbeat("cloud", "lyon", 1763718300000)
    assert (heartbeat.key.hex(), heartbeat.value.hex()) == HEARTBEAT
    assert read_heartbeat(*map(bytes.fromhex, HEARTBEAT)) == heartbeat


def test_offset_syncs_have_mirrormakers_bytes() -> None:
    """An offset sync is written and read as MirrorMaker writes it: it alone has no version."""
    for sync, (key, value) in SYNCS.items():
        assert (sync.key.hex(), sync.value.hex()) == (key, value)
        assert read_offset_sync(bytes.fromhex(key), bytes.fromhex(value)) == sync


@given(NAMES, NAMES, PARTITIONS, NUMBERS, NUMBERS, NAMES)
def test_whatever_is_written_is_read_back(
    one: str, other: str, partition: int, here: int, there: int, metadata: str
) -> None:
    """Names of any script and offsets of any size come back as they went."""
    checkpoint = Checkpoint(one, other, partition, here, there, metadata)
    assert read_checkpoint(checkpoint.key, checkpoint.value) == checkpoint
    sync = OffsetSync(one, partition, here, there)
    assert read_offset_sync(sync.key, sync.value) == sync
    heartbeat = Heartbeat(one, other, here)
    assert read_heartbeat(heartbeat.key, memoryview(heartbeat.value)) == heartbeat


@given(st.none() | st.binary(max_size=60), st.none() | st.binary(max_size=60))
def test_any_other_bytes_are_refused_in_a_sentence(key: bytes | None, value: bytes | None) -> None:
    """Bytes that are not such a record are BadInput, never another error and never half a record."""
    for read in (read_checkpoint, read_heartbeat, read_offset_sync):
        try:
            found = read(key, value)
        except BadInput:
            continue
        assert (found.key, found.value) == (key, value)


def test_a_later_version_is_refused() -> None:
    """A record of a version that is not known yet is not guessed at."""
    checkpoint = Checkpoint("g", "t", 0, 1, 2)
    with pytest.raises(BadInput, match="version 1"):
        read_checkpoint(checkpoint.key, b"\0\1" + checkpoint.value[2:])
