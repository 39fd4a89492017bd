"""Edited neurons as files: voxels, tables, meshes and skeletons, and skeletons as SWC.

| file | holds |
| --- | --- |
| `neurons/` | Precomputed volume, uint64; in it `mesh` and `skeletons` |
| `neuron_table.csv` | size and place of every neuron |
| `supervoxels/` | Precomputed volume of the supervoxels, where people split some |
| `swc/<neuron>.swc` | skeletons, nm |

Everything appears whole; what lies there and follows from the same neurons is left alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from agglomeration.meshes import write_meshes
from agglomeration.neuron_skeletons import write_neuron_skeletons
from agglomeration.neuron_stages import NeuronStage
from agglomeration.neuron_volume import NeuronVolume, write_neuron_volume
from agglomeration.neurons import neuron_table
from configs import ConfigView
from evaluation.teasar import skeletonise_volume
from inference.outputs import put_in_place, unfinished
from inference.supervoxel_table import SupervoxelTable
from inference.written import write_unless_there
from jobs.workers import Pool
from proofreading.export.snapshot import Snapshot
from volumes import Skeleton, read_skeletons
from volumes.pyramid import create_pyramid, scale_blocks
from volumes.swc import swc_text

NEURONS, SUPERVOXELS, SWC = "neurons", "supervoxels", "swc"
_KEPT = ".export"
_EDGE_CHUNKS = 4
Tell = Callable[[str], None]


def write_neurons(
    config: ConfigView, snapshot: Snapshot, table: SupervoxelTable, output: Path, pool: Pool, tell: Tell
) -> NeuronVolume:
    """Writes the neurons as a volume with meshes and skeletons, and as a table.

    Args:
      config: of the project, with `agglomeration`.
      snapshot: what is written.
      table: of its supervoxels.
      output: folder.
      pool: where pieces of work run.
      tell: takes a line about meshes or skeletons that there are none of.

    Raises:
      ReconstructionError: supervoxels that cannot be read, or files that cannot be written.
    """
    kept = output / _KEPT
    snapshot.neurons.save(kept / "map.npz")
    rows = neuron_table(table, snapshot.neurons)
    rows.save(kept / "table.npz")
    rows.write_csv(output / "neuron_table.csv", snapshot.labels.voxel_size_nm)
    volume = write_neuron_volume(
        write_supervoxels(snapshot, output),
        kept / "map.npz",
        output / NEURONS,
        kept / NEURONS,
        made_from={"supervoxels": snapshot.identity},
        pool=pool,
        scales=config.outputs.scales,
    )
    if find_spec("zmesh") is None:
        tell("no meshes without zmesh; run pip install 'ffn-reconstruction[meshes]' and export again")
    else:
        write_meshes(volume, kept / "table.npz", pool=pool)
    if find_spec("kimimaro") is None:
        tell(
            "no skeletons without kimimaro; run pip install 'ffn-reconstruction[skeletons]' and export again"
        )
    elif not write_neuron_skeletons(volume, config.agglomeration.neurons.skeletonisation):
        tell("every neuron is smaller than neurons.skeletonisation.min_voxels; no skeletons")
    return volume


def write_supervoxels(snapshot: Snapshot, output: Path) -> str:
    """Writes the supervoxels where people split some.

    Args:
      snapshot: whose supervoxels.
      output: folder.

    Returns:
      SPEC of the supervoxels of the snapshot: as they are, or as they were written.

    Raises:
      ReconstructionError: supervoxels that cannot be read, or files that cannot be written.
    """
    folder = output / SUPERVOXELS
    spec = f"precomputed://file://{folder.resolve()}"
    if not snapshot.splits:
        return snapshot.labels.spec

    def write() -> None:
        begun = unfinished(folder)
        shutil.rmtree(begun, ignore_errors=True)
        source = snapshot.volume
        (target,) = create_pyramid(
            f"precomputed://file://{begun.resolve()}",
            bounds=source.bounds,
            dtype=np.uint64,
            voxel_size_nm=source.voxel_size_nm,
            scales=1,
        )
        with target:
            for block in scale_blocks(target, _EDGE_CHUNKS):
                target.write(block, source.read(block))
        put_in_place(folder)

    write_unless_there(output, [SUPERVOXELS], {"supervoxels": snapshot.identity}, write)
    return spec


def write_swc_files(config: ConfigView, snapshot: Snapshot, volume: NeuronVolume | None, output: Path) -> int:
    """Writes the skeleton of every neuron that is large enough as an SWC file.

    Args:
      config: of the project, with `agglomeration`.
      snapshot: what is written.
      volume: the neurons where they were written, whose skeletons are taken; None = they are made here.
      output: folder.

    Returns:
      How many files there are.

    Raises:
      ReconstructionError: kimimaro is not installed, neurons that cannot be read, or files that cannot be
        written.
    """
    section = config.agglomeration.neurons.skeletonisation

    def write() -> None:
        put_skeletons(output / SWC, _skeletons_of(section, snapshot, volume))

    made_from = {
        "supervoxels": snapshot.identity,
        "map": snapshot.neurons.digest,
        "section": section.to_text(),
    }
    write_unless_there(output, [SWC], made_from, write)
    return sum(1 for _ in (output / SWC).glob("*.swc"))


def put_skeletons(folder: Path, skeletons: Mapping[int, Skeleton]) -> None:
    """Fills a folder with SWC files, which takes its place as a whole.

    Args:
      folder: to make or to replace.
      skeletons: by neuron.
    """
    begun = unfinished(folder)
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir(parents=True)
    for neuron, skeleton in skeletons.items():
        (begun / f"{neuron}.swc").write_text(swc_text(skeleton), encoding="utf-8")
    put_in_place(folder)


def _skeletons_of(
    section: ConfigView, snapshot: Snapshot, volume: NeuronVolume | None
) -> Mapping[int, Skeleton]:
    if volume is not None and (volume.folder / "skeletons" / "info").is_file():
        return read_skeletons(f"precomputed://file://{volume.folder / 'skeletons'}")
    with NeuronStage(snapshot.volume, snapshot.neurons, "edited") as neurons:
        return skeletonise_volume(
            neurons, scale=section.scale, const_nm=section.const_nm, min_voxels=section.min_voxels
        )
