"""Passes of one project: combined by consensus and by filling, at several resolutions, each as it is set."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_project import (
    BARS_SHAPE,
    CUT,
    WIDE,
    bars,
    corners,
    lit_bars,
    make_bars,
    metrics,
    run,
    save_threshold_network,
    stored,
    supervoxels,
    write_config,
    write_volumes,
)

from inference.results import SubvolumeResult, save_result
from inference.surroundings import objects_at
from jobs.plan import Subvolume
from volumes import Box, open_volume
from volumes.derived import to_coarse
from volumes.pyramid import create_pyramid, fill_scale

# Whole projects are run.
pytestmark = pytest.mark.slow

TWO = 'passes { name: "forward" } passes { name: "reversed" seed_order: REVERSED }'
# Where bars are three voxels wide, a grid finds them more surely than distances from edges do.
GRID = """seed_policy: "PolicyGrid3d" seed_policy_args: '{"step": 2, "offsets": [0]}'"""
COARSE = f'name: "coarse" voxel_size_nm {{ z: 20 y: 20 x: 20 }} options {{ min_segment_size: 10 }} {GRID}'
CUT_Y = "subvolumes { size { z: 40 y: 27 x: 48 } overlap { z: 14 y: 7 x: 14 } }"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with `bars` in the working directory."""
    monkeypatch.chdir(tmp_path)
    make_bars()
    return tmp_path


def pieces_of(*segmentations: np.ndarray) -> set[frozenset[int]]:
    """The sets of voxels that carry the same labels in all segmentations, the first of them above 0."""
    rows = np.stack([each.ravel() for each in segmentations])
    _, piece = np.unique(rows, axis=1, return_inverse=True)
    inside = np.flatnonzero(rows[0])
    order = inside[np.argsort(piece.ravel()[inside], kind="stable")]
    cuts = np.flatnonzero(np.diff(piece.ravel()[order])) + 1
    return {frozenset(part.tolist()) for part in np.split(order, cuts)}


def enlarged(result: dict[str, np.ndarray], box: Box, factor: int = 2) -> np.ndarray:
    """A coarse result voxel by voxel on the fine grid of a box."""
    fine = result["segmentation"].repeat(factor, 0).repeat(factor, 1).repeat(factor, 2)
    z, y, x = (low - first * factor for low, first in zip(box.start, result["box_zyx"][0], strict=True))
    return fine[z : z + box.shape[0], y : y + box.shape[1], x : x + box.shape[2]]


# Consensus


def test_forward_and_reversed_seeds_are_combined_into_the_stage_consensus(place):
    write_config(
        inference=TWO + CUT,
        consensus="{ min_size: 1 split_components: false }",
    )
    assert run("--config", "c.textproto") == 0
    assert set(metrics()) == {"forward", "reversed", "consensus"}
    assert metrics()["consensus"]["subvolumes"] == 8 and metrics()["consensus"]["objects"] > 0
    assert corners("consensus") == corners("forward") and len(corners("forward")) == 8
    for corner in corners("forward"):
        passes = [stored(name, corner)["segmentation"] for name in ("forward", "reversed")]
        assert pieces_of(stored("consensus", corner)["segmentation"]) == pieces_of(*passes)


def test_a_coarse_pass_joins_in_the_stage_multiresolution_on_the_finest_grid(place, capsys):
    save_threshold_network("coarse.ffn.h5", voxel_size_nm=(20, 20, 20))
    coarse = f'passes {{ {COARSE} network {{ weights: "coarse.ffn.h5" }} }}'
    write_config(inference=TWO + coarse + CUT_Y, consensus="{ min_size: 1 split_components: false }")
    assert run("--config", "c.textproto") == 0
    assert list(metrics()) == ["forward", "reversed", "coarse", "consensus", "multiresolution"]
    assert metrics()["coarse"]["voxels"] == np.prod(BARS_SHAPE), "figures of all stages are of raw voxels"
    assert "trained" not in capsys.readouterr().err
    starts = {corner: int(corner.split("_")[1]) for corner in corners("coarse")}
    assert any(start % 2 for start in starts.values()), "a subvolume that begins within a coarse voxel"
    for corner in corners("coarse"):
        result = stored("coarse", corner)
        box = Box(*map(tuple, stored("consensus", corner)["box_zyx"].tolist()))
        assert result["box_zyx"].tolist() == [
            list(end) for end in (to_coarse(box, (2, 2, 2)).start, to_coarse(box, (2, 2, 2)).stop)
        ]
        fine = [stored(name, corner)["segmentation"] for name in ("forward", "reversed")]
        found = stored("multiresolution", corner)["segmentation"]
        assert found.shape == box.shape
        assert pieces_of(found) == pieces_of(*fine, enlarged(result, box))


