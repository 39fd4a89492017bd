"""Which of the networks that a training kept is the best: each floods held-out volumes, and skeletons judge.

A network's loss says how well it fills one field of view. How far its segments can be followed shows only
when it floods, so every network segments the held-out boxes of `training.selection`, in a single pass seeded
as inference seeds by default, and is ranked by the expected run length on skeletons of their labels (as a
share of that of a faultless segmentation), then by mergers. Boxes count by their length of path.

A network's figures are a piece in `selection/` of the output directory, named after its weights and all else
they follow from, so that an interrupted selection goes on and later networks are added at their own cost.
Source of the practice: Januszewski et al. 2018 (doi:10.1038/s41592-018-0049-4), checkpoint selection.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from configs import ConfigView
from configs.errors import ConfigError
from evaluation import look_up_nodes, run_lengths, skeletonise
from ffn.backend import make_predictor, resolve_compute_dtype
from ffn.canvas import Canvas, segment_all
from ffn.flood import FloodOptions, FovRequest
from ffn.seeds import peak_seeds
from ffn.training.project import kept_networks
from ffn.training.sources import training_sources
from ffn.weights import NetworkFile, instantiate, load_network, save_network
from inference.executor import run_floods
from inference.identity import array_digest, network_digest
from inference.passes import flood_options
from jobs.lock import only_run_in
from jobs.pieces import atomic_path, load_npz, save_npz
from jobs.progress import Progress
from volumes import Skeleton
from volumes.arrays import ArrayVolume

_AT_ONCE = 8  # boxes flooded side by side
RANKING = "selection.json"
SELECTED = "selected.ffn.h5"

Tell: TypeAlias = Callable[[str], None]


def _silently(line: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Figures:
    """What a network makes of the held-out boxes.

    Attributes:
      nerl: expected run length as a share of a faultless segmentation's.
      erl_nm: the expected run length.
      mergers: of skeletons.
      objects: that were segmented.
      filled: share of voxels that are in one.
      fovs: fields of view it took.
    """

    nerl: float
    erl_nm: float
    mergers: int
    objects: int
    filled: float
    fovs: int


@dataclass(frozen=True)
class Candidate:
    """A network that was kept: its file, fields of view of its training (0: not known), its figures."""

    path: Path
    trained_fovs: int
    figures: Figures


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A box that is segmented.

    Attributes:
      name: in messages.
      raw: grey values (z, y, x).
      mask: bool like raw; True = not segmented.
      skeletons: of the true labels outside the mask, nodes in nm from the corner of the box.
      voxel_size_nm: z, y, x.
    """

    name: str
    raw: np.ndarray
    mask: np.ndarray
    skeletons: dict[int, Skeleton]
    voxel_size_nm: tuple[float, float, float]


def select_checkpoint(config: ConfigView, tell: Tell = _silently) -> list[Candidate]:
    """Ranks the networks that were kept, and copies the best to `selected.ffn.h5` of the output directory.

    Args:
      config: with `training.selection`; networks lie where the training put them. Those of another training,
        which the directory had before, are left out.
      tell: takes a line about those.

    Returns:
      The networks compared, the best first; `selection.json` says the same.

    Raises:
      ReconstructionError: no network was kept, held-out data that cannot be read or have no skeletons, or
        another selection at work.
    """
    training, run_dir = config.training, Path(config.output_dir)
    if training.selection is None:
        raise ConfigError("training.selection is missing; it names the held-out volumes or phantoms")
    kept_of_run = _of_one_run(_kept(run_dir, Path(training.output_weights)), tell)
    found = _spread(kept_of_run, training.selection.most)
    boxes = held_out_boxes(config)
    settings = _settings_text(training.selection, boxes)
    compute_dtype = resolve_compute_dtype(training.compute_dtype)
    ranked = []
    kept = run_dir / "selection"
    kept.mkdir(parents=True, exist_ok=True)
    # A training may go on meanwhile, another selection may not.
    with only_run_in(kept), Progress(len(found), "network", description="selection") as progress:
        for path, network in found:
            piece = kept / f"{_key(network, settings, compute_dtype)}.npz"
            figures = _figures(piece, network, boxes, training.selection, compute_dtype)
            ranked.append(Candidate(path, _trained_fovs(network), figures))
            progress.advance()
        ranked.sort(key=lambda each: (-each.figures.nerl, each.figures.mergers, -each.trained_fovs))
        _write(run_dir, ranked)
    return ranked


def held_out_boxes(config: ConfigView) -> list[HeldOut]:
    """The volumes and phantoms of `training.selection` with skeletons of their labels.

    Raises:
      ReconstructionError: they cannot be read, or have no object that a skeleton can be made of.
    """
    training, section = config.training, config.training.selection
    options = section.skeletonisation.to_dict()
    sources = training_sources(
        section.volumes, section.phantoms, config.preprocessing, Path(config.output_dir)
    )
    boxes = []
    for source in sources:
        found = source.open(training.voxel_size_nm)
        raw, labels = found.raw.read(found.raw.bounds), found.labels.read(found.labels.bounds)
        mask = np.zeros(raw.shape, bool) if found.mask is None else found.mask.read(found.mask.bounds) != 0
        skeletons = skeletonise(np.where(mask, 0, labels), found.raw.voxel_size_nm, **options)
        if not skeletons:
            raise ConfigError(
                f"training.selection: {source.name} has no object with a skeleton; give a larger box or "
                f"lower skeletonisation.min_voxels"
            )
        boxes.append(HeldOut(source.name, raw, mask, skeletons, found.raw.voxel_size_nm))
    return boxes


