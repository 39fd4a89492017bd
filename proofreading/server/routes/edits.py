"""Edits: merges, splits with a preview, undo and redo, and their history."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query

from proofreading.edits import Edit, Placed
from proofreading.server.auth import Proofreader, Reader
from proofreading.server.bodies import Change, Id, Merge, PathId, Sides, Split, inside, placed
from proofreading.server.guards import refuse_for
from proofreading.server.layers import SEGMENTATION
from proofreading.server.refusals import Refused
from proofreading.server.served import Project, ServedProject
from proofreading.state import SplitPreview
from volumes import Box

router = APIRouter(prefix="/api/edits", tags=["edits"])
# Voxels by which a point may miss its supervoxel.
_BESIDE = 4


def as_json(edit: Edit) -> dict[str, Any]:
    """An edit as the page gets it."""
    return {
        "id": str(edit.id),
        "at": edit.at,
        "person": edit.person,
        "kind": edit.kind.value,
        "supervoxels": _texts(edit.supervoxels),
        "neurons_before": _texts(edit.neurons_before),
        "neurons_after": _texts(edit.neurons_after),
        "reason": edit.reason,
        "forced": edit.forced,
        "undone_by": _text(edit.undone_by),
        "task": _text(edit.task),
        "target": _text(edit.target),
        "run": edit.run,
    }


@router.get("")
def _history(
    project: Project,
    person: Reader,
    before: Annotated[int | None, Query(ge=1)] = None,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    neuron: Annotated[Id | None, Query()] = None,
    by: Annotated[str | None, Query(max_length=200)] = None,
    active: bool = False,
) -> dict[str, Any]:
    """The latest edits first; below and above the numbers `before` and `after`, of one neuron, by a person.

    With `active` only those that can be undone: not undone yet, and no undo or redo themselves.
    """
    found = project.state.history(before, limit, neuron, after, person=by, undoable=active)
    return {"edits": [as_json(each) for each in found]}


@router.post("/merge")
def _merge(body: Merge, project: Project, person: Proofreader) -> dict[str, Any]:
    """Joins the neurons of two supervoxels."""
    points = [None if each is None else _inside(project, each) for each in (body.point_a_nm, body.point_b_nm)]
    return as_json(project.state.merge(body.a, body.b, *points, **_change(body, person.name)))


@router.post("/split/preview")
def _preview_split(body: Sides, project: Project, person: Reader) -> dict[str, Any]:
    """What a split would do; changes nothing."""
    refuse_for(project.limiter.wait_s("preview", person.name, project.limits.previews))
    return _preview(project, project.state.preview_split(body.neuron, *_sides(project, body)))


@router.post("/split")
def _split(body: Split, project: Project, person: Proofreader) -> dict[str, Any]:
    """Cuts a neuron between two sets of points."""
    sides = _sides(project, body)
    _require_near(project, *sides)
    return as_json(project.state.split(body.neuron, *sides, **_change(body, person.name)))


@router.post("/{edit}/undo")
def _undo(edit: PathId, body: Change, project: Project, person: Proofreader) -> dict[str, Any]:
    """Takes an edit back, by another one."""
    return as_json(project.state.undo(edit, **_change(body, person.name)))


@router.post("/{edit}/redo")
def _redo(edit: PathId, body: Change, project: Project, person: Proofreader) -> dict[str, Any]:
    """Does an edit again that was taken back, by another one."""
    return as_json(project.state.redo(edit, **_change(body, person.name)))


def _change(body: Change, person: str) -> dict[str, Any]:
    return {
        "person": person,
        "client_key": body.key,
        "expected": body.expected,
        "reason": body.reason,
        "force": body.force,
    }


def _sides(project: ServedProject, body: Sides) -> tuple[Any, Any]:
    volume = project.layers[SEGMENTATION].volume
    a, b = (placed(side, volume.bounds, volume.voxel_size_nm) for side in (body.side_a, body.side_b))
    return a, b


def _require_near(project: ServedProject, *sides: Iterable[Placed]) -> None:
    """Refuses points that are not at their supervoxels.

    One picked on a surface, which is coarser than voxels, may lie a few beside it.

    Raises:
      Refused: 422.
    """
    volume = project.layers[SEGMENTATION].volume
    for supervoxel, point_nm in sorted({*chain.from_iterable(sides)}):
        z, y, x = (int(p // edge) for p, edge in zip(point_nm, volume.voxel_size_nm, strict=True))
        around = Box((z, y, x), (z + 1, y + 1, x + 1)).grow(_BESIDE).intersect(volume.bounds)
        if not (project.state.read_labels(around) == np.uint64(supervoxel)).any():
            shown = ", ".join(f"{p:g}" for p in point_nm)
            raise Refused(422, f"point_nm ({shown}) is not at supervoxel {supervoxel}; point at it again")


def _inside(project: ServedProject, point_nm: tuple[float, float, float]) -> tuple[float, float, float]:
    volume = project.layers[SEGMENTATION].volume
    return inside(point_nm, volume.bounds, volume.voxel_size_nm)


def _preview(project: ServedProject, preview: SplitPreview) -> dict[str, Any]:
    found: dict[str, Any] = {
        "parts": [_texts(part.tolist()) for part in preview.parts],
        "edges": [_texts(edge) for edge in np.asarray(preview.edges).tolist()],
        "cost": preview.cost,
        "needs_supervoxel_split": _text(preview.needs_supervoxel_split),
    }
    parts = preview.supervoxel_parts
    if parts is not None:
        voxels = [int(np.count_nonzero(parts.sides == side)) for side in (1, 2)]
        box = {"start": list(parts.box.start), "stop": list(parts.box.stop)}
        size_nm = project.layers[SEGMENTATION].volume.voxel_size_nm
        layer = f"/data/{project.previews.keep(parts, size_nm)}"
        found["supervoxel_parts"] = {
            "new_ids": _texts(parts.new_ids),
            "voxels": voxels,
            "box": box,
            "layer": layer,
        }
    return found


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def _texts(numbers: Any) -> list[str]:
    return [str(each) for each in numbers]