def test_consensus_folds_the_passes_that_are_named(place):
    write_config(
        inference=TWO + 'passes { name: "third" options { min_segment_size: 40 } }',
        consensus='{ passes: "third" passes: "forward" min_size: 30 }',
    )
    assert run("--config", "c.textproto") == 0
    made_from = stored("consensus")["settings"]
    assert list(made_from["passes"]) == ["forward", "third"] and made_from["consensus_min_size"] == 30


WRONG_PASSES = {
    "an unknown pass": ('consensus { passes: "forward" passes: "b" }', "names 'b', which is no pass"),
    "a pass twice": ('consensus { passes: "forward" passes: "forward" }', "names a pass twice"),
    "one pass": ('consensus { passes: "forward" }', "names one pass alone"),
    "filling from a later pass": (
        'inference { passes { name: "a" fill_from: "b" } passes { name: "b" } }',
        "fills from 'b', which is no pass before it",
    ),
    "voxels that do not fit": (
        'inference { passes { name: "a" voxel_size_nm { z: 30 y: 30 x: 30 } }'
        ' passes { name: "b" fill_from: "a" voxel_size_nm { z: 20 y: 20 x: 20 } } }',
        "a whole multiple of the other",
    ),
    "no whole multiple": (
        'inference { passes { name: "a" voxel_size_nm { z: 10 y: 15 x: 10 } } }',
        "15",
    ),
    "a reserved name": ('inference { passes { name: "consensus" } }', "stage of its own"),
    "an unknown seed policy": (
        'inference { passes { name: "a" seed_policy: "PolicyGird3d" } }',
        "choose one of PolicyDenseSeeds, PolicyFillEmptySpace, PolicyGrid2d, PolicyGrid3d,",
    ),
    "an argument that a policy does not take": (
        'inference { passes { name: "a" seed_policy: "PolicyGrid3d" seed_policy_args: \'{"stop": 3}\' } }',
        "step",
    ),
}  # fmt: skip


@pytest.mark.parametrize("text, says", WRONG_PASSES.values(), ids=WRONG_PASSES)
def test_passes_that_cannot_be_are_refused_before_any_work(place, capsys, text, says):
    base = Path("c.textproto").read_text()
    if text.startswith("inference"):
        base = "\n".join(line for line in base.splitlines() if not line.startswith("inference"))
    elif "passes" not in base:
        base = base.replace("inference {", f"inference {{ {TWO}")
    Path("c.textproto").write_text(f"{base}\n{text}")
    assert run("--config", "c.textproto") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error
    assert not Path("out").exists()


# Filling


