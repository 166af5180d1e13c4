"""What is known of a model and of an alarm, as JSON-able values and as lines for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from cloud_trainer.datasets.words import ranges
from cloud_trainer.pool.words import table
from cloud_trainer.tracing.ended import Ended
from cloud_trainer.tracing.lineage import NEAR, SAME, Again, Cause
from cloud_trainer.tracing.models import Model
from cloud_trainer.tracing.places import Place
from headwater.contract.canonical import digest, sha256
from headwater.contract.messages import Alarm, RetrainRequest, TrainingRun
from headwater.transport.code_version import said


def explained(model: Model, request: RetrainRequest | None, run: TrainingRun | None) -> dict[str, Any]:
    """What made a model."""
    manifest = model.manifest
    metrics = dict(manifest.metrics)
    recipe = metrics.pop("recipe", {})
    return {
        "asset_class": manifest.asset_class,
        "version": manifest.version,
        "where": model.where,
        "algorithm": manifest.algorithm,
        "created_at": manifest.created_at,
        "model": {"sha256": manifest.sha256, "bytes": manifest.size_bytes},
        "manifest_sha256": sha256(model.manifest_bytes),
        "features": {"digest": manifest.features_digest, "channels": list(manifest.features.channels)},
        "dataset": msgspec.to_builtins(manifest.dataset),
        "code": manifest.code,
        "recipe": {"digest": digest(recipe), **recipe},
        "request": msgspec.to_builtins(request) if request else {"request_id": manifest.request_id},
        "run": msgspec.to_builtins(run) if run else None,
        "parity": dict(manifest.parity),
        "certificates": msgspec.to_builtins(manifest.certificates),
        "challengers": metrics.pop("challengers", None),
        "judge": metrics.pop("judge", None),
        "metrics": metrics,
    }


def lines_of_model(told: dict[str, Any]) -> list[str]:
    """The same for people."""
    data, request = told["dataset"], told["request"]
    asked = ", ".join(f"{k.replace('_', ' ')} {request[k]}" for k in ("requested_by", "reason") if request.get(k))
    settings = ", ".join(f"{k} {v}" for k, v in told["recipe"].items() if k != "digest")
    lines = [
        f"{told['asset_class']} version {told['version']}, {told['algorithm']}, made {told['created_at']}",
        f"  where      {told['where']}",
        f"  model      {told['model']['bytes']:,} bytes, sha256 {told['model']['sha256']}",
        f"  manifest   sha256 {told['manifest_sha256']}",
        f"  request    {request['request_id']}" + (f" ({asked})" if asked else ""),
        f"  dataset    {data['records']:,} records used, sha256 {data['sha256']}",
        *(f"             {line}" for line in ranges(data["offsets"])),
        *(f"             left out, {reason}: {count:,}" for reason, count in sorted(data["excluded"].items()) if count),
        f"  features   {', '.join(told['features']['channels'])}; digest {told['features']['digest']}",
        f"  recipe     digest {told['recipe']['digest']}",
        *([f"             {settings}"] if settings else []),
        f"  code       {said(told['code'])}",
        *(f"  parity     {runtime}: {worst:.1e} relative" for runtime, worst in sorted(told["parity"].items())),
        *(f"  certified  {c['runtime']}: {c['windows']:,} windows, {c['flips']} flips" for c in told["certificates"]),
        f"  judge      {_short(told['judge'], 'not judged against another before it was published')}",
    ]
    contest = table({**told["metrics"], "challengers": told["challengers"]})
    lines += [f"  {line}" for line in contest]
    run = told["run"]
    return lines if run is None else [*lines, f"  run        {run['state']} in {run['seconds']:.1f} s"]


def _short(value: Any, none: str) -> str:
    return none if value is None else msgspec.json.encode(value).decode()


def traced(cause: Cause, model: dict[str, Any], found: Again | None) -> dict[str, Any]:
    """Everything between an alarm and its records."""
    alarm = cause.alarm
    return {
        "alarm": {**msgspec.to_builtins(alarm), "at": str(cause.alarm_at)} if alarm else None,
        "score": {
            **msgspec.to_builtins(cause.score),
            "at": str(cause.score_at),
            "site": cause.site,
            "source_offsets": [cause.source_first, cause.source_last],
            "model_sha256": cause.sha256,
            "features_digest": cause.features,
            "runtime": cause.runtime,
        },
        "window": None
        if found is None
        else {
            "topic": found.readings,
            "partition": found.partition,
            "offsets": found.offsets,
            **({"beside": dict([found.beside])} if found.beside else {}),
        },
        "model": model,
        "again": None
        if found is None
        else {"score": found.score, "runtime": found.runtime, "verdict": found.verdict, "same": found.verdict == SAME},
    }


def ended(alarm: Alarm, at: Place, by: Ended) -> dict[str, Any]:
    """An alarm record that an operator's word or an overhaul wrote."""
    return {"alarm": {**msgspec.to_builtins(alarm), "at": str(at)}, "ended": by.told()}


