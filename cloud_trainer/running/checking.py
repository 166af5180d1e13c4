"""Data checks before `headwater train sites`: what is wrong with one asset must not keep a thousand from theirs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec

from cloud_trainer.datasets.checks import Finding, Report
from cloud_trainer.series import TrainingSet


class Read(NamedTuple):
    """Readings, and the assets among them that get nothing of their own, with the reason."""

    learn: TrainingSet
    refused: dict[str, str]


def refusals(report: Report, assets: Iterable[str], channels: Collection[str]) -> dict[str, str]:
    """Assets that have an error of their own, or whose site has one in a channel that the network takes.

    Everything else that was found is logged. GateFailed for an error in such a channel of the whole class.
    """
    report.log()
    every, refused, of_class = list(assets), dict[str, str](), list[Finding]()
    for each in report.errors:
        beginning, _, channel = each.of.rpartition("/")
        if not beginning:
            of_class += [each] if channel in channels else []
        elif each.of in every:
            refused[each.of] = f"{each.check}: {each.detail}"
        elif channel in channels:
            mine = [key for key in every if key == beginning or key.startswith(f"{beginning}/")]
            refused |= dict.fromkeys(mine, f"{each.check} of {channel}: {each.detail}")
    msgspec.structs.replace(report, findings=of_class).gate()
    return refused
