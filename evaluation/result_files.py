"""What a comparison leaves beside its report: metrics.json, and tables of neurons and true objects.

`metrics.json` belongs to several commands: figures of a stage are added to what is there and take the place
of figures of the same name. A comparison leaves with its figures the record `compared`, which names them, so
that the next one takes away all that the last one left and no stage mixes figures of two comparisons.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.best_overlap import BestOverlaps
from evaluation.errors import EvaluationError
from jobs.lock import only_writer_of
from jobs.pieces import atomic_path

# What a comparison says of itself in a stage's figures, and the names of these in there.
COMPARED, FIGURES = "compared", "figures"


def read_metrics(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of a metrics.json; those of an empty one where there is none.

    Raises:
        EvaluationError: it is damaged, or something else.
    """
    place = Path(path)
    if not place.exists():
        return {"stages": {}}
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"cannot read {place} ({error}); move it away and run again") from error
    stages = found.get("stages", {}) if isinstance(found, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(each, dict) for each in stages.values()):
        raise EvaluationError(f"{place} holds no stages of figures; name another file or move it away")
    return found


def update_metrics(path: str | os.PathLike[str], stages: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds figures to a metrics.json, which appears whole; waits while another process changes it.

    Args:
        path: the file to make or to change.
        stages: figures of each stage. Others of the stage are kept, but for those that an earlier comparison
            left, which go with its record; other stages stay as they are.

    Raises:
        EvaluationError: see `read_metrics`.
        ReconstructionError: it cannot be written.
    """
    with only_writer_of(Path(path)):
        content = read_metrics(path)
        known = content.setdefault("stages", {})
        for name, figures in stages.items():
            known[name] = {**_without_compared(known.get(name, {})), **figures}
        _write(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_neurons(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the table of neurons as CSV, those that lose the most run length first.

    Args:
        path: the file to make or to replace.
        rows: of `evaluation.erl.neuron_table`, one or more; lengths in nm.

    Raises:
        PieceError: it cannot be written.
    """
    ordered = sorted(rows, key=lambda row: (row["erl_nm"] - row["length_nm"], row["id"]))
    _write_csv(path, list(ordered[0]), ([_short(value) for value in row.values()] for row in ordered))


def write_objects(path: str | os.PathLike[str], best: BestOverlaps) -> None:
    """Writes the best segment of each true object as CSV, largest object first.

    Args:
        path: the file to make or to replace.
        best: see `evaluation.best_overlap`.

    Raises:
        PieceError: it cannot be written.
    """
    columns = (best.truth_ids, best.truth_voxels, best.segment_ids, best.iou)
    rows = sorted(zip(*(c.tolist() for c in columns), strict=True), key=lambda row: (-row[1], row[0]))
    names = ["truth_id", "truth_voxels", "best_segment", "iou"]
    _write_csv(path, names, ([_short(value) for value in row] for row in rows))


def _without_compared(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a stage without a comparison's record and the figures that this names."""
    compared = figures.get(COMPARED, {})
    theirs = {COMPARED, *compared.get(FIGURES, ())}
    return {name: value for name, value in figures.items() if name not in theirs}


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _write_csv(path: str | os.PathLike[str], names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    _write(path, text.getvalue())


def _write(path: str | os.PathLike[str], text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
