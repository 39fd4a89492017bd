"""Runs with masks, through a config and through a google/ffn request: what they keep out stays empty."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import ndimage
from tiny_project import (
    BARS_SHAPE,
    CUT,
    REQUEST,
    TINY,
    WIDE,
    bars,
    contents,
    corners,
    make_bars,
    metrics,
    run,
    stored,
    supervoxels,
    write_checkpoint,
    write_config,
    write_volumes,
)

from inference import flooding
from volumes import open_volume

# Whole projects are run.
pytestmark = pytest.mark.slow

COARSE = """name: "coarse" voxel_size_nm { z: 20 y: 20 x: 20 } options { min_segment_size: 10 }
    seed_policy: "PolicyGrid3d" seed_policy_args: '{"step": 2, "offsets": [0]}'"""
Z, Y, X = np.indices(BARS_SHAPE)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with `bars`, and a volume with a mask, in the working directory."""
    monkeypatch.chdir(tmp_path)
    make_bars()
    classes = np.zeros((2, *BARS_SHAPE), np.uint8)
    classes[1, :, 18:30] = 7
    with h5py.File("classes.h5", "w") as file:
        file["classes"] = classes
        file["classes"].attrs["resolution"] = (10.0, 10.0, 10.0)
    return tmp_path


def within_reach(allowed: np.ndarray, fov_zyx: tuple[int, int, int]) -> np.ndarray:
    """Voxels that a field of view covers whose centre is allowed."""
    return ndimage.maximum_filter(allowed, size=fov_zyx, mode="constant")


def seeds_of(stage: str) -> np.ndarray:
    """The seeds of all objects that were flooded, absolute voxels."""
    found = [stored(stage, corner) for corner in corners(stage)]
    return np.concatenate([(each["seeds_zyx"] + each["box_zyx"][0])[each["fovs"] > 0] for each in found])


EXPRESSION = "(x < 12) | (y > 30)"
MASKS = {
    "positions": (
        f'coordinate_expression {{ expression: "{EXPRESSION}" }}',
        lambda _: (X < 12) | (Y > 30),
    ),
    "positions, inverted": (
        'coordinate_expression { expression: "abs(x - 20) < 15" } invert: true',
        lambda _: abs(X - 20) >= 15,
    ),
    "a channel of a volume": (
        'volume { mask { hdf5: "classes.h5:classes" } channels { channel: 1 values: [7] } }',
        lambda _: (Y >= 18) & (Y < 30),
    ),
    "the image": (
        "image { channels { min_value: 195 max_value: 255 } }",
        lambda raw: raw >= 195,
    ),
}


@pytest.mark.parametrize("text, keeps_out", MASKS.values(), ids=MASKS)
def test_no_field_of_view_is_centred_in_a_movement_mask(place, text, keeps_out):
    masked = keeps_out(open_volume("data.h5:raw").read())
    write_config(inference=CUT, masks=f"{{ movement {{ {text} }} }}")
    assert run("--config", "c.textproto") == 0
    found, seeds = supervoxels() > 0, seeds_of("forward")
    assert not masked[tuple(seeds.T)].any()
    assert not found[~within_reach(~masked, WIDE.fov_zyx)].any()
    assert 0 < found.sum() < 0.9 * (bars() > 0).sum()


def test_a_seed_mask_keeps_seeds_out_but_not_the_flood(place):
    write_config(masks='{ seeds { coordinate_expression { expression: "x > 14" } } }')
    assert run("--config", "c.textproto") == 0
    assert seeds_of("forward")[:, 2].max() <= 14
    found, labels = supervoxels(), bars()
    along_x = np.isin(labels, np.arange(1, 9))
    assert (found[along_x] > 0).mean() > 0.8, "bars along x are flooded to their ends"
    assert not found[:, :, 40:].any(), "bars that lie behind it are not found"


def test_several_masks_are_united_and_coarse_passes_keep_to_them(place):
    volume, _ = MASKS["a channel of a volume"]
    masks = f"""{{
      movement {{ coordinate_expression {{ expression: "{EXPRESSION}" }} }}
      movement {{ {volume} }} }}"""
    write_config(inference=f"edge_context: MIRROR passes {{ {COARSE} }}", masks=masks)
    assert run("--config", "c.textproto") == 0
    masked = (X < 12) | (Y > 30) | ((Y >= 18) & (Y < 30))
    free = ~masked.reshape(20, 2, 22, 2, 24, 2).any(axis=(1, 3, 5))
    found = stored("coarse")["segmentation"] > 0
    assert found.any() and not found[~within_reach(free, WIDE.fov_zyx)].any()


