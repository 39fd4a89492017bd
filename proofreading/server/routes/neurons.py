"""Neurons, and the project they are of."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import StringConstraints

from proofreading.errors import UnknownError
from proofreading.server.auth import Reader
from proofreading.server.bodies import PathId, id_of
from proofreading.server.layers import SEGMENTATION
from proofreading.server.served import Project, ServedProject

router = APIRouter(prefix="/api", tags=["neurons"])


@router.get("/project")
def _project_about(project: Project, person: Reader) -> dict[str, Any]:
    """What is shown: voxel size and bounds (zyx), and where the layers are."""
    segmentation = project.layers[SEGMENTATION]
    bounds = segmentation.volume.bounds
    return {
        "name": project.config.name,
        "voxel_size_nm": list(segmentation.volume.voxel_size_nm),
        "bounds": {"start": list(bounds.start), "stop": list(bounds.stop)},
        "layers": {name: f"/data/{name}" for name in sorted(project.layers)},
        "meshes": segmentation.meshes is not None,
        "lease_seconds": project.config.proofreading.lease_seconds,
        "reviews": project.config.proofreading.reviews,
        **project.now(),
    }


@router.get("/neurons/{neuron}")
def _neuron_about(
    neuron: PathId,
    project: Project,
    person: Reader,
    at: Annotated[str | None, Query(min_length=1, max_length=40)] = None,
) -> dict[str, Any]:
    """A neuron: its supervoxels, cell bodies and version; of an old ID the neurons that it is now.

    `at` is the number of an edit or a time: the neuron that had this ID then, its supervoxels, and what it is
    now.
    """
    return about(project, neuron) if at is None else _about_then(project, neuron, at)


@router.get("/search")
def _search(
    q: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40), Query()],
    project: Project,
    person: Reader,
) -> dict[str, Any]:
    """The neurons that a text names: the ID of a neuron, of an earlier one, or of a supervoxel."""
    try:
        number = id_of(q)
    except ValueError as error:
        raise UnknownError(str(error)) from None
    found: dict[int, str] = {}
    for kind, look_up in (("neuron", project.state.resolve), ("supervoxel", _neuron_of(project))):
        try:
            found.update({neuron: found.get(neuron, kind) for neuron in look_up(number)})
        except UnknownError:
            continue
    if not found:
        raise UnknownError(f"{number} is neither a neuron nor a supervoxel")
    return {"q": q, "neurons": [{**about(project, each), "found_as": found[each]} for each in sorted(found)]}


def about(project: ServedProject, neuron: int) -> dict[str, Any]:
    """A neuron as the page gets it.

    Args:
      project: that is served.
      neuron: its ID, or one that it had.

    Raises:
      UnknownError: no neuron ever had this ID.
    """
    state, current = project.state, project.state.resolve(neuron)
    found: dict[str, Any] = {"id": str(neuron), "current": [str(each) for each in current]}
    if neuron in current:
        supervoxels = state.supervoxels_of(neuron).tolist()
        found["supervoxels"] = [str(each) for each in supervoxels]
        found["point_nm"] = state.point_of(neuron)
        found["length_nm"] = project.length_nm(neuron)
        found["voxels"] = state.voxels_of(neuron)
        found["somas"] = [str(each) for each in state.somas_of(neuron)]
        found["version"] = state.version_of(neuron)
    return found


def _about_then(project: ServedProject, neuron: int, at: str) -> dict[str, Any]:
    edit = project.state.edit_named(at)
    supervoxels = project.state.supervoxels_at(neuron, edit)
    return {
        "id": str(neuron),
        "edit": str(edit),
        "supervoxels": [str(each) for each in supervoxels.tolist()],
        "current": [str(each) for each in project.state.resolve(neuron)],
    }


def _neuron_of(project: ServedProject) -> Any:
    return lambda supervoxel: (project.state.neuron_of(supervoxel),)
