"""What a campaign attacks, as a supervisor has it: processes one after the other, under a load that can be watched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.process import Life, wait

READY_S = 90.0
_POINT_S = 4.0


@dataclass(kw_only=True)
class Supervised(ABC):
    """`lives` are the processes that were started, the one that counts last; `ended` those that ended by themselves."""

    lives: list[Life] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    @property
    def life(self) -> Life:
        """The system's process now, or the last one."""
        return self.lives[-1]

    @abstractmethod
    def start(self) -> Life:
        """A new life; of what ran before nothing is asked."""

    @property
    @abstractmethod
    def sent(self) -> int:
        """How much was put in so far."""

    @abstractmethod
    def pace(self, rate: float) -> None:
        """Put in as much a second from now on."""

    @abstractmethod
    def check(self) -> None:
        """Raise what went wrong with the load."""

    @abstractmethod
    async def limit(self, bytes_per_s: float | None) -> None:
        """A quota for what the system writes to Kafka; None takes it away."""

    async def is_ready(self) -> bool:
        """Wait until the system works; whether it does."""
        return await wait(self.life.ready.is_set, READY_S)

    def kill(self) -> None:
        """SIGKILL to whatever lives."""
        for life in self.lives:
            life.kill()

    def see_to_it(self) -> None:
        """As the edge's supervisor does: start again what has ended by itself."""
        if (status := self.life.status) is not None:
            self.ended.append(f"status {status}")
            self.life.join()
            self.start()

    async def dies_at(self, folder: Path, point: str, nth: int, *, starting: bool) -> bool:
        """Have it die at the n-th passing of a named point (plug/sitecustomize.py); whether it did.

        `starting`: a new life, at the first passing; else the present one, if it comes there soon.
        """
        fired, arm = folder / "fired", folder / "arm"
        if starting:
            self.kill()
        else:
            await self.is_ready()
        fired.unlink(missing_ok=True)
        arm.write_text(f"{1 if starting else nth} {point}")
        if starting:
            self.start()
        died = await self.life.ends(READY_S if starting else _POINT_S)
        arm.unlink()
        return died and fired.exists()