def measure(
    network: NetworkFile, boxes: Sequence[HeldOut], section: ConfigView, compute_dtype: str
) -> Figures:
    """Floods all boxes with a network.

    Args:
      network: weights and settings.
      boxes: what is segmented.
      section: the message `Selection`: options of the flood, and from what path on a merger counts.
      compute_dtype: float32 or bfloat16.
    """
    options = flood_options(section.options, network.info)
    fovs = 0

    def count(number: int) -> None:
        nonlocal fovs
        fovs += number

    floods = (_judged(network, box, options, section.min_merger_nm) for box in boxes)
    predictor = make_predictor(instantiate(network, compute_dtype))
    size = min(len(boxes), _AT_ONCE)
    rows = list(
        run_floods(floods, predictor, options.fov_zyx, batch_size=size, batches_in_flight=1, on_batch=count)
    )
    length, run, most, mergers, objects, filled, voxels = np.sum(rows, axis=0).tolist()
    return Figures(run / most, run / length, int(mergers), int(objects), filled / voxels, fovs)


def _judged(
    network: NetworkFile, box: HeldOut, options: FloodOptions, min_merger_nm: float
) -> Generator[FovRequest, np.ndarray, list[float]]:
    """Floods a box.

    Returns:
      Path (nm), run length and best run length (times path), mergers, objects, filled voxels, voxels.
    """
    info = network.info
    image = ((box.raw.astype(np.float32) - info.image_mean) / np.float32(info.image_stddev)).astype(
        np.float32
    )
    canvas = Canvas(image, options, movement_mask=box.mask, seed_mask=box.mask, keep_probability=False)
    seeds = peak_seeds(image, options.fov_zyx, voxel_size_nm=box.voxel_size_nm, mask=box.mask)
    yield from segment_all(canvas, seeds)
    segments = ArrayVolume(canvas.segmentation, voxel_size_nm=box.voxel_size_nm)
    runs = run_lengths(box.skeletons, look_up_nodes(segments, box.skeletons), tolerance_nm=min_merger_nm)
    length = float(runs.lengths_nm.sum())
    filled, objects = int(np.count_nonzero(canvas.segmentation)), len(canvas.origins)
    return [length, runs.erl_nm * length, runs.max_erl_nm * length, runs.mergers, objects, filled, image.size]


def _kept(run_dir: Path, newest: Path) -> list[tuple[Path, NetworkFile]]:
    """The networks that were kept, each once, by how long they were trained."""
    paths = [*kept_networks(run_dir), *([newest] if newest.exists() else [])]
    if not paths:
        raise ConfigError(
            f"{run_dir} has no networks to select from; train first, with training.keep_every_steps"
        )
    networks = {network_digest(network): (path, network) for path, network in
                ((path, load_network(path)) for path in reversed(paths))}  # fmt: skip
    return sorted(networks.values(), key=lambda each: _trained_fovs(each[1]))


def _of_one_run(found: list[tuple[Path, NetworkFile]], tell: Tell) -> list[tuple[Path, NetworkFile]]:
    """The networks of the run that wrote the latest of them."""
    _, latest = max(found, key=lambda each: each[0].stat().st_mtime_ns)
    run = latest.info.training.get("run")
    chosen = [each for each in found if each[1].info.training.get("run") == run]
    if len(chosen) < len(found):
        names = ", ".join(path.name for path, network in found if network.info.training.get("run") != run)
        tell(f"of another training than the latest, and left out: {names}")
    return chosen


def _spread(found: list[tuple[Path, NetworkFile]], most: int) -> list[tuple[Path, NetworkFile]]:
    """So many, evenly and the last among them; 0: all."""
    if not most or most >= len(found):
        return found
    step = len(found) / most
    return [found[round((i + 1) * step) - 1] for i in range(most)]


def _trained_fovs(network: NetworkFile) -> int:
    return int(network.info.training.get("figures", {}).get("fovs", 0))


def _figures(
    piece: Path, network: NetworkFile, boxes: Sequence[HeldOut], section: ConfigView, compute_dtype: str
) -> Figures:
    """The figures of a network, read if they are there already."""
    if piece.exists():
        return Figures(**json.loads(str(load_npz(piece)["figures"])))
    figures = measure(network, boxes, section, compute_dtype)
    save_npz(piece, {"figures": np.array(json.dumps(asdict(figures)))})
    return figures


def _settings_text(section: ConfigView, boxes: Sequence[HeldOut]) -> str:
    """Everything but the network that figures follow from: options, and the boxes' contents."""
    parts = [section.options.to_text(), section.skeletonisation.to_text(), str(section.min_merger_nm)]
    for box in boxes:
        arrays = [box.raw, box.mask]
        for skeleton in box.skeletons.values():
            arrays += [skeleton.nodes_nm, skeleton.edges]
        parts.append(" ".join([str(box.voxel_size_nm), *map(array_digest, arrays)]))
    return "\n".join(parts)


def _key(network: NetworkFile, settings: str, compute_dtype: str) -> str:
    info = {key: value for key, value in network.info.to_dict().items() if key not in ("training", "licence")}
    text = json.dumps([network_digest(network), info, settings, compute_dtype])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _write(run_dir: Path, ranked: Sequence[Candidate]) -> None:
    """The ranking, and a copy of the best network that says how it was chosen."""
    rows = [
        {"network": each.path.name, "trained_fovs": each.trained_fovs, **asdict(each.figures)}
        for each in ranked
    ]
    with atomic_path(run_dir / RANKING) as temporary:
        temporary.write_text(json.dumps({"ranking": rows}, indent=2) + "\n")
    best = load_network(ranked[0].path)
    chosen: dict[str, Any] = {"among": len(ranked), **rows[0]}
    info = replace(best.info, training={**best.info.training, "selected": chosen})
    save_network(run_dir / SELECTED, NetworkFile(info, best.weights))
