"""Options that several commands of `headwater train` have, and options that do not go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer

from headwater.contract.errors import BadInput

CLASS = typer.Option(..., "--class", help="Asset class, such as pump.")
AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")
OFFSETS = typer.Option(
    None,
    "--offsets",
    help='JSON file with the ranges: {"lyon.readings": {"0": [0, 5000]}}; all there is by now if none.',
)


def check_together(
    context: typer.Context, apart: Sequence[tuple[str, str]] = (), needs: Mapping[str, tuple[str, ...]] | None = None
) -> None:
    """BadInput where the command line gives options of which one would be passed over in silence.

    `apart` are parameters of the running command that exclude each other; of one in `needs` one of those named must be
    given too. An option that only has its default is not given.
    """
    flags = {
        each.name: each.opts[0] if each.param_type_name == "option" else str(each.name).upper()
        for each in context.command.params
    }
    sources = {name: context.get_parameter_source(name) for name in flags if name}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    for first, second in apart:
        if {first, second} <= given:
            raise BadInput(f"{flags[first]} and {flags[second]} do not go together", hint="name one of them")
    for name, others in (needs or {}).items():
        if name in given and not given & set(others):
            wanted = " or ".join(flags[other] for other in others)
            raise BadInput(f"{flags[name]} says nothing without {wanted}", hint=f"add {wanted}, or leave it out")
