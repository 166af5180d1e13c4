"""Prepares, once for this user, what makes a cluster start in half a second: jars, format, class archives."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from headwater.app.stack import jars
from headwater.app.stack.java import find_java
from headwater.app.stack.kafka import KafkaService, KafkaTools, write_properties
from headwater.app.stack.process import pass_on, stop
from headwater.app.stack.runner import Runner, plainly
from headwater.app.stack.state import only_one
from headwater.contract.errors import Conflict, HeadwaterError, Unreachable

_log = structlog.get_logger(__name__)


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/headwater`, by default `~/.cache/headwater`: shared by all checkouts of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headwater"


def prepare_kafka(
    progress: Callable[[str], None],
    *,
    java: str | None = None,
    cache: Path | None = None,
    cancelled: threading.Event | None = None,
) -> KafkaTools:
    """Everything a cluster needs, made or fetched where missing (seconds; nothing the next time).

    A crash leaves whole pieces or none: each is built aside and renamed. Raises HeadwaterError when a piece cannot
    be had; the class archives are only speed, so a runtime that cannot write them is used without.
    """
    cache = cache or cache_folder()
    cancelled = cancelled or threading.Event()
    runtime = find_java(java)
    with plainly(cache, "XDG_CACHE_HOME"), only_one(cache / "lock", "preparing Kafka", patience_s=600):
        _go_on_unless(cancelled)
        repository = cache / "maven"
        path = jars.class_path(repository, progress, cancelled)
        digest = hashlib.sha256(path.encode()).hexdigest()[:12]
        tools = KafkaTools(runtime, path, (), cache / f"kafka-{jars.KAFKA_VERSION}-{digest}" / "template", repository)
        if not tools.template.exists():
            progress("formatting a Kafka data folder to copy from, once")
            _format(tools)
        _go_on_unless(cancelled)
        archives = _archives(tools, progress, cancelled)
    return replace(tools, archives=archives)


def _go_on_unless(cancelled: threading.Event) -> None:
    if cancelled.is_set():
        raise Conflict("preparing Kafka was given up", hint="repeat; what is ready is kept")


def _format(tools: KafkaTools) -> None:
    tools.template.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tools.template.parent) as name:
        data = Path(name) / "data"
        properties = Path(name) / "server.properties"
        properties.write_text(write_properties(data, {"client": 9092, "controller": 9093}))
        cluster = "MkU3OEVBNTcwNTJENDM2Qg"  # replaced in every copy
        arguments = ("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties))
        _run(tools.command(*arguments), "formatting Kafka's data folder")
        data.rename(tools.template)


def _archives(tools: KafkaTools, progress: Callable[[str], None], cancelled: threading.Event) -> tuple[Path, ...]:
    """The runtime's own classes, and on top Kafka's as a running broker loads them (JEP 310, JEP 350)."""
    folder = tools.template.parent
    home = folder / f"archive-{tools.java.key}"
    base, top, failed = home / "java.jsa", home / "kafka.jsa", home / "failed"
    if top.exists():
        return base, top
    if failed.exists():
        return ()
    progress("archiving Kafka's loaded classes for quicker starts, once for this Java runtime")
    _remove_orphans(folder)
    home.mkdir()
    (home / "java").write_text(str(tools.java.program))
    try:
        # The upper archive holds the path of the lower one, so that one is written where it stays.
        _run([str(tools.java.program), "-Xshare:dump", f"-XX:SharedArchiveFile={base}"], "archiving Java's classes")
        _train(replace(tools, archives=(base,)), home / "run", home / "kafka.new", cancelled)
        (home / "kafka.new").rename(top)
    except HeadwaterError as error:
        if cancelled.is_set():
            raise
        _log.warning("no class archive; Kafka starts slower", reason=str(error), java=str(tools.java.program))
        failed.touch()
        return ()
    finally:
        shutil.rmtree(home / "run", ignore_errors=True)
    return base, top


def _train(tools: KafkaTools, folder: Path, archive: Path, cancelled: threading.Event) -> None:
    runner = Runner(folder)
    try:
        service = KafkaService("training", lambda: tools, options=(f"-XX:ArchiveClassesAtExit={archive}",))
        runner.start(service, cancelled=cancelled)
    finally:
        runner.stop(grace_s=60)


def _remove_orphans(folder: Path) -> None:
    """Archives of runtimes that are gone, and what a killed build left (the caller holds the lock)."""
    for home in folder.glob("archive-*"):
        of = home / "java"
        if not (home / "kafka.jsa").exists() or not of.exists() or not Path(of.read_text()).exists():
            stop(home / "run")
            shutil.rmtree(home, ignore_errors=True)


def _run(argv: list[str], what: str) -> None:
    try:
        subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True, env=pass_on(os.environ))
    except subprocess.CalledProcessError as exc:
        raise Unreachable(f"{what} failed: {(exc.stdout + exc.stderr)[-1500:]}") from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Unreachable(f"{what} failed: {exc}") from exc
