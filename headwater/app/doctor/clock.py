"""How far a service's clock is from ours."""

from __future__ import annotations

from headwater.app.doctor.finding import Finding, good, warning

MOST_SKEW_S = 30.0


def clock(check: str, skew_s: float, unsure_s: float, breaks: str) -> Finding:
    """Judge a clock that is `skew_s` ahead of ours, as far as an answer that took `unsure_s` tells.

    `breaks` says what goes wrong when clocks differ.
    """
    if abs(skew_s) <= MOST_SKEW_S + unsure_s:
        return good(check, f"agrees with this machine's within {max(abs(skew_s), unsure_s, 1.0):.0f} s")
    ahead = "ahead of" if skew_s > 0 else "behind"
    return warning(
        check, f"{abs(skew_s):.0f} s {ahead} this machine's: {breaks}", "set both clocks by NTP (timedatectl, chrony)"
    )
