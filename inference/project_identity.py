"""Which project an output directory is of: a raw volume and what of it is segmented.

Passes may be added to a project or changed, each under a name of its own; another volume, or another region,
is another project. Its supervoxels would take the place of those that are there even where no stage has the
same name, so that it is refused. `project.json` in the output directory says what the directory is of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from configs import ConfigError, ConfigView, load_config
from configs.loading import region_boxes
from inference.identity import difference
from inference.inputs import Inputs, phantom_spec
from jobs.pieces import atomic_path
from volumes.phantom import GENERATOR_VERSION

PROJECT = "project.json"


def check_project(config: ConfigView, inputs: Inputs) -> None:
    """Refuses an output directory that another project has written to.

    One that an earlier version wrote to has no `project.json`; there the config beside its passes counts.

    Args:
      config: of the run.
      inputs: of the run.

    Raises:
      ConfigError: names the first setting that differs; or the file is damaged.
    """
    directory = Path(config.output_dir)
    theirs = _stored(directory, inputs)
    differs = None if theirs is None else difference(theirs, _described(config, inputs))
    if differs is not None:
        name, found, wanted = differs
        raise ConfigError(
            f"'{directory}' holds another project: {name} = {json.dumps(found)} there, {json.dumps(wanted)} "
            "now; choose another output_dir or delete that one"
        )


def claim_project(config: ConfigView, inputs: Inputs) -> None:
    """Writes what project the output directory is of, once it is known to fit.

    Args:
      config: of the run.
      inputs: of the run.

    Raises:
      ConfigError: see `check_project`.
    """
    check_project(config, inputs)
    path = Path(config.output_dir) / PROJECT
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(_described(config, inputs), indent=2, sort_keys=True) + "\n")


def _described(config: ConfigView, inputs: Inputs) -> dict[str, object]:
    """What makes a project, as plain JSON values. What a config leaves out is taken from the volume."""
    boxes = region_boxes(config.inference) or [(box.start, box.stop) for box in inputs.boxes]
    source, size_nm = config.raw, inputs.image.voxel_size_nm
    if config.phantom is not None:
        phantom = {"version": GENERATOR_VERSION, **asdict(phantom_spec(config.phantom))}
        return {"boxes_zyx": _sorted(boxes), "phantom": phantom}
    if source.voxel_size_nm is not None:
        size_nm = source.voxel_size_nm
    return {
        "boxes_zyx": _sorted(boxes),
        "raw": source.spec,
        "voxel_size_nm": [float(n) for n in size_nm],
    }


def _sorted(boxes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> list[list[list[int]]]:
    return sorted([list(start), list(stop)] for start, stop in boxes)


def _stored(directory: Path, inputs: Inputs) -> Mapping[str, object] | None:
    """What the directory says that it is of; None where nothing was begun, or nothing can be known."""
    path = directory / PROJECT
    if not path.exists():
        return _of_earlier_version(directory, inputs)
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}); delete it and run again") from error


def _of_earlier_version(directory: Path, inputs: Inputs) -> Mapping[str, object] | None:
    """What the config beside finished passes describes; what it leaves out is taken from the volume now."""
    path = directory / "config.textproto"
    if not path.exists() or not (directory / "passes").is_dir():
        return None
    try:
        config = load_config(str(path), require=("inference", "raw|phantom"))
    except ConfigError:
        return None
    whole = Inputs(inputs.image, None, inputs.image.bounds, (inputs.image.bounds,))
    return dict(json.loads(json.dumps(_described(config, whole))))
