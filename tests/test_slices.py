"""Scale bars have round lengths that fit, and slices the names people give them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.slices import plane_name, round_length, write_slices_png


@pytest.mark.parametrize(
    ("nm", "round_nm"),
    [(1, 1), (1.9, 1), (2, 2), (7.3, 5), (10, 10), (450, 200), (500, 500), (2e6, 2e6), (0.3, 0.2)],
)
def test_a_scale_bar_has_the_largest_round_length_that_fits(nm: float, round_nm: float) -> None:
    assert round_length(nm) == pytest.approx(round_nm)


def test_slices_are_named_by_their_axes_and_place() -> None:
    assert [plane_name(axis, 7) for axis in range(3)] == ["xy, z = 7", "xz, y = 7", "yz, x = 7"]


def test_a_picture_shows_voxels_in_their_true_proportions(tmp_path: Path) -> None:
    raw = np.arange(4 * 10 * 20, dtype=np.uint16).reshape(4, 10, 20)
    write_slices_png(tmp_path / "slices.png", raw, (raw // 100).astype(np.uint32), (50.0, 10.0, 10.0), "cube")
    with Image.open(tmp_path / "slices.png") as picture:
        # 200 nm along x and z, 100 nm along y: panels of 360 x 180, 360 x 360 and 180 x 360 pixels.
        assert picture.size[0] == 360 + 360 + 180 + 4 * 12
