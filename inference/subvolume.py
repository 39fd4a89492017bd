"""Segments one subvolume with one network in one pass: image in, objects out.

This is where the parts meet: the image is read with its context and normalised (`inference.context`),
seeds are found in it (`ffn.seed_policies`), and objects flooded one after the other (`ffn.canvas`) while the
network answers (`inference.executor`). Coordinates are zyx voxels of the image.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ffn.backend import make_predictor, resolve_compute_dtype
from ffn.canvas import Canvas, segment_all
from ffn.flood import FloodOptions
from ffn.seed_policies import SeedContext, check_seed_policy, make_seeds
from ffn.weights import NetworkFile, instantiate
from inference.checkpoints import Keeper, Report, Watch, watched
from inference.context import Margin, face_margins, grown, normalise, read_with_margin, require_room_for
from inference.executor import FloodTask, run_floods
from inference.identity import array_digest, network_digest
from inference.results import SubvolumeResult, load_result, subvolume_path
from volumes import Box, Volume, VolumeError
from volumes.box import Zyx

# Seeds take more memory than the flood; the subvolumes of a process find theirs one after the other.
_SEEDING = threading.Lock()


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


class Runner(Protocol):
    """Whatever runs a flood through the network to its end; `inference.service.FloodService.run` is one."""

    def __call__(self, task: FloodTask[Canvas], /) -> Canvas: ...


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
    """What all subvolumes of a pass follow from, as plain values (settings resolved)."""
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
        "box_zyx": [list(box.start), list(box.stop)],
        "margin_zyx": [list(pair) for pair in subject.margin],
    }
    if surroundings.shut:
        return Loaded(np.zeros((0, 0, 0), np.float32), Obstacles(), {**made_from, "shut": True})
    grey = read_with_margin(subject.image, box, subject.margin)
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
    """Checks where a subvolume lies; reads no voxels.

    Raises:
      VolumeError: the box is empty, leaves the volume, or is smaller than the field of view, or the volume is
        too small to be mirrored.
    """
    image, box, fov = subject.image, subject.box, subject.network.info.architecture.fov_zyx
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


def segment_subvolume(
    image: Volume,
    box: Box,
    network: NetworkFile,
    settings: PassSettings,
    *,
    surroundings: Surroundings | None = None,
    report: Report | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
) -> SubvolumeResult:
    """Segments one box of an image.

    Args:
      image: the whole image.
      box: what to segment, inside the image's bounds.
      network: weights and architecture.
      settings: of the pass.
      surroundings: masks and earlier objects.
      report: see `segment_subject`.
      checkpoint: see `segment_subject`.
      checkpoint_seconds: see `segment_subject`.

    Returns:
      The objects in the box.

    Raises:
      VolumeError: the box is empty, leaves the image or is smaller than the field of view, or the image has
        NaN voxels.
    """
    subject = Subject(image, box, box, network, settings.resolved(), surroundings or Surroundings())
    require_segmentable(subject)

    def run(task: FloodTask[Canvas]) -> Canvas:
        predictor = make_predictor(instantiate(network, subject.settings.compute_dtype))
        (canvas,) = run_floods([task], predictor, subject.settings.options.fov_zyx)
        return canvas

    return segment_subject(
        subject,
        load_subject(subject),
        run,
        report=report,
        checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds,
    )


def segment_subject(
    subject: Subject,
    loaded: Loaded,
    run: Runner,
    *,
    report: Report | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
) -> SubvolumeResult:
    """Segments a subvolume whose image is there.

    Args:
      subject: the subvolume.
      loaded: what `load_subject` gave for it.
      run: runs the flood.
      report: called now and then with the voxels filled and the fields of view seen so far.
      checkpoint: file that an unfinished run is kept in and continued from; removed in the end. None = not.
      checkpoint_seconds: time between two checkpoints; 0 = none.

    Returns:
      The objects in the box.
    """
    seen, obstacles, made_from = loaded
    if subject.surroundings.shut:
        return _nothing(subject, made_from)
    with _SEEDING:
        seeds = _seeds(subject, seen, obstacles)
    canvas = Canvas(
        seen,
        subject.settings.options,
        segmentation=obstacles.segmentation,
        movement_mask=obstacles.movement,
        seed_mask=obstacles.seeds,
    )
    watch = Watch(canvas, subject.inner, report)
    keeper = Keeper(checkpoint, checkpoint_seconds, made_from, watch)
    keeper.restore()
    if len(seeds):
        run(watched(segment_all(canvas, seeds), watch, keeper))
    watch.look()
    result = _result(canvas, subject, {"seeds": len(seeds), **watch.counts()}, made_from)
    keeper.discard()
    return result


def _seeds(subject: Subject, seen: np.ndarray, obstacles: Obstacles) -> np.ndarray:
    """Seeds (n, 3) in the order in which they are tried, voxels from the corner of the margin."""
    settings, mask = subject.settings, _united(obstacles.movement, obstacles.seeds)
    if mask is not None and mask.all():
        return np.zeros((0, 3), np.int64)
    context = SeedContext(
        image=seen,
        fov_zyx=settings.options.fov_zyx,
        voxel_size_nm=settings.seed_voxel_size_nm,
        segmentation=obstacles.segmentation,
        mask=mask,
        corner_zyx=grown(subject.box, subject.margin).start,
        load_origins=lambda directory, corner: _origins_of(directory, corner, subject),
    )
    seeds = make_seeds(settings.seed_policy, settings.seed_policy_args, context)
    return seeds[::-1] if settings.reversed_seeds else seeds


def _united(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return first | second if first is not None and second is not None else second if first is None else first


def _origins_of(directory: str, corner_zyx: Zyx, subject: Subject) -> np.ndarray:
    """The seeds of a stored subvolume's objects in the order of their IDs, from the corner of the margin.

    The corner of the margin stands for this very subvolume.
    """
    inner = subject.inner
    if corner_zyx == grown(subject.box, subject.margin).start:
        corner_zyx = subject.box.start if subject.corner_zyx is None else subject.corner_zyx
    found = load_result(directory, corner_zyx)
    if found is None:
        raise VolumeError(
            f"there is no segmentation {subvolume_path(directory, corner_zyx)}, whose origins the seeds are; "
            "run the pass that writes it first"
        )
    return found.seeds_zyx[found.fovs > 0] + [part.start for part in inner]


def _nothing(subject: Subject, made_from: dict[str, object]) -> SubvolumeResult:
    """The result of a subvolume that nothing was done in."""
    none = np.zeros(0, np.int64)
    return SubvolumeResult(
        box=subject.box,
        segmentation=np.zeros(subject.box.shape, np.int32),
        probability=np.zeros(subject.box.shape, np.uint8),
        object_ids=none,
        seeds_zyx=none.reshape(0, 3),
        fovs=none,
        counts={"seeds": 0, "fovs": 0, "seconds": 0.0, "objects": 0},
        settings=made_from,
    )


def _result(
    canvas: Canvas, subject: Subject, counts: dict[str, float], settings: dict[str, object]
) -> SubvolumeResult:
    """The part of a canvas inside the box; objects that lie wholly in the margin are left out."""
    inner = subject.inner
    segmentation = np.ascontiguousarray(canvas.segmentation[inner])
    present = np.unique(segmentation)
    ids = present[present > 0].astype(np.int64)
    origins = [canvas.origins.get(int(i)) for i in ids]
    margin = [part.start for part in inner]
    none = np.array([-1, -1, -1]) + margin
    assert canvas.probability is not None
    return SubvolumeResult(
        box=subject.box,
        segmentation=segmentation,
        probability=np.ascontiguousarray(canvas.probability[inner]),
        object_ids=ids,
        seeds_zyx=np.array([o.seed if o else none for o in origins], np.int64).reshape(-1, 3) - margin,
        fovs=np.array([o.steps if o else 0 for o in origins], np.int64),
        counts={**counts, "objects": len(ids)},
        settings=settings,
    )
