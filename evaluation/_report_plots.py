"""The report's plots as inline SVG: bars of each stage, and the histogram of run lengths.

Text and lines take the colours of the page they stand in, so that one picture serves light and dark. The same
data give the same text: no dates, and names that follow from the content.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPLIT, MERGER, OMISSION = "#3b7dd8", "#e4662c", "#8f959c"
# Stand for the colours of the page while matplotlib draws.
INK, SOFT, LINE = "#010203", "#040506", "#070809"
_PAGE = {INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)"}
_STAGES = {
    "forward": "#88a0c8",
    "reversed": "#b48ead",
    "consensus": "#44aa99",
    "multiresolution": "#999933",
    "agglomerated": "#cc6677",
    "constrained": "#aa4499",
}
_OTHERS = ("#2a9d8f", "#c9822b", "#7a6fb0", "#5f8f3e", "#b0546a", "#4f93a8")
_WIDTH_INCHES, _ROW_INCHES = 10.0, 0.34
# Of the histogram: the longest run over the shortest length shown, at least.
_LEAST_RANGE = 100


def stage_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour (#rrggbb) for each stage: the known ones always have theirs, others the next that is free."""
    others = [name for name in names if name not in _STAGES]
    return {
        name: _STAGES.get(name) or _OTHERS[others.index(name) % len(_OTHERS)] for name in dict.fromkeys(names)
    }


def voi_bars(stages: Mapping[str, Mapping[str, Any]]) -> str:
    """Variation of information of each stage, split and merge on one bar, in both background conventions.

    Args:
        stages: figures of each stage as in metrics.json.

    Returns:
        SVG; empty when no stage has them.
    """
    names = [name for name, figures in stages.items() if figures.get("voi_split") is not None]
    if not names:
        return ""
    plain = {name: stages[name] for name in names}
    segmented = {name: stages[name].get("segmented_only") or {} for name in names}
    figure = new_figure(0.75 + _ROW_INCHES * len(names))
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, figures, title in (
        (left, plain, "unsegmented voxels = one object"),
        (right, segmented, "segmented voxels only"),
    ):
        _stacked(axes, [_voi(figures[name]) for name in names], title)
        axes.set_xlabel("bits")
    _name_rows(left, names)
    return svg_of(figure, "Variation of information of each stage, split and merge")


def erl_bars(stages: Mapping[str, Mapping[str, Any]], tolerant: str) -> str:
    """Expected run length of each stage, strict and tolerant of mergers, and the most there can be.

    Args:
        stages: figures of each stage as in metrics.json.
        tolerant: what follows `erl_tolerant_` and `nerl_tolerant_` in the names of the lighter bars, such as
            "100_nm"; empty: there are none.

    Returns:
        SVG; empty when no stage has them.
    """
    names = [name for name, figures in stages.items() if figures.get("erl_nm") is not None]
    if not names:
        return ""
    figure = new_figure(0.75 + 1.5 * _ROW_INCHES * len(names))
    axes = figure.subplots()
    colours, most = stage_colours(list(stages)), max(stages[name]["max_erl_nm"] for name in names) / 1000
    for row, name in enumerate(names):
        figures = stages[name]
        _erl_bar(axes, row - 0.2, figures["erl_nm"], figures["nerl"], "strict", colours[name], most)
        value = figures.get(erl_key(tolerant)) if tolerant else None
        if value is not None:
            words = f"mergers forgiven {in_words(tolerant)}"
            share = figures[f"nerl_tolerant_{tolerant}"]
            _erl_bar(axes, row + 0.2, value, share, words, colours[name] + "80", most)
    axes.axvline(most, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        f"maximum {most:.3g} µm", (most, 1), (-5, 4), ("data", "axes fraction"), "offset points", ha="right",
        color=SOFT,
    )  # fmt: skip
    axes.set_xlim(0, most * 1.02)
    axes.set_xlabel("expected run length (µm)")
    _name_rows(axes, names)
    return svg_of(figure, "Expected run length of each stage beside the maximum")


