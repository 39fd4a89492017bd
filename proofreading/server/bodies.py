"""What requests bring: checked before anything is done.

IDs are text of decimal digits: a browser's numbers are exact only to 2^53, so that one which comes as a
number may have been another. Points are nm, z, y, x. Fields that are not named here are refused.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import Path
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from proofreading.edits import Placed
from proofreading.server.refusals import Refused
from volumes import Box

_DIGITS = re.compile(r"[0-9]{1,20}")
_MOST_POINTS = 1000


def id_of(value: object) -> int:
    """An ID.

    Args:
      value: as it came.

    Raises:
      ValueError: it is no text of digits, is 0, or is not below 2^63.
    """
    if isinstance(value, int | float):
        raise ValueError("an ID is text, since browsers round numbers above 2^53; put it in quotes")
    if not isinstance(value, str) or not _DIGITS.fullmatch(value) or not 0 < int(value) < 2**63:
        raise ValueError(f"{str(value)[:40]!r} is no ID; IDs are whole numbers from 1 below 2^63, as text")
    return int(value)


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("seconds are above 0")
    return value


def _without_zeros(text: str) -> str:
    if "\0" in text:
        raise ValueError("a character 0 cannot be kept")
    return text


def _not_blank(text: str) -> str:
    if not text:
        raise ValueError("a comment says something")
    return text


# Converted before the type is checked, since the type is the one that the program goes on with.
Id = Annotated[int, BeforeValidator(id_of)]
PathId = Annotated[Id, Path(json_schema_extra={"type": "string"})]
Key = Annotated[str, StringConstraints(strict=True, min_length=8, max_length=200, pattern=r"^[\w.:-]+$")]
Line = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, max_length=2000),
    AfterValidator(_without_zeros),
]
Version = Annotated[int, Field(strict=True, ge=0)]
Nm = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False, le=86_400), AfterValidator(_positive)]
Flag = Annotated[bool, Field(strict=True)]


class Body(BaseModel):
    """What all bodies have in common: no other fields than those named."""

    model_config = ConfigDict(extra="forbid")


class Login(Body):
    """A name and a password, or a token."""

    name: Annotated[str, StringConstraints(strict=True, max_length=200)] | None = None
    password: Annotated[str, StringConstraints(strict=True, max_length=1000)] | None = None
    token: Annotated[str, StringConstraints(strict=True, max_length=200)] | None = None


class PointInSupervoxel(Body):
    """A supervoxel and a point of it."""

    supervoxel: Id
    point_nm: tuple[Nm, Nm, Nm]


class Change(Body):
    """What every edit brings.

    Attributes:
      key: of the client's own; the same one again does nothing again.
      expected: versions of neurons, by their ID; the edit is refused where one has changed since.
      reason: why.
      force: do it although a neuron gets two cell bodies.
    """

    key: Key
    expected: dict[Id, Version] | None = None
    reason: Line = ""
    force: Flag = False


class Merge(Change):
    """The supervoxels whose neurons are to be one, and where."""

    a: Id
    b: Id
    point_a_nm: tuple[Nm, Nm, Nm] | None = None
    point_b_nm: tuple[Nm, Nm, Nm] | None = None


class Sides(Body):
    """A neuron, and points on both sides of what is to be cut."""

    neuron: Id
    side_a: Annotated[list[PointInSupervoxel], Field(min_length=1, max_length=_MOST_POINTS)]
    side_b: Annotated[list[PointInSupervoxel], Field(min_length=1, max_length=_MOST_POINTS)]


class Split(Sides, Change):
    """A cut that is to be made."""


class Lease(Body):
    """A task's lease."""

    lease: Key


class Comment(Body):
    """Words on a task."""

    comment: Annotated[Line, AfterValidator(_not_blank)]


class Answer(Lease):
    """What a person says to a task.

    Attributes:
      partner: the supervoxel that a loose end goes on in; `versions` names its neuron, too.
      edit: the cut that the person has made by hand, where an accepted task proposes none.
      versions: of the neurons that were shown, by their ID.
      seconds: from showing it to the answer.
    """

    verdict: Literal["accept", "reject", "unknown", "skip"]
    versions: dict[Id, Version] = {}
    key: Key
    seconds: Seconds | None = None
    comment: Line = ""
    force: Flag = False
    partner: Id | None = None
    edit: Id | None = None


class Withdrawal(Body):
    """What taking an answer back brings.

    Attributes:
      key: of the client's own; the same one again does nothing again.
      reason: why.
    """

    key: Key
    reason: Line = ""


def placed(points: list[PointInSupervoxel], bounds: Box, size_nm: tuple[float, float, float]) -> list[Placed]:
    """Points as the state takes them.

    Args:
      points: as they came.
      bounds: of the supervoxels (absolute, voxels).
      size_nm: of a voxel, zyx.

    Raises:
      Refused: 422, one is not in the volume.
    """
    return [(each.supervoxel, inside(each.point_nm, bounds, size_nm)) for each in points]


def inside(
    point_nm: tuple[float, float, float], bounds: Box, size_nm: tuple[float, float, float]
) -> tuple[float, float, float]:
    """A point that is in the volume.

    Args:
      point_nm: zyx.
      bounds: of the volume (absolute, voxels).
      size_nm: of a voxel, zyx.

    Raises:
      Refused: 422, it is not.
    """
    low = [start * edge for start, edge in zip(bounds.start, size_nm, strict=True)]
    high = [stop * edge for stop, edge in zip(bounds.stop, size_nm, strict=True)]
    if not all(a <= p < b for a, p, b in zip(low, point_nm, high, strict=True)):
        ends = ", ".join(f"{axis} {a:g}:{b:g}" for axis, a, b in zip("zyx", low, high, strict=True))
        shown = ", ".join(f"{p:g}" for p in point_nm)
        raise Refused(422, f"point_nm ({shown}) lies outside the volume ({ends} nm); it is z, y, x in nm")
    return point_nm
