"""What the documentation says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from headwater.app.config import default_text
from headwater.app.parts import SETTINGS, settings_model
from headwater.contract.errors import HeadwaterError
from headwater.contract.refusals import MEANINGS
from headwater.transport.settings import variables

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
        lines += ["", f"## {part}", "| variable | default | meaning |", "|---|---|---|"]
        for variable, _, field in variables(part, settings_model(part)):
            meaning = (field.description or "").replace("|", "\\|")
            lines.append(f"| `{variable}` | {default_text(field)} | {meaning} |")
    return "\n".join([*lines, ""])


def test_every_setting_is_documented() -> None:
    """docs/settings.md has each setting with its default and meaning; `python -m tests.app.test_docs` writes it."""
    assert (ROOT / "docs/settings.md").read_text() == settings_page()


def test_every_setting_has_a_meaning() -> None:
    """No setting is left without a sentence."""
    assert [
        v for part in SETTINGS for v, _, field in variables(part, settings_model(part)) if not field.description
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


def test_no_file_names_a_machine() -> None:
    """The project speaks of itself only."""
    files = [p for p in ROOT.rglob("*.md") if not {".venv", "node_modules"} & set(p.parts)]

    assert [p for p in files if "/work/" in p.read_text() or "/root/" in p.read_text()] == []


if __name__ == "__main__":
    (ROOT / "docs/settings.md").write_text(settings_page())
