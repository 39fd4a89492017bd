"""Where the errors of a segmentation lie: all of them projected along each axis, over a slice of the image.

Drawn like three sides of a box: xy, beneath it xz, to its right zy, all at one scale and aligned. The area of
a mark grows with the length at stake. Mergers that do not count under the tolerance are faint, and beneath.
A split across a gap lies upon the omission that is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evaluation._report_plots import INK, LINE, MERGER, OMISSION, SOFT, SPLIT, svg_of
from evaluation.planes import Plane
from evaluation.slices import to_grey
from volumes import Box

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from evaluation.detected_errors import DetectedError

MOST_MARKS = 2000
_SIDE_INCHES, _GAP_INCHES, _MARGIN_INCHES = 9.0, 0.3, 0.45
# By kind and whether an error counts under the tolerance, in the order of drawing: colour, marker, least area
# (square points) and opacity.
_MARKS = {
    ("merger", False): (MERGER, "D", 10.0, 0.4),
    ("omission", True): (OMISSION, "s", 7.0, 0.8),
    ("split", True): (SPLIT, "o", 14.0, 0.8),
    ("merger", True): (MERGER, "D", 14.0, 0.9),
}
_MOST_AREA = 110.0
_FAINT = 0.45


def error_map(
    errors: Sequence[DetectedError],
    box: Box,
    voxel_size_nm: tuple[float, float, float],
    planes: Sequence[Plane] = (),
) -> str:
    """The projected errors as SVG, the largest `MOST_MARKS` of them.

    Args:
        errors: with positions (zyx, nm).
        box: what was compared, absolute.
        voxel_size_nm: zyx.
        planes: slices whose image lies beneath; those without one are passed over.

    Returns:
        SVG; empty without errors.
    """
    if not errors:
        return ""
    from matplotlib.figure import Figure

    start_um, shape_um = (np.array(values) * voxel_size_nm / 1000 for values in (box.start, box.shape))
    drawn = sorted(errors, key=lambda each: -each.length_nm)[:MOST_MARKS]
    depth, height, width = shape_um
    scale = (_SIDE_INCHES - _GAP_INCHES) / (width + depth)
    total = (
        _SIDE_INCHES + 2 * _MARGIN_INCHES,
        (height + depth) * scale + _GAP_INCHES + 2 * _MARGIN_INCHES,
    )
    figure = Figure(figsize=total)
    behind = {plane.axis: plane for plane in planes if plane.raw is not None}
    right, below = _MARGIN_INCHES + width * scale + _GAP_INCHES, _MARGIN_INCHES
    top = below + depth * scale + _GAP_INCHES
    corners = {0: (_MARGIN_INCHES, top), 1: (_MARGIN_INCHES, below), 2: (right, top)}
    largest_nm = drawn[0].length_nm
    for axis, (left, bottom) in corners.items():
        across, down = ((2, 1), (2, 0), (0, 1))[axis]
        size = (shape_um[across] * scale, shape_um[down] * scale)
        place = (left / total[0], bottom / total[1], size[0] / total[0], size[1] / total[1])
        axes = figure.add_axes(place)
        _show_slice(axes, behind.get(axis), across, down)
        _mark(axes, drawn, across, down, largest_nm)
        axes.set_xlim(start_um[across], start_um[across] + shape_um[across])
        axes.set_ylim(start_um[down] + shape_um[down], start_um[down])
        _label(axes, "zyx"[across], "zyx"[down], across_named=axis != 0, down_named=axis != 2)
    return svg_of(figure, "Detected errors projected along each axis")


def _show_slice(axes: Axes, plane: Plane | None, across: int, down: int) -> None:
    """The image, faint enough that marks stand out on it in light and dark."""
    if plane is None or plane.raw is None:
        return
    grey = plane.raw if across > down else plane.raw.T
    size_um = np.array(plane.voxel_size_nm) / 1000
    low, high = np.array(plane.box.start) * size_um, np.array(plane.box.stop) * size_um
    extent = (float(low[across]), float(high[across]), float(high[down]), float(low[down]))
    axes.imshow(
        to_grey(grey), cmap="gray", vmin=0, vmax=255, alpha=_FAINT, extent=extent, aspect="auto",
        interpolation="none",
    )  # fmt: skip


def _mark(axes: Axes, errors: Sequence[DetectedError], across: int, down: int, largest_nm: float) -> None:
    """Marks of all kinds, mergers on top; their area follows the length at stake, within limits."""
    for kind, (colour, marker, least, opacity) in _MARKS.items():
        of_kind = [each for each in errors if (each.kind, each.tolerant) == kind]
        points = np.array([each.point_nm for each in of_kind]).reshape(-1, 3) / 1000
        share = np.array([each.length_nm for each in of_kind]) / max(largest_nm, 1e-9)
        area = np.clip(_MOST_AREA * share, least, _MOST_AREA)
        axes.scatter(
            points[:, across], points[:, down], area, color=colour, marker=marker, alpha=opacity,
            linewidths=0.5, edgecolors="white",
        )  # fmt: skip


def _label(axes: Axes, across: str, down: str, *, across_named: bool, down_named: bool) -> None:
    """Names and numbers on the outer sides only: neighbouring views share an axis."""
    axes.set_aspect("auto")
    axes.tick_params(length=0, colors=SOFT, labelsize=8, labelbottom=across_named, labelleft=down_named)
    for spine in axes.spines.values():
        spine.set_color(LINE)
    axes.set_title(f"{across}{down}", loc="left", fontsize=9, color=INK, pad=4)
    axes.set_xlabel(f"{across} (µm)" if across_named else "", color=SOFT, fontsize=8)
    axes.set_ylabel(f"{down} (µm)" if down_named else "", color=SOFT, fontsize=8)
