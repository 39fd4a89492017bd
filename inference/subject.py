"""What is segmented in one piece: a box of an image, network and settings of a pass, what lies in the way.

Everything the result follows from is described here, as plain values, so that a rerun knows it again.
Coordinates are zyx voxels of the image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ffn.backend import resolve_compute_dtype
from ffn.flood import FloodOptions
from ffn.seed_policies import check_seed_policy
from ffn.weights import NetworkFile
from inference.context import Margin, face_margins, grown, normalise, read_with_margin, require_room_for
from inference.identity import array_digest, network_digest, settings_digest
from inference.results import load_result
from volumes import Box, Volume, VolumeError
from volumes.box import Zyx


@dataclass(frozen=True)
class PassSettings:
    """How a subvolume is segmented, apart from the network itself.

    Attributes:
      options: of the flood; field of view and deltas are the network's.
      image_mean, image_stddev: the network sees (image − mean) / stddev.
      reversed_seeds: try the seeds last one first.
      seed_policy: name as google/ffn gives it.
      seed_policy_args: its arguments, JSON.
      seed_voxel_size_nm: (z, y, x) in which seeds measure distances; (1, 1, 1) = voxels.
      mirror_margin: give the faces of the region half a field of view of context.
      compute_dtype: float32, bfloat16 or auto.

    Raises:
      ConfigError: an unknown seed policy, or arguments that it does not take.
    """

    options: FloodOptions
    image_mean: float
    image_stddev: float
    reversed_seeds: bool = False
    seed_policy: str = "PolicyPeaks"
    seed_policy_args: str = "{}"
    seed_voxel_size_nm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mirror_margin: bool = False
    compute_dtype: str = "auto"

    def __post_init__(self) -> None:
        check_seed_policy(self.seed_policy, self.seed_policy_args)

    def resolved(self) -> PassSettings:
        """The same with the compute type this machine makes of 'auto'."""
        return replace(self, compute_dtype=resolve_compute_dtype(self.compute_dtype))

    def to_dict(self) -> dict[str, object]:
        """What determines the result, as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Obstacles:
    """What a flood finds besides the image; arrays (z, y, x) of the box with its margin, None = nothing.

    Attributes:
      segmentation: objects that are there already, integers up to 2^31 - 1.
      movement: bool, True = no field of view is centred here.
      seeds: bool, True = no seed lies here.
    """

    segmentation: np.ndarray | None = None
    movement: np.ndarray | None = None
    seeds: np.ndarray | None = None


@dataclass(frozen=True)
class Surroundings:
    """Where the obstacles of a box come from.

    Attributes:
      obstacles: gives those of a box (margin included, which may leave the image).
      made_from: what they follow from, plain JSON values.
      shut: masks keep out all of the subvolume and nothing is there before; then the image is not read.
    """

    obstacles: Callable[[Box], Obstacles] = lambda _: Obstacles()
    made_from: Mapping[str, object] = field(default_factory=dict)
    shut: bool = False


@dataclass(frozen=True)
class Subject:
    """One subvolume about to be segmented.

    Attributes:
      image: the whole image.
      box: what to segment, inside the image's bounds.
      region: what the box was cut from.
      network: weights and architecture.
      settings: of the pass, resolved.
      surroundings: masks and earlier objects.
      corner_zyx: names its files; the corner of the box unless given.
    """

    image: Volume
    box: Box
    region: Box
    network: NetworkFile
    settings: PassSettings
    surroundings: Surroundings = Surroundings()
    corner_zyx: Zyx | None = None

    @property
    def margin(self) -> Margin:
        """Context on either side of the box."""
        radius = self.settings.options.radius_zyx
        return face_margins(self.box, self.region, radius, mirror=self.settings.mirror_margin)

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """The box in arrays that have the margin."""
        z, y, x = (
            slice(before, before + n) for (before, _), n in zip(self.margin, self.box.shape, strict=True)
        )
        return z, y, x


class Loaded(NamedTuple):
    """What a subvolume is segmented from.

    Attributes:
      image: with margin as networks see it, float32 (z, y, x); empty where everything is shut.
      obstacles: of the box with its margin.
      made_from: everything the result follows from, plain JSON values.
    """

    image: np.ndarray
    obstacles: Obstacles
    made_from: dict[str, object]


def describe_pass(image: Volume, network: NetworkFile, settings: PassSettings) -> dict[str, object]:
    """What all subvolumes of a pass follow from, as plain values (settings resolved).

    Args:
      image: what it sees.
      network: weights and architecture.
      settings: resolved.
    """
    return {
        "image": image.spec,
        "network": network_digest(network),
        "architecture": network.info.architecture.to_dict(),
        **settings.to_dict(),
        **_files_of(json.loads(settings.seed_policy_args or "{}")),
    }


