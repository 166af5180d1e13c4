"""The updater as a process that looks, sleeps and looks again, until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

import structlog
from pydantic import SecretStr

from edge_agent.updater import metrics
from edge_agent.updater.settings import UpdaterSettings
from headwater.contract.desired import DESIRED_FILE, decode_desired
from headwater.contract.errors import HeadwaterError
from headwater.transport.lifecycle import sleep_or_stop
from headwater.transport.metrics import serve

_log = structlog.get_logger(__name__)
_GRACE_S = 10.0


async def run(settings: UpdaterSettings, site: str, state: Path, stop: asyncio.Event) -> None:
    """Look at once, then at every jittered interval; ends when `stop` is set.

    What cannot work at all (no root.json, another updater on this state) is raised at the first look; later it is
    logged and tried again, since the edge lives on with what it has.
    """
    serve(settings.metrics_port)
    first = True
    while not stop.is_set():
        try:
            await _look(settings, site, state, stop)
        except HeadwaterError as error:
            if first:
                raise
            _log.warning("look failed", site=site, why=str(error))
        first = False
        spread = settings.jitter * random.uniform(-1, 1)
        await sleep_or_stop(stop, settings.poll_interval_s * (1 + spread))


async def _look(settings: UpdaterSettings, site: str, state: Path, stop: asyncio.Event) -> None:
    if settings.short_lived:
        await _in_a_child(settings, site, state, stop)
    else:
        from edge_agent.updater.cycle import once  # noqa: PLC0415 # 45 MB that a resident process does without

        await asyncio.to_thread(once, settings, site, state)
    path = state / DESIRED_FILE
    if path.exists():
        metrics.show(decode_desired(path.read_bytes()))


async def _in_a_child(settings: UpdaterSettings, site: str, state: Path, stop: asyncio.Event) -> None:
    """Run one look as `python -m edge_agent.updater.process`; its settings go by standard input, for their secrets."""
    order = {"settings": _plain(settings.model_dump()), "site": site, "state": str(state)}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge_agent.updater.process", stdin=asyncio.subprocess.PIPE
    )
    talking = asyncio.create_task(child.communicate(json.dumps(order).encode()))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({talking, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not talking.done():
        child.terminate()
        try:
            await asyncio.wait_for(talking, _GRACE_S)
        except TimeoutError:
            child.kill()
            await child.wait()
    elif child.returncode:
        raise HeadwaterError(f"a look at the store ended with exit status {child.returncode}; its log says why")


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
    from headwater.transport.logs import configure  # noqa: PLC0415

    configure()
    order = json.load(sys.stdin)
    try:
        once(UpdaterSettings.model_validate(order["settings"]), order["site"], Path(order["state"]))
    except HeadwaterError as error:
        _log.error("look failed", site=order["site"], why=str(error), hint=error.hint)  # no traceback
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