def test_a_finer_pass_fills_what_the_large_objects_of_a_coarser_one_left(tmp_path, monkeypatch):
    """Thick bars, and whatever reaches the cut, are taken from the coarse pass; thin ones are found anew."""
    monkeypatch.chdir(tmp_path)
    labels = bars()
    thin = np.zeros_like(labels)
    thin[37:, 5:8, :16] = thin[37:, 30:33, :16] = 99
    grey = np.maximum(lit_bars(labels), np.where(thin > 0, 200, 0)).astype(np.uint8)
    write_volumes("data.h5", raw=grey, labels=labels + thin)
    save_threshold_network(architecture=WIDE)
    save_threshold_network("coarse.ffn.h5")
    passes = f"""
      passes {{ {COARSE} network {{ weights: "coarse.ffn.h5" }} }}
      passes {{ name: "fine" fill_from: "coarse" fill_min_size: 700 {GRID.replace("2", "3")} }}"""
    cut = "edge_context: MIRROR subvolumes { size { z: 40 y: 44 x: 29 } overlap { z: 14 y: 8 x: 9 } }"
    write_config(inference=passes + cut)
    assert run("--config", "c.textproto") == 0
    assert list(metrics()) == ["coarse", "fine"], "a pass that was filled from is no vote of its own"
    added = 0
    for corner in corners("fine"):
        fine, coarse = stored("fine", corner), stored("coarse", corner)
        box = Box(*map(tuple, fine["box_zyx"].tolist()))
        before, found = enlarged(coarse, box), fine["segmentation"]
        sizes = np.bincount(before.ravel())
        reaching = before[:, :, -1 if box.start[2] == 0 else 0]
        large = [i for i in range(1, len(sizes)) if sizes[i] >= 700 or i in reaching]
        assert large
        for i in large:
            assert len(np.unique(found[before == i])) == 1 and found[before == i].all()
        kept = np.isin(before, large)
        assert set(np.unique(found[kept])).isdisjoint(np.unique(found[~kept & (found > 0)]))
        there = np.isin(fine["object_ids"], np.unique(found[kept]))
        assert (fine["fovs"][there] == 0).all() and (fine["seeds_zyx"][there] == -1).all()
        assert (fine["fovs"][~there] > 0).all()
        added += (~there).sum()
    assert added >= 2
    assert (supervoxels()[thin > 0] > 0).mean() > 0.9
    assert metrics()["fine"]["coverage"] > metrics()["coarse"]["coverage"]


def test_a_coarser_pass_can_fill_what_a_finer_one_left(place):
    """Rare, but it must not be off by a voxel: odd corners, more coarse voxels than halves of fine ones."""
    write_config(
        inference=f"""subvolumes {{ size {{ z: 40 y: 27 x: 29 }} overlap {{ z: 14 y: 7 x: 9 }} }}
        passes {{ name: "fine" options {{ min_segment_size: 1500 }} }}
        passes {{ {COARSE} fill_from: "fine" fill_min_size: 1 }}"""
    )
    assert run("--config", "c.textproto") == 0
    for corner in corners("coarse"):
        coarse, fine = stored("coarse", corner), stored("fine", corner)
        found = enlarged(coarse, Box(*map(tuple, fine["box_zyx"].tolist())))
        inherited = np.isin(found, coarse["object_ids"][coarse["fovs"] == 0])
        before = fine["segmentation"]
        assert (before > 0).any() == inherited.any()
        if inherited.any():
            shared = (inherited & (before > 0)).sum()
            assert shared > 0.75 * inherited.sum() and shared > 0.75 * (before > 0).sum()


grids = st.tuples(*[st.sampled_from([1, 2, 4])] * 3)


