"""Names of sites, asset classes, assets, channels and rollouts."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from headwater.contract.errors import BadInput

PATTERN = re.compile(r"[a-z0-9-]{1,40}")
RESERVED = "cloud"
RESERVED_PREFIX = "mm2-"


def check_name(name: str, what: str = "name") -> str:
    """Return `name` if it may name a site, a class or an asset; BadInput otherwise."""
    if not PATTERN.fullmatch(name):
        raise BadInput(
            f"{what} {name!r} is not a name",
            hint="use 1 to 40 of the characters a-z, 0-9 and hyphen",
        )
    return name


def check_site(name: str) -> str:
    """Return `name` if it may name a site: as `check_name`, and not reserved."""
    check_name(name, "site")
    if name == RESERVED or name.startswith(RESERVED_PREFIX):
        raise BadInput(f"site name {name!r} is reserved", hint="`cloud` and names beginning with `mm2-` are")
    return name


def _setting(check: object) -> object:
    def validate(value: str) -> str:
        try:
            return check(value)  # type: ignore[operator,no-any-return]  # one of the two functions above
        except BadInput as error:
            raise ValueError(f"{error}; {error.hint}") from error

    return AfterValidator(validate)


Name = Annotated[str, _setting(check_name)]
Site = Annotated[str, _setting(check_site)]
