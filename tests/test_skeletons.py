"""Skeletons: what is one, and SWC files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumes import Skeleton, VolumeError, read_swc, write_swc


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
    ("header", "unit_nm", "length"), [("", None, 2), ("# unit: um\n", None, 2000), ("", 8, 16)]
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
