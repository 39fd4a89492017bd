"""Whether the image is still the one that finished subvolumes were flooded from, before any work is done.

Every piece compares the voxels it reads with those of its result. By the time the first of them differs,
others that were not finished may have been flooded from another image. So of each pass the first finished
subvolume is looked at beforehand.
"""

from __future__ import annotations

import json
from pathlib import Path

from inference.identity import array_digest, require_same_settings
from inference.passes import ResolvedPass
from inference.results import subvolume_path
from inference.subject import Subject, load_image
from inference.workspace import Workspace
from jobs.pieces import PieceError, load_npz
from jobs.plan import Subvolume

_DIGEST = "image_digest"


def require_same_images(workspace: Workspace) -> None:
    """Compares the image of each pass with its first finished subvolume that was made from one.

    Reads one subvolume with its margin for each pass that has a result. An image that differs elsewhere alone
    is not noticed here.

    Args:
      workspace: of the project.

    Raises:
      ReconstructionError: the voxels differ; names the result.
    """
    for name, each in workspace.passes.items():
        directory = workspace.stage_directory(name)
        for subvolume in workspace.plan:
            path = subvolume_path(directory, subvolume.box.start)
            theirs = _stored_digest(path)
            if theirs is not None:
                mine = _digest_now(workspace, each, subvolume)
                require_same_settings({_DIGEST: theirs}, {_DIGEST: mine}, path)
                break


def _stored_digest(path: Path) -> str | None:
    """Of the image that a result was made from; None where there is none, or masks kept out all of it."""
    if not path.exists():
        return None
    try:
        settings = json.loads(str(load_npz(path, ("settings",))["settings"]))
    except PieceError:
        # Its own piece tells of it, and makes it anew.
        return None
    digest: str | None = settings.get(_DIGEST)
    return digest


def _digest_now(workspace: Workspace, each: ResolvedPass, subvolume: Subvolume) -> str:
    box, region = each.own_box(subvolume.box), each.own_box(workspace.inputs.box)
    return array_digest(load_image(Subject(each.image, box, region, each.network, each.settings)))
