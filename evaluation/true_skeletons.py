"""The skeletons that segmentations are compared with: read, or made from the labels and kept.

Skeletons that were made are kept as Precomputed in a folder named after everything they follow from, beside a
file that says what that is and holds a digest of them; the next comparison with the same labels, box and
settings reads them, and makes them again if they are damaged. Memory counts among the settings only where it
was too small for an object, which was then made coarser. Positions are rounded to float32, as Precomputed has
them, whether they are kept or not: figures do not depend on it.

Input: the message `Evaluation`, labels. Output: skeletons (zyx nm) by ID, cut and resampled as asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from configs import ConfigView
from evaluation.errors import EvaluationError
from jobs.progress import Progress
from volumes import Box, Skeleton, Volume, VolumeError

Tell = Callable[[str], None]

# More nodes in a voxel than this, on average, and their unit is not what it seems.
_CROWDED = 10
# Skeletons that are smaller than this share of the segmentation along every axis, or whose edges are shorter
# than this share of a voxel, are hardly in nm either.
_TINY = 1 / 100
_SHORT = 1 / 10
_MOST_NODES = 1e9
# How many objects were made coarser, in what is said of skeletons that were made.
COARSENED = "coarsened_objects"


@dataclass(frozen=True)
class Keep:
    """Where skeletons made from labels are kept.

    Attributes:
        folder: holds one folder for each set of skeletons.
        labels: plain values that change when the labels do; None = nothing is known of their state, and what
            is kept is not read again.
    """

    folder: Path
    labels: Any


@dataclass(frozen=True)
class TrueSkeletons:
    """Skeletons and where they are from.

    Attributes:
        skeletons: by ID; empty = there are none.
        source: the SPEC they were read from or are kept at; empty = neither.
        made_with: the settings they were made from labels with, and how many objects were made coarser
            (`coarsened_objects`; without any, `max_voxels` does not matter and is left out); empty = they
            were not.
        digest: of `digest_of`, before they are cut and resampled; empty = there are none.
    """

    skeletons: Mapping[int, Skeleton]
    source: str = ""
    made_with: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""


def true_skeletons(
    labels: Volume | None,
    box: Box,
    voxel_size_nm: Sequence[float],
    settings: ConfigView,
    *,
    clip: bool,
    given: Mapping[int, Skeleton] | None = None,
    extent: Box | None = None,
    memory_gb: float,
    keep: Keep | None = None,
    tell: Tell,
    display: bool | None = None,
) -> TrueSkeletons:
    """The skeletons given, or those that the settings name, or those of the labels.

    Args:
        labels: true objects that hold the box; None = there are none.
        box: what is compared, absolute.
        voxel_size_nm: zyx, of the segmentations.
        settings: the message `Evaluation`.
        clip: leave out what of skeletons that were not made here lies outside the box.
        given: by ID; None: those of the settings.
        extent: of the segmentations, absolute, for telling whether the unit is right; None: the box.
        memory_gb: for making skeletons.
        keep: where those made are kept; None: nowhere.
        tell: called with lines about what is allowed but worth knowing.
        display: whether progress is shown; None: on a terminal.

    Raises:
        EvaluationError: no ground truth, no skeleton has a node in the box, or `skeleton_edge_nm` is so small
            that the nodes would be too many.
        VolumeError: skeletons or labels that cannot be read.
    """
    if given is not None or settings.skeletons:
        found = _named(given, box, extent or box, voxel_size_nm, settings, clip, tell)
    elif labels is None:
        raise EvaluationError(
            "there is nothing to compare with; give ground truth as labels, as skeletons, or as both"
        )
    else:
        found = _of_labels(labels, box, settings, memory_gb, keep, tell, display)
    skeletons = found.skeletons
    if settings.skeleton_edge_nm and skeletons:
        skeletons = _resampled(skeletons, settings.skeleton_edge_nm)
    _note_long_edges(skeletons, voxel_size_nm, tell)
    return replace(found, skeletons=skeletons)


def inside(
    skeletons: Mapping[int, Skeleton], box: Box, voxel_size_nm: Sequence[float]
) -> dict[int, Skeleton]:
    """What of skeletons lies in a box, cut exactly at its faces; see `volumes.skeletons.cut_skeleton`.

    Args:
        skeletons: by ID.
        box: absolute.
        voxel_size_nm: zyx.

    Returns:
        By ID; those without a node or path in the box are left out.
    """
    from volumes.skeletons import cut_skeleton

    cut = {name: cut_skeleton(each, box, voxel_size_nm) for name, each in skeletons.items()}
    return {name: each for name, each in cut.items() if each is not None}


def _named(
    given: Mapping[int, Skeleton] | None,
    box: Box,
    extent: Box,
    voxel_size_nm: Sequence[float],
    settings: ConfigView,
    clip: bool,
    tell: Tell,
) -> TrueSkeletons:
    """Skeletons that someone else made."""
    skeletons, what = given, "the skeletons"
    if skeletons is None:
        from volumes.skeleton_sets import read_skeletons

        what = f"the skeletons '{settings.skeletons}'"
        skeletons = read_skeletons(settings.skeletons, unit_nm=settings.skeleton_unit_nm, on_warning=tell)
    doubt = _doubt_of_unit(skeletons, extent, voxel_size_nm)
    if doubt and not _says_unit(given, settings):
        tell(
            f"{what} are hardly in nm: {doubt}; say their unit in evaluation.skeleton_unit_nm (1000 for "
            "micrometres, the size of a voxel for voxels)"
        )
    digest = digest_of(skeletons)
    if clip:
        skeletons = inside(skeletons, box, voxel_size_nm)
    if not skeletons:
        raise EvaluationError(
            f"no node of {what} lies in {box}; check their axis order and their unit "
            "(evaluation.skeleton_unit_nm)"
        )
    return TrueSkeletons(skeletons, settings.skeletons or "", digest=digest)


def _says_unit(given: Mapping[int, Skeleton] | None, settings: ConfigView) -> bool:
    """Whether someone said the unit of skeletons, so that odd sizes are theirs."""
    from volumes.skeleton_sets import unit_is_known

    if given is not None:
        return False
    return settings.skeleton_unit_nm is not None or unit_is_known(settings.skeletons)


def _doubt_of_unit(skeletons: Mapping[int, Skeleton], extent: Box, voxel_size_nm: Sequence[float]) -> str:
    """What speaks against nanometres; empty if nothing does."""
    nodes_nm = np.concatenate([np.zeros((0, 3)), *(each.nodes_nm for each in skeletons.values())])
    lengths_nm = np.concatenate([np.zeros(0), *(each.edge_lengths_nm for each in skeletons.values())])
    if len(nodes_nm) < 2:
        return ""
    size = np.asarray(voxel_size_nm, np.float64)
    voxels = len(np.unique(np.floor(nodes_nm / size), axis=0))
    if len(nodes_nm) > _CROWDED * voxels:
        return f"their {len(nodes_nm)} nodes lie in only {voxels} voxels"
    if np.all(np.ptp(nodes_nm, axis=0) < _TINY * np.array(extent.shape) * size):
        return "together they are smaller than a hundredth of the segmentation along every axis"
    whole = np.all(nodes_nm == np.floor(nodes_nm)) and np.all((nodes_nm >= 0) & (nodes_nm < extent.stop))
    if whole and np.any(size != 1):
        return "all coordinates are whole numbers that are voxels of the segmentation"
    if len(lengths_nm) and np.median(lengths_nm) < _SHORT * size.min():
        return f"half of their edges are shorter than {_SHORT * size.min():g} nm, a tenth of a voxel"
    return ""


def _of_labels(
    labels: Volume,
    box: Box,
    settings: ConfigView,
    memory_gb: float,
    keep: Keep | None,
    tell: Tell,
    display: bool | None,
) -> TrueSkeletons:
    """Skeletons of the labels that have any path; without one there are no figures of skeletons."""
    if find_spec("kimimaro") is None:
        tell(
            "there are no figures of skeletons, since kimimaro, which makes skeletons of labels, is not "
            "installed; run pip install 'ffn-reconstruction[skeletons]', or give skeletons"
        )
        return TrueSkeletons({})
    from evaluation.teasar import made_with, max_voxels_of, skeletonise_volume

    asked = settings.skeletonisation
    options = {"scale": asked.scale, "const_nm": asked.const_nm, "min_voxels": asked.min_voxels}
    options["max_voxels"] = max_voxels_of(memory_gb)

    coarse: list[int] = []

    def make() -> dict[int, Skeleton]:
        with Progress(None, "object", description="skeletons of the labels", enabled=display) as progress:
            made = skeletonise_volume(labels, box, on_coarse=coarse.append, progress=progress, **options)
        return {
            number: replace(each, nodes_nm=each.nodes_nm.astype(np.float32)) for number, each in made.items()
        }

    def record() -> dict[str, Any]:
        said = made_with(**options)
        if not coarse:
            del said["max_voxels"]
        return {**said, COARSENED: len(coarse)}

    if keep is None:
        made = make()
        found = TrueSkeletons(made, "", record(), digest_of(made))
    else:
        found = _kept(keep, {"box": [box.start, box.stop]}, made_with(**options), record, make, tell)
    count = found.made_with[COARSENED]
    if count:
        tell(
            f"{count} objects were too large for the memory and were skeletonised in coarser voxels, so that "
            "their skeletons depend on the memory given; give more to have them exact"
        )
    if not any(len(each.edges) for each in found.skeletons.values()):
        tell(
            f"no object of the ground truth has {asked.min_voxels} voxels and a skeleton of some length, "
            "so there are no figures of skeletons; lower evaluation.skeletonisation.min_voxels"
        )
        return TrueSkeletons({})
    return found


def _kept(
    keep: Keep,
    follows_from: Mapping[str, Any],
    options: Mapping[str, Any],
    record: Callable[[], Mapping[str, Any]],
    make: Callable[[], dict[int, Skeleton]],
    tell: Tell,
) -> TrueSkeletons:
    """Skeletons that are there already, or made and put there."""
    from jobs.pieces import atomic_path
    from volumes.skeleton_sets import write_skeletons

    def place(settings: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
        said = {"labels": keep.labels, **follows_from, "made with": dict(settings)}
        text = json.dumps(said, sort_keys=True)
        return keep.folder / hashlib.blake2b(text.encode(), digest_size=8).hexdigest(), said

    exact = {name: value for name, value in options.items() if name != "max_voxels"}
    if keep.labels is not None:
        for settings in (exact, options):
            found = _read_kept(place(settings)[0], settings, tell)
            if found is not None:
                return found
    made = make()
    made_with = record()
    if not made:
        return TrueSkeletons({}, "", made_with)
    folder, said = place(options if made_with[COARSENED] else exact)
    spec, digest, about = _spec_of(folder), digest_of(made), folder.with_suffix(".json")
    about.unlink(missing_ok=True)
    write_skeletons(spec, made)
    said |= {COARSENED: made_with[COARSENED], "digest": digest}
    with atomic_path(about) as temporary:
        temporary.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return TrueSkeletons(made, spec, made_with, digest)


def _read_kept(folder: Path, settings: Mapping[str, Any], tell: Tell) -> TrueSkeletons | None:
    """The skeletons in a folder; None where there are none, or they are not what was put there."""
    from volumes.skeleton_sets import read_skeletons

    about = folder.with_suffix(".json")
    if not about.exists():
        return None
    try:
        said = json.loads(about.read_text(encoding="utf-8"))
        coarsened, digest = int(said[COARSENED]), said["digest"]
        skeletons = read_skeletons(_spec_of(folder))
    except (VolumeError, OSError, ValueError, KeyError, TypeError):
        skeletons, digest = {}, None
    if digest is None or digest_of(skeletons) != digest:
        tell(f"the skeletons kept in '{folder}' are damaged or were changed; they are made again")
        return None
    return TrueSkeletons(skeletons, _spec_of(folder), {**settings, COARSENED: coarsened}, digest)


def _spec_of(folder: Path) -> str:
    return f"precomputed://file://{folder.resolve()}"


def digest_of(skeletons: Mapping[int, Skeleton]) -> str:
    """16 hexadecimal digits that change with any ID, node, edge or radius (positions as float32)."""
    found = hashlib.blake2b(digest_size=8)
    for number, each in sorted(skeletons.items()):
        radii = np.zeros(0) if each.radii_nm is None else each.radii_nm
        found.update(repr((number, len(each.nodes_nm), len(each.edges), len(radii))).encode())
        for array, dtype in ((each.nodes_nm, "<f4"), (each.edges, "<i8"), (radii, "<f4")):
            found.update(np.ascontiguousarray(array, dtype).tobytes())
    return found.hexdigest()


def _resampled(skeletons: Mapping[int, Skeleton], edge_nm: float) -> dict[int, Skeleton]:
    from volumes.skeletons import resample_skeleton

    length_nm = sum(each.length_nm for each in skeletons.values())
    if length_nm / edge_nm > _MOST_NODES:
        raise EvaluationError(
            f"edges of {edge_nm:g} nm would cut the skeletons of {length_nm / 1e6:.3g} mm into "
            f"{length_nm / edge_nm:.1g} pieces; raise evaluation.skeleton_edge_nm to "
            f"{length_nm / _MOST_NODES:.1g} nm or more"
        )
    return {name: resample_skeleton(each, edge_nm) for name, each in skeletons.items()}


def _note_long_edges(skeletons: Mapping[int, Skeleton], voxel_size_nm: Sequence[float], tell: Tell) -> None:
    from evaluation.node_labels import LONG_EDGE_VOXELS, long_edges

    count, longest_nm = long_edges(skeletons, voxel_size_nm)
    if count:
        tell(
            f"{count} edges of the skeletons are longer than {LONG_EDGE_VOXELS} voxels (the longest has "
            f"{longest_nm:.4g} nm), and what they pass over goes unseen; cut them with "
            "evaluation.skeleton_edge_nm"
        )
