"""proofread export: writes the neurons as people left them, for other programs.

  proofread export --config C --kind csv --kind neurons … [--output DIR] [--at EDIT|TIME]
      csv, npz, parquet   the neuron of every supervoxel
      neurons             Precomputed volume with meshes and skeletons, and a table
      swc                 a skeleton for each neuron
      chunkedgraph        numbered supervoxels, edges and components, as CAVE's PyChunkedGraph ingests them
      link                a Neuroglancer link; --neuron selects neurons, --address says where the output
                          directory is served
      decisions           what people decided, for run_agglomeration calibrate --decisions
      comments            what people wrote about tasks

With --at the neurons are those right after an edit, or at a time such as 2026-01-31T09:00. Without --output,
files go to `export` in the output directory. All kinds of one command are of one edit, also while people go
on editing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from commands._entry import caution, no_arguments
from configs import ConfigError, load_config

FLAGS = flags.FlagValues()
_KINDS = ("csv", "npz", "parquet", "neurons", "swc", "chunkedgraph", "link", "decisions", "comments")
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)
_KIND = flags.DEFINE_multi_enum("kind", [], _KINDS, "what to write; may be given again", flag_values=FLAGS)
_OUTPUT = flags.DEFINE_string("output", None, "folder for the files", flag_values=FLAGS)
_ADDRESS = flags.DEFINE_string(
    "address", "http://127.0.0.1:8080", "where the output directory is served, for a link", flag_values=FLAGS
)
_VIEWER = flags.DEFINE_string(
    "viewer", "https://neuroglancer-demo.appspot.com/", "Neuroglancer that a link opens", flag_values=FLAGS
)
_NEURON = flags.DEFINE_multi_string(
    "neuron", [], "ID of a neuron that a link selects; may be given again", flag_values=FLAGS
)
_POINT = flags.DEFINE_string("point", None, "voxel that a link looks at, z,y,x", flag_values=FLAGS)
_AT = flags.DEFINE_string(
    "at",
    "",
    "number of an edit, or a time (UTC), whose neurons are written; else those of now",
    flag_values=FLAGS,
)
_CHUNK = flags.DEFINE_string(
    "chunk", "256,256,256", "voxels of a chunk of a chunkedgraph, z,y,x", flag_values=FLAGS
)


def main(rest: Sequence[str]) -> None:
    """Runs the subcommand; its flags have been read."""
    no_arguments(rest)
    if not _CONFIG.value or not _KIND.value:
        raise flags.Error("export needs --config and at least one --kind; see --help")
    point = None if _POINT.value is None else _three(_POINT.value, "point")
    neurons, chunk = tuple(_id(each) for each in _NEURON.value), _three(_CHUNK.value, "chunk")
    config = load_config(_CONFIG.value, require=("agglomeration",))
    output = Path(_OUTPUT.value) if _OUTPUT.value else Path(config.output_dir) / "export"
    from proofreading.export import ExportOptions, export_project

    options = ExportOptions(_ADDRESS.value, _VIEWER.value, neurons, point, chunk, _AT.value)
    for path in export_project(config, _KIND.value, output, options, tell=caution):
        print(f"written: {path}")


def _three(text: str, flag: str) -> tuple[int, int, int]:
    """Three whole numbers.

    Raises:
      ConfigError: they are not.
    """
    try:
        z, y, x = map(int, text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"--{flag} '{text}' is not three whole numbers z,y,x; write --{flag}=10,200,200"
        ) from error
    return z, y, x


def _id(text: str) -> int:
    """An ID.

    Raises:
      ConfigError: it is none.
    """
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**63:
        raise ConfigError(f"--neuron '{text[:40]}' is no ID; give a whole number from 1 below 2^63")
    return int(text)
