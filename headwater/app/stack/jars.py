"""Kafka's jars: fetched once from Maven Central by jgo, checked against the lock, shared by all checkouts."""

from __future__ import annotations

import hashlib
import importlib.resources
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from headwater.contract.errors import BadInput, Conflict, Unreachable, Untrusted

KAFKA_VERSION = "4.3.1"


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of kafka-jars.txt."""

    group: str
    artefact: str
    version: str
    sha256: str
    size_bytes: int

    def path(self, repository: Path) -> Path:
        """Where Maven's repository layout puts it."""
        name = f"{self.artefact}-{self.version}.jar"
        return repository.joinpath(*self.group.split("."), self.artefact, self.version, name)


def locked_jars(more: str = "") -> list[Jar]:
    """The jars of the lock, in the order of the class path (an archive of classes is bound to that order).

    `more` has further lines of the same form.
    """
    text = importlib.resources.files(__package__).joinpath("kafka-jars.txt").read_text()
    rows = (line.split() for line in (text + more).splitlines())
    return [Jar(g, a, v, digest, int(size)) for g, a, v, digest, size in rows]


def class_path(
    repository: Path, progress: Callable[[str], None], cancelled: threading.Event | None = None, *, more: str = ""
) -> str:
    """The jars' class path, fetching what is missing into `repository`; every byte is checked each time.

    Raises Unreachable when they cannot be fetched, Untrusted when one is not what the lock says, Conflict when
    `cancelled` is set meanwhile.
    """
    jars = locked_jars(more)
    missing = [jar for jar in jars if not _is_good(jar, jar.path(repository))]
    if missing:
        megabytes = sum(jar.size_bytes for jar in missing) / 1e6
        progress(f"fetching Kafka {KAFKA_VERSION}: {len(missing)} jars, {megabytes:.0f} MB, once for this user")
        _fetch(missing, repository, cancelled or threading.Event())
    return ":".join(str(jar.path(repository)) for jar in jars)


def _is_good(jar: Jar, path: Path) -> bool:
    # 0.05 s for the 39 MB, less than remembering what was already checked would cost in code.
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256


def _fetch(jars: list[Jar], repository: Path, cancelled: threading.Event) -> None:
    try:
        from jgo.maven import MavenContext  # noqa: PLC0415 - an extra, needed once only
    except ImportError as exc:
        raise BadInput(
            f"{len(jars)} of Kafka's jars are not in {repository}, and jgo, which fetches them, is not installed",
            hint="pip install 'headwater[stack]'",
        ) from exc
    maven = MavenContext(repo_cache=repository, local_repos=[], timeout=60)

    def fetch(jar: Jar) -> None:
        if cancelled.is_set():
            raise Conflict("fetching Kafka was given up", hint="repeat; what has arrived is kept")
        path = jar.path(repository)
        path.unlink(missing_ok=True)  # what failed the check; jgo would keep it
        try:
            maven.project(jar.group, jar.artefact).at_version(jar.version).artifact("", "jar").resolve()
        except (OSError, RuntimeError, ValueError) as exc:
            raise Unreachable(
                f"{jar.artefact}-{jar.version}.jar cannot be fetched: {exc}",
                hint="check the network and proxy settings, then repeat; what has arrived is kept",
            ) from exc
        if not _is_good(jar, path):
            path.unlink(missing_ok=True)
            raise Untrusted(
                f"{path.name} as fetched does not have the SHA-256 of the lock",
                hint="repeat; if it stays, something between here and Maven Central changes files",
            )

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(fetch, jar) for jar in jars]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