def test_shifted_sections_are_not_crossed(place):
    """Sections 22 and 23 are shifted: bars along z are cut there."""
    shifts = np.zeros((2, 40, 11, 12), np.float32)
    shifts[1, 22:24] = 6
    with h5py.File("shifts.h5", "w") as file:
        file["shifts"] = shifts
    text = '{ shifts { volume { spec: "shifts.h5:shifts" } scale: 4 threshold: 5 } }'
    write_config(masks=text)
    assert run("--config", "c.textproto") == 0
    found = supervoxels()
    across = np.intersect1d(found[:22], found[24:])
    assert across.tolist() == [0] and found[:22].any() and found[24:].any()
    assert not found[22:24].any()


def test_subvolumes_that_are_masked_all_over_are_passed_over(place, monkeypatch):
    worked = []
    kept = flooding.FloodService.run
    monkeypatch.setattr(flooding.FloodService, "run", lambda *a: worked.append(a) or kept(*a))
    write_config(
        inference=CUT
        + f'passes {{ name: "forward" }} passes {{ {COARSE} fill_from: "forward" fill_min_size: 1 }}',
        masks='{ seeds { coordinate_expression { expression: "(x < 38) & (y < 18)" } }'
        ' movement { coordinate_expression { expression: "x < 38" } } }',
    )
    assert run("--config", "c.textproto") == 0
    # The four at x 0 end, with half a field of view of margin, at x 31.
    assert len(corners("forward")) == 8 and metrics()["forward"]["subvolumes"] == 8
    for corner in corners("forward"):
        result = stored("forward", corner)
        assert result["segmentation"].any() == (not corner.startswith("0_"))
        assert ("image_digest" in result["settings"]) == (not corner.startswith("0_"))
    assert len(worked) == 4 + 4, "in neither pass"
    assert supervoxels().any()
    before = contents("out")
    assert run("--config", "c.textproto") == 0
    assert contents("out") == before and len(worked) == 8


def test_a_project_masked_all_over_ends_with_nothing_and_needs_no_network(place, monkeypatch, capsys):
    def start(*_: object, **__: object) -> None:
        raise AssertionError("the network was loaded")

    monkeypatch.setattr(flooding, "FloodService", start)
    masks = '{ movement { coordinate_expression { expression: "x >= 0" } } }'
    write_config(inference=CUT + "batch_size: 1", masks=masks)
    assert run("--config", "c.textproto") == 0
    assert not supervoxels().any() and metrics()["forward"]["objects"] == 0
    assert metrics()["forward"]["coverage"] == 0
    assert len(Path("out/supervoxels.csv").read_text().splitlines()) == 1


def test_a_mask_that_was_replaced_is_noticed(place, capsys):
    text, _ = MASKS["a channel of a volume"]
    write_config(masks=f"{{ movement {{ {text} }} }}")
    assert run("--config", "c.textproto") == 0
    with h5py.File("classes.h5", "r+") as file:
        file["classes"][1, 2] = 7
    assert run("--config", "c.textproto") == 2
    assert "movement_digest" in capsys.readouterr().err


# google/ffn's requests

BOX = "start { x: 4 y: 2 z: 0 } size { x: 40 y: 42 z: 40 }"


@pytest.fixture
def request_of(place: Path):
    """Gives a request with more fields; coordinates count from the corner of the file, x first."""
    write_checkpoint("model.ckpt-7", TINY)

    def text(*more: str) -> str:
        return REQUEST.replace("DEPTH", "1") + "\n".join(more)

    return text


def request_result(text: str) -> dict[str, np.ndarray]:
    assert run("--inference_request", text, "--bounding_box", BOX) == 0
    with np.load("results/4/2/seg-4_2_0.npz") as file:
        return {name: file[name] for name in file.files}


