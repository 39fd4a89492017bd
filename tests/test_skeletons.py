"""Skeletons: what is one, SWC files, and shorter edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumes import Box, Skeleton, VolumeError, read_swc, resample_skeleton, write_swc
from volumes.skeletons import cut_skeleton


@st.composite
def forests(draw: st.DrawFn) -> Skeleton:
    """Forests of up to 12 nodes, each node hung below an earlier one or a root, under shuffled numbers."""
    count = draw(st.integers(1, 12))
    parents = [draw(st.integers(-1, node - 1)) for node in range(count)]
    number = draw(st.permutations(range(count)))
    edges = [(number[node], number[parent]) for node, parent in enumerate(parents) if parent >= 0]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    radii = rng.uniform(1, 100, count).astype(np.float32) if draw(st.booleans()) else None
    return Skeleton(rng.normal(0, 1e5, (count, 3)), np.array(edges, np.int64).reshape(-1, 2), radii)


def _graph(skeleton: Skeleton) -> tuple[dict, set]:
    """Positions with their radii, and edges as pairs of positions: what does not depend on numbering."""
    radii = [None] * len(skeleton.nodes_nm) if skeleton.radii_nm is None else skeleton.radii_nm.tolist()
    nodes = list(map(tuple, skeleton.nodes_nm.tolist()))
    return dict(zip(nodes, radii, strict=True)), {frozenset((nodes[a], nodes[b])) for a, b in skeleton.edges}


@given(forests())
def test_swc_keeps_the_graph_its_positions_and_radii_exactly(tmp_path_factory, skeleton: Skeleton):
    path = tmp_path_factory.mktemp("swc") / "neuron.swc"
    write_swc(path, skeleton)
    again = read_swc(path)
    assert _graph(again) == _graph(skeleton)
    assert again.length_nm == pytest.approx(skeleton.length_nm)


@given(forests())
def test_swc_lists_parents_before_their_children(tmp_path_factory, skeleton: Skeleton):
    path = tmp_path_factory.mktemp("swc") / "neuron.swc"
    write_swc(path, skeleton)
    rows = [list(map(float, line.split())) for line in path.read_text().splitlines() if line[0] != "#"]
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row[6] == -1 or 1 <= row[6] < row[0] for row in rows)


def test_swc_columns_are_x_y_z(tmp_path: Path):
    path = tmp_path / "a.swc"
    path.write_text("1 0 10 20 30 5 -1\n2 0 10 20 130 0 1\n")
    skeleton = read_swc(path)
    assert skeleton.nodes_nm.tolist() == [[30, 20, 10], [130, 20, 10]]
    assert (skeleton.edges.tolist(), skeleton.length_nm) == ([[1, 0]], 100)
    assert skeleton.radii_nm.tolist() == [5, 0]


@pytest.mark.parametrize(
    ("header", "unit_nm", "length"),
    [
        ("", None, 2),
        ("# unit: um\n", None, 2000),
        ("# SWC made by hand\n#Units = Microns;\n", None, 2000),
        ("# unit: \u00b5m\n", None, 2000),
        ("# unit: \u03bcm\n", None, 2000),
        ('# Meta: {"id": "5", "name": "x, y", "units": "8 nanometer"}\n', None, 16),
        ('# Meta: {"units": "1 dimensionless"}\n', None, 2),
        ("# two units of length\n", None, 2),
        ("", 8, 16),
        ("# unit: parsec\n", 8, 16),
    ],
)
def test_swc_unit_is_the_given_one_or_the_headers_or_nm(
    tmp_path: Path, header: str, unit_nm: float, length: float
):
    path = tmp_path / "a.swc"
    path.write_text(f"{header}7 0 0 0 0 1 -1\n9 0 2 0 0 1 7\n")
    assert read_swc(path, unit_nm=unit_nm).length_nm == length


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nothing\n\n", "holds no nodes"),
        ("1 0 0 0 0 1 2\n2 0 1 1 1 1 1\n", "closes a cycle"),
        ("1 0 0 0 0 1 -1\n2 0 nan 1 1 1 1\n", r"a.swc:2: node 2 has a NaN"),
        ("1 0 0 0 0 1 -1\n1 0 1 1 1 1 1\n", "uses node id 1 twice"),
        ("1 0 0 0 0 1 5\n", "names parent 5"),
        ("1 0 0 0 0 -1\n", "a.swc:1: .* is not 'id type x y z radius parent'"),
        ("# unit: parsec\n1 0 0 0 0 1 -1\n", "unknown unit 'parsec'"),
        ("# unit: 0 nm\n1 0 0 0 0 1 -1\n", "a.swc.*a unit of 0.0 nm is none"),
        ("1 0 0 0 0 1 -1\n2 0 1 1 1 1 3\n3 0 1 1 1 1 2\n", r"edge \(2, 1\) closes a cycle"),
        ("1 0 0 0 inf 1 -1\n", "a.swc:1: node 1 has a NaN or infinite"),
        ("1 0 0 0 0 inf -1\n", "a.swc:1: node 1 has a NaN or infinite"),
        ("1.5 0 0 0 0 1 -1\n", "a.swc:1: '1.5 0 .* is not 'id type"),
        ("1 0 0 0 0 1 nan\n", "a.swc:1: .* is not 'id type"),
        ("id type x y z radius parent\n", "a.swc:1: 'id type .* is not 'id type"),
        ("\x00\x01\x02\n", "a.swc:1: .* is not 'id type"),
    ],
)
def test_malformed_swc_names_file_and_fault(tmp_path: Path, text: str, message: str):
    path = tmp_path / "a.swc"
    path.write_text(text)
    with pytest.raises(VolumeError, match=message) as caught:
        read_swc(path)
    assert "a.swc" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_and_unwritable_swc_say_so(tmp_path: Path):
    with pytest.raises(VolumeError, match="No such file"):
        read_swc(tmp_path / "none.swc")
    (tmp_path / "file").write_text("")
    with pytest.raises(VolumeError, match="cannot write .*a.swc: .*; choose another"):
        write_swc(tmp_path / "file" / "a.swc", Skeleton(np.zeros((1, 3)), []))


@pytest.mark.parametrize(
    ("nodes", "edges", "radii", "message"),
    [
        (np.zeros((0, 3)), [], None, "without nodes"),
        (np.zeros((3, 2)), [], None, r"shape \(3, 2\)"),
        ([[0, 0, np.nan]], [], None, "node 0 has a NaN"),
        ([[0, 0, np.inf]], [], None, "infinite"),
        (np.zeros((3, 3)), [(0, 3)], None, r"outside 0\.\.2"),
        (np.zeros((3, 3)), [(0, 1), (1, 2), (2, 0)], None, r"edge \(2, 0\) closes a cycle"),
        (np.zeros((3, 3)), [(0, 1), (1, 0)], None, "closes a cycle"),
        (np.zeros((3, 3)), [(1, 1)], None, "closes a cycle"),
        (np.zeros((3, 3)), [(0.5, 1)], None, "node indices"),
        (np.zeros((3, 3)), [], [1, 2], "3 finite numbers"),
        (np.zeros((3, 3)), [], [1, 2, -1], "finite numbers"),
    ],
)
def test_what_is_no_skeleton_says_why(nodes: object, edges: object, radii: object, message: str):
    with pytest.raises(VolumeError, match=message):
        Skeleton(np.array(nodes), edges, radii)


def test_skeleton_copies_its_arrays_and_cannot_be_changed():
    nodes = np.zeros((2, 3))
    skeleton = Skeleton(nodes, [(0, 1)])
    nodes[0] = 7
    assert not skeleton.nodes_nm.any()
    with pytest.raises(ValueError, match="read-only"):
        skeleton.nodes_nm[0] = 1


def test_isolated_nodes_have_no_length():
    assert Skeleton(np.random.default_rng(0).normal(size=(4, 3)), []).length_nm == 0


@pytest.mark.parametrize(
    "data",
    [
        b"1 1 0 0 0 2 -1\n2 3 0 0 5 1 1\n",
        b"\xef\xbb\xbf1\t1\t0\t0\t0\t2\t-1\r\n\r\n2\t3\t0\t0\t5\t1\t1\r\n",
        b"1.000000 1.000000 0.000000 0.0 -0. 2.0 -1.000000\n2.0 3.0 0. 0. 5. 1. 1.0\n",
        b"1, 1, 0, 0, 0, 2, -1\n2, 3, 0, 0, 5, 1, 1",
        b"# made by \xb5Tool\n1 1 0 0 0 2 -1 # soma\n  # between\n 2 3 0 0 5 1 1 8 9 10\n",
        b"1 soma 0 0 0 2 -2\n2 ? 0 0 5e0 1 1\n",
    ],
    ids=["plain", "Windows", "floats", "commas", "comments and columns", "names of types"],
)
def test_swc_of_many_writers_is_read_alike(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.swc"
    path.write_bytes(data)
    skeleton = read_swc(path)
    assert skeleton.nodes_nm.tolist() == [[0, 0, 0], [5, 0, 0]]
    assert (skeleton.edges.tolist(), skeleton.radii_nm.tolist()) == ([[1, 0]], [2, 1])


def test_swc_may_have_several_roots_and_parents_after_their_children(tmp_path: Path) -> None:
    path = tmp_path / "a.swc"
    path.write_text("30 0 3 0 0 1 20\n20 0 2 0 0 1 10\n10 0 1 0 0 1 -1\n5 0 9 9 9 1 -1\n")
    skeleton = read_swc(path)
    assert skeleton.nodes_nm[:, 2].tolist() == [3, 2, 1, 9]
    assert skeleton.edges.tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize(
    ("text", "told", "edges", "radii"),
    [
        ("1 1 0 0 0 3 1\n2 0 0 0 1 1 1\n", "1 nodes that are their own parent, taken for roots", 1, [3, 1]),
        ("1 1 0 0 0 3 0\n2 0 0 0 1 1 0\n", "2 nodes with the parent 0, which is no node", 0, [3, 1]),
        ("1 1 0 0 0 3 -1\n2 0 0 0 1 NaN 1\n", "1 nodes with a radius of NaN", 1, [3, 0]),
        ("0 1 0 0 0 3 -1\n2 0 0 0 1 1 0\n", None, 1, [3, 1]),
        ("1 1 0 0 0 -1 -1\n2 0 0 0 1 2 1\n", None, 1, [0, 2]),
        ("1 1 0 0 0 -1 -1\n2 0 0 0 1 0 1\n", None, 1, None),
    ],
    ids=["own parent", "parent 0", "no radius", "node 0", "radius -1", "no radii at all"],
)
def test_oddities_of_real_swc_are_read_and_counted(
    tmp_path: Path, text: str, told: str | None, edges: int, radii: list[float] | None
) -> None:
    path = tmp_path / "a.swc"
    path.write_text(text)
    lines: list[str] = []
    skeleton = read_swc(path, on_warning=lines.append)
    assert len(skeleton.edges) == edges
    assert (skeleton.radii_nm is None) if radii is None else (skeleton.radii_nm.tolist() == radii)
    assert len(lines) == (told is not None)
    assert told is None or (told in lines[0] and "a.swc" in lines[0])


def test_a_given_unit_is_a_length(tmp_path: Path) -> None:
    path = tmp_path / "a.swc"
    path.write_text("1 0 0 0 0 1 -1\n")
    with pytest.raises(VolumeError, match="a unit of -8 nm is none; give nanometres per unit"):
        read_swc(path, unit_nm=-8)


def test_resampling_cuts_each_edge_into_equal_pieces() -> None:
    nodes = [[0, 0, 0], [0, 0, 100], [0, 25, 100], [7, 7, 7]]
    skeleton = resample_skeleton(Skeleton(np.array(nodes), [(1, 0), (1, 2)], [10, 4, 4, 1]), 40)
    assert skeleton.nodes_nm[:4].tolist() == nodes
    assert skeleton.nodes_nm[4:].tolist() == pytest.approx(np.array([[0, 0, 200 / 3], [0, 0, 100 / 3]]))
    assert skeleton.edges.tolist() == [[1, 4], [4, 5], [5, 0], [1, 2]]
    assert skeleton.radii_nm.tolist() == pytest.approx([10, 4, 4, 1, 6, 8])


def test_an_edge_of_a_whole_number_of_pieces_gets_no_more() -> None:
    skeleton = resample_skeleton(Skeleton(np.array([[0, 0, 0], [0, 0, 0.3]]), [(0, 1)]), 0.1)
    assert len(skeleton.edges) == 3


@given(forests(), st.floats(5e3, 1e6))
def test_resampling_keeps_nodes_length_ends_and_forks(skeleton: Skeleton, edge_nm: float) -> None:
    finer = resample_skeleton(skeleton, edge_nm)
    count, more = len(skeleton.nodes_nm), len(finer.nodes_nm) - len(skeleton.nodes_nm)
    assert finer.nodes_nm[:count].tolist() == skeleton.nodes_nm.tolist()
    assert finer.length_nm == pytest.approx(skeleton.length_nm)
    assert finer.edge_lengths_nm.max(initial=0) <= edge_nm * (1 + 1e-6)
    degrees = np.bincount(finer.edges.ravel(), minlength=count + more)
    assert degrees[:count].tolist() == np.bincount(skeleton.edges.ravel(), minlength=count).tolist()
    assert (degrees[count:] == 2).all()
    assert more == len(finer.edges) - len(skeleton.edges)
    assert more <= skeleton.length_nm / edge_nm
    assert (finer.radii_nm is None) == (skeleton.radii_nm is None)


def test_resampling_leaves_edges_of_no_length_and_lone_nodes() -> None:
    skeleton = Skeleton(np.zeros((3, 3)), [(0, 1)])
    assert resample_skeleton(skeleton, 1).edges.tolist() == [[0, 1]]
    assert resample_skeleton(Skeleton(np.zeros((2, 3)), []), 1).edges.shape == (0, 2)


@pytest.mark.parametrize("edge_nm", [0, -1, np.nan, np.inf])
def test_an_edge_length_is_above_0(edge_nm: float) -> None:
    with pytest.raises(VolumeError, match="give a length above 0"):
        resample_skeleton(Skeleton(np.zeros((1, 3)), []), edge_nm)


def _path_inside(skeleton: Skeleton, box: Box, size: np.ndarray) -> float:
    """By the order of the crossings of each edge, piece by piece, in voxels of exact fractions."""
    total = 0.0
    for a, b in skeleton.edges:
        first, last = skeleton.nodes_nm[a], skeleton.nodes_nm[b]
        cuts = {0.0, 1.0}
        for axis in range(3):
            for face in (box.start[axis] * size[axis], box.stop[axis] * size[axis]):
                if first[axis] != last[axis]:
                    cuts.add((face - first[axis]) / (last[axis] - first[axis]))
        inner = sorted(at for at in cuts if 0 <= at <= 1)
        for before, after in zip(inner, inner[1:], strict=False):
            middle = (first + (before + after) / 2 * (last - first)) / size
            if np.all((middle >= box.start) & (middle < box.stop)):
                total += (after - before) * np.linalg.norm(last - first)
    return float(total)


@given(forests(), st.integers(0, 99), st.sampled_from([1e3, 1e5, 1e6]))
def test_a_cut_skeleton_has_all_path_inside_the_box(skeleton: Skeleton, seed: int, reach: float):
    rng = np.random.default_rng(seed)
    size = rng.choice([4.0, 8.1, 33.0], 3)
    middle = rng.normal(0, 5e4, 3) / size
    half = rng.uniform(1, reach, 3) / size
    start, stop = np.floor(middle - half).astype(int), np.ceil(middle + half).astype(int)
    box = Box(tuple(start.tolist()), tuple(stop.tolist()))
    found = cut_skeleton(skeleton, box, size)
    expected = _path_inside(skeleton, box, size)
    cut = 0.0 if found is None else found.length_nm
    # Each end of a cut edge lies up to a millionth of a voxel away from the face.
    assert cut == pytest.approx(expected, rel=1e-9, abs=1e-3)
    if found is not None:
        voxels = np.floor(found.nodes_nm / size)
        assert np.all((voxels >= start) & (voxels < stop))
        assert (found.radii_nm is None) == (skeleton.radii_nm is None)


def test_a_skeleton_inside_a_box_stays_as_it_is_and_one_outside_is_none():
    skeleton = Skeleton(np.array([(0.0, 0, 0), (9.999999999, 5, 5), (0, 0, 0)]), np.array([(0, 1), (2, 0)]))
    whole = cut_skeleton(skeleton, Box((0, 0, 0), (1, 1, 1)), (10, 10, 10))
    assert whole is not None and np.array_equal(whole.nodes_nm, skeleton.nodes_nm)
    assert np.array_equal(whole.edges, skeleton.edges)
    assert cut_skeleton(skeleton, Box((1, 0, 0), (2, 1, 1)), (10, 10, 10)) is None


def test_an_edge_along_a_face_belongs_to_the_box_behind_it():
    along = Skeleton(np.array([(10.0, 5, -50), (10, 5, 50)]), np.array([(0, 1)]))
    assert cut_skeleton(along, Box((0, 0, 0), (1, 1, 1)), (10, 10, 10)) is None
    behind = cut_skeleton(along, Box((1, 0, 0), (2, 1, 1)), (10, 10, 10))
    assert behind is not None and behind.length_nm == pytest.approx(10, abs=1e-4)