def run_histogram(runs_nm: Mapping[str, np.ndarray]) -> str:
    """How much path lies in correct runs of which length, one line for each stage.

    Args:
        runs_nm: lengths of the runs of each stage, (n,) nm; 0 is passed over.

    Returns:
        SVG; empty when there is no run.
    """
    from matplotlib.ticker import MaxNLocator, NullFormatter

    runs = {name: lengths[lengths > 0] / 1000 for name, lengths in runs_nm.items()}
    runs = {name: lengths for name, lengths in runs.items() if lengths.size}
    if not runs:
        return ""
    high = max(lengths.max() for lengths in runs.values())
    low = min(high / _LEAST_RANGE, *(lengths.min() for lengths in runs.values()))
    edges = np.geomspace(low * 0.999, high * 1.001, 37)
    figure = new_figure(2.6)
    axes, colours = figure.subplots(), stage_colours(list(runs_nm))
    for name, lengths in runs.items():
        path, _ = np.histogram(lengths, edges, weights=lengths)
        last = name == list(runs)[-1]
        axes.stairs(path, edges, fill=last, color=colours[name] + ("55" if last else ""), linewidth=1.4)
        axes.stairs(path, edges, color=colours[name], linewidth=1.4, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("length of a run (µm, logarithmic)")
    axes.set_ylabel("path in such runs (µm)", color=SOFT)
    if len(runs) > 1:
        axes.legend(frameon=False, labelcolor=INK, loc="upper left")
    _tidy(axes, "y")
    return svg_of(figure, "Path length in runs of each length")


def erl_key(tolerant: str) -> str:
    """The name in metrics.json of a tolerant expected run length; `tolerant` as "100_nm" or "2_nodes"."""
    return f"erl_tolerant_{tolerant}" if tolerant.endswith("_nm") else f"erl_tolerant_{tolerant}_nm"


def in_words(tolerant: str) -> str:
    """Such as "below 100 nm" of "100_nm", "up to 2 nodes" of "2_nodes"."""
    number, unit = tolerant.rsplit("_", 1)
    return f"below {number} nm" if unit == "nm" else f"up to {number} nodes"


def new_figure(height_inches: float) -> Figure:
    """An empty figure of the page's width.

    Args:
        height_inches: its height; the width is 10 inches.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")


def svg_of(figure: Figure, label: str) -> str:
    """A figure as an SVG element that is as wide as its place.

    Args:
        figure: drawn with `INK`, `SOFT` and `LINE` where the page's colours belong.
        label: what is seen, for readers who cannot see it.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    stream, nothing = io.StringIO(), dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label, "font.size": 9}):
        figure.savefig(stream, format="svg", metadata=nothing)
    text = stream.getvalue()
    text = re.sub(r"<g id=\"[^\"]*\"", "<g", text[text.index("<svg") :])
    for stand_in, colour in _PAGE.items():
        text = text.replace(stand_in, colour)
    (view,) = re.findall(r'viewBox="[^"]*"', text)
    opening = f'<svg role="img" aria-label="{label}" {view} xmlns:xlink="http://www.w3.org/1999/xlink">'
    return opening + text[text.index(">") + 1 :].rstrip()


def _voi(figures: Mapping[str, Any]) -> tuple[float, float] | None:
    split, merge = figures.get("voi_split"), figures.get("voi_merge")
    return None if split is None or merge is None else (split, merge)


def _stacked(axes: Axes, pairs: Sequence[tuple[float, float] | None], title: str) -> None:
    """Bars of split and merge, one after the other, with their values."""
    for row, pair in enumerate(pairs):
        if pair is None:
            continue
        split, merge = pair
        axes.barh(row, split, 0.62, color=SPLIT)
        axes.barh(row, merge, 0.62, left=split, color=MERGER)
        note = f"{split:.3f} + {merge:.3f} = {split + merge:.3f}"
        axes.annotate(note, (split + merge, row), (5, 0), textcoords="offset points", va="center", color=INK)
    axes.set_title(title, loc="left", fontsize=9, color=SOFT)
    axes.margins(x=0.42)
    axes.set_xlim(left=0)
    _tidy(axes, "x")


def _erl_bar(
    axes: Axes, row: float, erl_nm: float, share: float, words: str, colour: str, most: float
) -> None:
    axes.barh(row, erl_nm / 1000, 0.36, color=colour)
    note = f"{erl_nm / 1000:.3g} µm, {share:.1%} of the maximum, {words}"
    inside = erl_nm / 1000 > 0.6 * most
    axes.annotate(
        note, (erl_nm / 1000, row), (-5 if inside else 5, 0), textcoords="offset points", va="center",
        ha="right" if inside else "left", color=INK,
    )  # fmt: skip


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    _tidy(axes, "x")


def _tidy(axes: Axes, grid: Literal["x", "y"]) -> None:
    """Only what is needed to read a value."""
    axes.spines[:].set_visible(False)
    axes.grid(axis=grid, color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, colors=SOFT)
    for label in axes.get_yticklabels():
        label.set_color(INK)
    axes.xaxis.label.set_color(SOFT)
