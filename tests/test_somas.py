"""Cell bodies: tables and labels of them, the supervoxels that hold them, and those that were missed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agglomeration import AgglomerationError, constrained_merges, tables
from agglomeration.cell_bodies import CellBodies, read_cell_bodies
from agglomeration.database import open_database
from agglomeration.merging import read_soma_of
from agglomeration.rows import replace_rows
from agglomeration.runs import start_run, write_supervoxels
from agglomeration.soma_fillings import Fillings, fill_balls, fill_labels, sampled
from agglomeration.somas import SomaPlaces, find_somas, place, with_missed, write_somas
from agglomeration.thickness import thick_objects
from configs.parsing import parse_text
from configs.proto import reconstruction_pb2
from configs.views import ConfigView
from inference.supervoxel_table import SupervoxelTable, block_statistics
from volumes import Box, Volume, VolumeError, create_volume
from volumes.arrays import ArrayVolume


def volume_of(labels: np.ndarray, nm: float = 40.0, start: tuple[int, int, int] = (0, 0, 0)) -> Volume:
    return ArrayVolume(labels, voxel_size_nm=(nm, nm, nm), start=start)


def table_of(volume: Volume) -> SupervoxelTable:
    return block_statistics(volume.read(), volume.bounds.start)


def balls(
    shape: tuple[int, int, int], centres_nm: np.ndarray, radius_nm: float, nm: float = 40.0
) -> np.ndarray:
    """Balls numbered from 1; a voxel in two belongs to the nearer one."""
    grid = (np.indices(shape).reshape(3, -1).T + 0.5) * nm
    distance = np.linalg.norm(grid[:, None] - centres_nm, axis=2)
    nearest = np.argmin(distance, axis=1)
    inside = distance[np.arange(len(grid)), nearest] <= radius_nm
    return np.where(inside, nearest + 1, 0).reshape(shape).astype(np.uint64)


def bodies_at(centres_nm: object, radius_nm: float) -> CellBodies:
    centres = np.atleast_2d(np.asarray(centres_nm, float))
    n = len(centres)
    return CellBodies(np.arange(1, n + 1), centres, np.full(n, float(radius_nm)), "table")


def section(text: str) -> ConfigView:
    return ConfigView(parse_text(text, reconstruction_pb2.Somas, "test"))


def rows_of(places: SomaPlaces) -> list[tuple[int, int, bool]]:
    return list(zip(places.body.tolist(), places.supervoxel.tolist(), places.main.tolist(), strict=True))


HEAD = "z_nm,y_nm,x_nm,radius_nm"
SPACE = volume_of(np.zeros((10, 10, 10), np.uint64), start=(0, 0, 5))


def test_a_table_is_read_with_and_without_ids(tmp_path: Path) -> None:
    path = tmp_path / "somas.csv"
    path.write_text(f"{HEAD}\n100,200,300,50\n0,0,200.5,1e2\n")
    found = read_cell_bodies(path, SPACE)
    assert found.ids.tolist() == [1, 2]
    assert found.centres_nm.tolist() == [[100, 200, 300], [0, 0, 200.5]]
    assert (found.radius_nm.tolist(), found.source) == ([50, 100], "table")
    path.write_text("\ufeffid, radius_nm, x_nm, y_nm, z_nm, note\n7, 50, 300, 200, 100, large\n")
    found = read_cell_bodies(path, SPACE)
    assert (found.ids.tolist(), found.centres_nm.tolist()) == ([7], [[100, 200, 300]])


@pytest.mark.parametrize(
    "text, words",
    [
        ("z_nm,y_nm,radius_nm\n1,2,3\n", "lacks the column x_nm; .*columns there: z_nm, y_nm, radius_nm"),
        ("", "lacks the column z_nm; .*columns there: none"),
        (f"{HEAD}\n", "holds no cell bodies"),
        (f"{HEAD}\n1,2,300,4\n1,nan,300,4\n", "line 3: y_nm is 'nan'"),
        (f"{HEAD}\n1,2,,4\n", "line 2: x_nm is ''"),
        (f"{HEAD}\n1,2\n", "line 2: x_nm is ''"),
        (f"{HEAD}\n1,two,300,4\n", "line 2: y_nm is 'two'"),
        (f"{HEAD}\n1,2,300,-4\n", "line 2: radius_nm is -4; a cell body has one above 0"),
        (f"{HEAD}\n1,2,300,0\n", "line 2: radius_nm is 0"),
        (f"{HEAD}\n1,2,300,1e9\n", "line 2: radius_nm is 1e.09, more than volume"),
        (f"{HEAD}\n1,2,199,4\n", r"line 2: x_nm = 199 lies outside volume .*200 to 600 nm"),
        (f"{HEAD}\n400,2,300,4\n", r"line 2: z_nm = 400 lies outside volume .*0 to 400 nm"),
        (f"{HEAD},id\n1,2,300,4,3\n1,2,300,4,3\n", "line 3: cell body 3 stands in line 2 already"),
        (f"{HEAD},id\n1,2,300,4,0\n", "line 2: id is '0'; give a whole number from 1"),
        (f"{HEAD},id\n1,2,300,4,-1\n", "line 2: id is '-1'"),
        (f"{HEAD},id\n1,2,300,4,{2**63}\n", f"line 2: id is '{2**63}'"),
        (f"{HEAD},id\n1,2,300,4,\n", "line 2: id is ''"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "somas.csv"
    path.write_text(text)
    with pytest.raises(AgglomerationError, match=words) as refused:
        read_cell_bodies(path, SPACE)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_table_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(AgglomerationError, match=f"cannot read the table of cell bodies {path}"):
            read_cell_bodies(path, SPACE)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(AgglomerationError, match="cannot read the table of cell bodies"):
        read_cell_bodies(tmp_path / "bytes.csv", SPACE)


def test_labels_are_sampled_in_parts_and_empty_beyond_the_bounds() -> None:
    labels = np.arange(1, 4 * 5 * 600 + 1, dtype=np.uint64).reshape(4, 5, 600)
    volume = volume_of(labels, start=(10, 0, -20))
    axes = [np.array([8, 10, 13, 14]), np.array([0, 0, 4]), np.arange(-30, 600, 7)]
    found = sampled(volume, axes)
    for i, j, k in np.ndindex(found.shape):
        at = (int(axes[0][i]), int(axes[1][j]), int(axes[2][k]))
        inside = volume.bounds.contains(at)
        assert found[i, j, k] == (labels[at[0] - 10, at[1], at[2] + 20] if inside else 0)


@pytest.mark.parametrize("radius_nm", [200.0, 900.0, 4000.0], ids=["every voxel", "every other", "a few"])
def test_the_filling_of_a_ball_is_its_integral(radius_nm: float) -> None:
    # Half-spaces 1 (z below the centre) and 2: each holds half of the weight, whatever the stride.
    edge = int(2 * radius_nm / 10) + 12
    labels = np.full((min(edge, 200),) * 3, 2, np.uint64)
    nm = radius_nm * 2.2 / labels.shape[0]
    labels[: labels.shape[0] // 2] = 1
    volume = volume_of(labels, nm)
    centre = np.array(labels.shape) * nm / 2
    found = fill_balls(bodies_at(centre, radius_nm), volume, table_of(volume))
    assert found.supervoxel.tolist() == [1, 2]
    np.testing.assert_allclose(found.share, 0.5, atol=0.04)
    # The half ball in the half-space: 2/3 pi r^3.
    half = labels.size / 2 * nm**3
    np.testing.assert_allclose(found.inside, 2 / 3 * np.pi * radius_nm**3 / half, rtol=0.1)


def test_a_ball_smaller_than_a_voxel_is_filled_by_the_voxel_it_lies_in() -> None:
    labels = np.arange(1, 28, dtype=np.uint64).reshape(3, 3, 3)
    volume = volume_of(labels, 100.0)
    found = fill_balls(bodies_at([110.0, 190.0, 20.0], 5.0), volume, table_of(volume))
    assert found.supervoxel.tolist() == [labels[1, 1, 0]]


def test_the_part_of_a_ball_beyond_the_volume_does_not_count() -> None:
    volume = volume_of(np.full((20, 40, 40), 3, np.uint64))
    found = fill_balls(bodies_at([0.0, 800.0, 800.0], 400.0), volume, table_of(volume))
    assert found.supervoxel.tolist() == [3]
    np.testing.assert_allclose(found.share, 1.0)


def fillings(*rows: tuple[int, int, float, float]) -> Fillings:
    body, supervoxel, share, inside = (np.array(column) for column in zip(*rows, strict=True))
    return Fillings(body.astype(np.int64), supervoxel.astype(np.uint64), share, inside)


@pytest.mark.parametrize(
    "rows, wanted",
    [
        ([(0, 5, 0.6, 0.4), (0, 6, 0.3, 0.2)], [(1, 5, True), (1, 6, False)]),
        ([(0, 5, 0.6, 0.4), (0, 6, 0.09, 0.2)], [(1, 5, True)]),
        ([(0, 5, 0.6, 0.4), (0, 6, 0.05, 0.9), (0, 7, 0.001, 1.0)], [(1, 5, True), (1, 6, False)]),
        ([(0, 5, 0.05, 0.4)], [(1, 0, False)]),
        ([(0, 5, 0.4, 0.4), (0, 4, 0.4, 0.4)], [(1, 4, True), (1, 5, False)]),
    ],
    ids=["nucleus and cytoplasm", "a neighbour", "fragments inside, crumbs", "nothing there", "equal shares"],
)
def test_supervoxels_are_assigned_by_what_they_fill(
    rows: list[tuple[int, int, float, float]], wanted: list[tuple[int, int, bool]]
) -> None:
    for order in (rows, rows[::-1]):
        assert rows_of(place(bodies_at([1.0, 1.0, 1.0], 1.0), fillings(*order))) == wanted


def test_the_main_supervoxel_of_one_cell_body_is_no_part_of_another() -> None:
    two = bodies_at([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], 1.0)
    rows = [(0, 5, 0.6, 0.4), (0, 6, 0.4, 0.2), (1, 6, 0.7, 0.5), (1, 7, 0.26, 0.3), (0, 7, 0.3, 0.3)]
    assert rows_of(place(two, fillings(*rows))) == [(1, 5, True), (1, 7, False), (2, 6, True)]


def test_two_cell_bodies_may_have_one_main_supervoxel() -> None:
    two = bodies_at([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], 1.0)
    found = place(two, fillings((0, 5, 0.9, 0.4), (1, 5, 0.8, 0.4)))
    assert rows_of(found) == [(1, 5, True), (2, 5, True)]


def test_cell_bodies_from_coarse_labels() -> None:
    # Fine voxels of 40 nm; body 3 is fine rows 4 to 12 of supervoxels 1 (below 8) and 2, body 9 is nothing's.
    fine = np.ones((16, 16, 16), np.uint64)
    fine[8:] = 2
    fine[:, :, 12:] = 0
    coarse = np.zeros((4, 4, 4), np.uint32)
    coarse[1:3, 0:2, 0:2] = 3
    coarse[:, :, 3] = 9
    labels, supervoxels = volume_of(coarse, 160.0), volume_of(fine)
    bodies, found = fill_labels(labels, supervoxels, table_of(supervoxels))
    assert (bodies.ids.tolist(), bodies.source) == ([3, 9], "volume")
    np.testing.assert_allclose(bodies.centres_nm[0], [320.0, 160.0, 160.0])
    np.testing.assert_allclose(4 / 3 * np.pi * bodies.radius_nm[0] ** 3, 8 * 160.0**3)
    assert (found.body.tolist(), found.supervoxel.tolist()) == ([0, 0], [1, 2])
    assert found.share.tolist() == [0.5, 0.5]
    np.testing.assert_allclose(found.inside, 4 * 64 / (8 * 16 * 12))
    assert rows_of(place(bodies, found)) == [(3, 1, True), (3, 2, False), (9, 0, False)]


def test_labels_of_cell_bodies_that_cannot_be_used_are_refused() -> None:
    fine = volume_of(np.ones((8, 8, 8), np.uint64))
    table = table_of(fine)
    with pytest.raises(AgglomerationError, match="holds no cell bodies; leave somas.volume out"):
        fill_labels(volume_of(np.zeros((2, 2, 2), np.uint8), 160.0), fine, table)
    with pytest.raises(AgglomerationError, match="labels are whole numbers"):
        fill_labels(volume_of(np.ones((2, 2, 2), np.float32), 160.0), fine, table)
    with pytest.raises(VolumeError, match="are not made of whole voxels"):
        fill_labels(volume_of(np.ones((2, 2, 2), np.uint8), 100.0), fine, table)


@pytest.mark.parametrize("block", [17, 96])
@pytest.mark.parametrize("nm", [40.0, 20.0], ids=["as it is", "on coarse voxels"])
def test_thick_objects_are_found_whatever_the_blocks(block: int, nm: float) -> None:
    # A ball of 640 nm in the volume's middle, half a ball at its lower face, and a thin plate.
    n = int(2400 / nm)
    middle, face = np.array([1500.0, 1200.0, 1200.0]), np.array([0.0, 600.0, 600.0])
    grid = (np.indices((n,) * 3).reshape(3, -1).T + 0.5) * nm
    labels = np.zeros(n**3, np.uint64)
    labels[np.linalg.norm(grid - middle, axis=1) < 640] = 8
    labels[np.linalg.norm(grid - face, axis=1) < 480] = 3
    labels = labels.reshape((n,) * 3)
    labels[-int(120 / nm) :] = 5
    volume = volume_of(labels, nm, (3, -2, 5))
    found = thick_objects(volume, at_least_nm=320.0, up_to_nm=800.0, block_voxels=block)
    assert found.ids.tolist() == [3, 8]
    np.testing.assert_allclose(found.depth_nm, [480, 640], atol=60)
    offset = np.array([3, -2, 5]) * nm
    np.testing.assert_allclose(found.points_nm - offset, [face, middle], atol=90)
    limited = thick_objects(volume, at_least_nm=320.0, up_to_nm=500.0, block_voxels=block)
    assert limited.depth_nm.max() == 500.0
    whole = thick_objects(volume, at_least_nm=320.0, up_to_nm=800.0)
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_depths_that_do_not_ascend_are_refused() -> None:
    with pytest.raises(AgglomerationError, match="depths of 0 to 10 nm do not ascend"):
        thick_objects(SPACE, at_least_nm=0, up_to_nm=10)


def touching_balls(seed: int, radius_nm: float, nm: float) -> tuple[np.ndarray, np.ndarray]:
    """A crowd of balls that touch their neighbours, and their centres."""
    rng = np.random.default_rng(seed)
    pitch = 2 * radius_nm
    corners = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    centres = (corners + 0.5) * pitch + rng.uniform(-0.02, 0.02, corners.shape) * pitch
    n = round(3 * pitch / nm)
    return balls((n,) * 3, centres, radius_nm * 1.02, nm), centres


@pytest.mark.parametrize("seed", range(4))
def test_no_two_cell_bodies_are_joined_with_an_imperfect_table(seed: int) -> None:
    """27 touching balls of 2 um, centres off by 1 um, 3 % missing, and a merge between all pairs."""
    radius_nm, nm = 2000.0, 160.0
    labels, centres = touching_balls(seed, radius_nm, nm)
    rng = np.random.default_rng(100 + seed)
    off = rng.normal(size=centres.shape)
    off *= 1000 / np.linalg.norm(off, axis=1, keepdims=True)
    seen = np.arange(len(centres)) != rng.integers(len(centres))
    rough = np.clip(centres + off, 1, np.array(labels.shape) * nm - 1)[seen]
    volume = volume_of(labels, nm)
    table = table_of(volume)
    assert len(table.ids) == 27
    bodies = bodies_at(rough, radius_nm)
    places = with_missed(place(bodies, fill_balls(bodies, volume, table)), volume, 0.6)
    soma_of = np.zeros(27, np.int64)
    soma_of[np.searchsorted(table.ids, places.supervoxel)] = places.body
    a, b = np.triu_indices(27, 1)
    done = constrained_merges(table.ids, table.ids[a], table.ids[b], rng.random(a.size), soma_of)
    assert done.neurons.tolist() == table.ids.tolist()
    # The one that was left out of the table was found by its depth, and no other.
    assert [len(each) for each in places.bodies] == [26, 1]
    assert places.supervoxel[places.body == 27].tolist() == (np.flatnonzero(~seen) + 1).tolist()


def test_missed_cell_bodies_are_only_looked_for_when_asked() -> None:
    labels = balls((50, 50, 100), np.array([[1000.0, 1000, 1000], [1000, 1000, 3000]]), 900.0)
    volume = volume_of(labels)
    bodies = bodies_at([1000.0, 1000, 1000], 900.0)
    places = place(bodies, fill_balls(bodies, volume, table_of(volume)))
    assert with_missed(places, volume, 0) is places
    found = with_missed(places, volume, 0.6)
    assert rows_of(found) == [(1, 1, True), (2, 2, True)]
    assert [each.source for each in found.bodies] == ["table", "depth"]
    np.testing.assert_allclose(found.bodies[1].centres_nm, [[1000, 1000, 3000]], atol=120)
    np.testing.assert_allclose(found.bodies[1].radius_nm, 900, atol=90)


def test_a_thick_part_is_a_missed_neighbour_unless_it_lies_inside() -> None:
    # Ball 2 fills a third of the first cell body as the table has it; inside that it would be its nucleus.
    labels = balls((50, 50, 100), np.array([[1000.0, 1000, 1000], [1000, 1000, 3000]]), 900.0)
    volume = volume_of(labels)
    bodies = bodies_at([1000.0, 1000, 1000], 900.0)
    neighbour = place(bodies, fillings((0, 1, 0.6, 0.6), (0, 2, 0.33, 0.3)))
    assert rows_of(with_missed(neighbour, volume, 0.6)) == [(1, 1, True), (2, 2, True)]
    nucleus = place(bodies, fillings((0, 1, 0.6, 0.6), (0, 2, 0.33, 0.9)))
    assert rows_of(with_missed(nucleus, volume, 0.6)) == [(1, 1, True), (1, 2, False)]


def test_both_halves_of_a_cell_body_are_its_parts_where_the_centre_is_off_by_half_a_radius() -> None:
    labels = balls((50, 50, 50), np.array([[1000.0, 1000, 1000]]), 900.0)
    labels[25:][labels[25:] > 0] = 2
    volume = volume_of(labels)
    found = fill_balls(bodies_at([1450.0, 1000, 1000], 900.0), volume, table_of(volume))
    # Beyond such a plane lies 15/16 of the integral of (1 - x^2)^2 from 1/2 to 1.
    np.testing.assert_allclose(found.share[0], 0.104, atol=0.01)
    assert rows_of(place(bodies_at([1450.0, 1000, 1000], 900.0), found)) == [(1, 1, False), (1, 2, True)]


def test_a_project_names_a_table_or_a_volume(tmp_path: Path) -> None:
    labels = balls((50, 50, 100), np.array([[1000.0, 1000, 1000], [1000, 1000, 3000]]), 900.0)
    volume = volume_of(labels)
    table = table_of(volume)
    (tmp_path / "somas.csv").write_text(f"{HEAD},id\n1200,900,1100,900,4\n")
    found = find_somas(section(f'table: "{tmp_path}/somas.csv"'), volume, table)
    assert rows_of(found) == [(4, 1, True), (5, 2, True)]
    spec = f"{tmp_path}/bodies.h5:labels"
    box = Box((0, 0, 0), (25, 25, 50))
    with create_volume(spec, bounds=box, dtype=np.uint8, voxel_size_nm=(80, 80, 80)) as bodies:
        bodies.write(box, (labels[::2, ::2, ::2] * 3).astype(np.uint8))
    found = find_somas(section(f'volume {{ spec: "{spec}" }}'), volume, table)
    assert rows_of(found) == [(3, 1, True), (6, 2, True)]
    for text in ("", f'table: "t.csv" volume {{ spec: "{spec}" }}'):
        with pytest.raises(
            AgglomerationError, match="from somas.table or from somas.volume; give one of them"
        ):
            find_somas(section(text), volume, table)


def test_cell_bodies_are_written_twice_and_read_as_the_smallest_in_each_supervoxel(tmp_path: Path) -> None:
    known = bodies_at([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]], 1.5)
    found = place(known, fillings((0, 5, 0.9, 0.1), (1, 5, 0.9, 0.1), (1, 6, 0.3, 0.1)))
    labels = np.array([[[5, 6, 7]]], np.uint64)
    with open_database(tmp_path / "decisions.sqlite") as database:
        write_supervoxels(database, block_statistics(labels, (0, 0, 0)), (1.0, 1.0, 1.0), "identity")
        run = start_run(database, "digest", "", {})
        for _ in range(2):
            write_somas(database, run, found)
        with database.reading() as connection:
            rows = connection.execute(tables.somas.select()).all()
        assert sorted(map(tuple, rows)) == [
            (run, 1, 5, 1.0, 2.0, 3.0, 1.5, "table"),
            (run, 2, 5, 4.0, 5.0, 6.0, 1.5, "table"),
            (run, 2, 6, 4.0, 5.0, 6.0, 1.5, "table"),
            (run, 3, 0, 7.0, 8.0, 9.0, 1.5, "table"),
        ]
        assert read_soma_of(database, run, np.array([5, 6, 7], np.uint64)).tolist() == [1, 2, 0]
        with pytest.raises(AgglomerationError, match="a cell body lies in supervoxel 6, which there is not"):
            read_soma_of(database, run, np.array([5, 7], np.uint64))
        with database.writing() as connection:
            replace_rows(connection, tables.somas, {"run": [], "id": []})
