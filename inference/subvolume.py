"""Segments one subvolume with one network in one pass: image in, objects out.

This is where the parts meet: the image is read with its context and normalised (`inference.context`),
seeds are found in it (`ffn.seeds`), and objects flooded one after the other (`ffn.canvas`) while the
network answers (`inference.executor`). Coordinates are zyx voxels of the whole volume.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

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
from jobs.pieces import load_npz, save_npz
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
    """Everything a result of `segment_subvolume` follows from, as plain values (settings resolved).

    The voxels themselves count, not only where they lie: an image that was replaced is another image.
    """
    voxels = hashlib.blake2b(image.read(box).tobytes(), digest_size=8).hexdigest()
    return {
        "image": image.spec,
        "image_digest": voxels,
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
    *,
    batch_size: int = 1,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
) -> SubvolumeResult:
    """Segments one box of an image.

    Args:
      image: the whole image.
      box: what to segment, inside the image's bounds.
      network: weights and architecture.
      settings: of the pass.
      progress: counts segmented voxels and shows fields of view per second.
      batch_size: most fields of view in one call of the network. The flood of one subvolume takes one at a
        time, and the result does not depend on it.
      checkpoint: file that an unfinished run is kept in and continued from; removed in the end. None = not.
      checkpoint_seconds: time between two checkpoints.

    Returns:
      The objects in the box.

    Raises:
      VolumeError: the box is empty, leaves the image or is smaller than the field of view, or the image has
        NaN voxels.
    """
    require_segmentable(image, box, network, settings)
    settings = settings.resolved()
    seen = _read_normalised(image, box, settings)
    seeds = peak_seeds(seen, settings.options.fov_zyx, voxel_size_nm=settings.seed_voxel_size_nm)
    canvas = Canvas(seen, settings.options)
    made_from = describe(image, box, network, settings)
    inner = tuple(slice(m, m + n) for m, n in zip(settings.margin_zyx, box.shape, strict=True))
    watch = _Watch(canvas, inner, progress)
    keeper = _Keeper(checkpoint, checkpoint_seconds, made_from, watch)
    keeper.restore()
    task = segment_all(canvas, seeds[::-1] if settings.reversed_seeds else seeds)
    predictor = make_predictor(instantiate(network, settings.compute_dtype))

    def on_batch(fovs: int) -> None:
        watch.count(fovs)
        keeper.keep()

    list(run_floods([task], predictor, settings.options.fov_zyx, batch_size=batch_size, on_batch=on_batch))
    watch.look()
    result = _result(canvas, box, inner, {"seeds": len(seeds), **watch.counts()}, made_from)
    keeper.discard()
    return result


def _read_normalised(image: Volume, box: Box, settings: PassSettings) -> np.ndarray:
    """The box with its margin as the network sees it, float32 (z, y, x)."""
    grey = read_with_margin(image, box, settings.margin_zyx)
    return normalise(grey, settings.image_mean, settings.image_stddev, image.spec)


class _Watch:
    """Counts the fields of view of a canvas and shows how far the box in it is."""

    def __init__(self, canvas: Canvas, inner: tuple[slice, ...], progress: Progress | None) -> None:
        self.canvas, self.fovs, self.seconds_before = canvas, 0, 0.0
        self._inner, self._progress = inner, progress
        self._started = self._last = time.monotonic()

    def count(self, fovs: int) -> None:
        """Notes that a batch of fields of view was seen."""
        self.fovs += fovs
        if self._progress is not None and time.monotonic() - self._last > _LOOK_EVERY_S:
            self.look()

    def counts(self) -> dict[str, float]:
        """Fields of view and seconds so far, those of earlier starts included."""
        return {
            "fovs": self.fovs,
            "seconds": round(self.seconds_before + time.monotonic() - self._started, 3),
        }

    def look(self) -> None:
        """Shows the voxels filled by now."""
        self._last = time.monotonic()
        if self._progress is None:
            return
        filled = int(np.count_nonzero(self.canvas.segmentation[self._inner] > 0))
        self._progress.advance(filled - self._progress.done)
        rate = self.fovs / max(self.counts()["seconds"], 1e-9)
        self._progress.note(fov_per_s=f"{rate:.0f}", objects=len(self.canvas.origins))


class _Keeper:
    """Stores an unfinished canvas every so often, and takes it up again."""

    def __init__(
        self, path: Path | None, seconds: float, made_from: dict[str, object], watch: _Watch
    ) -> None:
        self._path, self._seconds, self._watch = path, seconds, watch
        self._made_from = json.dumps(made_from, sort_keys=True)
        self._last = time.monotonic()

    def restore(self) -> None:
        """Continues what is stored, if the same settings made it; other leftovers are ignored."""
        if self._path is None or not self._path.exists():
            return
        arrays = load_npz(self._path)
        if str(arrays.pop("made_from")) == self._made_from:
            self._watch.fovs = int(arrays.pop("fovs"))
            self._watch.seconds_before = float(arrays.pop("seconds"))
            self._watch.canvas.restore(arrays)

    def keep(self) -> None:
        """Stores the canvas when it is time."""
        if self._path is None or time.monotonic() - self._last < self._seconds:
            return
        counts = {name: np.array(value) for name, value in self._watch.counts().items()}
        snapshot = self._watch.canvas.snapshot()
        save_npz(self._path, {"made_from": np.array(self._made_from), **counts, **snapshot}, compress=False)
        self._last = time.monotonic()

    def discard(self) -> None:
        """Removes what is stored; the result is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _result(
    canvas: Canvas, box: Box, inner: tuple[slice, ...], counts: dict[str, float], settings: dict[str, object]
) -> SubvolumeResult:
    """The part of a canvas inside the box; objects that lie wholly in the margin are left out."""
    segmentation = np.ascontiguousarray(canvas.segmentation[inner])
    present = np.unique(segmentation)
    ids = present[present > 0].astype(np.int64)
    origins = [canvas.origins[int(i)] for i in ids]
    assert canvas.probability is not None
    margin = [part.start for part in inner]
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
