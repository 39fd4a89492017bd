"""run_inference: segments a volume with a flood-filling network.

  run_inference --config C [--workers N | --scheduler tcp://host:8786]
      runs a ReconstructionConfig from the raw volume to supervoxels; C is a path or a shipped name (demo,
      fib25)
  run_inference reseed --config C [--box …] [--points FILE] [--pass NAME]
      adds objects to finished supervoxels where voxels are still empty; see run_inference reseed --help
  run_inference --inference_request "$(cat request.pbtxt)" --bounding_box 'start { … } size { … }'
      runs a google/ffn request as it is; the result lies where google/ffn puts it

The same command goes on with a run that was interrupted, from the last minute's checkpoint, and does not
repeat passes that are done.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from commands._entry import RunFlags, caution, load_keras_quietly, no_arguments, run_command
from configs import ConfigError, load_config, parse_bounding_box, parse_inference_request

FLAGS = flags.FlagValues()
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)
_REQUEST = flags.DEFINE_string(
    "inference_request", None, "a google/ffn InferenceRequest, as text or as a file", flag_values=FLAGS
)
_BOX = flags.DEFINE_string(
    "bounding_box",
    None,
    "the subvolume of the request, a google/ffn BoundingBox (x, y, z)",
    flag_values=FLAGS,
)
_RUN = RunFlags(FLAGS, "overrides the config; a request runs in float32 unless this says otherwise")


def run(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return run_command(FLAGS, __doc__ or "", _main, arguments, {"reseed": "commands._reseed"})


def _main(rest: Sequence[str]) -> None:
    no_arguments(rest)
    if _CONFIG.value and _REQUEST.value:
        raise flags.Error("give either --config or --inference_request, not both")
    if _REQUEST.value:
        _run_request()
    elif _CONFIG.value:
        _run_config()
    else:
        raise flags.Error("give --config, or --inference_request with --bounding_box; see --help")


def _run_config() -> None:
    config = load_config(_CONFIG.value, require=("inference", "raw|phantom"))
    config = _RUN.over(config)
    load_keras_quietly()
    from commands._tables import stage_line, stage_table
    from inference.project import run_project
    from inference.stage_reports import StageReport

    finished: list[StageReport] = []

    def report(each: StageReport) -> None:
        finished.append(each)
        print(stage_line(each), flush=True)

    inputs = run_project(config, report, caution)
    background = config.evaluation.background if config.evaluation else "one_object"
    print(stage_table(finished, inputs.box, background))
    print(f"results: {config.output_dir}")


def _run_request() -> None:
    if not _BOX.value:
        raise flags.Error("--inference_request needs --bounding_box 'start { x: … } size { x: … }'")
    request = parse_inference_request(_REQUEST.value)
    start, stop = parse_bounding_box(_BOX.value)
    load_keras_quietly()
    from commands._tables import request_table
    from inference.google_request import SEGMENTING, run_request
    from jobs.run_progress import RunProgress, Stage
    from volumes import Box

    box = Box(start, stop)
    voxels = box.shape[0] * box.shape[1] * box.shape[2]
    if voxels < 1:
        raise ConfigError(f"bounding box {box} is empty; give it a size of at least 1 along every axis")
    with RunProgress([Stage(SEGMENTING, 1)]) as progress:
        path, result = run_request(request, box, _RUN.compute_dtype or "float32", progress)
    print(request_table(path, result))
