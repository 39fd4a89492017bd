"""Neurons as voxels: a Precomputed volume with a pyramid, written block by block from the supervoxels.

Workers read a block of supervoxels, look up its neurons and write it; coarser scales follow, scale by scale.
The folder is filled under an unfinished name and then takes its place; a run that was interrupted goes on
filling it. What it holds is noted beside it (`.neurons.json`), and a digest of every block is kept, so that
a rerun with the same map writes only blocks that were damaged since.

| file | holds |
| --- | --- |
| `<folder>/` | the volume, uint64; in it `mesh` (`agglomeration.meshes`) and `skeletons` |
| `<kept>/blocks/`, `<kept>/scales/` | digests of written blocks |
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agglomeration.errors import AgglomerationError
from agglomeration.neurons import NeuronMap
from inference.finished_blocks import flaw_of
from inference.flooding import PieceReport
from inference.identity import array_digest, settings_digest
from inference.label_stages import kept_piece
from inference.outputs import put_in_place, unfinished
from inference.supervoxels import fill_block
from jobs.dispatch import Piece
from jobs.pieces import atomic_path
from jobs.run_progress import RunProgress
from jobs.workers import Pool
from volumes import Box, open_volume
from volumes.pyramid import create_pyramid, scale_blocks

# The stage of a run's progress that all of it belongs to.
STAGE = "neurons"
_EDGE_CHUNKS = 2


class NeuronVolume(NamedTuple):
    """A volume of neurons in its place.

    Attributes:
      folder: of the Precomputed volume.
      kept: what pieces of work keep.
      made_from: names the voxels: the map, the supervoxels, the scales.
    """

    folder: Path
    kept: Path
    made_from: str

    @property
    def spec(self) -> str:
        """How the finest scale is opened."""
        return _spec(self.folder)


def write_neuron_volume(
    source: str,
    map_path: Path,
    folder: Path,
    kept: Path,
    *,
    made_from: Mapping[str, object],
    pool: Pool,
    progress: RunProgress | None = None,
    scales: int = 0,
) -> NeuronVolume:
    """Writes the neurons of all supervoxels, unless they are there.

    Args:
      source: SPEC of the supervoxels.
      map_path: of the `NeuronMap`, for the workers.
      folder: the volume to make or to replace.
      kept: folder for what pieces keep.
      made_from: plain values that the supervoxels follow from.
      pool: where the pieces run.
      progress: of a run that planned `STAGE`; counts blocks of all scales.
      scales: how many; 0: as many as until one chunk holds everything.

    Raises:
      AgglomerationError: a supervoxel that is not in the map.
      VolumeError: the supervoxels cannot be read, or the volume not be written.
    """
    digest = NeuronMap.load(map_path).digest
    identity = settings_digest({"supervoxels": dict(made_from), "map": digest, "scales": scales})
    volume = NeuronVolume(folder.resolve(), kept, identity)
    target = _target(volume, source, scales)
    spec = _spec(target)
    todo = [_block_pieces(volume, source, spec, map_path, digest), *_scale_pieces(volume, spec, target)]
    if progress is not None:
        count = sum(map(len, todo))
        progress.begin(STAGE, units=count, pieces=count)
    for scale, pieces in enumerate(todo):
        for report in pool.map(fill_block if scale else relabel_block, pieces, progress=progress):
            if report.note and progress is not None:
                progress.write(f"note: {report.note}")
    if target != volume.folder:
        put_in_place(volume.folder)
        _write_note(_note(volume.folder), identity)
        _note(target).unlink(missing_ok=True)
    return volume


def relabel_block(
    path: Path, made_from: str, source: str, target: str, map_path: Path, digest: str, box: Box
) -> PieceReport:
    """The neurons of one block; a piece of work.

    Args:
      path: keeps a digest of its voxels.
      made_from: names what all voxels follow from.
      source: SPEC of the supervoxels.
      target: SPEC of the neurons.
      map_path: of the `NeuronMap`.
      digest: of it.
      box: absolute, whole chunks of the target.

    Raises:
      AgglomerationError: another map lies there, or one that lacks a supervoxel.
    """

    def write() -> dict[str, np.ndarray]:
        with open_volume(source) as supervoxels, open_volume(target, mode="r+") as neurons:
            voxels = _map_for(map_path, digest).relabelled(supervoxels.read(box))
            neurons.write(box, voxels)
        return {"digest": np.array(array_digest(voxels))}

    return kept_piece(path, made_from, write, lambda arrays: flaw_of(target, box, str(arrays["digest"])))


def name_in_info(folder: Path, key: str, name: str | None) -> None:
    """Writes into a volume's `info` where its meshes or skeletons lie, so that viewers find them.

    Args:
      folder: of the Precomputed volume.
      key: "mesh" or "skeletons".
      name: of the folder in it; None = there is none.
    """
    info = json.loads((folder / "info").read_text("utf-8"))
    if info.get(key) != name:
        changed = {**info, key: name}
        with atomic_path(folder / "info") as temporary:
            text = json.dumps({k: v for k, v in changed.items() if v is not None}, indent=2)
            temporary.write_text(text, "utf-8")


@lru_cache(maxsize=1)
def _map_for(path: Path, digest: str) -> NeuronMap:
    """The map, loaded once in a worker; another digest is another entry."""
    found = NeuronMap.load(path)
    if found.digest != digest:
        raise AgglomerationError(f"'{path}' changed while neurons were written; run the same command again")
    return found


def _target(volume: NeuronVolume, source: str, scales: int) -> Path:
    """The folder to fill: the one in place if it holds these neurons, one that was begun, or a new one."""
    folder, begun = volume.folder, unfinished(volume.folder)
    if _holds(folder, volume.made_from):
        return folder
    _note(folder).unlink(missing_ok=True)
    if not _holds(begun, volume.made_from):
        for finished in ("blocks", "scales"):
            shutil.rmtree(volume.kept / finished, ignore_errors=True)
        shutil.rmtree(begun, ignore_errors=True)
        with open_volume(source) as supervoxels:
            bounds, size_nm = supervoxels.bounds, supervoxels.voxel_size_nm
        for each in create_pyramid(
            _spec(begun), bounds=bounds, dtype=np.uint64, voxel_size_nm=size_nm, scales=scales, overwrite=True
        ):
            each.close()
        _write_note(_note(begun), volume.made_from)
    return begun


def _block_pieces(volume: NeuronVolume, source: str, spec: str, map_path: Path, digest: str) -> list[Piece]:
    with open_volume(spec, mode="r+") as finest:
        blocks = scale_blocks(finest, _EDGE_CHUNKS)
    return [
        Piece(
            f"neurons, {block}",
            (_kept(volume, "blocks", block), volume.made_from, source, spec, map_path, digest, block),
        )
        for block in blocks
    ]


def _scale_pieces(volume: NeuronVolume, spec: str, target: Path) -> list[list[Piece]]:
    """What fills the coarser scales, scale by scale."""
    found = []
    for scale in range(1, len(json.loads((target / "info").read_text("utf-8"))["scales"])):
        with open_volume(f"{spec}#{scale}", mode="r+") as coarse:
            blocks = scale_blocks(coarse, _EDGE_CHUNKS)
        found.append(
            [
                Piece(
                    f"neurons scale {scale}, {block}",
                    (
                        _kept(volume, f"scales/{scale}", block),
                        volume.made_from,
                        spec,
                        scale,
                        block,
                        True,
                    ),
                )
                for block in blocks
            ]
        )
    return found


def _kept(volume: NeuronVolume, kind: str, block: Box) -> Path:
    z, y, x = block.start
    return volume.kept / kind / f"{x}_{y}_{z}.npz"


def _spec(folder: Path) -> str:
    return f"precomputed://file://{folder.resolve()}"


def _note(folder: Path) -> Path:
    return folder.with_name(f".{folder.name.removeprefix('.')}.json")


def _write_note(path: Path, made_from: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"made_from": made_from}) + "\n", "utf-8")


def _holds(folder: Path, made_from: str) -> bool:
    """Whether a note names these neurons and the folder is there."""
    try:
        noted = json.loads(_note(folder).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return noted == {"made_from": made_from} and (folder / "info").exists()
