"""Exports of a project: the neurons as people left them, in the forms that are asked for.

| kind | writes |
| --- | --- |
| `csv`, `npz`, `parquet` | the neuron of every supervoxel (`proofreading.export.mapping`) |
| `neurons` | voxels, tables, meshes and skeletons (`proofreading.export.neuron_files`) |
| `swc` | skeletons as SWC files |
| `chunkedgraph` | what CAVE's PyChunkedGraph ingests (`proofreading.export.ingest`) |
| `link` | a Neuroglancer link (`proofreading.export.link`) |
| `decisions` | what people decided, to calibrate with (`proofreading.export.training`) |

All are of the same edit, which `export.json` names. Whatever is written appears whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agglomeration.neuron_volume import NeuronVolume
from configs import ConfigView
from inference.outputs import require_writable
from jobs.lock import only_run_in
from jobs.pieces import atomic_path
from jobs.workers import WorkerSettings, worker_pool
from proofreading.errors import ProofreadingError
from proofreading.export.comments import COMMENTS, write_comments
from proofreading.export.ingest import CHUNK, FOLDER, write_ingest
from proofreading.export.link import (
    ADDRESS,
    VIEWER,
    address_of,
    middle_of,
    supervoxels_by_neuron,
    view,
    write_link,
)
from proofreading.export.mapping import write_mapping_csv, write_mapping_parquet
from proofreading.export.neuron_files import (
    SUPERVOXELS,
    SWC,
    write_neurons,
    write_supervoxels,
    write_swc_files,
)
from proofreading.export.snapshot import Snapshot, supervoxel_table, take_snapshot
from proofreading.export.training import people_decisions
from proofreading.state import ProofreadingState, open_state
from volumes.box import Zyx

KINDS = ("csv", "npz", "parquet", "neurons", "swc", "chunkedgraph", "link", "decisions", "comments")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class ExportOptions:
    """What some kinds want to know.

    Attributes:
      address: where the output directory is served, for links.
      viewer: address of a Neuroglancer, for links.
      neurons: that a link selects; IDs that they had at any time.
      point: voxel (zyx) that a link looks at; None = the middle.
      chunk: voxels of a chunk of a graph (zyx).
      at: the number of an edit, or a time, whose neurons are written; empty = those of now.
    """

    address: str = ADDRESS
    viewer: str = VIEWER
    neurons: tuple[int, ...] = ()
    point: Zyx | None = None
    chunk: Zyx = CHUNK
    at: str = ""


def export_project(
    config: ConfigView,
    kinds: Sequence[str],
    output: Path,
    options: ExportOptions | None = None,
    *,
    tell: Tell = lambda _: None,
) -> list[Path]:
    """Writes the neurons of a project as they are now, or were.

    Args:
      config: of the project, with `agglomeration` and a finished run of it.
      kinds: of `KINDS`.
      output: folder, made where it is missing.
      options: what some kinds want to know; None = the defaults.
      tell: takes a line about anything that is worth knowing.

    Returns:
      What was written, in the order of `KINDS`.

    Raises:
      ReconstructionError: an unknown kind, a project without neurons, or something that cannot be read or
        written.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown or not kinds:
        found = f"'{unknown[0]}' is no kind of export" if unknown else "no kind of export is named"
        raise ProofreadingError(f"{found}; choose from {', '.join(KINDS)}")
    require_writable(output)
    with only_run_in(output):
        state = open_state(config)
        try:
            return export_state(config, state, kinds, output, options or ExportOptions(), tell)
        finally:
            state.close()


