"""`report.html`: how good each stage is and where it fails, on one page to look at.

Input: the figures of each stage as plain data, slices, and texts. Output: one HTML document that needs no
network, no other file and no script (sorting the table of neurons takes one, and works without it
unsorted). Positions are shown z, y, x, lengths in micrometres where they are long.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation._local_paths import without_folders
from evaluation._report_plots import (
    MERGER,
    OMISSION,
    SPLIT,
    erl_bars,
    in_words,
    run_histogram,
    stage_colours,
    voi_bars,
)
from evaluation.error_map import MOST_MARKS, error_map
from evaluation.planes import Plane, pictures_of
from evaluation.slices import round_length
from jobs.versions import installed_versions
from volumes import Box

if TYPE_CHECKING:
    from evaluation.comparison import StageFigures
    from evaluation.detected_errors import DetectedError

MOST_NEURONS, MOST_ERRORS = 300, 60
_LONG_NM = 10_000
MADE_WITH = ("ffn-reconstruction", "numpy", "scipy", "connected-components-3d", "edt", "kimimaro")
_DEFINITIONS = {
    "VOI split": "H(segmentation | truth) in bits: what is left to know of a voxel's segment once its true "
    "object is known; 0 when nothing is split.",
    "VOI merge": "H(truth | segmentation) in bits: what is left to know of a voxel's true object once its "
    "segment is known; 0 when nothing is merged.",
    "ARAND": "adapted Rand error, 1 − F1 of precision and recall over pairs of distinct voxels; 0 is "
    "agreement.",
    "CREMI score": "√((VOI split + VOI merge) · ARAND).",
    "coverage": "share of the labelled voxels that carry a segment.",
    "unsegmented = one object": "voxels without segment count as one more object; unlabelled voxels (true "
    "label 0) never count.",
    "segmented only": "voxels without segment are left out too; coverage says how many.",
    "ERL": "expected run length: how far one gets, on average over all points of all true skeletons, without "
    "an error: Σ l² / L over the pieces l that lie in one segment; a segment that merges skeletons counts 0.",
    "maximum": "the expected run length of a perfect segmentation, Σ Lₛ² / L over the skeletons.",
    "nERL": "ERL ÷ maximum.",
    "splits": "skeleton edges whose ends lie in two different segments.",
    "splits across gaps": "for each stretch of skeleton in no segment, the segments at its ends less one: "
    "splits that an unsegmented gap hides.",
    "mergers": "for each segment that holds more than one skeleton, the skeletons on it less one.",
    "omissions": "skeleton edges with an end that lies in no segment.",
    "at stake": "of a split, across a gap or not, the path in the smaller of its two segments; of a merger, "
    "the path in the segment of the skeleton that has less of it there; of an omitted stretch, its length.",
    "run": "the path of one skeleton inside one segment that merges nothing.",
}


@dataclass(frozen=True)
class Report:
    """What a report shows.

    Attributes:
        title: of the page.
        subject: what was compared, by name: the volumes, the box, …
        box: what was compared, absolute.
        voxel_size_nm: zyx.
        stages: in their order; slices, errors and neurons are shown of the last.
        planes: slices of the last stage.
        config: resolved settings as text; empty without.
        tolerance_nm: the length up to which mergers are forgiven in the lighter bars; None without.
        notes: lines about anything worth knowing.
    """

    title: str
    subject: Mapping[str, str]
    box: Box
    voxel_size_nm: tuple[float, float, float]
    stages: Sequence[StageFigures]
    planes: Sequence[Plane] = ()
    config: str = ""
    tolerance_nm: float | None = None
    notes: Sequence[str] = ()


def write_report(path: str | os.PathLike[str], report: Report) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: of the HTML file.
        report: what it shows.

    Raises:
        PieceError: it cannot be written there.
    """
    from jobs.pieces import atomic_path

    text = render(report, Path(path).parent)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render(report: Report, folder: Path | None = None) -> str:
    """The page as HTML; equal data give equal text. No absolute path of this machine is in it.

    Args:
        report: with at least one stage.
        folder: where the page will lie; paths inside are shown from there.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters.update(
        figure=_figure, microns=_microns, percent=_percent, zyx=_zyx, count=_count, listed=_listed
    )
    template = (Path(__file__).parent / "templates" / "report.html").read_text(encoding="utf-8")
    report = _passed_on(report, folder)
    metrics = {stage.name: stage.metrics for stage in report.stages}
    last, tolerant = report.stages[-1], _tolerant(report.tolerance_nm)
    boundary = next((name for name in last.metrics if name.startswith("boundary_tolerant_")), "")
    plots = {
        "voi": voi_bars(metrics),
        "erl": erl_bars(metrics, tolerant),
        "runs": run_histogram({stage.name: stage.runs_nm for stage in report.stages}),
        "errors": error_map(last.errors, report.box, report.voxel_size_nm, report.planes),
    }
    return page.from_string(template).render(
        report=report,
        stages=report.stages,
        last=last,
        headlines=_headlines(last.metrics, tolerant),
        tolerances=_tolerances(last.metrics),
        boundary=boundary,
        boundary_words=boundary.removeprefix("boundary_tolerant_").replace("_", " "),
        colours=stage_colours(list(metrics)),
        kinds={"split": SPLIT, "merger": MERGER, "omission": OMISSION},
        kind_counts=_kind_counts(last.errors),
        plots={name: Markup(svg) for name, svg in plots.items()},
        planes=[_shown(plane, last.partner) for plane in report.planes],
        neurons=sorted(last.neurons, key=_lost_first)[:MOST_NEURONS],
        errors=[
            (each, [int(p // size) for p, size in zip(each.point_nm, report.voxel_size_nm, strict=True)])
            for each in sorted(last.errors, key=lambda each: -each.length_nm)[:MOST_ERRORS]
        ],
        most_marks=MOST_MARKS,
        definitions=_DEFINITIONS,
        versions=installed_versions(MADE_WITH),
    )


def _passed_on(report: Report, folder: Path | None) -> Report:
    """The report without the folders of this machine."""
    return replace(
        report,
        subject={name: without_folders(value, folder) for name, value in report.subject.items()},
        notes=[without_folders(note, folder) for note in report.notes],
        config=without_folders(report.config, folder),
    )


def _kind_counts(errors: Sequence[DetectedError]) -> dict[str, int]:
    """How many errors there are of each kind; of mergers those that count under the tolerance and others, of
    splits also how many lie across gaps.
    """
    counts = {kind: sum(each.kind == kind for each in errors) for kind in ("split", "merger", "omission")}
    counts["forgiven"] = sum(not each.tolerant for each in errors)
    counts["across_gaps"] = sum(each.across_gap for each in errors)
    return counts | {"merger": counts["merger"] - counts["forgiven"]}


def _tolerant(tolerance_nm: float | None) -> str:
    return f"{tolerance_nm:g}_nm" if tolerance_nm else ""


def _tolerances(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The names and words of the tolerant figures there are, such as {"2_nodes": "up to 2 nodes"}."""
    names = [key.removeprefix("nerl_tolerant_") for key in metrics if key.startswith("nerl_tolerant_")]
    return {name: in_words(name) for name in names}


