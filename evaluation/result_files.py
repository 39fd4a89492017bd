"""What a comparison leaves beside its report: metrics.json, and tables of neurons and true objects.

`metrics.json` belongs to several commands: figures of a stage are added to what is there and take the place
of figures of the same name, and nothing else is touched.
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
from jobs.pieces import atomic_path


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
    if not isinstance(found, dict) or not isinstance(found.get("stages", {}), dict):
        raise EvaluationError(f"{place} holds no stages of figures; name another file or move it away")
    return found


def update_metrics(
    path: str | os.PathLike[str], stages: Mapping[str, Mapping[str, Any]], **beside: Any
) -> None:
    """Adds figures to a metrics.json, which appears whole.

    Args:
        path: the file to make or to change.
        stages: figures of each stage; what is there under other names is kept.
        **beside: values beside `stages`, such as what was compared.

    Raises:
        EvaluationError: see `read_metrics`.
        PieceError: it cannot be written.
    """
    content = read_metrics(path)
    known = content.setdefault("stages", {})
    for name, figures in stages.items():
        known[name] = _merged(known.get(name, {}), figures)
    content |= beside
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


def _merged(there: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with others in their places, the ones inside `segmented_only` and its like one by one."""
    inner = {
        name: {**there[name], **value}
        for name, value in new.items()
        if isinstance(value, Mapping) and isinstance(there.get(name), Mapping)
    }
    return {**there, **new, **inner}


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
