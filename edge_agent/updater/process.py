"""The updater as a process that looks, sleeps and looks again, until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import SecretStr

from edge_agent.supervisor import PARENT, die_with_parent
from edge_agent.updater import metrics
from edge_agent.updater.settings import UpdaterSettings
from headwater.contract.desired import DESIRED_FILE, decode_desired
from headwater.contract.errors import HeadwaterError, Permanent
from headwater.transport.lifecycle import sleep_or_stop
from headwater.transport.metrics import serve

if TYPE_CHECKING:
    from headwater.transport.objects import ObjectStore

_log = structlog.get_logger(__name__)
_GRACE_S = 10.0


async def run(settings: UpdaterSettings, site: str, state: Path, stop: asyncio.Event) -> None:
    """Look at once, then at every jittered interval; ends when `stop` is set.

    What cannot work at all (no root.json, another updater on this state) is raised at the first look; later it is
    logged and tried again, since the edge lives on with what it has.
    """
    serve(settings.metrics_port, settings.metrics_address)
    look = _Look(settings, site, state)
    first = True
    while not stop.is_set():
        try:
            await (look.in_a_child(stop) if settings.in_a_child else asyncio.to_thread(look.here))
        except HeadwaterError as error:
            if first:
                raise
            _log.warning("look failed", site=site, why=str(error))
        first = False
        look.show()
        spread = settings.jitter * random.uniform(-1, 1)
        await sleep_or_stop(stop, settings.poll_interval_s * (1 + spread))


class _Look:
    """One look after the other, here or in a child."""

    def __init__(self, settings: UpdaterSettings, site: str, state: Path) -> None:
        self._settings, self._site, self._state = settings, site, state
        self._store: ObjectStore | None = None  # its client is worth keeping

    def here(self) -> None:
        """Look in this process."""
        from edge_agent.updater.cycle import once  # noqa: PLC0415 # 40 MB that a process with children does without
        from headwater.transport.objects import open_store  # noqa: PLC0415  # boto3, for S3 only

        self._store = self._store or open_store(self._settings.objects)
        once(self._settings, self._site, self._state, self._store)

    async def in_a_child(self, stop: asyncio.Event) -> None:
        """Look in `python -m edge_agent.updater.process`; settings go by standard input, since they hold secrets."""
        order = {"settings": _plain(self._settings.model_dump()), "site": self._site, "state": str(self._state)}
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edge_agent.updater.process"),
            stdin=asyncio.subprocess.PIPE,
            env=os.environ | {PARENT: str(os.getpid())},
        )
        talking = asyncio.create_task(child.communicate(json.dumps(order).encode()))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({talking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not talking.done():
            await _end(child, talking)
        elif child.returncode:
            failed = Permanent(f"a look at the store ended with exit status {child.returncode}; its log says why")
            failed.exit_code = child.returncode
            raise failed

    def show(self) -> None:
        """Set the metrics to what desired.json says."""
        path = self._state / DESIRED_FILE
        if path.exists():
            metrics.show(decode_desired(path.read_bytes()))


async def _end(child: asyncio.subprocess.Process, talking: asyncio.Task[tuple[bytes, bytes]]) -> None:
    child.terminate()
    try:
        await asyncio.wait_for(talking, _GRACE_S)
    except TimeoutError:
        child.kill()
        await child.wait()


def _plain(value: Any) -> Any:
    """Settings as JSON can carry them, secrets included."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value


def main() -> None:
    """One look, ordered by JSON on standard input."""
    from edge_agent.updater.cycle import once  # noqa: PLC0415 # the parent imports this module too
    from headwater.transport.logs import configure  # noqa: PLC0415  # of the other process

    if not die_with_parent():
        return
    configure(part="updater")
    try:
        order = json.load(sys.stdin)
        once(UpdaterSettings.model_validate(order["settings"]), order["site"], Path(order["state"]))
    except HeadwaterError as error:
        _log.error("look failed", site=order["site"], why=str(error), hint=error.hint)  # no traceback
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
