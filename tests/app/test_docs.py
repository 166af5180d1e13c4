"""What the documentation says is what the code does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from headwater.app.cli import app
from headwater.app.doctor.kafka import DOCTOR_TOPIC
from headwater.app.parts import SETTINGS, settings_model
from headwater.app.values import defaults
from headwater.contract import topics
from headwater.contract.errors import HeadwaterError
from headwater.contract.refusals import MEANINGS
from headwater.transport.setting_names import allowed, lists_of_tables, variable_of, variables
from headwater.transport.settings import load
from replicator.mm2.naming import HEARTBEATS, Naming

ROOT = Path(__file__).parents[2]


def settings_page() -> str:
    """docs/settings.md as the settings themselves would write it; run this module to write it anew."""
    lines = [
        "# Settings",
        "Each can be set on the command line where a command has an option for it, by the environment variable, in",
        "`headwater.toml` (`[edge.kafka] brokers = ...`), or as a file of the folder that `HEADWATER_SECRETS` names",
        "(`edge__kafka__password`), in this order. `HEADWATER_CONFIG` names another file, `HEADWATER_HOME` the folder",
        "for everything that is kept (default `~/.local/share/headwater`). What does not exist is refused.",
    ]
    for part in SETTINGS:
        model, texts = settings_model(part), defaults(part, settings_model(part))
        lines += ["", f"## {part}", "| variable | default | values | meaning |", "|---|---|---|---|"]
        lines += [_row(variable, texts[dotted], field) for variable, dotted, field in variables(part, model)]
        for dotted, table in lists_of_tables(part, model).items():
            example = f"{variable_of(dotted)}='[{{\"{next(iter(table.model_fields))}\": ...}}, ...]'"
            lines += [
                "",
                f"### `[[{dotted}]]`",
                "A list of tables, each begun by this line in `headwater.toml`; `a.b` is `a = { b = ... }` there.",
                f"In the environment all of it is one variable, as JSON: `{example}`.",
                "",
                "| key | default | values | meaning |",
                "|---|---|---|---|",
            ]
            lines += [
                _row(inner.removeprefix(f"{dotted}."), texts[inner], field)
                for _, inner, field in variables(dotted, table)
            ]
    return "\n".join([*lines, ""])


def _row(name: str, default: str, field: FieldInfo) -> str:
    meaning, values = (text.replace("|", "\\|") for text in (field.description or "", allowed(field)))
    shown = default if default.startswith("(") else f"`{default}`"
    return f"| `{name}` | {shown} | {values} | {meaning} |"


def metrics_page() -> str:
    """docs/metrics.md as the metrics themselves would write it."""
    code = (
        "import cloud_trainer.serve, edge_agent.updater.metrics, replicator.metrics\n"
        "from edge_agent.bridge import live, metrics as bridge\n"
        "from edge_agent.scorer import metrics as scorer\n"
        "from replicator.operating import exporting\n"
        "from replicator.operating.observer import Observer\n"
        "from replicator.settings import ReplicatorSettings\n"
        "from prometheus_client import REGISTRY\n"
        "ends = {'source': {'brokers': 'a:1'}, 'target': {'brokers': 'b:1'}}\n"
        "one = ReplicatorSettings(site='lyon', **ends)\n"
        "exporting.Exported(Observer(one))\n"
        "bridge.export(lambda: live.Snapshot(sparkplug=live.SparkplugView()))\n"
        "scorer.export(scorer.Counts())\n"
        "names = {}\n"
        "for collector in list(REGISTRY._collector_to_names):\n"  # nothing public tells labels without a sample
        "    for m in collector.collect():\n"
        "        names[m.name] = getattr(collector, '_labelnames', None) or getattr(m, '_labelnames', ())\n"
        "for m in sorted(REGISTRY.collect(), key=lambda m: m.name):\n"
        "    suffix = '_total' if m.type == 'counter' else ''\n"
        "    labels = ', '.join(f'`{name}`' for name in names[m.name]) or '-'\n"
        "    row = f'| `{m.name}{suffix}` | {m.type} | {labels} | {m.documentation} |'\n"
        "    print(row) if m.name.startswith(('headwater_', 'kafka_connect_mirror_')) else None\n"
    )
    rows = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return (
        "# Metrics\n"
        "Each process serves Prometheus metrics when its `metrics_port` is set, on 127.0.0.1 unless `metrics_address`\n"
        "names another; `edge.metrics_port` gives the bridge that port, the scorer the next and the updater the one "
        "after.\nCounters begin at 0 with each start, those of the bridge also with each `headwater edge route reload`."
        "\n\n"
        "| metric | type | labels | meaning |\n|---|---|---|---|\n" + rows
    )


def test_every_metric_is_documented() -> None:
    """docs/metrics.md has each metric with its type, labels and meaning."""
    assert (ROOT / "docs/metrics.md").read_text() == metrics_page()


def test_every_setting_is_documented() -> None:
    """docs/settings.md has each setting with its default and meaning; `python -m tests.app.test_docs` writes it."""
    assert (ROOT / "docs/settings.md").read_text() == settings_page()


def test_every_setting_has_a_meaning() -> None:
    """No setting is left without a sentence."""
    assert [
        name
        for part in SETTINGS
        for section, model in ((part, settings_model(part)), *lists_of_tables(part, settings_model(part)).items())
        for _, name, field in variables(section, model)
        if not field.description
    ] == []


def test_every_exit_code_is_documented() -> None:
    """docs/exit-codes.md has each code of the error tree."""
    page = (ROOT / "docs/exit-codes.md").read_text()

    def codes(kind: type[HeadwaterError]) -> set[int]:
        return {kind.exit_code}.union(*(codes(k) for k in kind.__subclasses__()))

    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} >= codes(HeadwaterError)


def test_every_reason_for_a_refusal_is_documented() -> None:
    """docs/refusals.md has each reason code with its meaning."""
    page = (ROOT / "docs/refusals.md").read_text()

    assert [code for code, meaning in MEANINGS.items() if f"| `{code}` | {meaning} |" not in page] == []


def test_every_topic_is_documented() -> None:
    """docs/design.md has each topic, with its cleanup policy, and none that does not exist."""
    page = (ROOT / "docs/design.md").read_text()
    table = page[page.index("## Topics") : page.index("## Bytes on the wire")]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| `")]
    told = {name: row[-1].strip() for row in rows for name in re.findall(r"`([^`]+)`", row[0])}
    specs = [*topics.edge_topics(), *topics.sparkplug_topics(), *topics.cloud_topics(), DOCTOR_TOPIC]
    specs += [topics.positions("lyon"), topics.manifest("lyon", -1), topics.gaps("lyon")]
    specs.append(topics.REPLICATION_CONTROL)
    names = Naming("lyon", "<target>")
    specs += [
        topics.TopicSpec(name, 1, topics.COMPACT)
        for name in (HEARTBEATS, names.checkpoints, names.offset_syncs(names.target))
    ]
    real = {spec.name.replace("lyon.", "<site>."): "compact" if spec.compacted else "delete" for spec in specs}

    assert told == real | {"<site>.<topic>": "as at the source"}


def test_one_truth_about_python() -> None:
    """README, package and set-up name the same versions of Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least, below = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()  # type: ignore[union-attr]  # says so by failing
    names = [f"3.{minor}" for minor in range(int(least), int(below))]
    sentence = f"Python {', '.join(names[:-1])} or {names[-1]}"

    assert sentence in (ROOT / "README.md").read_text()
    setup = (ROOT / ".ci/setup").read_text()
    assert sentence in setup
    assert f"(3, {least}) <= sys.version_info[:2] <= (3, {int(below) - 1})" in setup