def _headlines(metrics: Mapping[str, Any], tolerant: str) -> list[tuple[str, str, str]]:
    """Value, name and remark of the few figures that come first."""
    segmented = metrics.get("segmented_only") or {}
    found = []
    if metrics.get("nerl") is not None:
        found.append((_figure(metrics["nerl"]), "nERL", f"of at most {_microns(metrics['max_erl_nm'])} µm"))
    if tolerant and metrics.get(f"nerl_tolerant_{tolerant}") is not None:
        remark = f"mergers forgiven {in_words(tolerant)}"
        found.append((_figure(metrics[f"nerl_tolerant_{tolerant}"]), "nERL", remark))
    for figures, remark in ((metrics, "unsegmented = one object"), (segmented, "segmented only")):
        if figures.get("voi_split") is not None:
            found.append((_figure(figures["voi_split"] + figures["voi_merge"]), "VOI, bits", remark))
    if metrics.get("arand") is not None:
        found.append((_figure(metrics["arand"]), "ARAND", "unsegmented = one object"))
    if metrics.get("coverage") is not None:
        found.append((_percent(metrics["coverage"]), "coverage", "of the labelled voxels"))
    return found


def _lost_first(row: Mapping[str, Any]) -> tuple[float, int]:
    return row["erl_nm"] - row["length_nm"], row["id"]


def _shown(plane: Plane, partner: Mapping[int, int]) -> dict[str, Any]:
    """A slice for the page: its pictures, proportions, and a scale bar in per cent of the width."""
    down_nm, across_nm = plane.extent_nm
    bar_nm = round_length(across_nm / 4)
    return {
        "name": plane.name,
        "pictures": pictures_of(plane, partner),
        "ratio": f"{across_nm:g} / {down_nm:g}",
        "bar": f"{100 * bar_nm / across_nm:.2f}",
        "bar_label": f"{bar_nm / 1000:g} µm" if bar_nm >= 1000 else f"{bar_nm:g} nm",
    }


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _microns(value_nm: float | None) -> str:
    if value_nm is None:
        return "–"
    return f"{value_nm / 1000:,.2f}" if value_nm >= _LONG_NM else f"{value_nm / 1000:.3f}"


def _count(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _zyx(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values)


def _listed(ids: Sequence[int]) -> str:
    """The first few IDs and how many more there are."""
    shown = ", ".join(str(each) for each in ids[:4])
    return shown if len(ids) <= 4 else f"{shown} and {len(ids) - 4} more"
