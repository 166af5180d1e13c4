"""Yardsticks that fail: thresholds with a guarantee that holds only while nothing moves.

The score is T² of means of five rows, fitted on the first half of the training rows. Static: the 99 % point of the
second half's scores, as split conformal prediction takes it (Vovk 2012). Adaptive: the same point, moved with what came
(Gibbs and Candès, NeurIPS 2021): it keeps its rate by learning the fault.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np

from bench.skab.protocol import TRAINED
from cloud_trainer.calibration.limits import causal_means
from headwater.contract.episodes import Flags, Floats

_RATE = 0.01
_GAIN = 0.005
_WINDOW = 5
_HALF = TRAINED // 2
_TINY = 1e-9


def scores(values: Floats) -> Floats:
    """Of the rows behind the fitted half [n - 200]."""
    means = causal_means(values, _WINDOW)
    fitted = means[_WINDOW - 1 : _HALF]
    off = means[_HALF:] - fitted.mean(axis=0)
    covariance = np.atleast_2d(np.cov(fitted.T)) + _TINY * np.eye(values.shape[1])
    return np.asarray(np.sqrt(np.einsum("ni,ij,nj->n", off, np.linalg.inv(covariance), off)))


def static(values: Floats) -> Flags:
    """Alarms of the rows behind the training rows."""
    found = scores(values)
    return np.asarray(found[_HALF:] > np.quantile(found[:_HALF], 1 - _RATE, method="higher"))


def adaptive(values: Floats) -> Flags:
    """Alarms of the rows behind the training rows; each row moves the level, and joins the scores."""
    found = scores(values)
    known = sorted(found[:_HALF].tolist())
    level, alarms = _RATE, []
    for score in found[_HALF:].tolist():
        place = bisect_left(known, score)
        alarm = level > 0 and (len(known) - place + 1) / (len(known) + 1) <= level
        alarms.append(alarm)
        level += _GAIN * (_RATE - alarm)
        insort(known, score)
    return np.array(alarms, dtype=np.bool_)
