"""Log lines: JSON where nobody watches, aligned lines on a terminal, the part in each of them."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

SPEAKS = """
import sys
from headwater.transport import logs
logs.configure(**eval(sys.argv[1]))
import logging, structlog
log = structlog.get_logger("x")
log.debug("a detail", n=1)
log.info("opened", site="lyon", count=3)
log.warning("slow", why="the link, as ever")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
logging.getLogger("librdkafka").info("chatter of a library")
logging.getLogger("librdkafka").warning("a warning of a library")
"""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def said(configure: dict[str, object]) -> list[str]:
    """Lines on standard error where that is a pipe; standard output stays empty."""
    command = [sys.executable, "-c", SPEAKS, repr(configure)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def shown(configure: dict[str, object]) -> list[str]:
    """Lines on standard error where that is a terminal, without colours."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", SPEAKS, repr(configure)], stderr=theirs) as child:
        os.close(theirs)
        data = b""
        try:
            while chunk := os.read(ours, 65_536):
                data += chunk
        except OSError:
            pass  # EIO: the last one who held the terminal has ended
        os.close(ours)
    assert child.returncode == 0
    return [_COLOUR.sub("", line).rstrip() for line in data.decode().splitlines()]


def test_a_pipe_gets_one_json_object_a_line() -> None:
    """Time in UTC, level, event, the keys, and the part of the process; a traceback and libraries have lines too."""
    ours = [json.loads(line) for line in said({"part": "scorer"})]
    assert [line["event"] for line in ours] == ["opened", "slow", "failed", "a warning of a library"]
    assert [line["level"] for line in ours] == ["info", "warning", "error", "warning"]
    assert ours[3]["logger"] == "librdkafka"
    assert {line["part"] for line in ours} == {"scorer"}
    assert (ours[0]["site"], ours[0]["count"]) == ("lyon", 3)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"]) for line in ours)
    assert "ZeroDivisionError" in ours[2]["exception"]


def test_a_terminal_gets_aligned_lines() -> None:
    """No JSON: time, level and event in columns, then key=value."""
    lines = [line for line in shown({"part": "bridge"}) if " [" in line]
    assert not any(line.startswith("{") for line in lines)
    assert "site=lyon" in lines[0]
    assert "part=bridge" in lines[0]
    assert lines[0].index("opened") == lines[1].index("slow") == lines[2].index("failed")
    assert lines[0].index("count=") == lines[1].index("part=")


@pytest.mark.parametrize(("json_wanted", "on_terminal"), [(True, True), (False, False)])
def test_the_form_can_be_chosen(json_wanted: bool, on_terminal: bool) -> None:
    """`json` decides, wherever the lines go."""
    lines = (shown if on_terminal else said)({"json": json_wanted})
    assert any(line.startswith("{") for line in lines) == json_wanted


@pytest.mark.parametrize("verbose", [False, True])
def test_details_are_for_those_who_ask(verbose: bool) -> None:
    """Debug lines come with `verbose` only; libraries speak from warnings on."""
    text = "\n".join(said({"verbose": verbose}))
    assert ("a detail" in text) == verbose
    assert "chatter of a library" not in text
    assert "a warning of a library" in text


def test_without_a_part_no_part_is_bound() -> None:
    """A command that is no part says none."""
    assert "part" not in json.loads(said({})[0])


def test_every_line_of_a_part_is_json(tmp_path: Path) -> None:
    """A real command off a terminal: its log lines can be read by a program, its answer is on standard output."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    environment |= {
        "HEADWATER_EDGE__SITE": "lyon",
        "HEADWATER_HOME": str(tmp_path),
        "HEADWATER_EDGE__UPDATER__ROOT_FILE": str(tmp_path / "root.json"),
        "HEADWATER_EDGE__UPDATER__OBJECTS__ENDPOINT": f"file://{tmp_path}/nowhere",
    }
    (tmp_path / "root.json").write_text("{}")
    command = [sys.executable, "-m", "headwater", "edge", "updater", "--once"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    logged, *told = done.stderr.splitlines()
    line = json.loads(logged)
    assert (line["part"], line["level"], line["site"]) == ("updater", "warning", "lyon")
    assert told[0].startswith("headwater: signed metadata cannot be trusted")  # the command's last words
    assert (done.returncode, done.stdout) == (7, "")