@given(own=grids, wanted=grids, start=st.tuples(*[st.integers(0, 5)] * 3), seed=st.integers(0, 99))
def test_objects_on_another_grid_are_those_of_the_voxels_in_it(tmp_path_factory, own, wanted, start, seed):
    folder = tmp_path_factory.mktemp("stage")
    box = Box.from_shape((7, 6, 5), start)
    own_box, wanted_box = to_coarse(box, own), to_coarse(box, wanted)
    labels = np.random.default_rng(seed).integers(0, 3, own_box.shape).astype(np.int32)
    none = np.zeros(0, np.int64)
    save_result(folder, SubvolumeResult(own_box, labels, labels, none, none, none, {}, {}), box.start)
    workspace = SimpleNamespace(stage_directory=lambda _: folder, passes={"a": SimpleNamespace(factors=own)})
    found, _ = objects_at(workspace, "a", Subvolume((0, 0, 0), "0_0_0", box, box), wanted)
    assert found.shape == wanted_box.shape
    common = np.minimum(own, wanted)
    there = to_coarse(box, common.tolist())
    for place in product(*map(range, wanted_box.start, wanted_box.stop)):
        low = np.maximum(np.array(place) * wanted // common, there.start)
        high = np.minimum((np.array(place) + 1) * wanted // common, there.stop)
        parts = [
            labels[tuple(np.array(at) * common // own - own_box.start)]
            for at in product(*map(range, low, high))
        ]
        values, counts = np.unique(parts, return_counts=True)
        assert counts[values == found[tuple(np.subtract(place, wanted_box.start))]] == counts.max()


# What a pass is given


def test_an_existing_coarser_scale_gives_what_resampling_gives(place):
    with open_volume("data.h5:raw") as raw:
        spec = f"precomputed://file://{place}/image"
        scales = create_pyramid(
            spec, bounds=raw.bounds, dtype=raw.dtype, voxel_size_nm=raw.voxel_size_nm, scales=2
        )
        scales[0].write(raw.bounds, raw.read())
        fill_scale(scales[0], scales[1], (2, 2, 2), scales[1].bounds)
    write_config(
        inference=f"""{CUT_Y}
        passes {{ {COARSE} }}
        passes {{ name: "scale" image {{ spec: "{spec}#1" }} options {{ min_segment_size: 10 }} {GRID} }}"""
    )
    assert run("--config", "c.textproto") == 0
    assert len(corners("coarse")) > 1
    for corner in corners("coarse"):
        first, second = stored("coarse", corner), stored("scale", corner)
        assert first["segmentation"].any()
        np.testing.assert_array_equal(first["segmentation"], second["segmentation"])
        assert second["settings"]["image"].endswith("image#1")


def test_a_scale_of_another_size_than_the_pass_is_refused(place, capsys):
    write_config(
        inference='passes { name: "a" voxel_size_nm { z: 20 y: 20 x: 20 } image { spec: "data.h5:raw" } }'
    )
    assert run("--config", "c.textproto") == 2
    assert "its image has (10.0, 10.0, 10.0) nm" in capsys.readouterr().err


def test_every_pass_has_the_network_and_the_options_it_is_given(place):
    """The second sees only the bright axes of bars, and keeps only long ones."""
    save_threshold_network("strict.ffn.h5", WIDE, image_mean=174)
    passes = """
      passes { name: "usual" }
      passes {
        name: "strict"
        network { weights: "strict.ffn.h5" image_stddev: 20 }
        options { min_segment_size: 500 segment_threshold: 0.7 }
      }"""
    write_config(inference=passes)
    assert run("--config", "c.textproto") == 0
    usual, strict = stored("usual"), stored("strict")
    assert (usual["settings"]["image_mean"], usual["settings"]["image_stddev"]) == (128, 64)
    assert (strict["settings"]["image_mean"], strict["settings"]["image_stddev"]) == (174, 20)
    assert strict["settings"]["options"]["segment_threshold"] == 0.7
    assert usual["settings"]["options"]["min_segment_size"] == 10
    sizes = np.bincount(strict["segmentation"].ravel())[1:]
    assert len(sizes) and sizes.min() >= 500
    assert 0 < (strict["segmentation"] > 0).sum() < 0.7 * (usual["segmentation"] > 0).sum()
    assert usual["settings"]["network"] == strict["settings"]["network"], "the same weights"


# Seeds


def seeds_of(name: str, corner: str = "0_0_0") -> list[list[int]]:
    """The seeds that became objects, voxels of the whole volume, in the order of the objects."""
    found = stored(name, corner)
    return (found["seeds_zyx"] + found["box_zyx"][0]).tolist()


def policy(name: str, seed_policy: str, **arguments: object) -> str:
    args = json.dumps(arguments)
    return f"passes {{ name: '{name}' seed_policy: '{seed_policy}' seed_policy_args: '{args}' }}"


def test_seed_policies_are_chosen_and_given_arguments_in_the_config(place):
    points = [[30, 5, 12], [6, 16, 30], [17, 20, 5]]
    Path("points.csv").write_text("z,y,x\n" + "\n".join(",".join(map(str, p)) for p in points))
    write_config(
        inference="".join(
            [
                policy("grid", "PolicyGrid3d", step=6, offsets=[0, 3]),
                policy(
                    "backwards", "ReverseCoords", policy_to_reverse="PolicyGrid3d", step=6, offsets=[0, 3]
                ),
                policy("points", "PolicyPoints", points_zyx=points),
                policy("google", "seed.PolicyPeaks2d", min_distance=5),
                policy(
                    "two",
                    "SequentialPolicies",
                    policies=[["PolicyPoints", {"points_zyx": points[:1]}], ["PolicyPeaks", {}]],
                ),
                policy("again", "PolicyInvertOrigins", segmentation_dir="out/passes/points"),
            ]
        )
    )
    assert run("--config", "c.textproto") == 0
    assert all(
        (np.array(seed) % 6 == 0).all() or (np.array(seed) % 6 == 3).all() for seed in seeds_of("grid")
    )
    lattice = [s for offset in (0, 3) for s in product(*(range(offset, n, 6) for n in BARS_SHAPE))]
    tried = [lattice.index(tuple(seed)) for seed in seeds_of("grid")]
    assert len(tried) > 5 and tried == sorted(tried)
    tried = [lattice.index(tuple(seed)) for seed in seeds_of("backwards")]
    assert len(tried) > 5 and tried == sorted(tried, reverse=True)
    assert seeds_of("points") == points and seeds_of("again") == points[::-1]
    assert seeds_of("two")[0] == points[0] and len(seeds_of("two")) > 5
    assert len(seeds_of("google")) > 5


def test_points_are_voxels_of_the_whole_volume_whatever_is_segmented(place):
    points = [[30, 38, 40], [30, 38, 12], [6, 5, 5]]
    region = "box { start { z: 11 y: 15 x: 3 } shape { z: 29 y: 29 x: 45 } }"
    cut = "subvolumes { size { z: 29 y: 29 x: 26 } overlap { z: 6 y: 6 x: 6 } }"
    write_config(inference=policy("points", "PolicyPoints", points_zyx=points) + region + cut)
    assert run("--config", "c.textproto") == 0
    found = [seed for corner in corners("points") for seed in seeds_of("points", corner)]
    assert sorted(found) == sorted(points[:2])


def test_points_of_another_file_under_the_same_name_are_noticed(place, capsys):
    write_config(inference=policy("points", "PolicyPoints", points_path="points.csv"))
    for text, code in (("30,5,12\n", 0), ("30,16,12\n", 2)):
        Path("points.csv").write_text("z,y,x\n" + text)
        assert run("--config", "c.textproto") == code
    assert "points_path" in capsys.readouterr().err


# Grey values


def test_preprocessing_changes_what_the_network_sees_and_is_a_setting_of_its_own(place, capsys):
    with open_volume("data.h5:raw") as raw:
        write_volumes("inverted.h5", raw=255 - raw.read())
    assert run("--config", "c.textproto") == 0
    usual = stored("forward")["segmentation"]
    write_config(raw="inverted.h5:raw", output_dir='"dark"')
    assert run("--config", "c.textproto") == 0
    assert not np.array_equal(stored("forward", output="dark")["segmentation"] > 0, usual > 0)
    write_config(raw="inverted.h5:raw", output_dir='"turned"', preprocessing="{ invert: true }")
    assert run("--config", "c.textproto") == 0
    np.testing.assert_array_equal(stored("forward", output="turned")["segmentation"], usual)
    capsys.readouterr()
    write_config(raw="inverted.h5:raw", output_dir='"turned"')
    assert run("--config", "c.textproto") == 2
    assert "preprocessing" in capsys.readouterr().err


def test_coarse_passes_see_the_preprocessed_image(place):
    with open_volume("data.h5:raw") as raw:
        write_volumes("inverted.h5", raw=255 - raw.read())
    for output, spec, more in (("a", "data.h5:raw", ""), ("b", "inverted.h5:raw", "invert: true")):
        write_config(
            raw=spec,
            output_dir=f'"{output}"',
            preprocessing=f"{{ {more} }}",
            inference=f"passes {{ {COARSE} }}",
        )
        assert run("--config", "c.textproto") == 0
    first, second = (stored("coarse", output=output)["segmentation"] for output in "ab")
    # A mean that lies halfway between two grey values is rounded to the even one, before or after inversion.
    assert first.any() and ((first > 0) == (second > 0)).mean() > 0.99
