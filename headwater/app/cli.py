"""The `headwater` command: mounts each part, and is the only door through which errors leave.

Parts are imported when they are called, so that an edge box never loads what only the cloud needs.
"""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from headwater import __version__
from headwater.contract.errors import BadInput, HeadwaterError

PARTS = {
    "edge": ("edge_agent.cli:app", "One box in a plant: bridge MQTT to Kafka, score readings, fetch models."),
    "replicate": ("replicator.cli:app", "Ship a plant's topics to the cloud, each record exactly once."),
    "train": ("cloud_trainer.cli:app", "Train models from an exact range of what the plants sent."),
    "fleet": ("fleet.cli:app", "Keys, signed models, rollouts in waves, rollback."),
    "stack": ("headwater.app.stack.cli:app", "Real Kafka, MQTT and S3 servers on this machine, to try things out."),
    "config": ("headwater.app.config:app", "Show, check and explain settings."),
    "demo": ("headwater.app.demo.cli:app", "The whole loop on this machine: sensors, alarms, training, rollouts."),
    "doctor": ("headwater.app.doctor.cli:app", "Check the installation and each configured service, in words."),
}


class LazyGroup(TyperGroup):
    """Lists all parts, imports one when it is called or asked for help."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of a reader's interest."""
        return [*PARTS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The summary of a part, for the listing."""
        del ctx
        return TyperCommand(cmd_name, help=PARTS[cmd_name][1]) if cmd_name in PARTS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The part itself, imported now; BadInput with the nearest name when there is none."""
        del ctx
        name = args[0]
        if name not in PARTS:
            near = difflib.get_close_matches(name, PARTS, n=1)
            hint = f"did you mean `headwater {near[0]}`?" if near else "`headwater --help` lists all commands"
            raise BadInput(f"there is no command {name!r}", hint=hint)
        module, _, attribute = PARTS[name][0].partition(":")
        return name, typer.main.get_command(getattr(importlib.import_module(module), attribute)), args[1:]


app = typer.Typer(
    name="headwater",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"headwater {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Carries sensor readings from plants to a cloud, and signed models back.

    Machines publish readings by MQTT; a box in each plant keeps them in Kafka, scores them with a model and raises
    alarms on the spot, with or without a network. A replicator ships everything to the cloud, where models are
    trained and sent back, signed, in waves.

    Start with:  headwater demo
    """
    del version


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit codes are in docs/exit-codes.md."""
    try:
        app(arguments)
    except HeadwaterError as error:
        typer.echo(f"headwater: {error}", err=True)
        if error.hint:
            typer.echo(f"  hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except Exception:  # noqa: BLE001  # the outermost door: a defect of ours gets its own exit code
        traceback.print_exc()
        typer.echo("headwater: this is a defect of ours, please report it with the lines above", err=True)
        sys.exit(70)


if __name__ == "__main__":
    main()
