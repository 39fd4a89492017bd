"""run_inference reseed: adds objects to finished supervoxels where voxels are still empty.

  run_inference reseed --config C
      seeds all that is empty, by the seed policy of the config's first pass
  run_inference reseed --config C --box 'start { x: … y: … z: … } size { x: … y: … z: … }'
      seeds inside a box only
  run_inference reseed --config C --points FILE
      floods from the points in a file: lines z,y,x in voxels, or in nanometres under a header z_nm,y_nm,x_nm
  run_inference reseed --config C --pass NAME
      with the network, resolution, options and seeds of another pass

Existing objects keep their IDs and all their voxels; new ones get higher IDs. The result is a volume of both,
in reseeded/<name> of the output directory; the one it started from stays. The same command goes on with a job
that was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from commands._entry import RunFlags, caution, load_keras_quietly, no_arguments
from configs import load_config, parse_bounding_box

FLAGS = flags.FlagValues()
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)
_BOX = flags.DEFINE_string(
    "box",
    None,
    "where seeds may lie, a google/ffn BoundingBox (x, y, z) in voxels of the raw volume",
    flag_values=FLAGS,
)
_POINTS = flags.DEFINE_string("points", None, "file of points that are the seeds", flag_values=FLAGS)
_PASS = flags.DEFINE_string(
    "pass", None, "pass of the config that says how to flood; the first if not given", flag_values=FLAGS
)
_NAME = flags.DEFINE_string(
    "name", None, "name of the job; reseed-1, reseed-2, … if not given", flag_values=FLAGS
)
_SUPERVOXELS = flags.DEFINE_string(
    "supervoxels",
    None,
    "SPEC of the supervoxels to start from, such as an earlier job's; the project's own if not given",
    flag_values=FLAGS,
)
_RUN = RunFlags(FLAGS)


def main(rest: Sequence[str]) -> None:
    """Runs the subcommand; its flags have been read."""
    no_arguments(rest)
    if not _CONFIG.value:
        raise flags.Error("reseed needs --config; see run_inference reseed --help")
    config = load_config(_CONFIG.value, require=("inference", "raw|phantom"))
    config = _RUN.over(config)
    corners = parse_bounding_box(_BOX.value) if _BOX.value else None
    load_keras_quietly()
    from commands._tables import stage_line, stage_table
    from inference.reseeding import Asked, run_reseeding
    from inference.stage_reports import StageReport
    from volumes import Box

    finished: list[StageReport] = []

    def report(each: StageReport) -> None:
        finished.append(each)
        print(stage_line(each), flush=True)

    asked = Asked(
        _NAME.value or "",
        _PASS.value or "",
        Box(*corners) if corners else None,
        _POINTS.value or "",
        _SUPERVOXELS.value or "",
    )
    done = run_reseeding(config, asked, report, caution)
    background = config.evaluation.background if config.evaluation else "one_object"
    print(stage_table(finished, done.region, background))
    before, after = done.coverage
    ids = f" (IDs above {done.highest})" if done.objects else ""
    print(f"{done.objects} objects added{ids}; coverage {before:.2%} -> {after:.2%}")
    if done.points:
        print(f"points: {done.points}")
    print(f"results: {done.directory}")
