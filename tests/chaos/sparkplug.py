"""Numbered samples of a Sparkplug edge node: births once, then data that have an alias and no name."""

from __future__ import annotations

import json
import time
from typing import Any

from headwater.transport.kafka_batch.records import Record
from tests.chaos.numbers import ASSETS, WARM, Numbers
from tests.contract.sparkplug.payloads import metric, payload

NODE = "line-1"
CHANNEL = "number"
_FIRST_ALIAS = 100
_NUMBERS = 256  # of a sequence


class EdgeNode(Numbers):
    """As Numbers; each asset is a device. It is born once: who loses its births can read nothing from then on."""

    _is_born = False
    _sequence = 0

    def _sent_one(self, content: bytes, asset: int) -> None:
        if not self._is_born:
            self._is_born = True
            self._say("NBIRTH", "", metric(0, "UInt64", name="bdSeq", typed=True))
            for each in range(ASSETS):
                named = metric(float(WARM), name=CHANNEL, alias=_FIRST_ALIAS + each, typed=True)
                self._say("DBIRTH", f"/p{each}", named)
        self._say("DDATA", f"/p{asset}", metric(float(content), alias=_FIRST_ALIAS + asset))

    def _say(self, kind: str, device: str, what: Any) -> None:
        content = payload(what, seq=self._sequence, t=time.time_ns() // 1_000_000)
        self._sequence = (self._sequence + 1) % _NUMBERS
        self._publish(f"spBv1.0/{self._site}/{kind}/{NODE}{device}", content)


def routes(site: str) -> str:
    """The setting of the bridge that it needs."""
    route = {"match": f"spBv1.0/{site}/#", "asset_class": "pump", "decoder": {"kind": "sparkplug-b"}}
    return json.dumps([route])


def numbered(record: Record) -> Record:
    """With the number of its sample for a value; one that has another name than its birth gave it is no number."""
    return record._replace(value=b"%d" % json.loads(record.value or b"")["values"][CHANNEL])