def test_a_request_keeps_to_its_masks(request_of):
    text = request_of(
        f'masks {{ coordinate_expression {{ expression: "{EXPRESSION}" }} }}',
        'seed_masks { volume { mask { hdf5: "classes.h5:classes" } channels { channel: 1 values: [7] } } }',
    )
    result = request_result(text)
    seeds = result["seeds_zyx"] + (0, 2, 4)
    assert len(seeds) and not ((seeds[:, 2] < 12) | (seeds[:, 1] > 30)).any()
    assert not ((seeds[:, 1] >= 18) & (seeds[:, 1] < 30)).any()
    reach = within_reach(~((X < 12) | (Y > 30)), TINY.fov_zyx)[:40, 2:44, 4:44]
    assert result["segmentation"].any() and not result["segmentation"][~reach].any()


def test_a_request_with_an_offset_image_counts_its_masks_from_the_corner(request_of):
    text = request_of(f'masks {{ coordinate_expression {{ expression: "{EXPRESSION}" }} }}')
    expected = request_result(text)["segmentation"]
    raw = open_volume("data.h5:raw").read()
    write_volumes("moved.h5", (100, 200, 300), raw=raw)
    moved = text.replace("data.h5", "moved.h5").replace('"results"', '"moved"')
    assert run("--inference_request", moved, "--bounding_box", BOX) == 0
    np.testing.assert_array_equal(np.load("moved/4/2/seg-4_2_0.npz")["segmentation"], expected)


def test_a_request_begins_with_the_segmentation_it_names(request_of):
    there = np.where(bars() % 2 == 1, bars().astype(np.uint64) + 40, 0)
    write_volumes("there.h5", seg=there)
    result = request_result(request_of('init_segmentation { hdf5: "there.h5:seg" }'))
    before, found = there[:, 2:44, 4:44], result["segmentation"]
    np.testing.assert_array_equal(found[before > 0], before[before > 0])
    new = np.setdiff1d(found, before)
    assert len(new) >= 5 and new.min() > before.max()
    old = np.isin(result["object_ids"], before)
    assert (result["fovs"][old] == 0).all() and (result["fovs"][~old] > 0).all()


def test_a_request_does_not_cross_shifted_sections(request_of):
    shifts = np.zeros((2, *BARS_SHAPE), np.int16)
    shifts[0, 22:24] = -6
    with h5py.File("shifts.h5", "w") as file:
        file["shifts"] = shifts
    text = request_of('shift_mask { hdf5: "shifts.h5:shifts" } shift_mask_threshold: 6')
    found = request_result(text)["segmentation"]
    assert np.intersect1d(found[:22], found[24:]).tolist() == [0] and found[24:].any()


def test_a_request_gives_arguments_to_its_seed_policy(request_of):
    text = request_of('seed_policy_args: \'{"step": 8, "offsets": [0, 3]}\'')
    result = request_result(text.replace('"PolicyPeaks"', '"PolicyGrid3d"'))
    seeds = result["seeds_zyx"]
    assert len(seeds) > 3 and ((seeds % 8 == 0).all(1) | (seeds % 8 == 3).all(1)).all()
    assert json.loads(str(result["settings"]))["seed_policy"] == "PolicyGrid3d"


REFUSALS = {
    "a mask that is not there": ('masks { volume { mask { hdf5: "no.h5:mask" } channels { } } }', "no.h5"),
    "a channel that is not there": (
        'masks { volume { mask { hdf5: "classes.h5:classes" } channels { channel: 2 } } }',
        "channel 2",
    ),
    "an expression that is code": (
        'seed_masks { coordinate_expression { expression: "open(x)" } }',
        "open",
    ),
    "a shift mask without threshold": ('shift_mask { hdf5: "classes.h5:classes" }', "shift_mask_threshold"),
    "a segmentation that is not there": ('init_segmentation { hdf5: "no.h5:seg" }', "no.h5"),
    "an argument that the policy does not take": ("seed_policy_args: '{\"step\": 8}'", "PolicyPeaks"),
}


@pytest.mark.parametrize("more, says", REFUSALS.values(), ids=REFUSALS)
def test_a_request_that_asks_for_what_cannot_be_is_refused_in_one_line(request_of, capsys, more, says):
    assert run("--inference_request", request_of(more), "--bounding_box", BOX) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error
    assert not Path("results").exists()
