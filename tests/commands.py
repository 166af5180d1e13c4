"""Commands of `headwater` in processes that are forked from one which has imported everything.

Each is a process with its own environment, output and exit code, but begins in 20 ms instead of a second.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from headwater.app.cli import main

_NEEDED = [
    *("replicator.cli", "replicator.verify", "replicator.proof.sides"),
    *(f"replicator.operating.{name}" for name in ("live", "planning", "report", "trimming", "watching", "wording")),
]


class _Source:
    """The process that is forked from; it ends with this one, since its standard input does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def run(self, words: Sequence[str], env: Mapping[str, str]) -> tuple[int, str, str]:
        """Exit code, output, standard error."""
        with self._lock, tempfile.TemporaryDirectory() as folder:
            if self._process is None:
                argv = [sys.executable, "-m", "tests.commands"]
                self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                atexit.register(self._process.kill)
            out, err = Path(folder) / "out", Path(folder) / "err"
            request = {"words": list(words), "env": dict(env), "out": str(out), "err": str(err)}
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return code, out.read_text(), err.read_text()


_SOURCE = _Source()


async def run(words: Sequence[str], env: Mapping[str, str], patience_s: float = 40.0) -> tuple[int, str, str]:
    """Exit code, output and standard error of `headwater WORDS`, with exactly this environment."""
    return await asyncio.wait_for(asyncio.to_thread(_SOURCE.run, words, env), patience_s)


def _serve() -> None:
    for name in _NEEDED:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _be(request)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _be(request: dict[str, object]) -> NoReturn:
    """The command, in the child."""
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]  # what `run` has written
    for number, name in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        opened = os.open(str(name), os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(opened, number)
    code = 1
    try:
        main(list(request["words"]))  # type: ignore[call-overload]  # as above
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
