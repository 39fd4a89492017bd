"""ffn_demo: makes a phantom, segments it with the shipped network, and says what to look at.

The same as `run_inference --config demo`, with an introduction; everything lands in out/demo.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from commands._entry import caution, load_keras_quietly, no_arguments, run_command
from configs import load_config

FLAGS = flags.FlagValues()
_OUTPUT = flags.DEFINE_string("output_dir", None, "where results go instead of out/demo", flag_values=FLAGS)


def run(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return run_command(FLAGS, __doc__ or "", _main, arguments)


def _main(rest: Sequence[str]) -> None:
    no_arguments(rest)
    config = load_config("demo", require=("network", "inference", "phantom"))
    if _OUTPUT.value:
        config = config.replace(output_dir=_OUTPUT.value)
    z, y, x = config.phantom.shape
    print(
        f"making a phantom of {z} x {y} x {x} voxels and segmenting it; 2 to 5 minutes on two cores",
        flush=True,
    )
    load_keras_quietly()
    from commands._tables import stage_line, stage_table
    from inference.project import run_project
    from inference.stage_reports import StageReport

    finished: list[StageReport] = []
    inputs = run_project(config, finished.append, caution)
    output = Path(config.output_dir)
    print("\n".join(stage_line(each) for each in finished))
    background = config.evaluation.background if config.evaluation else "one_object"
    print(stage_table(finished, inputs.box, background))
    print(
        f"""
look at next:
  {output / "slices.png"}     three slices: image, and the objects found in it
  {output / "metrics.json"}   the figures above
  {output / "supervoxels"}    Neuroglancer Precomputed segmentation, the image beside it in {output / "image"}
  {output / "config.textproto"}  every setting of this run; change a copy and: run_inference --config COPY"""
    )
