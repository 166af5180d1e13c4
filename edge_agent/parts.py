"""What each process of an edge does. Imports wait until the part is known: memory on an edge box is dear."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from edge_agent import supervisor
from headwater.contract.errors import BadInput, BadSetting, Conflict, HeadwaterError

if TYPE_CHECKING:
    from edge_agent.settings import EdgeSettings
    from headwater.contract.desired import Wanted


def main(arguments: list[str]) -> int:
    """Run one part until SIGTERM or SIGINT; the exit status is in docs/exit-codes.md."""
    if arguments == ["run"]:
        return supervisor.run()
    if not supervisor.die_with_parent():
        return 0
    try:
        run_part(arguments[0] if arguments else "", once="--once" in arguments)
    except HeadwaterError as error:
        sys.stderr.write(f"headwater: {error}\n" + (f"  hint: {error.hint}\n" if error.hint else ""))
        return error.exit_code
    return 0


def run_part(part: str, *, once: bool = False) -> None:
    """Run one part in this process, with the settings of the section `edge`."""
    from edge_agent.settings import EdgeSettings
    from headwater.transport import logs, settings

    known = {"setup": _setup, "bridge": _bridge, "scorer": _scorer, "updater": _updater_once if once else _updater}
    if part not in known:
        raise BadInput(f"the edge has no part {part!r}", hint=f"parts: {', '.join(known)}, run")
    logs.configure(part=part)
    known[part](settings.load("edge", EdgeSettings))


def _setup(settings: EdgeSettings) -> None:
    """A process of its own, so that librdkafka goes with it."""
    import structlog

    made = setup_topics(settings)
    structlog.get_logger(__name__).info("topics ready", site=settings.site, created=made)


def setup_topics(settings: EdgeSettings) -> list[str]:
    """Create the topics that are missing, and return their names; waits for Kafka.

    BadSetting where one is there in another form.
    """
    from headwater.transport.kafka import ensure_topics
    from headwater.transport.retry import retrying_sync

    def create() -> list[str]:
        try:
            return ensure_topics(settings.kafka, settings.topics, replication_factor=settings.replication_factor)
        except Conflict as error:  # other than the rest, waiting does not cure it
            raise BadSetting(str(error), hint=error.hint) from error

    return retrying_sync(f"creating topics at {settings.kafka.brokers}", create)


def _bridge(settings: EdgeSettings) -> None:
    from edge_agent.bridge import process
    from headwater.transport import lifecycle

    lifecycle.run(lambda stop: process.run(settings, stop))


def _scorer(settings: EdgeSettings) -> None:
    from edge_agent.scorer.main import run_scorer
    from headwater.transport import lifecycle

    lifecycle.run(lambda stop: run_scorer(settings.site, settings.kafka, settings.folder, settings.for_scorer, stop))


def _updater(settings: EdgeSettings) -> None:
    from edge_agent.updater import process
    from headwater.transport import lifecycle

    lifecycle.run(lambda stop: process.run(settings.for_updater, settings.site, settings.folder, stop))


def _updater_once(settings: EdgeSettings) -> None:
    from edge_agent.updater.cycle import demand
    from headwater.contract.desired import DESIRED_FILE, decode_desired

    path = settings.folder / DESIRED_FILE
    before: dict[str, Wanted] = {}
    with suppress(FileNotFoundError, BadInput):  # a damaged one is made anew
        before = decode_desired(path.read_bytes()).classes
    found = demand(settings.for_updater, settings.site, settings.folder).classes
    for name, wanted in sorted(found.items()):
        is_new = name not in before or before[name].placed_at != wanted.placed_at
        print(f"{name}: version {wanted.version}, {'placed now' if is_new else 'nothing new'}")
    if not found:
        print(f"no rollout has reached {settings.site} yet: there is nothing to run")
