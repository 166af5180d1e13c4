"""What the parts of the demo are told."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from headwater.app.demo.wiring import write_cloud, write_site
from headwater.app.stack.s3 import OWNER, READER, credentials_of
from headwater.app.stack.state import MqttAddress, S3Address, StackState
from headwater.contract.errors import Refused
from headwater.transport.objects import ObjectSettings, open_store


def test_edges_are_given_keys_that_may_only_read(tmp_path: Path) -> None:
    """The settings of a plant hold the reader's keys, those of the cloud the owner's."""
    owner = credentials_of(tmp_path / "stack" / "s3", OWNER)
    s3 = S3Address("http://127.0.0.1:1", owner.access_key, owner.secret_key, "headwater")
    state = StackState({"lyon": "127.0.0.1:2", "cloud": "127.0.0.1:3"}, MqttAddress("127.0.0.1", 4, True), s3, {})

    plant = tomllib.loads(write_site(tmp_path, "lyon", "pump", state, tmp_path / "root.json").read_text())
    cloud = tomllib.loads(write_cloud(tmp_path, state, tmp_path / "keys").read_text())

    reader = credentials_of(tmp_path / "stack" / "s3", READER)
    assert plant["edge"]["updater"]["objects"]["access_key"] == reader.access_key
    assert cloud["fleet"]["objects"]["access_key"] == owner.access_key
    assert owner.secret_key not in str(plant)


def test_a_reader_reads_and_changes_nothing(s3: S3Address, s3_reader: S3Address) -> None:
    """What is there is read, what is not there is not there, and the server refuses to write or replace."""
    written, read = (
        open_store(
            ObjectSettings.model_validate(
                {
                    "endpoint": each.endpoint,
                    "bucket": each.bucket,
                    "access_key": each.access_key,
                    "secret_key": each.secret_key,
                }
            )
        )
        for each in (s3, s3_reader)
    )
    written.put("metadata/1.root.json", b"root")

    found = read.get("metadata/1.root.json", max_bytes=100)
    assert found is not None
    assert found.data == b"root"
    assert read.head("metadata/1.root.json") is not None
    assert read.get("metadata/2.root.json", max_bytes=100) is None
    with pytest.raises(Refused):
        read.put("metadata/2.root.json", b"mine")
    with pytest.raises(Refused):
        read.put("metadata/1.root.json", b"mine")
    assert written.get("metadata/2.root.json", max_bytes=100) is None
