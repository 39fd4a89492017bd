"""Seed policies: google/ffn's names and arguments, every one an error that helps when it is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from configs import ConfigError
from ffn.seed_policies import SeedContext, check_seed_policy, make_seeds
from ffn.seeds import peak_seeds

KNOWN = (
    "PolicyDenseSeeds", "PolicyFillEmptySpace", "PolicyGrid2d", "PolicyGrid3d", "PolicyImagePeaks2DDisk",
    "PolicyImagePeaks3D2D", "PolicyInvertOrigins", "PolicyMax", "PolicyMaxPeaks", "PolicyPeaks",
    "PolicyPeaks2d", "PolicyPoints", "ReverseCoords", "SequentialPolicies",
)  # fmt: skip


def dark(
    shape: tuple[int, int, int], lit: dict[tuple[int, int, int], float], rest: float = 0.0
) -> np.ndarray:
    image = np.full(shape, rest, np.float32)
    for place, value in lit.items():
        image[place] = value
    return image


def context(image: np.ndarray, fov: tuple[int, int, int] = (1, 1, 1), **others: object) -> SeedContext:
    return replace(SeedContext(image, fov), **others)  # type: ignore[arg-type]


def seeds_of(name: str, where: SeedContext, /, **arguments: object) -> list[tuple[int, ...]]:
    args_json = json.dumps(arguments)
    check_seed_policy(name, args_json)
    seeds = make_seeds(name, args_json, where)
    assert seeds.dtype == np.int64 and seeds.shape[1:] == (3,)
    return [tuple(seed) for seed in seeds.tolist()]


@pytest.fixture(scope="module")
def tissue() -> SeedContext:
    """Smooth noise with a mask, objects, a field of view, a corner and a stored segmentation."""
    image = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(24, 40, 44)), 2)
    mask, segmentation = np.zeros(image.shape, bool), np.zeros(image.shape, np.int32)
    mask[:, :12] = True
    segmentation[:, 30:, :20] = 4
    segmentation[[0, -1]] = segmentation[:, [0, -1]] = segmentation[:, :, [0, -1]] = 5
    return SeedContext(
        (image / image.std()).astype(np.float32),
        (5, 7, 9),
        segmentation=segmentation,
        mask=mask,
        corner_zyx=(100, 200, 300),
        load_origins=lambda _, __: np.argwhere(np.ones((24, 40, 44)))[::97],
    )


EVERYWHERE = [[z, y, x] for z, y, x in product(range(95, 130, 3), range(195, 245, 3), range(295, 350, 3))]
ARGUMENTS: dict[str, dict[str, object]] = {
    "PolicyInvertOrigins": {"segmentation_dir": "passes/a"},
    "PolicyPoints": {"points_zyx": EVERYWHERE},
    "ReverseCoords": {"policy_to_reverse": "PolicyGrid3d"},
    "SequentialPolicies": {"policies": [["PolicyGrid2d", {}], ["PolicyPeaks", {}]]},
    "PolicyPeaks2d": {"min_distance": 2, "threshold_abs": 0},
}


@pytest.mark.parametrize("name", KNOWN)
def test_no_seed_leaves_the_canvas_or_lies_on_a_mask_or_an_object(name: str, tissue: SeedContext) -> None:
    seeds = np.array(seeds_of(name, tissue, **ARGUMENTS.get(name, {})))
    assert len(seeds) > 3
    assert (seeds >= (2, 3, 4)).all() and (seeds < (22, 37, 40)).all()
    assert tissue.mask is not None and tissue.segmentation is not None
    assert not tissue.mask[tuple(seeds.T)].any() and not tissue.segmentation[tuple(seeds.T)].any()


@pytest.mark.parametrize("name", KNOWN)
def test_the_same_seeds_come_whatever_was_drawn_before(name: str, tissue: SeedContext) -> None:
    before = seeds_of(name, tissue, **ARGUMENTS.get(name, {}))
    np.random.seed(5)
    assert seeds_of(name, tissue, **ARGUMENTS.get(name, {})) == before
    assert np.random.rand() == np.random.RandomState(5).rand()


@pytest.mark.parametrize("name", sorted(set(KNOWN) - {"PolicyPoints"}))
def test_an_image_smaller_than_the_field_of_view_has_no_seeds(name: str, tissue: SeedContext) -> None:
    assert tissue.segmentation is not None and tissue.mask is not None
    small = replace(
        tissue,
        image=tissue.image[:4, :4, :4],
        segmentation=tissue.segmentation[:4, :4, :4],
        mask=tissue.mask[:4, :4, :4],
    )
    assert seeds_of(name, small, **ARGUMENTS.get(name, {})) == []


@pytest.mark.parametrize("args_json", [None, "", "{}"])
@pytest.mark.parametrize("name", ["PolicyPeaks", "seed.PolicyPeaks", "ffn.inference.seed.PolicyPeaks"])
def test_peaks_are_those_of_peak_seeds(name: str, args_json: str | None, tissue: SeedContext) -> None:
    thick = replace(tissue, voxel_size_nm=(20.0, 10.0, 10.0))
    expected = peak_seeds(
        tissue.image,
        tissue.fov_zyx,
        voxel_size_nm=(2.0, 1.0, 1.0),
        segmentation=tissue.segmentation,
        mask=tissue.mask,
    )
    np.testing.assert_array_equal(make_seeds(name, args_json, thick), expected)


@pytest.fixture(scope="module")
def lines() -> np.ndarray:
    """Two sections with lit lines at x = 8 and 39, whose edges are at 7, 9, 38, 40; a dark one between."""
    image = np.zeros((3, 40, 48), np.float32)
    image[::2, :, [8, 39]] = 1
    return image


class TestPeaks2d:
    def test_lie_in_the_middle_between_edges_of_their_own_section(self, lines: np.ndarray) -> None:
        seeds = seeds_of("PolicyPeaks2d", context(lines))
        assert {z for z, _, _ in seeds} == {0, 2}
        assert {x for _, _, x in seeds} <= {23, 24}
        assert [(y, x) for z, y, x in seeds if z == 0] == [(y, x) for z, y, x in seeds if z == 2]
        assert seeds == sorted(seeds)

    @pytest.mark.parametrize("word", ["descending", "Descending "])
    def test_come_last_first_when_asked(self, lines: np.ndarray, word: str) -> None:
        ascending = seeds_of("PolicyPeaks2d", context(lines), sort_cmp="ascending")
        assert seeds_of("PolicyPeaks2d", context(lines), sort_cmp=word) == ascending[::-1]

    def test_are_farther_from_edges_than_the_threshold(self, lines: np.ndarray) -> None:
        assert seeds_of("PolicyPeaks2d", context(lines), threshold_abs=13.9) != []
        assert seeds_of("PolicyPeaks2d", context(lines), threshold_abs=14.1) == []

    @pytest.mark.parametrize("distance", [1, 2, 3])
    def test_keep_their_distance(self, lines: np.ndarray, distance: int) -> None:
        seeds = seeds_of("PolicyPeaks2d", context(lines), min_distance=distance, threshold_abs=3)
        rows = [y for z, y, _ in seeds if z == 0]
        assert min(np.diff(rows)) > distance and len(rows) >= 3
        assert distance <= rows[0] and rows[-1] < 40 - distance

    def test_are_none_in_sections_too_small_for_their_distance(self, lines: np.ndarray) -> None:
        assert seeds_of("PolicyPeaks2d", context(lines), min_distance=20) == []

    def test_are_measured_to_masks_too(self, lines: np.ndarray) -> None:
        mask = np.zeros(lines.shape, bool)
        mask[0, :, 30:] = True
        seeds = seeds_of("PolicyPeaks2d", context(lines, mask=mask))
        assert {x for z, _, x in seeds if z == 0} <= {19, 20} and {x for z, _, x in seeds if z == 2} <= {
            23,
            24,
        }


class TestFillEmptySpace:
    def test_seeds_lie_in_the_middle_between_objects(self) -> None:
        segmentation = np.zeros((13, 20, 20), np.int32)
        segmentation[0], segmentation[12] = 1, 2
        seeds = seeds_of(
            "PolicyFillEmptySpace", context(np.zeros(segmentation.shape), segmentation=segmentation)
        )
        assert seeds and {z for z, _, _ in seeds} == {6}
        assert seeds == sorted(seeds)

    def test_a_canvas_without_objects_has_no_seeds(self) -> None:
        nothing = np.zeros((9, 9, 9), np.int32)
        assert (
            seeds_of("PolicyFillEmptySpace", context(nothing.astype(np.float32), segmentation=nothing)) == []
        )

    def test_a_pass_without_an_earlier_segmentation_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="PolicyFillEmptySpace .* start from a segmentation"):
            seeds_of("PolicyFillEmptySpace", context(np.zeros((9, 9, 9), np.float32)))


def test_all_voxels_from_the_brightest_down() -> None:
    image = np.array([[[2, 5, -1], [5, 0, 7]], [[2, 9, 3], [4, 1, 2]]], np.float32)
    assert seeds_of("PolicyMax", context(image)) == [
        (1, 0, 1), (0, 1, 2), (0, 0, 1), (0, 1, 0), (1, 1, 0), (1, 0, 2),
        (0, 0, 0), (1, 0, 0), (1, 1, 2), (1, 1, 1), (0, 1, 1), (0, 0, 2),
    ]  # fmt: skip


def test_bright_peaks_are_above_the_mean_and_outside_objects() -> None:
    lit = {(4, 4, 4): 3.0, (4, 4, 12): 2.0, (9, 11, 11): 1.0, (10, 10, 10): -0.1, (9, 4, 4): 8.0}
    image = dark((14, 16, 16), lit, rest=-1)
    segmentation = np.zeros(image.shape, np.int32)
    segmentation[9, 4, 4] = 1
    where = context(image, segmentation=segmentation)
    assert seeds_of("PolicyMaxPeaks", where) == [(4, 4, 4), (4, 4, 12), (9, 11, 11)]


class TestImagePeaks:
    BRIGHT, BESIDE, SECOND = (5, 6, 6), (6, 6, 8), (6, 14, 14)
    IMAGE = dark((12, 20, 20), {BRIGHT: 9, BESIDE: 5, SECOND: 7})

    def test_those_of_the_volume_come_before_those_of_sections(self) -> None:
        seeds = seeds_of("PolicyImagePeaks3D2D", context(self.IMAGE))
        assert seeds == [self.BRIGHT, self.SECOND, self.BRIGHT, self.SECOND, self.BESIDE]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"min_distance_3d": -1}, [BRIGHT, SECOND, BESIDE]),
            ({"min_distance_2d": -1}, [BRIGHT, SECOND]),
            ({"min_distance_2d": -1, "min_distance_3d": 1}, [BRIGHT, SECOND, BESIDE]),
            ({"min_distance_2d": -1, "min_distance_3d": -2}, []),
        ],
    )
    def test_either_can_be_left_out(self, arguments: dict[str, int], expected: list[object]) -> None:
        assert seeds_of("PolicyImagePeaks3D2D", context(self.IMAGE), **arguments) == expected

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({}, [BRIGHT, SECOND, BESIDE]),
            ({"threshold_rel": 0.8}, [BRIGHT, SECOND]),
            ({"min_distance_2d": 10}, []),
            ({"disk_radius": 12}, [BRIGHT, SECOND]),
        ],
    )
    def test_of_disks(self, arguments: dict[str, float], expected: list[object]) -> None:
        assert seeds_of("PolicyImagePeaks2DDisk", context(self.IMAGE), **arguments) == expected


class TestGrids:
    def test_one_grid_follows_the_other(self) -> None:
        image = np.zeros((4, 3, 4), np.float32)
        solid = seeds_of("PolicyGrid3d", context(image), step=2, offsets=[1, 0])
        assert solid == [(z, 1, x) for z in (1, 3) for x in (1, 3)] + list(product((0, 2), (0, 2), (0, 2)))

    def test_2d_grids_are_in_every_section(self) -> None:
        flat = seeds_of("PolicyGrid2d", context(np.zeros((2, 5, 3), np.float32)), step=3, offsets=[0, 2])
        assert flat == [(0, 0, 0), (0, 3, 0), (1, 0, 0), (1, 3, 0), (0, 2, 2), (1, 2, 2)]

    def test_without_arguments_are_those_of_google_ffn(self) -> None:
        where = context(np.zeros((20, 20, 20), np.float32))
        offsets = (0, 8, 4, 12, 2, 10, 14)
        solid = [each for n in offsets for each in product(range(n, 20, 16), repeat=3)]
        assert seeds_of("PolicyGrid3d", where) == solid
        flat = [
            (z, y, x)
            for n in (0, 8, 4, 12, 2, 6, 10, 14)
            for z in range(20)
            for y in range(n, 20, 16)
            for x in range(n, 20, 16)
        ]
        assert seeds_of("PolicyGrid2d", where) == flat

    def test_may_have_no_point(self) -> None:
        assert seeds_of("PolicyGrid3d", context(np.zeros((4, 4, 4), np.float32)), offsets=[]) == []
        assert seeds_of("PolicyGrid3d", context(np.zeros((4, 4, 4), np.float32)), offsets=[4]) == []


class TestInvertedOrigins:
    def test_are_the_seeds_of_objects_last_one_first(self) -> None:
        asked: list[tuple[str, Sequence[int]]] = []

        def load(directory: str, corner: Sequence[int]) -> np.ndarray:
            asked.append((directory, corner))
            return np.array([[3, 3, 3], [-1, -1, -1], [1, 2, 3], [2, 2, 2]], np.int32)

        where = context(np.zeros((6, 6, 6), np.float32), corner_zyx=(10, 20, 30), load_origins=load)
        expected = [(2, 2, 2), (1, 2, 3), (3, 3, 3)]
        assert seeds_of("PolicyInvertOrigins", where, segmentation_dir="a") == expected
        assert seeds_of("PolicyInvertOrigins", where, segmentation_dir="b", corner=[7, 8, 9]) == expected
        assert asked == [("a", (10, 20, 30)), ("b", (7, 8, 9))]

    def test_of_no_objects_are_none(self) -> None:
        image = np.zeros((6, 6, 6), np.float32)
        where = context(image, load_origins=lambda _, __: np.empty((0, 3), np.int64))
        assert seeds_of("PolicyInvertOrigins", where, segmentation_dir="a") == []

    def test_need_stored_segmentations(self) -> None:
        with pytest.raises(ConfigError, match="PolicyInvertOrigins: no stored segmentation 'a'"):
            seeds_of("PolicyInvertOrigins", context(np.zeros((6, 6, 6), np.float32)), segmentation_dir="a")


class TestDenseSeeds:
    # A bright block of 3 x 3 x 4 voxels that reaches the face of a dark volume.
    IMAGE = np.zeros((5, 5, 6), np.float32)
    IMAGE[1:4, 1:4, :4] = 1
    BLOCK = list(product((1, 2, 3), (1, 2, 3), (0, 1, 2, 3)))

    def test_are_all_bright_voxels(self) -> None:
        assert seeds_of("PolicyDenseSeeds", context(self.IMAGE)) == self.BLOCK
        assert seeds_of("PolicyDenseSeeds", context(self.IMAGE), threshold=1) == []

    def test_are_all_others_when_inverted(self) -> None:
        others = sorted(set(product(range(5), range(5), range(6))) - set(self.BLOCK))
        assert seeds_of("PolicyDenseSeeds", context(self.IMAGE), invert=True) == others
        assert len(seeds_of("PolicyDenseSeeds", context(self.IMAGE), invert=True, threshold=1)) == 150

    @pytest.mark.parametrize(
        ("erosions", "left"), [(1, [(2, 2, 0), (2, 2, 1), (2, 2, 2)]), (2, []), (10_000, [])]
    )
    def test_lose_a_rim_but_not_at_the_face(self, erosions: int, left: list[object]) -> None:
        assert seeds_of("PolicyDenseSeeds", context(self.IMAGE), num_erosions=erosions) == left


class TestComposition:
    IMAGE = np.zeros((4, 4, 4), np.float32)
    FIRST = list(product((0, 2), repeat=3))
    SECOND = list(product((1, 3), repeat=3))

    def test_reverses_a_policy_with_its_arguments(self) -> None:
        seeds = seeds_of(
            "ReverseCoords", context(self.IMAGE), policy_to_reverse="PolicyGrid3d", step=2, offsets=[0, 1]
        )
        assert seeds == (self.FIRST + self.SECOND)[::-1]

    def test_puts_policies_one_after_the_other(self) -> None:
        backwards = {"policy_to_reverse": "seed.PolicyGrid3d", "step": 2, "offsets": [1]}
        points = {"points_zyx": [[0, 0, 0]]}
        parts = [
            ["PolicyGrid3d", {"step": 2, "offsets": [0]}],
            ["ReverseCoords", backwards],
            ["PolicyPoints", points],
        ]
        seeds = seeds_of("SequentialPolicies", context(self.IMAGE), policies=parts)
        assert seeds == [*self.FIRST, *self.SECOND[::-1], (0, 0, 0)]

    def test_reverses_a_sequence(self) -> None:
        parts = [["PolicyGrid3d", {"step": 2, "offsets": [n]}] for n in (0, 1)]
        seeds = seeds_of(
            "ReverseCoords", context(self.IMAGE), policy_to_reverse="SequentialPolicies", policies=parts
        )
        assert seeds == (self.FIRST + self.SECOND)[::-1]


class TestPoints:
    WHERE = context(np.zeros((10, 10, 10), np.float32), (3, 3, 3), corner_zyx=(100, 0, 50))

    def test_are_of_the_whole_volume_and_keep_their_order(self) -> None:
        points = [[105, 5, 55], [101, 1, 51], [108, 8, 58], [100, 5, 55], [105, 5, 59], [5, 5, 5]]
        assert seeds_of("PolicyPoints", self.WHERE, points_zyx=points) == [(5, 5, 5), (1, 1, 1), (8, 8, 8)]

    def test_may_be_none(self) -> None:
        assert seeds_of("PolicyPoints", self.WHERE, points_zyx=[]) == []

    TEXTS = {
        "csv": "105,5,55\n102, 3 ,54\n",
        "header": "z,y,x\n105,5,55\n102,3,54",
        "header in another order": "X, Y, Z\n55,5,105\n54,3,102\n",
        "comments": "# where it was split\n\n105,5,55  # soma\r\n   \n102,3,54\n# end",
        "byte order mark": "\ufeff105,5,55\n102,3,54",
        "json lists": "[105, 5, 55]\n[102, 3, 54]",
        "json objects": '{"x": 55, "y": 5, "z": 105}\n{"z": 102, "y": 3, "x": 54}  # last\n',
        "mixed": '105,5,55\n{"z": 102, "y": 3, "x": 54}',
    }

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
    def test_come_from_a_file(self, text: str, tmp_path: Path) -> None:
        path = tmp_path / "points.txt"
        path.write_text(text, encoding="utf-8")
        assert seeds_of("PolicyPoints", self.WHERE, points_path=str(path)) == [(5, 5, 5), (2, 3, 4)]

    @pytest.mark.parametrize(
        "line",
        ["1,2", "1,2,3,4", "1;2;3", "1,2,x", "1.5,2,3", "[1, 2]", "[1, 2, true]", "[1, 2, 3",
         '{"z": 1, "y": 2}', '{"z": 1, "y": 2, "w": 3}', '{"z": 1, "y": 2, "x": "3"}', "1,2,9999999999999999",
         "a,b,c"],
    )  # fmt: skip
    def test_say_which_line_is_none(self, line: str, tmp_path: Path) -> None:
        path = tmp_path / "points.csv"
        path.write_text(f"# seeds\n1,2,3\n{line}\n", encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            check_seed_policy("PolicyPoints", json.dumps({"points_path": str(path)}))
        assert str(caught.value).startswith(f"{path}:3: '{line}' is no seed point; give three whole numbers")

    def test_from_an_empty_file_are_none(self, tmp_path: Path) -> None:
        (tmp_path / "points.csv").write_text("# none yet\n", encoding="utf-8")
        assert seeds_of("PolicyPoints", self.WHERE, points_path=str(tmp_path / "points.csv")) == []

    @pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"], ids=["missing", "no text"])
    def test_name_a_file_that_cannot_be_read(self, content: bytes | None, tmp_path: Path) -> None:
        path = tmp_path / "points.csv"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(
            ConfigError, match=r"cannot read seed points '.*points\.csv' .*; give a text file"
        ):
            check_seed_policy("PolicyPoints", json.dumps({"points_path": str(path)}))


REFUSED = {
    "unknown argument": ("PolicyGrid3d", '{"stepp": 2}', "no argument 'stepp'; its arguments: offsets, step"),
    "none taken": ("PolicyPeaks", '{"min_distance": 3}', "no argument 'min_distance'; its arguments: none"),
    "no JSON": ("PolicyPeaks", "{a}", "PolicyPeaks: its arguments are not valid JSON"),
    "no object": ("PolicyPeaks", "[1]", r"its arguments are \[1\]; give a JSON object"),
    "null": ("PolicyPeaks", "null", "its arguments are null"),
    "text for a number": ("PolicyGrid2d", '{"step": "2"}', 'step is "2"; give a whole number from 1'),
    "zero step": ("PolicyGrid3d", '{"step": 0}', "step is 0"),
    "fraction": ("PolicyGrid3d", '{"step": 2.5}', "step is 2.5"),
    "flag for a number": ("PolicyGrid3d", '{"step": true}', "step is true"),
    "offset": ("PolicyGrid3d", '{"offsets": 2}', "offsets is 2; give a list of whole numbers"),
    "offset in a list": ("PolicyGrid3d", '{"offsets": [0, -1]}', r"offsets is \[0, -1\]"),
    "distance": ("PolicyImagePeaks3D2D", '{"min_distance_2d": 0}', "min_distance_2d is 0; .* negative one"),
    "not a number": ("PolicyPeaks2d", '{"threshold_abs": NaN}', "threshold_abs is NaN; give a number"),
    "endless": ("PolicyPeaks2d", '{"threshold_abs": -Infinity}', "threshold_abs is -Infinity"),
    "direction": ("PolicyPeaks2d", '{"sort_cmp": "up"}', "give 'ascending' or 'descending'"),
    "number for a flag": ("PolicyDenseSeeds", '{"invert": 1}', "invert is 1; give true or false"),
    "no directory": ("PolicyInvertOrigins", "{}", "segmentation_dir is missing; give a path"),
    "no path": ("PolicyInvertOrigins", '{"segmentation_dir": ""}', 'segmentation_dir is ""; give a path'),
    "corner": (
        "PolicyInvertOrigins",
        '{"segmentation_dir": "a", "corner": [1, 2]}',
        r"corner is \[1, 2\]; give \[z, y, x\]",
    ),
    "nothing to reverse": ("ReverseCoords", "{}", "ReverseCoords: policy_to_reverse is missing"),
    "nameless": ("ReverseCoords", '{"policy_to_reverse": 3}', "policy_to_reverse is 3; give the name"),
    "reversed unknown": ("ReverseCoords", '{"policy_to_reverse": "Peeks"}', "no seed policy 'Peeks'"),
    "argument of the reversed": (
        "ReverseCoords",
        '{"policy_to_reverse": "PolicyMax", "step": 2}',
        "PolicyMax has no argument 'step'",
    ),
    "no sequence": ("SequentialPolicies", "{}", "policies is missing"),
    "empty sequence": ("SequentialPolicies", '{"policies": []}', r"policies is \[\]"),
    "names only": ("SequentialPolicies", '{"policies": ["PolicyMax"]}', "give a list of"),
    "unknown in a sequence": ("SequentialPolicies", '{"policies": [["Nil", {}]]}', "no seed policy 'Nil'"),
    "no points": ("PolicyPoints", "{}", "give either points_zyx or points_path"),
    "points twice": ("PolicyPoints", '{"points_zyx": [], "points_path": "a"}', "either points_zyx or points"),
    "two axes": ("PolicyPoints", '{"points_zyx": [[1, 2]]}', r"points_zyx is \[\[1, 2\]\]; give a list of"),
    "long list": ("PolicyPoints", json.dumps({"points_zyx": [1] * 999}), r"points_zyx is \[1, .{50,60}…; g"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "args_json", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_arguments_that_cannot_be_used_are_refused(name: str, args_json: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_seed_policy(name, args_json)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["PolicyPeeks", "", "seed.", "policypeaks", "PolicyPeaks.Other"])
def test_an_unknown_policy_is_refused_with_a_list_of_the_known(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_seed_policy(name, "{}")
    assert str(caught.value) == f"there is no seed policy '{name}'; choose one of {', '.join(KNOWN)}"


@pytest.mark.parametrize("depth", [300, 3000, 100_000])
def test_policies_nested_beyond_reason_are_refused(depth: int) -> None:
    opening, closing = '{"policies": [["SequentialPolicies", ', "]]}"
    with pytest.raises(ConfigError, match="seed polic"):
        check_seed_policy("SequentialPolicies", opening * depth + "{}" + closing * depth)