def test_the_settings_of_the_readme_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each headwater.toml in the README loads as it stands."""
    found = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    plant, cloud, routes = found
    for text, parts in ((plant, ("edge", "replicator")), (cloud, ("trainer", "fleet")), (plant + routes, ("edge",))):
        (tmp_path / "headwater.toml").write_text(text)
        monkeypatch.chdir(tmp_path)
        for part in parts:
            assert load(part, settings_model(part))


REPLICATOR = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/replicator.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("given", REPLICATOR[1:], ids=lambda text: text.splitlines()[0].strip("[]"))
def test_the_settings_of_the_replicators_page_are_settings(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each example starts a link when it is added to the few lines that the page begins with."""
    least, own = REPLICATOR[0], given.removeprefix("[replicator]\n")
    for end in re.findall(r"^\[replicator\.(source|target)\]", own, re.MULTILINE):
        least = re.sub(rf"^{end} = .*\n", "", least, flags=re.MULTILINE)
    (tmp_path / "headwater.toml").write_text(least + own)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWATER_REPLICATOR__MASK_SALT", "pepper-and-salt")
    assert load("replicator", settings_model("replicator"))


def test_the_trial_of_the_replicators_page_ships_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command below the rules, typed with these rules, ends as the page says."""
    page = (ROOT / "docs/replicator.md").read_text()
    (line,) = re.findall(r"^\$ headwater (replicate rules test .*)$", page, re.MULTILINE)
    (ruled,) = (each for each in REPLICATOR if "[[replicator.records]]" in each)
    (tmp_path / "headwater.toml").write_text(REPLICATOR[0] + ruled.removeprefix("[replicator]\n"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWATER_REPLICATOR__MASK_SALT", "pepper-and-salt")
    done = CliRunner().invoke(app, shlex.split(line))
    assert (done.exit_code, "lets it pass" in done.stdout) == (0, True)


def test_links_within_the_pages_lead_somewhere() -> None:
    """Each `#heading` that a page links to is one of the page it names."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]

    def headings(page: Path) -> set[str]:
        found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}

    links = [
        (page, name, place)
        for page in pages
        for name, place in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", page.read_text())
    ]
    assert links
    assert [
        (page.name, place)
        for page, name, place in links
        if place not in headings((page.parent / name).resolve() if name else page)
    ] == []


def test_no_file_names_a_machine() -> None:
    """The project speaks of itself only."""
    files = [p for p in ROOT.rglob("*.md") if ".venv" not in p.parts]
    ours = (f"{ROOT}/", f"{Path.home()}/")

    assert [p for p in files if any(path in p.read_text() for path in ours)] == []


if __name__ == "__main__":
    (ROOT / "docs/settings.md").write_text(settings_page())
    (ROOT / "docs/metrics.md").write_text(metrics_page())
