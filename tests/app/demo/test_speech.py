"""What the demo says where things are not as they should be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from headwater.app.demo.cli import _keep_logs, _next_commands, _writable
from headwater.app.demo.console import Steps
from headwater.app.demo.processes import command
from headwater.contract.errors import BadInput, Permanent, Unreachable


def test_a_command_that_does_not_end_is_said_in_a_sentence(tmp_path: Path) -> None:
    """Neither a traceback nor waiting for ever."""
    with pytest.raises(Unreachable, match=r"`headwater stack status` has not ended after 0 s"):
        command(["stack", "status"], tmp_path / "none.toml", timeout_s=0.05)


def test_while_a_command_runs_the_rest_is_looked_after(tmp_path: Path) -> None:
    """A process that died meanwhile is noticed at once, not when the command gives up waiting for it."""

    def look() -> None:
        raise Unreachable("trainer ended with 70")

    with pytest.raises(Unreachable, match="trainer ended"):
        command(["stack", "status"], tmp_path / "none.toml", timeout_s=0.05, meanwhile=look)


def test_what_others_said_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Square brackets in a message or a path are no markup."""
    steps = Steps(quiet=False)
    steps.say("readings[/x] of [pump] at /data/[red]/here")
    steps.print("[/dim] [b]")
    out = capsys.readouterr().out
    assert "readings[/x] of [pump] at /data/[red]/here\n" in out
    assert out.endswith("[/dim] [b]\n")


def test_paths_with_blanks_can_be_typed_as_printed() -> None:
    """Each line quotes what a shell would take apart."""
    lines = _next_commands(Path("/a b"), "lyon")
    assert all("'/a b/" in line for line in lines)
    assert lines[-1].endswith("&& rm -r '/a b'")


def test_a_report_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    """A folder, a device, a path through a file: a sentence at the start, not after two minutes."""
    (tmp_path / "file").write_text("mine")
    for path, said in ((tmp_path, "is a folder"), (Path("."), "is a folder"), (Path("/dev/null"), "is no file")):  # noqa: PTH201  # as typed
        with pytest.raises(BadInput, match=said):
            _writable(path)
    with pytest.raises(Permanent):
        _writable(tmp_path / "file" / "report.html")
    assert _writable(tmp_path / "file") == tmp_path / "file"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_hint_names_the_logs_where_they_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder of the run is removed, so nobody is sent there."""
    logs = tmp_path / "stack" / "logs"
    logs.mkdir(parents=True)
    (logs / "mqtt.log").write_text("a cold")
    error = Unreachable("it ended", hint=f"the whole log is {logs / 'mqtt.log'}")
    _keep_logs(tmp_path, Steps(quiet=False), error)
    named = Path(error.hint.rpartition(" ")[2])
    try:
        assert named.read_text() == "a cold"
        assert tmp_path not in named.parents
        assert str(named.parents[1]) in capsys.readouterr().out
    finally:
        shutil.rmtree(named.parents[1])
