"""run_agglomeration calibrate: makes a probability of the scores of pairs.

  run_agglomeration calibrate --config C1 --config C2 … --output FILE.json [--plot FILE.png]
                              [--decisions FILE.npz …]
      scores the candidate pairs of projects with ground truth (scores that are there are taken), and trains
      on them; each project is a group that is held out in turn for the figures that are printed. What people
      decided (`proofread export`) is taken where ground truth does not tell, or there is none

Name the file in `agglomeration.calibration` of the projects that are to use it. All should share network,
resolution and resegmentation settings.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from commands._entry import RunFlags, caution, load_keras_quietly, no_arguments
from configs import load_config

FLAGS = flags.FlagValues()
_CONFIGS = flags.DEFINE_multi_string(
    "config", [], "path or shipped name of a project's config; give two or more", flag_values=FLAGS
)
_OUTPUT = flags.DEFINE_string("output", None, "file to write, JSON", flag_values=FLAGS)
_DECISIONS = flags.DEFINE_multi_string(
    "decisions",
    [],
    "decisions.npz of `proofread export`, about the supervoxels of one of the projects; may be given again",
    flag_values=FLAGS,
)
_PLOT = flags.DEFINE_string("plot", None, "reliability plot to write, PNG", flag_values=FLAGS)
_KIND = flags.DEFINE_enum(
    "kind",
    "auto",
    ["auto", "logistic", "isotonic", "boosting"],
    "what is trained; auto takes the simplest that is about as good as the best",
    flag_values=FLAGS,
)
_SEED = flags.DEFINE_integer("seed", 1, "of ties while trees are grown", flag_values=FLAGS)
_RUN = RunFlags(FLAGS, None)


def main(rest: Sequence[str]) -> None:
    """Runs the subcommand; its flags have been read."""
    no_arguments(rest)
    if not _CONFIGS.value or not _OUTPUT.value:
        raise flags.Error("calibrate needs --config (two or more) and --output; see --help")
    configs = [load_config(each, require=("agglomeration", "raw|phantom")) for each in _CONFIGS.value]
    configs = [
        _RUN.over(each if each.inference is not None else each.replace(inference={})) for each in configs
    ]
    load_keras_quietly()
    from agglomeration.calibrating import calibrate

    done = calibrate(
        configs,
        _OUTPUT.value,
        _PLOT.value,
        decisions=_DECISIONS.value,
        kind=_KIND.value,
        seed=_SEED.value,
        caution=caution,
    )
    for line in done.lines():
        print(line)
    print(f"results: {', '.join(filter(None, (_OUTPUT.value, _PLOT.value)))}")
