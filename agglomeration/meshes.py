"""Meshes of neurons, beside their voxels where Neuroglancer looks for them.

Marching cubes run block by block over the volume, so that memory is that of a block and time linear in the
voxels, however far a neuron reaches. Each block gives one fragment of the surface for each neuron in it; a
neuron's manifest lists its fragments. Neighbouring blocks share a layer of voxels and simplification leaves
the rim of a fragment where it is, so that the fragments of a neuron are one closed surface, which also ends
at the faces of the volume.

The format is Neuroglancer's single-resolution one ("neuroglancer_legacy_mesh"): zmesh makes meshes, not
levels of detail, and cloud-volume reads those but does not write them. Vertices are float32 x, y, z in nm of
the volume's absolute coordinates; voxel i spans i to i + 1 voxel sizes.
Sources: W. Silversmith et al., zmesh, https://github.com/seung-lab/zmesh;
https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/meshes.md

zmesh is under the LGPL (3.0 or later), hence no requirement of this package but its extra `meshes`.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from agglomeration.errors import AgglomerationError
from agglomeration.neuron_volume import NeuronVolume, name_in_info
from agglomeration.neurons import NeuronTable
from inference.flooding import PieceReport
from inference.identity import settings_digest
from inference.label_stages import kept_piece
from inference.outputs import put_in_place, unfinished
from inference.written import write_unless_there
from jobs.dispatch import Piece
from jobs.pieces import atomic_path, load_npz
from jobs.run_progress import RunProgress
from jobs.workers import Pool
from volumes import Box, Volume, open_volume
from volumes.pyramid import scale_blocks

# The stage of a run's progress.
STAGE = "meshes"
FOLDER = "mesh"
KIND = "neuroglancer_legacy_mesh"
_EDGE_CHUNKS = 4


@dataclass(frozen=True)
class MeshSettings:
    """How meshes are made.

    Attributes:
      scale: of the pyramid, 0 = the finest.
      reduction: triangles are made this many times fewer, as far as `max_error_nm` lets them.
      max_error_nm: how far a vertex may move; None = the shortest edge of a voxel.
      min_voxels: smaller neurons, in voxels of the finest scale, get none.

    Raises:
      AgglomerationError: one of them is out of range.
    """

    scale: int = 0
    reduction: int = 100
    max_error_nm: float | None = None
    min_voxels: int = 1000

    def __post_init__(self) -> None:
        too_small = self.max_error_nm is not None and not self.max_error_nm > 0
        if self.scale < 0 or self.reduction < 0 or too_small or self.min_voxels < 1:
            raise AgglomerationError(
                f"{self} is out of range; give scale and reduction of at least 0, a max_error_nm above 0 and "
                "min_voxels of at least 1"
            )


def write_meshes(
    volume: NeuronVolume,
    table_path: Path,
    settings: MeshSettings | None = None,
    *,
    pool: Pool,
    progress: RunProgress | None = None,
) -> bool:
    """Writes the meshes of all neurons that are large enough, unless they are there.

    Args:
      volume: the neurons.
      table_path: of their `NeuronTable`, for the workers.
      settings: how; None = the defaults.
      pool: where the pieces run.
      progress: of a run that planned `STAGE`; counts blocks.

    Returns:
      Whether it wrote them.

    Raises:
      AgglomerationError: zmesh is not installed.
      VolumeError: the neurons cannot be read, or there is no such scale.
    """
    _zmesh()
    settings = MeshSettings() if settings is None else settings
    made_from = {"neurons": volume.made_from, "settings": asdict(settings)}

    def write() -> None:
        pieces = _pieces(volume, table_path, settings, _begin(volume, settings_digest(made_from)))
        if progress is not None:
            progress.begin(STAGE, units=len(pieces), pieces=len(pieces))
        for report in pool.map(mesh_block, pieces, progress=progress):
            if report.note and progress is not None:
                progress.write(f"note: {report.note}")
        folder = unfinished(volume.folder / FOLDER)
        _write_manifests(folder, [piece.arguments[0] for piece in pieces])
        put_in_place(volume.folder / FOLDER)
        name_in_info(volume.folder, "mesh", FOLDER)

    return write_unless_there(volume.folder.parent, [f"{volume.folder.name}/{FOLDER}"], made_from, write)


def mesh_block(
    path: Path, made_from: str, spec: str, table_path: Path, settings: MeshSettings, folder: Path, box: Box
) -> PieceReport:
    """The fragments of all neurons in one block; a piece of work.

    Args:
      path: keeps the IDs and names of the fragments.
      made_from: names what they follow from.
      spec: of the scale of the neurons that is meshed.
      table_path: of the `NeuronTable`.
      settings: how.
      folder: where the fragments go.
      box: absolute, voxels of that scale.
    """

    def write() -> dict[str, np.ndarray]:
        wanted = _large_enough(table_path, made_from, settings.min_voxels)
        with open_volume(spec) as volume:
            found = fragments(volume, box, wanted, settings.reduction, settings.max_error_nm)
        names = {number: f"{number}:0:{_named(box)}" for number in found}
        for number, (vertices, faces) in found.items():
            (folder / names[number]).write_bytes(encoded(vertices, faces))
        return {"ids": np.array([*found], np.uint64), "names": np.array([*names.values()], np.str_)}

    def flaw(arrays: dict[str, np.ndarray]) -> str:
        gone = [name for name in arrays["names"].tolist() if not (folder / name).is_file()]
        return f"mesh fragment '{gone[0]}' is missing; it is made again" if gone else ""

    return kept_piece(path, made_from, write, flaw)


def fragments(
    volume: Volume,
    box: Box,
    wanted: np.ndarray | None = None,
    reduction: int = 100,
    max_error_nm: float | None = None,
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """The surfaces of objects in one block, which join those of neighbouring blocks.

    Args:
      volume: unsigned labels, 0 = none.
      box: absolute, inside the volume; the surface between its voxels and one layer beyond belongs to it.
      wanted: (n,) uint64, ascending, objects to mesh; None = all.
      reduction: see `MeshSettings`.
      max_error_nm: see `MeshSettings`.

    Returns:
      By ID, ascending: vertices (v, 3) float32, x, y, z in nm, and triangles (t, 3) uint32, whose front is
      outside.

    Raises:
      AgglomerationError: zmesh is not installed.
      VolumeError: the labels cannot be read.
    """
    size_nm = volume.voxel_size_nm
    labels, start = _with_rim(volume, box, wanted)
    error_nm = min(size_nm) if max_error_nm is None else max_error_nm
    mesher = _zmesh().Mesher(size_nm[::-1])
    # The format's axes are x, y, z.
    mesher.mesh(labels.T)
    origin_nm = np.array(start[::-1]) * size_nm[::-1]
    found = {}
    for number in sorted(mesher.ids()):
        mesh = mesher.get(number, reduction_factor=reduction, max_error=error_nm, voxel_centered=True)
        mesher.erase(number)
        if len(mesh.faces):
            vertices = (mesh.vertices.astype(np.float64) + origin_nm).astype(np.float32)
            found[int(number)] = vertices, mesh.faces.astype(np.uint32)
    return found


def encoded(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    """A fragment as its file holds it: number of vertices, positions, indices of triangles, little-endian.

    Args:
      vertices: (v, 3) float32, x, y, z in nm.
      faces: (t, 3) uint32.
    """
    count = np.array([len(vertices)], "<u4")
    return b"".join([count.tobytes(), vertices.astype("<f4").tobytes(), faces.astype("<u4").tobytes()])


def _with_rim(volume: Volume, box: Box, wanted: np.ndarray | None) -> tuple[np.ndarray, tuple[int, ...]]:
    """The labels of a box with one layer beyond, empty ones around the volume; and where they start."""
    beyond = Box(box.start, tuple(n + 1 for n in box.stop)).intersect(volume.bounds)  # type: ignore[arg-type]
    labels = volume.read(beyond)
    if wanted is not None:
        import fastremap

        present = fastremap.unique(labels).astype(np.uint64)
        labels = fastremap.mask_except(labels, np.intersect1d(present, wanted).tolist(), in_place=True)
    before = [int(low == first) for low, first in zip(box.start, volume.bounds.start, strict=True)]
    after = [int(high == last) for high, last in zip(box.stop, volume.bounds.stop, strict=True)]
    padded = np.pad(labels, list(zip(before, after, strict=True)))
    return padded, tuple(low - pad for low, pad in zip(box.start, before, strict=True))


def _pieces(volume: NeuronVolume, table_path: Path, settings: MeshSettings, made_from: str) -> list[Piece]:
    spec, folder = f"{volume.spec}#{settings.scale}", unfinished(volume.folder / FOLDER)
    with open_volume(spec) as neurons:
        blocks = scale_blocks(neurons, _EDGE_CHUNKS)
    return [
        Piece(
            f"meshes, {block}",
            (_kept(volume, block), made_from, spec, table_path, settings, folder, block),
        )
        for block in blocks
    ]


def _begin(volume: NeuronVolume, made_from: str) -> str:
    """Makes the folder to fill, unless one was begun that is to hold the same."""
    folder = unfinished(volume.folder / FOLDER)
    info = {"@type": KIND, "made_from": made_from}
    try:
        begun = json.loads((folder / "info").read_text("utf-8")) == info
    except (OSError, ValueError):
        begun = False
    if not begun:
        shutil.rmtree(volume.kept / "meshes", ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        with atomic_path(folder / "info") as temporary:
            temporary.write_text(json.dumps(info), "utf-8")
    return made_from


def _write_manifests(folder: Path, kept: list[Path]) -> None:
    """One file for each neuron that names its fragments."""
    pieces = [load_npz(path, ["ids", "names"]) for path in kept]
    ids = np.concatenate([np.zeros(0, np.uint64), *(each["ids"] for each in pieces)])
    names = [name for each in pieces for name in each["names"].tolist()]
    order = np.argsort(ids, kind="stable")
    bounds = np.flatnonzero(np.diff(ids[order], prepend=np.uint64(0)))
    for rows in np.split(order, bounds[bounds > 0]):
        if rows.size:
            text = json.dumps({"fragments": [names[row] for row in rows]})
            (folder / f"{ids[rows[0]]}:0").write_text(text, "utf-8")


@lru_cache(maxsize=1)
def _large_enough(table_path: Path, made_from: str, min_voxels: int) -> np.ndarray:
    """IDs of neurons that get a mesh; what they follow from is another entry of the cache."""
    table = NeuronTable.load(table_path)
    return table.ids[table.voxels >= min_voxels]


def _kept(volume: NeuronVolume, block: Box) -> Path:
    z, y, x = block.start
    return volume.kept / "meshes" / f"{x}_{y}_{z}.npz"


def _named(box: Box) -> str:
    """A block in the names of its fragments, x, y, z."""
    ends = zip(box.start[::-1], box.stop[::-1], strict=True)
    return "_".join(f"{low}-{high}" for low, high in ends)


def _zmesh() -> ModuleType:
    try:
        return import_module("zmesh")
    except ImportError as error:
        raise AgglomerationError(
            "meshes need zmesh, which is not installed; run pip install 'ffn-reconstruction[meshes]', or "
            "turn neurons.meshes off"
        ) from error
