"""What settings there are: their names, their environment variables, and which values each takes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

PREFIX = "HEADWATER_"
_MANY = (tuple, list, dict, set)


def nested(annotation: Any) -> type[BaseModel] | None:
    """The settings model inside of a field's annotation, if there is one."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def takes_many(annotation: Any) -> bool:
    """Whether a field holds a list or a table of values."""
    return any(get_origin(one) in _MANY for one in (annotation, *get_args(annotation)))


def variables(section: str, model: type[BaseModel]) -> Iterator[tuple[str, str, FieldInfo]]:
    """Each setting of a part: environment variable, dotted name, pydantic's field; a list of tables is one setting."""
    for name, field in model.model_fields.items():
        inner = nested(field.annotation)
        if inner is None or takes_many(field.annotation):
            yield variable_of(section, name), f"{section}.{name}", field
        else:
            yield from variables(f"{section}.{name}", inner)


def lists_of_tables(section: str, model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The settings that are lists of tables, `[[edge.bridge.routes]]`, by dotted name, with the model of a table."""
    found = ((dotted, field.annotation) for _, dotted, field in variables(section, model))
    return {dotted: inner for dotted, annotation in found if (inner := nested(annotation)) is not None}


def variable_of(*names: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + "__".join(names).upper().replace(".", "__")


def choices(annotation: Any) -> list[str]:
    """The words that a field takes; empty where it is no choice."""
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for inner in get_args(annotation) for word in choices(inner)]


def allowed(field: FieldInfo) -> str:
    """The values that a field takes, for people: the words of a choice, or the bounds of a number; empty for others."""
    words = choices(field.annotation)
    if words:
        return ", ".join(words)
    bounds = {type(each): each for each in field.metadata if isinstance(each, (Ge, Gt, Le, Lt))}
    least, most = bounds.get(Ge), bounds.get(Le)
    if isinstance(least, Ge) and isinstance(most, Le):
        return f"{least.ge} to {most.le}"
    said = [f"{least.ge} or more"] if isinstance(least, Ge) else []
    said += [f"more than {each.gt}" for each in bounds.values() if isinstance(each, Gt)]
    said += [f"at most {most.le}"] if isinstance(most, Le) else []
    said += [f"less than {each.lt}" for each in bounds.values() if isinstance(each, Lt)]
    return ", ".join(said)


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A hint with the known name that is nearest to a wrong one."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {prefix}{found[0]}?" if found else "see docs/settings.md for all of them"


def model_at(model: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel] | None:
    """The model at a place inside of another, as pydantic names places; None where there is none."""
    found: type[BaseModel] | None = model
    for part in place:
        if isinstance(part, str) and found is not None:
            field = found.model_fields.get(part)
            found = nested(field.annotation) if field is not None else None
    return found


def as_list(dotted: str, example: str = "...") -> str:
    """How a list of tables is written, in headwater.toml and in the environment."""
    variable = variable_of(dotted)
    return f"write [[{dotted}]] in headwater.toml, once for each, or all of them as JSON: {variable}='[{{{example}}}]'"