def export_state(
    config: ConfigView,
    state: ProofreadingState,
    kinds: Sequence[str],
    output: Path,
    options: ExportOptions,
    tell: Tell = lambda _: None,
) -> list[Path]:
    """Writes the neurons of a state that is open.

    Args:
      config: of the project.
      state: its neurons.
      kinds, output, options, tell: see `export_project`.

    Returns:
      What was written.

    Raises:
      ReconstructionError: see `export_project`.
    """
    if options.at and "decisions" in kinds:
        raise ProofreadingError("decisions are those of now; export them without an earlier edit or time")
    snapshot = take_snapshot(state, Path(config.output_dir), options.at)
    written: list[Path] = []
    if "csv" in kinds:
        write_mapping_csv(output / "mapping.csv", snapshot.neurons)
        written.append(output / "mapping.csv")
    if "npz" in kinds:
        snapshot.neurons.save(output / "mapping.npz")
        written.append(output / "mapping.npz")
    if "parquet" in kinds:
        write_mapping_parquet(output / "mapping.parquet", snapshot.neurons)
        written.append(output / "mapping.parquet")
    volume = None
    if "neurons" in kinds:
        table, run = supervoxel_table(state.database, snapshot), config.run
        with worker_pool(WorkerSettings(run.workers, run.scheduler, run.retries)) as pool:
            volume = write_neurons(config, snapshot, table, output, pool, tell)
        written += [output / "neuron_table.csv", volume.folder]
    elif snapshot.splits and set(kinds) & {"csv", "npz", "parquet", "link"}:
        write_supervoxels(snapshot, output)
        written.append(output / SUPERVOXELS)
    if "swc" in kinds:
        count = write_swc_files(config, snapshot, volume, output)
        tell(f"{count} neurons are large enough for a skeleton")
        written.append(output / SWC)
    if "chunkedgraph" in kinds:
        write_ingest(state.database, snapshot, output / FOLDER, options.chunk)
        written.append(output / FOLDER)
    if "link" in kinds:
        chosen = sorted({each for neuron in options.neurons for each in _then(state, snapshot, neuron)})
        written += write_link(
            output, _view(config, snapshot, volume, output, chosen, options), options.viewer
        )
    if "decisions" in kinds:
        found = people_decisions(state.database, snapshot)
        tell(f"{len(found)} decided pairs, {int(found.truth.sum())} of them one neuron")
        found.save(output / "decisions.npz")
        written.append(output / "decisions.npz")
    if "comments" in kinds:
        tell(f"{write_comments(state.database, output / COMMENTS)} comments")
        written.append(output / COMMENTS)
    _note(output, config, snapshot, kinds)
    return written


def _then(state: ProofreadingState, snapshot: Snapshot, neuron: int) -> tuple[int, ...]:
    """What an ID means in a snapshot: the neuron of then, else those that it is now and that were then."""
    if neuron in snapshot.neurons.neurons:
        return (neuron,)
    return tuple(each for each in state.resolve(neuron) if each in snapshot.neurons.neurons)


def _view(
    config: ConfigView,
    snapshot: Snapshot,
    volume: NeuronVolume | None,
    output: Path,
    chosen: Sequence[int],
    options: ExportOptions,
) -> dict[str, object]:
    """The state of a link's view: neurons where they were written just now, else merged supervoxels."""
    folder, layers = Path(config.output_dir), {}
    if (folder / "image" / "info").is_file():
        layers["image"] = address_of(folder / "image", folder, options.address)
    equivalences = None
    if volume is not None:
        layers["segmentation"] = address_of(volume.folder, folder, options.address)
    else:
        equivalences = supervoxels_by_neuron(snapshot.neurons, chosen)
        source = output / SUPERVOXELS if snapshot.splits else _folder_of(snapshot.labels.spec)
        layers["segmentation"] = address_of(source, folder, options.address)
    bounds = snapshot.labels.bounds
    middle = middle_of(options.point, bounds.shape, bounds.start)
    return view(config.name, layers, snapshot.labels.voxel_size_nm, middle, chosen, equivalences)


def _folder_of(spec: str) -> Path:
    """The folder of supervoxels that lie in a Precomputed volume on this machine.

    Raises:
      ProofreadingError: they lie elsewhere.
    """
    scheme = "precomputed://file://"
    if not spec.startswith(scheme):
        raise ProofreadingError(
            f"a viewer cannot read supervoxels of '{spec}'; export the kind 'neurons' together with the link"
        )
    return Path(spec.removeprefix(scheme).partition("#")[0])


def _note(output: Path, config: ConfigView, snapshot: Snapshot, kinds: Sequence[str]) -> None:
    """Adds to `export.json` which edit each kind is of."""
    path = output / "export.json"
    try:
        noted = dict(json.loads(path.read_text("utf-8")))["kinds"]
    except (OSError, ValueError, KeyError, TypeError):
        noted = {}
    of_edit = {"edit": snapshot.edit, "neurons": snapshot.neurons.digest}
    noted |= {kind: of_edit for kind in kinds}
    with atomic_path(path) as temporary:
        text = json.dumps({"project": config.name, "kinds": noted}, indent=2, sort_keys=True)
        temporary.write_text(text + "\n", "utf-8")
