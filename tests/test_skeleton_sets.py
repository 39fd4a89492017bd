"""Sets of skeletons: folders of SWC files and Precomputed skeletons, ours and those of others."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from volumes import Skeleton, VolumeError, read_skeletons, write_skeletons

ROW = "1 0 {} 0 0 1 -1\n"


def neurons(radii: bool = True) -> dict[int, Skeleton]:
    """Two skeletons at positions that float32 holds exactly; the second is a lone node beside an edge."""
    fork = [[10, 20, 30.5], [10, 20, 130.5], [10, 70, 130.5], [60, 20, 130.5]]
    return {
        7: Skeleton(np.array(fork), [(0, 1), (1, 2), (1, 3)], [1, 2, 3, 4] if radii else None),
        2**63 + 5: Skeleton(np.array([[0, 0, 8.0], [0, 0, 16], [8, 8, 8]]), [(1, 0)], None),
    }


def graphs(skeletons: dict[int, Skeleton]) -> dict[int, tuple[dict, set]]:
    """Positions with radii (0 where unknown), and edges as pairs of positions, of each skeleton."""
    found = {}
    for number, skeleton in skeletons.items():
        nodes = list(map(tuple, skeleton.nodes_nm.tolist()))
        radii = np.zeros(len(nodes)) if skeleton.radii_nm is None else skeleton.radii_nm
        edges = {frozenset((nodes[a], nodes[b])) for a, b in skeleton.edges}
        found[number] = dict(zip(nodes, radii.tolist(), strict=True)), edges
    return found


def specs(folder: Path) -> dict[str, str]:
    return {
        "swc": f"{folder}/set/*.swc",
        "named": f"{folder}/set/fib25_neuron_*.swc",
        "precomputed": f"precomputed://file://{folder}/set",
    }


@pytest.mark.parametrize("form", ["swc", "named", "precomputed"])
@pytest.mark.parametrize("radii", [True, False])
def test_what_is_written_is_read(tmp_path: Path, form: str, radii: bool) -> None:
    spec = specs(tmp_path / "a folder")[form]
    write_skeletons(spec, neurons(radii))
    assert graphs(read_skeletons(spec)) == graphs(neurons(radii))
    assert list(read_skeletons(spec)) == [7, 2**63 + 5]
    assert [path.name for path in (tmp_path / "a folder").iterdir()] == ["set"]


@pytest.mark.parametrize("form", ["swc", "named", "precomputed"])
def test_a_set_takes_the_place_of_an_older_one(tmp_path: Path, form: str) -> None:
    spec = specs(tmp_path)[form]
    write_skeletons(spec, neurons())
    write_skeletons(spec, {1: neurons()[7]})
    assert list(read_skeletons(spec)) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("form", ["swc", "named", "precomputed"])
def test_a_folder_with_other_things_stays(tmp_path: Path, form: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("mine")
    with pytest.raises(VolumeError, match="holds other things than these skeletons; name a new folder"):
        write_skeletons(specs(tmp_path)[form], neurons())
    assert (tmp_path / "set" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("form", ["swc", "precomputed"])
def test_a_set_that_cannot_be_finished_leaves_the_old_one(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = specs(tmp_path)[form]
    write_skeletons(spec, {1: neurons()[7]})
    full = OSError(28, "No space left on device")

    def refuse(*_: object, **__: object) -> None:
        raise full

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(VolumeError, match=r"cannot write '.*': .*No space left on device; choose another"):
        write_skeletons(spec, neurons())
    assert list(read_skeletons(spec)) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("spec", "skeletons", "message"),
    [
        ("{}/*.swc", {}, "no skeletons to write"),
        ("{}/a.swc", {1: 0}, "is no place for skeletons; write dir/"),
        ("{}/set", {1: 0}, "is no place for skeletons"),
        ("{}/*/*.swc", {1: 0}, "is no place for skeletons"),
        ("{}/*.swc", {0: 0}, "0 is no ID of a skeleton"),
        ("precomputed://file://{}/a", {2**64: 0}, "is no ID of a skeleton"),
        ("precomputed://gs://bucket/a", {1: 0}, "is not on this machine's disks"),
    ],
)
def test_what_cannot_be_written_says_why(tmp_path: Path, spec: str, skeletons: dict, message: str) -> None:
    given = dict.fromkeys(skeletons, neurons()[7])
    with pytest.raises(VolumeError, match=message) as caught:
        write_skeletons(spec.format(tmp_path), given)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("names", "pattern", "ids", "numbered"),
    [
        (["3.swc", "12.swc"], "*.swc", [3, 12], False),
        (["cell-3.swc", "cell-12.SWC"], "*.swc", [3, 12], False),
        (["a2_3.swc", "a2_1.swc"], "a2_*.swc", [1, 3], False),
        (["a10.swc", "a9.swc", "b.swc"], "*.swc", [1, 2, 3], True),
        (["a1_7.swc", "a1_5.swc"], "*.swc", [1, 2], True),
        (["0.swc", "1.swc"], "*.swc", [1, 2], True),
        (["01.swc", "1.swc"], "*.swc", [1, 2], True),
        (["5.swc"], "5.swc", [5], False),
        (["soma.swc"], "soma.swc", [1], False),
        (["5.swc", ".6.swc", "7.txt"], "*.swc", [5], False),
    ],
)
def test_ids_are_the_numbers_in_the_names(
    tmp_path: Path, names: list[str], pattern: str, ids: list[int], numbered: bool
) -> None:
    for name in names:
        (tmp_path / name).write_text(ROW.format(len(name)))
    told: list[str] = []
    assert list(read_skeletons(f"{tmp_path}/{pattern}", on_warning=told.append)) == ids
    assert bool(told) == numbered == any("count from 1" in line for line in told)


def test_files_without_numbers_count_in_the_order_of_their_names(tmp_path: Path) -> None:
    for position, name in enumerate(["x.swc", "a9.swc", "a10.swc"]):
        (tmp_path / name).write_text(ROW.format(position))
    found = read_skeletons(f"{tmp_path}/*.swc", on_warning=lambda _: None)
    assert [skeleton.nodes_nm[0, 2] for skeleton in found.values()] == [1, 2, 0]


def test_oddities_of_many_files_are_counted_in_one_line_each(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"{number}.swc").write_text("1 0 0 0 0 nan 1\n2 0 5 0 0 nan 1\n")
    (tmp_path / "4.swc").write_text("# SWC\n")
    told: list[str] = []
    assert list(read_skeletons(f"{tmp_path}/*.swc", on_warning=told.append)) == [1, 2, 3]
    assert [line.split("' has ")[1] for line in told] == [
        "6 nodes with a radius of NaN, which counts as unknown (in 3 files)",
        "3 nodes that are their own parent, taken for roots (in 3 files)",
        "1 skeletons without nodes, which are left out",
    ]


def test_a_warning_is_a_python_warning_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "1.swc").write_text(ROW.format(0))
    (tmp_path / "2.swc").write_text("")
    with pytest.warns(UserWarning, match="1 skeletons without nodes"):
        read_skeletons(f"{tmp_path}/*.swc")


def test_the_unit_of_swc_files_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "1.swc").write_text(ROW.format(3))
    assert read_skeletons(f"{tmp_path}/*.swc", unit_nm=1000)[1].nodes_nm.tolist() == [[0, 0, 3000]]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{}/none/*.swc", "cannot read skeletons .* check the path"),
        ("{}/*.swc", "there are no skeletons"),
        ("{}/a.swc", "No such file"),
        ("{}/empty/*.swc", "holds no skeleton with nodes; check the path, or make skeletons first"),
        ("{}", "names no skeletons; write one of: dir/"),
        ("precomputed://file://{}/empty", r"no Precomputed skeletons at .* \(no file 'info'\)"),
    ],
)
def test_what_holds_no_skeletons_says_so(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "1.swc").write_text("# nothing\n")
    with pytest.raises(VolumeError, match=message) as caught:
        read_skeletons(spec.format(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_cyclic_file_of_a_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "8.swc").write_text("1 0 0 0 0 1 2\n2 0 1 1 1 1 1\n")
    with pytest.raises(VolumeError, match=r"8\.swc': skeleton edge \(1, 0\) closes a cycle"):
        read_skeletons(f"{tmp_path}/*.swc")


def precomputed(
    folder: Path, files: dict[str, bytes], transform: list[float] | None = None, **info: object
) -> str:
    """A folder of Precomputed skeletons as another program could have written it."""
    folder.mkdir(parents=True)
    described = {"@type": "neuroglancer_skeletons", "transform": transform or np.eye(3, 4).ravel().tolist()}
    (folder / "info").write_text(json.dumps(described | {"vertex_attributes": []} | info))
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return f"precomputed://file://{folder}"


def encoded(xyz: list[list[float]], edges: list[list[int]], *attributes: np.ndarray) -> bytes:
    head = struct.pack("<II", len(xyz), len(edges))
    body = np.array(xyz, "<f4").tobytes() + np.array(edges, "<u4").tobytes()
    return head + body + b"".join(attribute.tobytes() for attribute in attributes)


LINE = encoded([[1, 2, 3], [1, 2, 13]], [[0, 1]])


def test_precomputed_is_x_y_z_and_goes_through_the_transform(tmp_path: Path) -> None:
    transform = [4, 0, 0, 100, 0, 4, 0, 200, 0, 0, 4, 300]
    attributes = [
        {"id": "colour", "data_type": "uint8", "num_components": 3},
        {"id": "radius", "data_type": "float32", "num_components": 1},
    ]
    data = encoded([[1, 2, 3], [1, 2, 13]], [[0, 1]], np.zeros((2, 3), np.uint8), np.array([5, -1], "<f4"))
    spec = precomputed(tmp_path / "s", {"9": data}, transform, vertex_attributes=attributes)
    skeleton = read_skeletons(spec)[9]
    assert skeleton.nodes_nm.tolist() == [[312, 208, 104], [352, 208, 104]]
    assert skeleton.radii_nm.tolist() == pytest.approx([20, 0])
    assert skeleton.length_nm == 40


@pytest.mark.parametrize(
    "files",
    [{"5": LINE}, {"5.gz": gzip.compress(LINE)}, {"5": LINE, "5:0": b"", "1.spatial": b"{}"}],
    ids=["plain", "gzip", "beside other files"],
)
def test_precomputed_files_of_others_are_read(tmp_path: Path, files: dict[str, bytes]) -> None:
    skeletons = read_skeletons(precomputed(tmp_path / "s", files))
    assert list(skeletons) == [5]
    assert skeletons[5].nodes_nm.tolist() == [[3, 2, 1], [13, 2, 1]]


def test_a_segmentation_leads_to_its_skeletons(tmp_path: Path) -> None:
    precomputed(tmp_path / "seg" / "skeletons mip 2", {"5": LINE})
    info = {"@type": "neuroglancer_multiscale_volume", "scales": [{}], "skeletons": "skeletons mip 2"}
    (tmp_path / "seg" / "info").write_text(json.dumps(info))
    spec = f"precomputed://file://{tmp_path}/seg"
    assert list(read_skeletons(spec)) == [5]
    del info["skeletons"]
    (tmp_path / "seg" / "info").write_text(json.dumps(info))
    with pytest.raises(VolumeError, match="names no skeletons; give the folder"):
        read_skeletons(spec)


def test_empty_precomputed_skeletons_are_left_out_and_counted(tmp_path: Path) -> None:
    spec = precomputed(tmp_path / "s", {"5": LINE, "6": encoded([], []), "7": encoded([], [])})
    told: list[str] = []
    assert list(read_skeletons(spec, on_warning=told.append)) == [5]
    assert told == [f"'{spec}' has 2 skeletons without nodes, which are left out"]


@pytest.mark.parametrize(
    ("data", "info", "message"),
    [
        (LINE[:-1], {}, "skeleton 5 of .* is damaged: .*; write it again"),
        (LINE + b"x", {}, "skeleton 5 of .* is damaged"),
        (b"\x01", {}, "skeleton 5 of .* is damaged"),
        (
            encoded([[0, 0, 0], [1, 1, 1]], [[0, 2]]),
            {},
            "skeleton 5 of .*: skeleton edges name a node outside",
        ),
        (encoded([[0, 0, np.nan]], []), {}, "skeleton 5 of .*: skeleton node 0 has a NaN"),
        (encoded([[0, 0, 0], [1, 1, 1]], [[0, 1], [1, 0]]), {}, "skeleton 5 of .* closes a cycle"),
        (LINE, {"@type": "neuroglancer_legacy_mesh"}, "holds 'neuroglancer_legacy_mesh'"),
        (LINE, {"transform": [1, 2, 3]}, "'info' of .*; write the skeletons again"),
        (LINE, {"vertex_attributes": [{"id": "radius"}]}, "'info' of .*; write the skeletons again"),
    ],
)
def test_damaged_precomputed_says_what_is_wrong(
    tmp_path: Path, data: bytes, info: dict, message: str
) -> None:
    with pytest.raises(VolumeError, match=message) as caught:
        read_skeletons(precomputed(tmp_path / "s", {"5": data}, **info))
    assert "\n" not in str(caught.value)


def test_precomputed_has_its_unit(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="leave unit_nm out"):
        read_skeletons(precomputed(tmp_path / "s", {"5": LINE}), unit_nm=1000)


def source_of(folder: Path) -> object:
    """cloud-volume's own reader and writer of a folder of skeletons."""
    skeletons = pytest.importorskip("cloudvolume.datasource.precomputed.skeleton")
    return skeletons.PrecomputedSkeletonSource.from_cloudpath(f"file://{folder}")


