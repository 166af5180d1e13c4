"""Who copies: how each system is started for one topic, and where its copy is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.replicator import mirror
from bench.replicator.cases import Case
from bench.replicator.clusters import Bed

OURS, LOOP, STOCK, TUNED = "headwater", "loop", "mm2 stock", "mm2 tuned"


@dataclass(frozen=True)
class Start:
    """A command line, the topic that it fills, and whether that must be made first."""

    argv: list[str]
    target: str
    env: Mapping[str, str] = field(default_factory=dict)
    make_target: bool = False


class System(Protocol):
    """One replicator under test."""

    @property
    def name(self) -> str:
        """Its name in tables."""

    def start(self, bed: Bed, case: Case, topic: str, *, pattern: str = "", paced: bool = False) -> Start:
        """How to copy `topic`; with `pattern`, whatever fits it, which need not be there yet."""


@dataclass(frozen=True)
class Ours:
    """`headwater replicate run` by its defaults, and whatever settings are given. `profile`: cProfile's statistics."""

    name: str = OURS
    settings: Mapping[str, str] = field(default_factory=dict)
    profile: Path | None = None

    def start(self, bed: Bed, case: Case, topic: str, *, pattern: str = "", paced: bool = False) -> Start:
        """How to copy."""
        del paced
        site, prefix = bed.fresh("site"), "HEADWATER_REPLICATOR__"
        which = {"SELECTION__INCLUDE": f'["{pattern}"]'} if pattern else {"TOPICS": f'["{topic}"]'}
        env = {f"{prefix}SITE": site, **{prefix + name: value for name, value in which.items()}}
        for end, ends in (("SOURCE", bed.source), ("TARGET", bed.target)):
            env[f"{prefix}{end}__BROKERS"] = ends.tls if case.tls else ends.plain
            if case.tls:
                env |= {f"{prefix}{end}__TLS": "true", f"{prefix}{end}__CA_FILE": str(ends.pem)}
        profiler = ["-m", "cProfile", "-o", str(self.profile)] if self.profile else []
        argv = [sys.executable, *profiler, "-m", "headwater", "replicate", "run"]
        return Start(argv, f"{site}.{topic}", {**env, **self.settings})


@dataclass(frozen=True)
class Loop:
    """confluent-kafka in a loop, see loop.py; 100 ms of linger for throughput, the client's own 5 ms when paced."""

    name: str = LOOP

    def start(self, bed: Bed, case: Case, topic: str, *, pattern: str = "", paced: bool = False) -> Start:
        """How to copy."""
        del pattern
        target = f"{bed.fresh('loop')}.{topic}"
        ends = [each.tls if case.tls else each.plain for each in (bed.source, bed.target)]
        arguments = [*ends, topic, target, str(case.partitions), case.codec, "5" if paced else "100"]
        argv = [sys.executable, "-m", "bench.replicator.loop", *arguments, *([str(bed.source.pem)] if case.tls else [])]
        return Start(argv, target, make_target=True)


@dataclass(frozen=True)
class Mirror:
    """MirrorMaker 2, see mirror.py."""

    class_path: str
    tuned: bool

    @property
    def name(self) -> str:
        """Its name in tables."""
        return TUNED if self.tuned else STOCK

    def start(self, bed: Bed, case: Case, topic: str, *, pattern: str = "", paced: bool = False) -> Start:
        """How to copy."""
        del paced
        alias = bed.fresh("edge")
        file = bed.folder / f"{alias}.properties"
        file.write_text(mirror.properties(bed, case, alias, pattern or topic, tuned=self.tuned))
        return Start(mirror.command(bed, self.class_path, file), f"{alias}.{topic}")
