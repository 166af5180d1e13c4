"""Sparkplug B 3.0, the host's side: pure, without I/O or clock (host.py is where to begin).

`wire` the bytes, `addresses` topics and names of assets, `datatypes` numbers, `tables` births, `readings` data,
`sequence` the order, `node` what is known of an edge node, `host` all of them, `saved` what outlives a restart.
"""

from headwater.contract.sparkplug.host import Host
from headwater.contract.sparkplug.options import Limits, Options
from headwater.contract.sparkplug.outcome import Event, Outcome, Publish, Refusal, Settled

__all__ = ["Event", "Host", "Limits", "Options", "Outcome", "Publish", "Refusal", "Settled"]