def _lines_of_end(alarm: dict[str, Any], word: dict[str, Any], opened: dict[str, Any] | None) -> list[str]:
    where = f"{word['at']} (offset {word['source_offset']} at the edge)"
    gone = f"offset {word['source_offset']} of readings at the edge; it is not in the log here (any more)"
    who = f"by {word['by'] or 'somebody who gave no name'} at {_time(word['said_at'])}"
    what = "called false"
    if word.get("by_overhaul"):
        what = f"the machine was overhauled{' after a failure' if word['failed'] else ''}, said"
    lines = [
        f"alarm    {alarm['at']}  {alarm['episode']} closed at {_time(alarm['t'])}",
        f"         {alarm['site']}/{alarm['asset']}: peak {alarm['peak']:.4g}",
        f"ended    {what} {who}",
        f"         the word: {where if word['at'] else gone}",
    ]
    return lines if opened is None else [*lines, f"opened   {opened['at']} at {_time(opened['t'])}"]


def lines_of_trace(told: dict[str, Any]) -> list[str]:
    """The same for people."""
    alarm = told["alarm"]
    lines = []
    if "ended" in told:
        lines += _lines_of_end(alarm, told["ended"], told.get("opened"))
    elif alarm is not None:
        of = f"; {_left(alarm)}" if "remaining" in alarm else ""
        if alarm["channels"]:
            of += f"; most of it {', '.join(f'{name} {share:.0%}' for name, share in alarm['channels'])}"
        lines.append(f"alarm    {alarm['at']}  {alarm['episode']} {alarm['state']} at {_time(alarm['t'])}")
        lines.append(f"         {alarm['site']}/{alarm['asset']}: peak {alarm['peak']:.4g}{of}")
    return lines + _lines_of_score(told) if "score" in told else lines


def _lines_of_score(told: dict[str, Any]) -> list[str]:
    score, window, again = told["score"], told["window"], told["again"]
    first, last = score["source_offsets"]
    number = "no number" if score["score"] is None else repr(score["score"])
    lines = [
        f"score    {score['at']}  {number}, threshold {score['threshold']:.6g}, by {score['runtime']}",
        f"         window {_time(score['t_first'])} to {_time(score['t_last'])}, offsets {first} to {last} at the edge",
        *_lines_of_life(score),
    ]
    if window is not None:
        offsets = window["offsets"]
        span = f"{offsets[0]} to {offsets[-1]}" if offsets else "none"
        lines.append(f"records  {window['topic']}[{window['partition']}]: {len(offsets)} readings, offsets {span}")
        for topic, of in window.get("beside", {}).items():
            lines.append(f"         {topic}[{window['partition']}]: {len(of)} readings, offsets {of[0]} to {of[-1]}")
    if again is not None:
        lines.append(f"again    {again['score']!r} by {again['runtime']}: {_in_words(again, score)}")
    return [*lines, "model    " + lines_of_model(told["model"])[0], *lines_of_model(told["model"])[1:]]


def _lines_of_life(score: dict[str, Any]) -> list[str]:
    if "cycles" not in score:
        return []
    left = _left(score) if "remaining" in score else "no number"
    since = f"since the overhaul at offset {score['life_since']} at the edge"
    if score["life_since"] < 0:
        since = "that were seen; the life began earlier, as no overhaul is known"
    return [f"life     {left}, after {score['cycles']:,} {since}"]


def _left(told: dict[str, Any]) -> str:
    return f"{told['remaining']:.1f} cycles remain ({told['low']:.1f} to {told['high']:.1f})"


def _in_words(again: dict[str, Any], score: dict[str, Any]) -> str:
    if again["verdict"] == SAME:
        return "the same bits"
    near = "not the same bits, but within the tolerance of its golden vectors"
    kind = near if again["verdict"] == NEAR else "ANOTHER NUMBER"
    return kind if again["runtime"] == score["runtime"] else f"{kind}; the score was made by {score['runtime']}"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