def _files_of(arguments: object) -> dict[str, object]:
    """Names of the contents of the files that a seed policy's arguments name, at any depth."""
    if isinstance(arguments, dict):
        found = {
            k: array_digest(np.fromfile(v, np.uint8)) for k, v in arguments.items() if k == "points_path"
        }
        return {**found, **{k: v for inner in arguments.values() for k, v in _files_of(inner).items()}}
    if isinstance(arguments, list):
        return {k: v for inner in arguments for k, v in _files_of(inner).items()}
    return {}


def _origins_in(arguments: object, subject: Subject) -> dict[str, object]:
    """Names what made the stored subvolumes whose origins a seed policy takes, at any depth."""
    if isinstance(arguments, dict):
        inner = [arguments[name] for name in sorted(arguments)]
        found = {k: v for each in inner for k, v in _origins_in(each, subject).items()}
        if "segmentation_dir" not in arguments:
            return found
        start = subject.box.start if subject.corner_zyx is None else subject.corner_zyx
        corner = tuple(arguments.get("corner") or start)
        stored = load_result(arguments["segmentation_dir"], corner)  # type: ignore[arg-type]
        return {**found, "origins_made_from": None if stored is None else settings_digest(stored.settings)}
    if isinstance(arguments, list):
        return {k: v for each in arguments for k, v in _origins_in(each, subject).items()}
    return {}


def load_image(subject: Subject) -> np.ndarray:
    """The grey values of a subvolume with its margin, (z, y, x); `image_digest` is of these."""
    return read_with_margin(subject.image, subject.box, subject.margin)


def load_subject(subject: Subject) -> Loaded:
    """The image of a subvolume, what lies in its way, and everything its result follows from.

    The voxels themselves count, not only where they lie: an image or a mask that was replaced is another one.

    Raises:
      VolumeError: see `require_segmentable`; NaN or infinite voxels, a mask that cannot be read.
    """
    settings, box, surroundings = subject.settings, subject.box, subject.surroundings
    made_from = {
        **describe_pass(subject.image, subject.network, settings),
        **surroundings.made_from,
        **_origins_in(json.loads(settings.seed_policy_args or "{}"), subject),
        "box_zyx": [list(box.start), list(box.stop)],
        "margin_zyx": [list(pair) for pair in subject.margin],
    }
    if surroundings.shut:
        return Loaded(np.zeros((0, 0, 0), np.float32), Obstacles(), {**made_from, "shut": True})
    grey = load_image(subject)
    obstacles = surroundings.obstacles(grown(box, subject.margin))
    made_from["image_digest"] = array_digest(grey)
    for name in ("segmentation", "movement", "seeds"):
        array = getattr(obstacles, name)
        if array is not None:
            made_from[f"{name}_digest"] = array_digest(array)
    seen = normalise(grey, settings.image_mean, settings.image_stddev, subject.image.spec)
    return Loaded(seen, obstacles, made_from)


def require_segmentable(subject: Subject) -> None:
    """Checks a subvolume before any work is spent on it; reads no voxels of images of whole numbers.

    Raises:
      VolumeError: see `require_fitting`; or a float image has NaN voxels.
    """
    require_fitting(subject)
    image, settings = subject.image, subject.settings
    if np.issubdtype(image.dtype, np.floating):
        normalise(image.read(subject.box), settings.image_mean, settings.image_stddev, image.spec)


def require_fitting(subject: Subject) -> None:
    """Checks where a subvolume lies, and that there are grey values; reads no voxels.

    Raises:
      VolumeError: the image has no grey values, the box is empty, leaves the volume, or is smaller than the
        field of view, or the volume is too small to be mirrored.
    """
    image, box, fov = subject.image, subject.box, subject.network.info.architecture.fov_zyx
    if image.dtype.kind not in "iuf":
        raise VolumeError(
            f"image '{image.spec}' is {image.dtype}, which is a mask and no grey values; give the image, or "
            "save it as uint8"
        )
    if box.is_empty:
        raise VolumeError(f"box {box} is empty; give it a size of at least 1 along every axis")
    if not image.bounds.contains_box(box):
        raise VolumeError(f"box {box} leaves volume '{image.spec}' ({image.bounds}); shrink it to lie inside")
    if any(n < f for n, f in zip(box.shape, fov, strict=True)):
        raise VolumeError(
            f"box {box} of shape {box.shape} is smaller than the network's field of view {fov} (z, y, x); "
            "take a larger box or a network with a smaller field of view"
        )
    require_room_for(subject.margin, box, image)
