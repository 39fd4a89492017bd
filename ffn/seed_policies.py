"""Seed policies by name: what a pass's `seed_policy` and `seed_policy_args` mean.

Names, arguments, defaults and the order of seeds are google/ffn's, whose classes in seed.py these are
('module.Class' is taken as 'Class'). Arguments are a JSON object; one that a policy does not take is an
error, where google/ffn passes it over. `PolicyPoints` is ours.

Whatever the policy, seeds that no flood can start from are left out: where the field of view leaves the
canvas, on masked voxels, and in objects that are there before.

All positions are z, y, x here, in google/ffn's arguments too (the corner of `PolicyInvertOrigins`), so that
nothing is turned. They are voxels of the canvas unless stated otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from configs.errors import ConfigError
from ffn.seed_arguments import (
    CORNER,
    COUNT,
    COUNTS,
    DIRECTION,
    DISTANCE,
    DISTANCE_OR_OFF,
    FLAG,
    NAME,
    NUMBER,
    PARTS,
    PATH,
    POINTS,
    RADIUS,
    Arguments,
    Kind,
    checked_arguments,
    parsed_arguments,
)
from ffn.seed_points import read_points
from ffn.seed_sets import brightest_first, dense_seeds, grid_seeds
from ffn.seeds import (
    bright_peak_seeds,
    disk_peak_seeds,
    empty_space_seeds,
    fitting,
    image_peak_seeds,
    peak_seeds,
    peak_seeds_2d,
)
from volumes.box import Zyx


@dataclass(frozen=True, eq=False)
class SeedContext:
    """What policies may look at; arrays (z, y, x) of the canvas.

    Attributes:
        image: normalised image, float32.
        fov_zyx: field of view (voxels).
        voxel_size_nm: edges of a voxel (z, y, x), of which only the ratios matter; (1, 1, 1) = voxels.
        segmentation: integers like image, objects there before are above 0; None = none.
        mask: bool like image, True = no seed lies there; None = nowhere.
        corner_zyx: of the canvas in the whole volume (voxels).
        load_origins: gives the seeds of the objects of a stored segmentation (directory, corner z, y, x):
            integers (n, 3), voxels of this canvas, in the order of the objects' IDs. None = there are none.
    """

    image: np.ndarray
    fov_zyx: tuple[int, int, int]
    voxel_size_nm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    segmentation: np.ndarray | None = None
    mask: np.ndarray | None = None
    corner_zyx: Zyx = (0, 0, 0)
    load_origins: Callable[[str, Zyx], np.ndarray] | None = None

    @property
    def excluded(self) -> np.ndarray:
        """Voxels (bool) that are masked or in an object."""
        excluded = np.zeros(self.image.shape, bool)
        if self.mask is not None:
            excluded |= self.mask
        if self.segmentation is not None:
            excluded |= self.segmentation > 0
        return excluded

    @property
    def free(self) -> np.ndarray:
        """Voxels (bool) that can be seeds."""
        free = np.zeros(self.image.shape, bool)
        inner = tuple(slice(f // 2, n - f // 2) for f, n in zip(self.fov_zyx, self.image.shape, strict=True))
        free[inner] = ~self.excluded[inner]
        return free


_Policy: TypeAlias = Callable[[SeedContext], np.ndarray]


def check_seed_policy(name: str, args_json: str | None) -> None:
    """Checks a policy and its arguments before any work is spent; reads a file of points they name.

    Args:
        name: of the policy, such as `PolicyPeaks`.
        args_json: its arguments, a JSON object as text; None or empty: none.

    Raises:
        ConfigError: an unknown policy (lists the known ones), an argument it does not take (lists those it
            does), one of the wrong kind or missing, no JSON object, a file of points that cannot be read.
    """
    _policy_of(name, args_json)


def make_seeds(name: str, args_json: str | None, context: SeedContext) -> np.ndarray:
    """The seeds a policy finds, in the order in which they are to be tried.

    Args:
        name: of the policy.
        args_json: its arguments, a JSON object; empty or None = its defaults.
        context: what it may look at.

    Returns:
        int64 (n, 3), voxels z, y, x of the canvas; only seeds that a flood can start from.

    Raises:
        ConfigError: see `check_seed_policy`; a policy that needs a segmentation where there is none.
    """
    found = _policy_of(name, args_json)(context)
    seeds = fitting(np.asarray(found, np.int64).reshape(-1, 3), context.image.shape, context.fov_zyx)
    usable = np.ones(len(seeds), bool)
    where = tuple(seeds.T)
    if context.mask is not None:
        usable &= ~context.mask[where]
    if context.segmentation is not None:
        usable &= context.segmentation[where] <= 0
    return seeds[usable]


def _peaks(context: SeedContext) -> np.ndarray:
    return peak_seeds(
        context.image,
        context.fov_zyx,
        voxel_size_nm=context.voxel_size_nm,
        segmentation=context.segmentation,
        mask=context.mask,
    )


def _peaks_2d(context: SeedContext, *, sort_cmp: str = "ascending", **options: Any) -> np.ndarray:
    return peak_seeds_2d(
        context.image,
        voxel_size_nm=context.voxel_size_nm,
        mask=context.mask,
        descending=sort_cmp.strip().lower() == "descending",
        **options,
    )


def _fill_empty_space(context: SeedContext) -> np.ndarray:
    if context.segmentation is None:
        raise ConfigError(
            "seed policy PolicyFillEmptySpace looks for room between earlier objects, and there are none; "
            "start from a segmentation or choose another policy"
        )
    return empty_space_seeds(context.segmentation, voxel_size_nm=context.voxel_size_nm)


def _grid_3d(
    context: SeedContext, *, step: int = 16, offsets: Sequence[int] = (0, 8, 4, 12, 2, 10, 14)
) -> np.ndarray:
    return grid_seeds(
        context.image.shape, steps_zyx=(step, step, step), offsets_zyx=[(n, n, n) for n in offsets]
    )


def _grid_2d(
    context: SeedContext, *, step: int = 16, offsets: Sequence[int] = (0, 8, 4, 12, 2, 6, 10, 14)
) -> np.ndarray:
    return grid_seeds(
        context.image.shape, steps_zyx=(1, step, step), offsets_zyx=[(0, n, n) for n in offsets]
    )


def _inverted_origins(
    context: SeedContext, *, segmentation_dir: str, corner: Sequence[int] | None = None
) -> np.ndarray:
    """The last object's seed first; of the stored subvolume at the canvas's corner unless one is given."""
    if context.load_origins is None:
        raise ConfigError(
            f"seed policy PolicyInvertOrigins: no stored segmentation '{segmentation_dir}' can be read here; "
            "choose another policy"
        )
    z, y, x = context.corner_zyx if corner is None else corner
    return context.load_origins(segmentation_dir, (z, y, x))[::-1]


def _simple(
    find: Callable[..., np.ndarray], *, required: Sequence[str] = (), **kinds: Kind
) -> Callable[[str, Arguments], _Policy]:
    """A policy whose arguments go to a function as they are, beside the context."""
    return lambda name, arguments: partial(find, **checked_arguments(name, arguments, kinds, required))


def _reverse_coords(name: str, arguments: Arguments) -> _Policy:
    """Another policy backwards, whose arguments stand beside its name."""
    reversed_one = {key: value for key, value in arguments.items() if key == "policy_to_reverse"}
    checked_arguments(name, reversed_one, {"policy_to_reverse": NAME}, ("policy_to_reverse",))
    rest = {key: value for key, value in arguments.items() if key not in reversed_one}
    policy = _built(arguments["policy_to_reverse"], rest)
    return lambda context: policy(context)[::-1]


def _sequential_policies(name: str, arguments: Arguments) -> _Policy:
    """Policies one after the other; a seed that two of them find is there twice."""
    parts = checked_arguments(name, arguments, {"policies": PARTS}, ("policies",))["policies"]
    policies = [_built(each, its_arguments) for each, its_arguments in parts]
    return lambda context: np.concatenate([policy(context) for policy in policies])


def _policy_points(name: str, arguments: Arguments) -> _Policy:
    """Seeds someone chose, in voxels of the whole volume: a list or a file (`ffn.seed_points`)."""
    given = checked_arguments(name, arguments, {"points_zyx": POINTS, "points_path": PATH})
    if len(given) != 1:
        raise ConfigError(f"seed policy {name}: give either points_zyx or points_path")
    if "points_path" in given:
        points = read_points(given["points_path"])
    else:
        points = np.array(given["points_zyx"], np.int64).reshape(-1, 3)
    return lambda context: points - np.asarray(context.corner_zyx, np.int64)


_POLICIES: dict[str, Callable[[str, Arguments], _Policy]] = {
    "PolicyPeaks": _simple(_peaks),
    "PolicyPeaks2d": _simple(_peaks_2d, min_distance=DISTANCE, threshold_abs=NUMBER, sort_cmp=DIRECTION),
    "PolicyFillEmptySpace": _simple(_fill_empty_space),
    "PolicyMax": _simple(lambda context: brightest_first(context.image, context.free)),
    "PolicyMaxPeaks": _simple(lambda context: bright_peak_seeds(context.image, context.excluded)),
    "PolicyImagePeaks3D2D": _simple(
        lambda context, **options: image_peak_seeds(context.image, **options),
        min_distance_2d=DISTANCE_OR_OFF,
        min_distance_3d=DISTANCE_OR_OFF,
    ),
    "PolicyImagePeaks2DDisk": _simple(
        lambda context, **options: disk_peak_seeds(context.image, **options),
        min_distance_2d=DISTANCE,
        threshold_rel=NUMBER,
        disk_radius=RADIUS,
    ),
    "PolicyGrid3d": _simple(_grid_3d, step=DISTANCE, offsets=COUNTS),
    "PolicyGrid2d": _simple(_grid_2d, step=DISTANCE, offsets=COUNTS),
    "PolicyInvertOrigins": _simple(
        _inverted_origins, required=("segmentation_dir",), corner=CORNER, segmentation_dir=PATH
    ),
    "PolicyDenseSeeds": _simple(
        lambda context, **options: dense_seeds(context.image, context.free, **options),
        threshold=NUMBER,
        num_erosions=COUNT,
        invert=FLAG,
    ),
    "ReverseCoords": _reverse_coords,
    "SequentialPolicies": _sequential_policies,
    "PolicyPoints": _policy_points,
}


def _policy_of(name: str, args_json: str | None) -> _Policy:
    arguments = parsed_arguments(name, args_json)
    try:
        return _built(name, arguments)
    except RecursionError as error:
        raise ConfigError(f"seed policy {name}: too many policies within policies; leave some out") from error


def _built(name: str, arguments: Arguments) -> _Policy:
    known = name.rpartition(".")[2]
    if known not in _POLICIES:
        raise ConfigError(f"there is no seed policy '{name}'; choose one of {', '.join(sorted(_POLICIES))}")
    return _POLICIES[known](known, arguments)
