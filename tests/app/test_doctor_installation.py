"""What the doctor finds in a machine before any service is asked."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.app.doctor.installation import check_disk, check_installation
from tests.app.doctoring import doctor


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder on a real tmpfs."""
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or "tmpfs" not in check_disk("disk", shm).says:
        pytest.skip("this machine has no tmpfs at /dev/shm that can be written")
    folder = Path(tempfile.mkdtemp(dir=shm))
    yield folder
    shutil.rmtree(folder)


def test_a_state_folder_in_memory_is_a_warning(in_memory: Path) -> None:
    """Models and trust would be gone at a restart of the machine; the fix names the setting."""
    code, found, _ = doctor(in_memory)

    assert code == 0
    assert found["disk"]["state"] == "warning"
    assert "HEADWATER_HOME" in found["disk"]["fix"]


def test_an_untried_paho_is_a_warning(tmp_path: Path) -> None:
    """The installed release is compared with those whose internals were tried."""
    named = tmp_path / "other" / "paho_mqtt-2.9.0.dist-info"
    named.mkdir(parents=True)
    (named / "METADATA").write_text("Metadata-Version: 2.1\nName: paho-mqtt\nVersion: 2.9.0\n")

    code, found, _ = doctor(tmp_path, PYTHONPATH=f"{tmp_path / 'other'}:{os.environ.get('PYTHONPATH', '')}")

    assert code == 0
    assert found["paho"]["state"] == "warning"
    assert "2.9.0" in found["paho"]["says"]
    assert "pip install" in found["paho"]["fix"]


def test_few_open_files_are_a_warning() -> None:
    """A limit below the usual one is named with how to raise it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        found = {finding.check: finding for finding in check_installation()}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert found["open files"].state == "warning"
    assert "ulimit -n" in found["open files"].fix
