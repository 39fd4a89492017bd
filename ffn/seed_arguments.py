"""The arguments of seed policies: which JSON values each may have, and the messages about the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from configs.errors import ConfigError
from ffn.seed_points import is_point

Arguments: TypeAlias = Mapping[str, Any]
_LONGEST_SHOWN = 60  # characters of a wrong value in a message


class Kind(NamedTuple):
    """A kind of argument: how a message describes it, and which JSON values are of it."""

    described: str
    fits: Callable[[Any], bool]


def _is_whole(value: object, lowest: int, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _is_part(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], dict)
    )


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


COUNT = Kind("a whole number from 0 to 10000", lambda v: _is_whole(v, 0, 10_000))
COUNTS = Kind("a list of whole numbers from 0 to 10000", _list_of(COUNT.fits))
DISTANCE = Kind("a whole number from 1 to 10000", lambda v: _is_whole(v, 1, 10_000))
DISTANCE_OR_OFF = Kind(
    "a whole number from 1 to 10000, or a negative one for no such seeds",
    lambda v: DISTANCE.fits(v) or _is_whole(v, -10_000, -1),
)
RADIUS = Kind("a whole number from 0 to 100", lambda v: _is_whole(v, 0, 100))
NUMBER = Kind(
    "a number", lambda v: isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= 1e300
)
FLAG = Kind("true or false", lambda v: isinstance(v, bool))
NAME = Kind("the name of a policy", lambda v: isinstance(v, str))
PATH = Kind("a path", lambda v: isinstance(v, str) and v != "")
DIRECTION = Kind(
    "'ascending' or 'descending'",
    lambda v: isinstance(v, str) and v.strip().lower() in ("ascending", "descending"),
)
CORNER = Kind("[z, y, x] in voxels", is_point)
POINTS = Kind("a list of [z, y, x] in voxels", _list_of(is_point))
PARTS = Kind('a list of ["<policy>", {<its arguments>}]', lambda v: v != [] and _list_of(_is_part)(v))


def parsed_arguments(name: str, args_json: str | None) -> Arguments:
    """The arguments of a policy as a dict; none for an empty text or None.

    Args:
        name: of the policy, for messages.
        args_json: a JSON object as text.

    Raises:
        ConfigError: no JSON object.
    """
    try:
        arguments = json.loads(args_json or "{}")
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"seed policy {name}: its arguments are not valid JSON ({error})") from error
    if not isinstance(arguments, dict):
        raise ConfigError(
            f"seed policy {name}: its arguments are {_shown(arguments)}; give a JSON object such as {{}}"
        )
    return arguments


def checked_arguments(
    name: str, arguments: Arguments, kinds: Mapping[str, Kind], required: Sequence[str] = ()
) -> dict[str, Any]:
    """The arguments of a policy, once each is known to it and of its kind.

    Args:
        name: of the policy, for messages.
        arguments: as `parsed_arguments` gives them.
        kinds: what the policy takes, by argument.
        required: those it cannot do without.

    Returns:
        A copy of the arguments.

    Raises:
        ConfigError: an argument that is unknown (lists the known ones), of another kind, or missing.
    """
    for key, value in arguments.items():
        if key not in kinds:
            known = ", ".join(sorted(kinds)) or "none"
            raise ConfigError(f"seed policy {name} has no argument '{key}'; its arguments: {known}")
        if not kinds[key].fits(value):
            raise ConfigError(f"seed policy {name}: {key} is {_shown(value)}; give {kinds[key].described}")
    for key in required:
        if key not in arguments:
            raise ConfigError(f"seed policy {name}: {key} is missing; give {kinds[key].described}")
    return dict(arguments)


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
