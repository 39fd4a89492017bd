"""run_agglomeration: decides which supervoxels belong together, and writes the neurons.

  run_agglomeration --config C [--workers N | --scheduler tcp://host:8786]
      floods pairs of supervoxels again where they come closest, scores them, merges those that pass, from the
      most certain down and never two cell bodies; C is a path or a shipped name (demo, fib25)
  run_agglomeration calibrate --config C1 --config C2 … --output FILE.json [--plot FILE.png]
      makes a probability of the scores, from projects with ground truth
  run_agglomeration explain --config C --pair A,B
  run_agglomeration explain --config C --neuron N
      tells why two supervoxels are one neuron or are not, or what a neuron is made of
  run_agglomeration --resegmentation_request "$(cat request.pbtxt)"
      runs a google/ffn request as it is; results lie where google/ffn puts them

It starts from supervoxels that run_inference made, or from those named in `agglomeration.supervoxels`. The
same command goes on with a run that was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from commands._entry import RunFlags, caution, load_keras_quietly, no_arguments, run_command
from configs import load_config

FLAGS = flags.FlagValues()
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)
_REQUEST = flags.DEFINE_string(
    "resegmentation_request",
    None,
    "a google/ffn ResegmentationRequest, as text or as a file",
    flag_values=FLAGS,
)
_RUN = RunFlags(FLAGS, "overrides the config; a request runs in float32 unless this says otherwise")
_SUBCOMMANDS = {"calibrate": "commands._calibrate", "explain": "commands._explain"}


def run(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return run_command(FLAGS, __doc__ or "", _main, arguments, _SUBCOMMANDS)


def _main(rest: Sequence[str]) -> None:
    no_arguments(rest)
    if bool(_CONFIG.value) == bool(_REQUEST.value):
        raise flags.Error("give either --config or --resegmentation_request; see --help")
    if _REQUEST.value:
        _run_request()
    else:
        _run_config()


def _run_config() -> None:
    config = load_config(_CONFIG.value, require=("agglomeration", "raw|phantom"))
    config = _RUN.over(config if config.inference is not None else config.replace(inference={}))
    load_keras_quietly()
    from agglomeration.project import run_agglomeration
    from commands._agglomeration_table import decision_lines
    from commands._tables import stage_table

    done = run_agglomeration(config, caution)
    for line in decision_lines(done):
        print(line)
    background = config.evaluation.background if config.evaluation else "one_object"
    print(stage_table(done.reports, done.box, background))
    print(f"results: {config.output_dir}")


def _run_request() -> None:
    load_keras_quietly()
    from agglomeration.google_resegmentation import RESEGMENTING, run_resegmentation_request
    from jobs.run_progress import RunProgress, Stage

    with RunProgress([Stage(RESEGMENTING, 1)]) as progress:
        results = run_resegmentation_request(_REQUEST.value, _RUN.compute_dtype or "float32", progress)
    for note in (each.note for each in results if each.note):
        caution(note)
    made = [each for each in results if not each.note]
    there = sum(each.reused for each in made)
    print(f"{len(made)} of {len(results)} points have results ({there} had them before)")
    if made:
        print(f"results: {made[0].path.parent}")
