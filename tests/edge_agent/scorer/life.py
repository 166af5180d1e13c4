"""One life of the scorer as a process: `life.py '{"site": ..., "brokers": ..., "state": ..., "settings": {...}}'`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edge_agent.scorer.main import run_scorer
from edge_agent.scorer.settings import ScorerSettings
from headwater.contract.errors import HeadwaterError
from headwater.transport import lifecycle, logs
from headwater.transport.kafka_batch import KafkaSettings


def main() -> None:
    given = json.loads(sys.argv[1])
    logs.configure(json=True)
    kafka = KafkaSettings(brokers=given["brokers"])
    settings = ScorerSettings(**given["settings"])
    try:
        lifecycle.run(lambda stop: run_scorer(given["site"], kafka, Path(given["state"]), settings, stop))
    except HeadwaterError as error:
        print(f"{error} ({error.hint})", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
