"""Several boxes at once: what lies in none of them is neither segmented, nor written, nor counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_project import CUT, bars, contents, corners, make_bars, metrics, run, supervoxels, write_config

from configs import load_config, region_bounds
from inference.flooding import workspace_of
from inference.inputs import Inputs, in_blocks
from inference.supervoxel_table import load_table
from volumes import Box, open_volume
from volumes.arrays import ArrayVolume

# Whole projects are run.
pytestmark = pytest.mark.slow

WHOLE = ((0, 0, 0), (40, 44, 48))
# Two that touch no core in common: the first lies in one subvolume of `CUT`, the second in two.
FIRST, SECOND = ((2, 0, 0), (16, 20, 20)), ((24, 24, 4), (40, 44, 40))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_bars()
    return tmp_path


def written(name: str, start, stop) -> str:
    shape = [high - low for low, high in zip(start, stop, strict=True)]
    fields = [f"{{ z: {z} y: {y} x: {x} }}" for z, y, x in (start, shape)]
    return f"{name} {{ start {fields[0]} shape {fields[1]} }} "


def boxes(*given) -> str:
    return "".join(written("boxes", *each) for each in given)


def segmented(output: str, inference: str, **config: str) -> np.ndarray:
    write_config(inference=inference, output_dir=f'"{output}"', **config)
    assert run("--config", "c.textproto") == 0
    return supervoxels(output)


def inside(*given) -> np.ndarray:
    mask = np.zeros(WHOLE[1], bool)
    for start, stop in given:
        mask[Box(start, stop).slices()] = True
    return mask


def test_two_boxes_give_what_the_whole_region_gives_in_them(place):
    """The hull is the whole volume, so that the cuts are the same."""
    ends = ((0, 0, 0), (16, 20, 22)), ((24, 24, 4), (40, 44, 48))
    whole, found = segmented("whole", CUT), segmented("parts", CUT + boxes(*ends))
    assert len(corners(output="whole")) == 8
    assert corners(output="parts") == ["0_0_0", "0_18_16", "20_18_16"], "three cores are touched"
    mask = inside(*ends)
    assert not found[~mask].any()
    # Where nothing was taken from a neighbour that is left out, all is the same.
    np.testing.assert_array_equal(found[:16, :18, :20] > 0, whole[:16, :18, :20] > 0)
    assert ((found > 0) == (whole > 0))[mask].mean() > 0.99
    linked = {tuple(pair) for pair in np.stack([found, whole], -1)[(found > 0) & (whole > 0)].tolist()}
    far = {i for i, _ in linked}
    assert len(linked) == len(far), "no object of the boxes lies in two of the whole"


def test_figures_table_and_formats_know_the_boxes_alone(place):
    outputs = "{ hdf5: true zarr: true }"
    found = segmented("parts", CUT + boxes(FIRST, SECOND), outputs=outputs)
    mask = inside(FIRST, SECOND)[2:, :, :40]
    labels = bars()[2:, :, :40]
    assert found.shape == labels.shape, "from the lowest corner to the highest"
    figures, table = metrics("parts")["forward"], load_table("parts/supervoxels.npz")
    assert figures["voxels"] == mask.sum()
    seen = labels[mask] > 0
    assert figures["coverage"] == pytest.approx((found[mask] > 0)[seen].mean())
    ids, voxels = np.unique(found[found > 0], return_counts=True)
    assert table.ids.tolist() == ids.tolist() and table.voxels.tolist() == voxels.tolist()
    assert figures["objects"] == len(ids)
    for spec in ("parts/supervoxels.h5:segmentation", f"zarr://{place}/parts/supervoxels.zarr"):
        with open_volume(spec) as volume:
            np.testing.assert_array_equal(volume.read(), found)
    before = contents("parts")
    assert run("--config", "c.textproto") == 0
    assert contents("parts") == before


def test_boxes_that_overlap_are_one_region(place):
    lower, upper = ((0, 0, 0), (24, 44, 48)), ((16, 0, 0), (40, 44, 48))
    whole = segmented("whole", CUT)
    np.testing.assert_array_equal(segmented("both", CUT + boxes(lower, upper)), whole)
    assert metrics("both")["forward"]["voxels"] == whole.size


def test_one_box_may_be_given_either_way(place):
    results = []
    for output, text in (("box", written("box", *SECOND)), ("boxes", boxes(SECOND))):
        segmented(output, text)
        results.append(
            {
                path.relative_to(output): data
                for path, data in contents(output).items()
                if path.name != "config.textproto"
            }
        )
    settings = [json.loads(each[Path("passes/forward/settings.json")]) for each in results]
    assert settings[0] == settings[1]
    np.testing.assert_array_equal(supervoxels("box"), supervoxels("boxes"))
    write_config(inference=written("box", *SECOND), output_dir='"boxes"')
    assert run("--config", "c.textproto") == 0, "one goes on with the other's results"


def test_subvolumes_that_no_box_touches_are_not_planned(place):
    write_config(inference=CUT + boxes(FIRST, SECOND))
    plan = workspace_of(load_config("c.textproto")).plan
    cores = [str(subvolume.core) for subvolume in plan]
    assert cores == [
        "z 2:21, y 0:22, x 0:20",
        "z 21:40, y 22:44, x 0:20",
        "z 21:40, y 22:44, x 20:40",
    ]


def test_blocks_that_no_box_touches_are_left_out(place, monkeypatch):
    monkeypatch.setattr("inference.inputs.BLOCK_EDGE", 16)
    far = ((0, 0, 0), (10, 10, 10)), ((33, 33, 33), (40, 44, 48))
    write_config(inference=boxes(*far))
    blocks = workspace_of(load_config("c.textproto")).blocks()
    assert [str(block) for block in blocks] == ["z 0:16, y 0:16, x 0:16", "z 32:40, y 32:44, x 32:48"]


def test_a_box_grows_to_whole_blocks(monkeypatch):
    monkeypatch.setattr("inference.inputs.BLOCK_EDGE", 10)
    region = Box((3, 3, 3), (50, 50, 30))
    assert in_blocks(Box((5, 13, 22), (12, 23, 30)), region) == Box((3, 13, 13), (13, 23, 30))


def test_voxels_in_several_boxes_are_counted_once():
    image = ArrayVolume(np.zeros((9, 9, 9), np.uint8), voxel_size_nm=(1, 1, 1))
    three = (Box((0, 0, 0), (4, 4, 4)), Box((2, 2, 2), (6, 6, 6)), Box((8, 0, 0), (9, 9, 1)))
    inputs = Inputs(image, None, Box((0, 0, 0), (9, 9, 6)), three)
    assert inputs.voxels == 64 + 64 - 8 + 9
    ones = np.ones((9, 9, 6), np.uint8)
    assert inputs.cleared(ones, inputs.box).sum() == inputs.voxels
    inner = Box((0, 0, 0), (2, 4, 4))
    assert inputs.cleared(ones[:2, :4, :4], inner).all()


EMPTY = written("boxes", (5, 5, 5), (5, 9, 9))
REFUSALS = {
    "both": (written("box", *FIRST) + boxes(SECOND), "inference.box and inference.boxes are both given"),
    "bounding box, too": (
        "bounding_box { start { x: 0 y: 0 z: 0 } size { x: 20 y: 20 z: 20 } }" + boxes(SECOND),
        "inference.bounding_box and inference.boxes are both given",
    ),
    "outside": (boxes(FIRST, ((30, 0, 0), (41, 8, 8))), "inference.boxes[1]"),
    "empty": (boxes(FIRST) + EMPTY, "boxes[1].shape.z"),
}


@pytest.mark.parametrize(("inference", "says"), REFUSALS.values(), ids=REFUSALS)
def test_boxes_that_cannot_be_are_refused_in_one_line(place, capsys, inference, says):
    write_config(inference=inference)
    assert run("--config", "c.textproto") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error
    assert not Path("out").exists()


def test_the_region_is_the_hull_of_the_boxes(place):
    write_config(inference=boxes(SECOND, FIRST))
    assert region_bounds(load_config("c.textproto").inference) == ((2, 0, 0), (40, 44, 40))


def test_other_boxes_do_not_go_on_with_the_results(place, capsys):
    segmented("out", boxes(FIRST, SECOND))
    write_config(inference=boxes(FIRST, ((24, 24, 5), (40, 44, 40))))
    assert run("--config", "c.textproto") == 2
    assert "boxes_zyx" in capsys.readouterr().err
