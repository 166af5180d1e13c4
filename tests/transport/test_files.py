"""Files on a disk that is full: the old bytes stay whole, and a person reads a sentence."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headwater.contract.errors import BadInput, Permanent
from headwater.transport.files import file_error, read_named, replace_durably
from tests.disk import files_of_at_most, mounted

OLD = b"old" * 100
NEW = b"new" * 100_000


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "none", "large"])
def test_a_named_file_that_is_none_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """A device that never ends and a pipe that nobody writes are not waited for, and no memory is filled."""
    path = tmp_path / kind
    says = "no regular file"
    if kind == "device":
        path = Path("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        path.write_bytes(bytes((1 << 20) + 1))
        says = "larger than 1,048,576 bytes"
    else:
        says = "No such file or directory"
    with pytest.raises(BadInput, match=f"{path} cannot be read: .*{says}"):
        read_named(path)


def test_a_named_file_may_have_a_mebibyte(tmp_path: Path) -> None:
    """To the last byte; an empty one is a file too."""
    (tmp_path / "whole").write_bytes(bytes(1 << 20))
    (tmp_path / "empty").touch()
    assert [len(read_named(tmp_path / name)) for name in ("whole", "empty")] == [1 << 20, 0]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def check_refused(path: Path, data: bytes) -> None:
    """The sentence names the file and what to do; nothing of the new bytes stays."""
    before = names(path.parent)
    with pytest.raises(Permanent, match=f"no space left while writing {path}") as caught:
        replace_durably(path, data)
    assert "free some space" in caught.value.hint
    assert names(path.parent) == before


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    """The new bytes are there, in a folder that is made, with the mode that was asked for, and no other file."""
    path = tmp_path / "deep" / "file"
    replace_durably(path, b"1", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    replace_durably(path, b"2")
    assert path.read_bytes() == b"2"
    assert names(path.parent) == ["file"]


def test_on_a_full_disk_the_old_file_stays(tmp_path: Path) -> None:
    """ENOSPC of a real file system, whether nothing or half of the bytes fit; with space it works again."""
    with mounted(tmp_path / "disk", 256 << 10) as disk:
        path = disk.folder / "file"
        replace_durably(path, OLD)
        for room in (0, 32 << 10):
            disk.fill(but_bytes=room)
            check_refused(path, NEW)
            assert path.read_bytes() == OLD
            disk.free()
        replace_durably(path, OLD * 2)
        assert path.read_bytes() == OLD * 2


def test_a_file_that_may_not_grow_is_as_full_a_disk(tmp_path: Path) -> None:
    """EFBIG of a file-size limit: the same sentence, the old file whole."""
    path = tmp_path / "file"
    replace_durably(path, OLD)
    with files_of_at_most(64 << 10):
        check_refused(path, NEW)
    assert path.read_bytes() == OLD
    replace_durably(path, NEW)
    assert path.read_bytes() == NEW


def test_a_process_under_a_file_size_limit_is_told_and_not_killed(tmp_path: Path) -> None:
    """As a service manager sets it (LimitFSIZE): the process says the sentence instead of dying by SIGXFSZ."""
    path = tmp_path / "file"
    code = "import sys; from headwater.transport.files import *; from pathlib import Path\n"
    code += "try: replace_durably(Path(sys.argv[1]), bytes(100000))\nexcept Exception as e: print(type(e).__name__, e)"
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 8; exec "$@"', "sh", sys.executable, "-c", code, str(path)],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout == f"Permanent no space left while writing {path}\n"
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_kind_of_full_has_the_same_sentence(number: int) -> None:
    """Disk, quota and file-size limit differ in the reason behind the sentence alone."""
    error = file_error(OSError(number, os.strerror(number)), Path("/a/b"))
    assert str(error) == "no space left while writing /a/b"
    assert "quota" in error.hint


def test_a_folder_that_is_a_file_is_said_plainly(tmp_path: Path) -> None:
    """A path through a file, and a folder that may not be written, name themselves."""
    (tmp_path / "file").touch()
    with pytest.raises(Permanent, match="a part of its path is a file"):
        replace_durably(tmp_path / "file" / "x", b"")
    error = file_error(PermissionError(errno.EACCES, "Permission denied"), tmp_path)
    assert str(error) == f"{tmp_path} cannot be written: Permission denied"


def test_killed_while_it_writes_the_file_is_old_or_new(tmp_path: Path) -> None:
    """SIGKILL at any moment of a replacement: never a mix, never nothing."""
    path = tmp_path / "file"
    replace_durably(path, b"0" * 200_000)
    code = "import sys; from headwater.transport.files import *; from pathlib import Path\n"
    code += "print('ready', flush=True)\n"
    code += "for n in range(10**6): replace_durably(Path(sys.argv[1]), str(n % 10).encode() * 200000)"
    for life in range(5):
        child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.01 * life)  # the moment is the test's parameter, not something to wait for
        child.kill()
        child.communicate()
        found = path.read_bytes()
        assert (len(found), len(set(found))) == (200_000, 1)
