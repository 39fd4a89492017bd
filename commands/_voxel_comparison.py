"""What `evaluate classes` and `evaluate clefts` share: their volumes, and where figures go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from commands._entry import caution
from commands._named_volumes import metrics_file, open_named, require_stage_name, voxel_size_of_flag
from configs import parse_bounding_box

if TYPE_CHECKING:
    from volumes import Box, Volume


class Opened(NamedTuple):
    """What is compared.

    Attributes:
      prediction: what is judged.
      labels: ground truth.
      box: what of both is compared, absolute (zyx).
      given_nm: the size (zyx) of voxels that do not state theirs, or None.
      output: the metrics.json to write, or None.
      notes: lines that were printed about what is allowed but worth knowing; more may be added.
    """

    prediction: Volume
    labels: Volume
    box: Box
    given_nm: tuple[float, float, float] | None
    output: Path | None
    notes: list[str]

    def note(self, line: str) -> None:
        """Prints a line about what is allowed but worth knowing, and keeps it for the record."""
        self.notes.append(line)
        caution(line)


def shared_flags(name: str) -> flags.FlagValues:
    """The flags of both subcommands.

    Args:
      name: of the stage that the figures are of unless --name says another.
    """
    values = flags.FlagValues()
    flags.DEFINE_string("prediction", None, "SPEC of what is judged", flag_values=values)
    flags.DEFINE_string("labels", None, "SPEC of the ground truth", flag_values=values)
    flags.DEFINE_integer(
        "ignore", None, "voxels with this true label are left out, such as unpainted ones", flag_values=values
    )
    flags.DEFINE_string(
        "box",
        None,
        "what is compared, a google/ffn BoundingBox (x, y, z) in voxels; all that both hold if not given",
        flag_values=values,
    )
    flags.DEFINE_list(
        "voxel_size_nm", None, "z,y,x in nm, for volumes that do not say theirs", flag_values=values
    )
    flags.DEFINE_string("name", name, "names the figures' stage in metrics.json", flag_values=values)
    flags.DEFINE_string(
        "output", None, "the metrics.json to write; nothing is written if not given", flag_values=values
    )
    return values


def opened(values: flags.FlagValues) -> Opened:
    """Opens what the flags name, before any work.

    Raises:
      flags.Error: a flag is missing or no name, box or file of figures.
      ReconstructionError: a volume that cannot be opened, volumes that cannot be compared, or a file of
        figures that cannot be written.
    """
    if not values["prediction"].value or not values["labels"].value:
        raise flags.Error("give --prediction and --labels; see --help")
    require_stage_name(values["name"].value)
    output = metrics_file(values["output"].value)
    corners = parse_bounding_box(values["box"].value) if values["box"].value else None
    from evaluation.checks import shared_box
    from evaluation.extents import note_of_part
    from evaluation.result_files import read_metrics
    from jobs.pieces import require_writable_file
    from volumes import Box

    if output is not None:
        _require_no_segmentation(output, values["name"].value, read_metrics(output))
        require_writable_file(output)
    given_nm = voxel_size_of_flag(values["voxel_size_nm"].value)
    prediction, labels = (open_named(values[name].value, given_nm) for name in ("prediction", "labels"))
    box = shared_box("prediction", prediction, labels, Box(*corners) if corners else None)
    subject = Opened(prediction, labels, box, given_nm, output, [])
    line = None if corners else note_of_part(box, {"prediction": prediction, "labels": labels})
    if line is not None:
        subject.note(line)
    return subject


def _require_no_segmentation(output: Path, name: str, known: Mapping[str, Any]) -> None:
    """Refuses a stage that a comparison of a segmentation left, whose tables and report lie beside it."""
    from evaluation.result_files import COMPARED

    if "segmentation" in known.get("stages", {}).get(name, {}).get(COMPARED, {}):
        raise flags.Error(
            f"stage {name!r} of {output} holds a comparison of a segmentation, whose tables and report lie "
            "beside it; give another --name or --output"
        )


def leave_figures(
    values: flags.FlagValues,
    subject: Opened,
    figures: Mapping[str, Any],
    scores: str | None = None,
    **settings: Any,
) -> str:
    """Writes the figures to metrics.json, if there is one, with what they follow from.

    Args:
      values: the flags.
      subject: what was compared.
      figures: by name; their `box` becomes a part of the record.
      scores: SPEC of the probabilities, if there are any.
      **settings: whatever else the figures follow from.

    Returns:
      The last lines to print: the box, and where the results are.
    """
    from evaluation.extents import shares
    from evaluation.report import MADE_WITH
    from evaluation.result_files import COMPARED, FIGURES, update_metrics
    from jobs.versions import installed_versions
    from volumes import Box

    plain = {name: value for name, value in figures.items() if name != "box"}
    start, stop = figures["box"]
    box = Box(start, stop)
    z, y, x = box.shape
    lines = [f"box {box} ({z} x {y} x {x} voxels)"]
    if subject.output is not None:
        compared: dict[str, Any] = {
            FIGURES: sorted(plain),
            "prediction": subject.prediction.spec,
            "labels": subject.labels.spec,
            **({} if scores is None else {"scores": scores}),
            "box": {"start": start, "stop": stop},
            "voxel_size_nm": list(subject.labels.voxel_size_nm),
            "shares": shares(box, {"prediction": subject.prediction, "labels": subject.labels}),
            "settings": {"ignore": values["ignore"].value, **settings},
            "notes": subject.notes,
            "versions": installed_versions(MADE_WITH),
        }
        update_metrics(subject.output, {values["name"].value: {**plain, COMPARED: compared}})
        lines.append(f"results: {subject.output}")
    return "\n".join(lines)


def table_of(head: str, columns: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Figures as lines of text, "-" where one is undefined.

    Args:
      head: of the first column.
      columns: the name of each figure by the heading of its column.
      rows: figures by the name of the row.
    """
    width = max(16, *(len(name) + 2 for name in rows))
    lines = [f"{head:{width}s}" + "".join(f"{heading:>12s}" for heading in columns)]
    for name, figures in rows.items():
        cells = (_cell(figures.get(key)) for key in columns.values())
        lines.append(f"{name:{width}s}" + "".join(f"{cell:>12s}" for cell in cells))
    return "\n".join(lines)


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
