"""A picture of a segmentation: three orthogonal slices through the middle, raw and with objects in colour.

Pixels are square in nm, so anisotropic voxels show in their true proportions. Colours follow from the
object IDs alone: the same ID has the same colour in every picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jobs.pieces import atomic_path

_PANEL_PIXELS = 360
_GAP = 12
_CAPTION = 22
_OPACITY = 0.45


def colours(ids: np.ndarray) -> np.ndarray:
    """RGB colours (uint8, ids.shape + (3,)) of object IDs (unsigned integers); black for 0."""
    mixed = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    hue = (mixed >> np.uint64(40)).astype(np.float64) / 2**24
    value = 0.75 + 0.25 * ((mixed >> np.uint64(16)) & np.uint64(0xFF)).astype(np.float64) / 255
    channels = [np.clip(np.abs((hue * 6 + shift) % 6 - 3) - 1, 0, 1) for shift in (0, 4, 2)]
    rgb = np.stack([value * (0.25 + 0.75 * c) for c in channels], axis=-1)
    return np.where((ids == 0)[..., None], 0, 255 * rgb).astype(np.uint8)


def overlay(grey: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Grey values tinted by objects; their borders stand out, unsegmented voxels (0) stay grey.

    Args:
      grey: uint8, any shape, such as (y, x).
      ids: integers of the same shape, 0 = unsegmented.

    Returns:
      RGB, uint8, of that shape and one more axis of 3.
    """
    tinted = (1 - _OPACITY) * grey[..., None] + _OPACITY * colours(ids)
    border = np.zeros(ids.shape, bool)
    for axis in range(ids.ndim):
        step = np.diff(ids, axis=axis) != 0
        border |= np.concatenate([step, np.zeros_like(np.take(ids, [0], axis), bool)], axis=axis)
    tinted[border] = 0.25 * tinted[border] + 0.75 * colours(ids)[border]
    return np.where((ids == 0)[..., None], grey[..., None], tinted).astype(np.uint8)


def to_grey(raw: np.ndarray) -> np.ndarray:
    """Any image as uint8, its 0.5 … 99.5 percentiles spread over 0 … 255."""
    low, high = np.percentile(raw, (0.5, 99.5))
    return np.clip((raw - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)


def _slices(volume: np.ndarray) -> list[np.ndarray]:
    middle = [n // 2 for n in volume.shape]
    return [volume[middle[0]], volume[:, middle[1]], volume[:, :, middle[2]]]


def _panel(rgb: np.ndarray, size_nm: tuple[float, float], pixels_per_nm: float) -> Image.Image:
    height, width = (max(1, round(n * s * pixels_per_nm)) for n, s in zip(rgb.shape, size_nm, strict=False))
    return Image.fromarray(rgb).resize((width, height), Image.Resampling.NEAREST)


def round_length(nm: float) -> float:
    """The largest of 1, 2, 5, 10, … (and 0.5, 0.2, …) that is no longer than a length above 0."""
    power = 10.0 ** np.floor(np.log10(nm))
    return float(max(step * power for step in (1, 2, 5) if step * power <= nm * (1 + 1e-9)))


def plane_name(axis: int, position: int) -> str:
    """A slice as usually said, such as "xy, z = 85".

    Args:
      axis: the axis it lies across: 0 = z, 1 = y, 2 = x.
      position: voxel on that axis.
    """
    return f"{('xy', 'xz', 'yz')[axis]}, {'zyx'[axis]} = {position}"


def write_slices_png(
    path: str | Path,
    raw: np.ndarray,
    segmentation: np.ndarray,
    voxel_size_nm: tuple[float, float, float],
    title: str = "",
    start_zyx: tuple[int, int, int] = (0, 0, 0),
) -> None:
    """Writes the picture, whole or not at all.

    Args:
      path: of the PNG.
      raw: image (z, y, x), any real dtype.
      segmentation: unsigned integer (z, y, x), 0 = unsegmented.
      voxel_size_nm: (z, y, x).
      title: one line above the slices.
      start_zyx: voxel coordinates of the arrays' corner, for the captions.

    Raises:
      PieceError: the picture cannot be written there.
    """
    extent_nm = np.array(raw.shape) * voxel_size_nm
    pixels_per_nm = _PANEL_PIXELS / float(extent_nm.max())
    rows = []
    greys = _slices(to_grey(raw))
    labels = _slices(segmentation)
    for tint in (False, True):
        row = []
        for axis, (grey, ids) in enumerate(zip(greys, labels, strict=True)):
            rgb = overlay(grey, ids) if tint else np.repeat(grey[..., None], 3, axis=-1)
            down, across = (s for a, s in enumerate(voxel_size_nm) if a != axis)
            row.append(_panel(rgb, (down, across), pixels_per_nm))
        rows.append(row)
    middle = [start + n // 2 for start, n in zip(start_zyx, raw.shape, strict=True)]
    captions = [plane_name(axis, middle[axis]) for axis in range(3)]
    bar_nm = round_length(float(extent_nm[2]) / 2)
    with atomic_path(path) as temporary:
        _compose(rows, captions, title, bar_nm, pixels_per_nm).save(temporary, format="PNG", optimize=True)


def _compose(
    rows: list[list[Image.Image]], captions: list[str], title: str, bar_nm: float, pixels_per_nm: float
) -> Image.Image:
    """The panels on one sheet, with captions and a scale bar."""
    widths = [panel.width for panel in rows[0]]
    height = max(panel.height for panel in rows[0])
    sheet = Image.new("RGB", (sum(widths) + 4 * _GAP, 2 * height + 3 * _GAP + 2 * _CAPTION), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    pen.text((_GAP, 4), title, fill="black", font=font)
    for r, row in enumerate(rows):
        left, top = _GAP, _CAPTION + _GAP + r * (height + _GAP)
        for panel in row:
            sheet.paste(panel, (left, top))
            left += panel.width + _GAP
    left = _GAP
    for caption, width in zip(captions, widths, strict=True):
        pen.text((left, sheet.height - _CAPTION), caption, fill="black", font=font)
        left += width + _GAP
    bar = round(bar_nm * pixels_per_nm)
    bottom = _CAPTION + _GAP + rows[0][0].height - 10
    pen.rectangle((_GAP + 8, bottom - 4, _GAP + 8 + bar, bottom), fill="white", outline="black")
    pen.text(
        (_GAP + 8, bottom - 22),
        f"{bar_nm:.9g} nm",
        fill="white",
        font=font,
        stroke_width=2,
        stroke_fill="black",
    )
    return sheet
