"""Segments one subvolume with one network in one pass: image in, objects out.

This is where the parts meet: the image is read with its context and normalised (`inference.context`),
seeds are found in it (`ffn.seeds`), and objects flooded one after the other (`ffn.canvas`) while the
network answers (`inference.executor`). Coordinates are zyx voxels of the whole volume.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, replace

import numpy as np

from configs.errors import ConfigError
from ffn.backend import make_predictor, resolve_compute_dtype
from ffn.canvas import Canvas, segment_all
from ffn.flood import FloodOptions
from ffn.seeds import peak_seeds
from ffn.weights import NetworkFile, instantiate
from inference.context import normalise, read_with_margin
from inference.executor import run_floods
from inference.results import SubvolumeResult
from jobs.progress import Progress
from volumes import Box, Volume, VolumeError

SEED_POLICIES = ("PolicyPeaks",)
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class PassSettings:
    """How a subvolume is segmented, apart from the network itself.

    Attributes:
      options: of the flood; field of view and deltas are the network's.
      image_mean, image_stddev: the network sees (image − mean) / stddev.
      reversed_seeds: try the seeds last one first.
      seed_policy: name as google/ffn gives it.
      seed_voxel_size_nm: (z, y, x) in which seeds measure distances; (1, 1, 1) = voxels.
      mirror_margin: give the faces of the box half a field of view of context.
      compute_dtype: float32, bfloat16 or auto.
    """

    options: FloodOptions
    image_mean: float
    image_stddev: float
    reversed_seeds: bool = False
    seed_policy: str = "PolicyPeaks"
    seed_voxel_size_nm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mirror_margin: bool = False
    compute_dtype: str = "auto"

    def __post_init__(self) -> None:
        if self.seed_policy.rsplit(".", 1)[-1] not in SEED_POLICIES:
            raise ConfigError(
                f"unknown seed policy {self.seed_policy!r}; known are {', '.join(SEED_POLICIES)}"
            )

    @property
    def margin_zyx(self) -> tuple[int, int, int]:
        """Voxels of context added on either side of the box."""
        return self.options.radius_zyx if self.mirror_margin else (0, 0, 0)

    def resolved(self) -> PassSettings:
        """The same with the compute type this machine makes of 'auto'."""
        return replace(self, compute_dtype=resolve_compute_dtype(self.compute_dtype))

    def to_dict(self) -> dict[str, object]:
        """What determines the result, as plain values."""
        return asdict(self)


def network_digest(network: NetworkFile) -> str:
    """A short name of a network's weights: equal weights, equal name."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(network.weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(network.weights[name], np.float32).tobytes())
    return digest.hexdigest()


def describe(image: Volume, box: Box, network: NetworkFile, settings: PassSettings) -> dict[str, object]:
    """Everything a result of `segment_subvolume` follows from, as plain values (settings resolved)."""
    return {
        "image": image.spec,
        "box_zyx": [list(box.start), list(box.stop)],
        "network": network_digest(network),
        "architecture": network.info.architecture.to_dict(),
        **settings.to_dict(),
    }


def require_segmentable(image: Volume, box: Box, network: NetworkFile, settings: PassSettings) -> None:
    """Checks a subvolume before any work is spent on it.

    Raises:
      VolumeError: the box is empty, leaves the volume, or is smaller than the field of view, the volume is
        too small to be mirrored, or a float image has NaN voxels.
    """
    if box.is_empty:
        raise VolumeError(f"box {box} is empty; give it a size of at least 1 along every axis")
    if not image.bounds.contains_box(box):
        raise VolumeError(f"box {box} leaves volume '{image.spec}' ({image.bounds}); shrink it to lie inside")
    fov = network.info.architecture.fov_zyx
    if any(n < f for n, f in zip(box.shape, fov, strict=True)):
        raise VolumeError(
            f"box {box} of shape {box.shape} is smaller than the network's field of view {fov} (z, y, x); "
            "take a larger box or a network with a smaller field of view"
        )
    if np.issubdtype(image.dtype, np.floating) or settings.mirror_margin:
        _read_normalised(image, box, settings)