def test_cloud_volume_reads_what_we_wrote(tmp_path: Path) -> None:
    write_skeletons(f"precomputed://file://{tmp_path}/s", neurons())
    theirs = {each.id: each for each in source_of(tmp_path / "s").get(list(neurons()))}
    assert theirs.keys() == neurons().keys()
    for number, ours in neurons().items():
        skeleton = theirs[number]
        assert skeleton.vertices[:, ::-1].tolist() == ours.nodes_nm.tolist()
        assert skeleton.edges.tolist() == ours.edges.tolist()
        radii = np.zeros(len(ours.nodes_nm)) if ours.radii_nm is None else ours.radii_nm
        assert skeleton.radius.tolist() == radii.tolist()


def test_we_read_what_cloud_volume_wrote(tmp_path: Path) -> None:
    theirs = pytest.importorskip("cloudvolume").Skeleton
    source = source_of(tmp_path / "s")
    source.meta.commit_info()
    for number, ours in neurons().items():
        radii = None if ours.radii_nm is None else ours.radii_nm
        source.upload(theirs(ours.nodes_nm[:, ::-1], ours.edges, radii, segid=number))
    assert graphs(read_skeletons(f"precomputed://file://{tmp_path}/s")) == graphs(neurons())


def test_shards_are_read(tmp_path: Path) -> None:
    sharding = pytest.importorskip("cloudvolume.datasource.precomputed.sharding")
    described = sharding.ShardingSpecification(
        type="neuroglancer_uint64_sharded_v1",
        preshift_bits=1,
        hash="murmurhash3_x86_128",
        minishard_bits=1,
        shard_bits=1,
        minishard_index_encoding="gzip",
        data_encoding="gzip",
    )
    lines = {number: encoded([[number, 0, 0], [number, 0, 9]], [[0, 1]]) for number in range(1, 20)}
    files = sharding.synthesize_shard_files(described, lines)
    spec = precomputed(tmp_path / "s", files, sharding=json.loads(described.to_json()))
    found = read_skeletons(spec)
    assert len(files) > 1
    assert {number: skeleton.nodes_nm[0, 2] for number, skeleton in found.items()} == {
        number: number for number in range(1, 20)
    }