def segment_subvolume(
    image: Volume,
    box: Box,
    network: NetworkFile,
    settings: PassSettings,
    progress: Progress | None = None,
) -> SubvolumeResult:
    """Segments one box of an image.

    Args:
      image: the whole image.
      box: what to segment, inside the image's bounds.
      network: weights and architecture.
      settings: of the pass.
      progress: counts segmented voxels and shows fields of view per second.

    Returns:
      The objects in the box.

    Raises:
      VolumeError: the box is empty, leaves the image or is smaller than the field of view, or the image has
        NaN voxels.
    """
    require_segmentable(image, box, network, settings)
    settings = settings.resolved()
    started = time.monotonic()
    seen = _read_normalised(image, box, settings)
    seeds = peak_seeds(seen, settings.options.fov_zyx, voxel_size_nm=settings.seed_voxel_size_nm)
    canvas = Canvas(seen, settings.options)
    predictor = make_predictor(instantiate(network, settings.compute_dtype))
    watch = _Watch(canvas, progress)
    task = segment_all(canvas, seeds[::-1] if settings.reversed_seeds else seeds)
    list(run_floods([task], predictor, settings.options.fov_zyx, on_batch=watch.count))
    watch.look()
    counts = {
        "seeds": len(seeds),
        "objects": len(canvas.origins),
        "fovs": watch.fovs,
        "seconds": round(time.monotonic() - started, 3),
    }
    return _crop(canvas, box, settings.margin_zyx, counts, describe(image, box, network, settings))


def _read_normalised(image: Volume, box: Box, settings: PassSettings) -> np.ndarray:
    """The box with its margin as the network sees it, float32 (z, y, x)."""
    grey = read_with_margin(image, box, settings.margin_zyx)
    return normalise(grey, settings.image_mean, settings.image_stddev, image.spec)


class _Watch:
    """Counts the fields of view of a canvas and shows how far it is."""

    def __init__(self, canvas: Canvas, progress: Progress | None) -> None:
        self.fovs = 0
        self._canvas, self._progress, self._last = canvas, progress, time.monotonic()
        self._started = self._last

    def count(self, fovs: int) -> None:
        """Notes that a batch of fields of view was seen."""
        self.fovs += fovs
        if self._progress is not None and time.monotonic() - self._last > _LOOK_EVERY_S:
            self.look()

    def look(self) -> None:
        """Shows the voxels filled by now."""
        self._last = time.monotonic()
        if self._progress is None:
            return
        filled = int(np.count_nonzero(self._canvas.segmentation > 0))
        self._progress.advance(filled - self._progress.done)
        rate = self.fovs / max(self._last - self._started, 1e-9)
        self._progress.note(fov_per_s=f"{rate:.0f}", objects=len(self._canvas.origins))


def _crop(
    canvas: Canvas, box: Box, margin: tuple[int, int, int], counts: dict, settings: dict
) -> SubvolumeResult:
    """The part of a canvas inside the box; objects that lie wholly in the margin are left out."""
    inner = tuple(slice(m, m + n) for m, n in zip(margin, box.shape, strict=True))
    segmentation = np.ascontiguousarray(canvas.segmentation[inner])
    present = np.unique(segmentation)
    ids = present[present > 0].astype(np.int64)
    origins = [canvas.origins[int(i)] for i in ids]
    assert canvas.probability is not None
    return SubvolumeResult(
        box=box,
        segmentation=segmentation,
        probability=np.ascontiguousarray(canvas.probability[inner]),
        object_ids=ids,
        seeds_zyx=np.array([o.seed for o in origins], np.int64).reshape(-1, 3) - margin,
        fovs=np.array([o.steps for o in origins], np.int64),
        counts={**counts, "objects": len(ids)},
        settings=settings,
    )
