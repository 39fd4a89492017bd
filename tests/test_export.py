"""Exports hold the neurons as people left them, whole, and in forms that other programs read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from exported_project import SIZE_NM, make_project, pieces

from agglomeration.neurons import NeuronMap
from commands import _export
from commands._entry import run_command
from configs import ConfigView
from proofreading import ProofreadingState, open_state
from proofreading.errors import ProofreadingError
from proofreading.export import KINDS, ExportOptions, export_project
from proofreading.export.project import export_state
from volumes import open_volume, read_skeletons, read_swc

BY = {"person": "ada"}
# Points of supervoxel 6 near its two ends, nm.
LOW, HIGH = (170.0, 120.0, 150.0), (170.0, 120.0, 450.0)


@pytest.fixture
def config(tmp_path: Path) -> ConfigView:
    return make_project(tmp_path)


@pytest.fixture
def state(config: ConfigView) -> Iterator[ProofreadingState]:
    found = open_state(config)
    yield found
    found.close()


@pytest.fixture
def edited(state: ProofreadingState) -> ProofreadingState:
    """2 and 3 are joined, 4 and 5 parted, 6 is two supervoxels in two neurons."""
    state.merge(2, 3, client_key="merge 2 3", **BY)
    state.split(4, [(4, (70.0, 170.0, 50.0))], [(5, (70.0, 170.0, 500.0))], client_key="split 4 5", **BY)
    state.split(6, [(6, LOW)], [(6, HIGH)], client_key="split 6", **BY)
    return state


def export(config: ConfigView, kinds: Sequence[str], output: Path, **options: object) -> list[Path]:
    return export_project(config, kinds, output, ExportOptions(**options))  # type: ignore[arg-type]


def parts_of_six(state: ProofreadingState) -> tuple[int, int]:
    low, high = state.supervoxel_splits()[0].split.parts
    return low.id, high.id


def edited_pieces(state: ProofreadingState) -> np.ndarray:
    """The supervoxels with 6 parted in the middle, where its two points are equally far."""
    low, high = parts_of_six(state)
    found, inside = pieces(), pieces() == 6
    sides = state.read_labels(state.labels().bounds)
    found[inside] = sides[inside]
    assert set(np.unique(found[inside]).tolist()) == {low, high}
    return found


def edited_neurons(state: ProofreadingState) -> np.ndarray:
    """Each voxel's neuron, looked up one by one."""
    labels = edited_pieces(state)
    found = np.zeros_like(labels)
    for supervoxel in np.unique(labels[labels > 0]).tolist():
        found[labels == supervoxel] = state.neuron_of(supervoxel)
    return found


def test_the_neuron_of_every_supervoxel_is_the_same_in_every_table(
    config: ConfigView, edited: ProofreadingState, tmp_path: Path
) -> None:
    low, high = parts_of_six(edited)
    expected = {each: edited.neuron_of(each) for each in (1, 2, 3, 4, 5, low, high)}
    assert len({expected[1], expected[2], expected[3]}) == 1
    assert len(set(expected.values())) == 5
    export(config, ["csv", "npz"], tmp_path / "out" / "export")
    lines = (tmp_path / "out/export/mapping.csv").read_text().splitlines()
    assert lines[0] == "supervoxel,neuron"
    assert {int(a): int(b) for a, b in (line.split(",") for line in lines[1:])} == expected
    found = NeuronMap.load(tmp_path / "out/export/mapping.npz")
    assert dict(zip(found.supervoxels.tolist(), found.neurons.tolist(), strict=True)) == expected
    # The parts of 6 are in no volume of the project's, so they come along.
    with open_volume(f"precomputed://file://{tmp_path}/out/export/supervoxels") as volume:
        np.testing.assert_array_equal(volume.read(), edited_pieces(edited))


def test_parquet_holds_the_same_table(config: ConfigView, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export(config, ["parquet"], tmp_path / "e")
    table = parquet.read_table(tmp_path / "e" / "mapping.parquet")
    assert table.to_pydict() == {"supervoxel": [1, 2, 3, 4, 5, 6], "neuron": [1, 1, 3, 4, 4, 6]}
    assert str(table.schema.field("neuron").type) == "uint64"


def test_parquet_without_pyarrow_names_the_extra(
    config: ConfigView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from proofreading.export import mapping

    monkeypatch.setattr(mapping, "can_write_parquet", lambda: False)
    with pytest.raises(ProofreadingError, match=r"pip install 'ffn-reconstruction\[parquet\]'"):
        export(config, ["parquet"], tmp_path / "e")
    assert not (tmp_path / "e" / "mapping.parquet").exists()


@pytest.mark.slow
def test_edited_neurons_are_written_with_table_meshes_and_skeletons(
    config: ConfigView, edited: ProofreadingState, tmp_path: Path
) -> None:
    pytest.importorskip("zmesh")
    pytest.importorskip("kimimaro")
    expected = edited_neurons(edited)
    written = export(config, ["neurons", "swc"], tmp_path / "e")
    assert [path.name for path in written] == ["neuron_table.csv", "neurons", "swc"]
    with open_volume(f"precomputed://file://{tmp_path}/e/neurons") as volume:
        np.testing.assert_array_equal(volume.read(), expected)
        assert volume.voxel_size_nm == SIZE_NM
    rows = [line.split(",") for line in (tmp_path / "e/neuron_table.csv").read_text().splitlines()]
    table = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert {int(row["id"]): int(row["voxels"]) for row in table} == {
        neuron: int((expected == neuron).sum()) for neuron in np.unique(expected[expected > 0]).tolist()
    }
    for row in table:
        place = np.argwhere(expected == int(row["id"]))
        assert [int(row[name]) for name in ("z0", "y0", "x0")] == place.min(0).tolist()
        assert [int(row[name]) for name in ("z1", "y1", "x1")] == (place.max(0) + 1).tolist()
        centroid = [float(row[f"centroid_{axis}_nm"]) for axis in "zyx"]
        np.testing.assert_allclose(centroid, (place.mean(0) + 0.5) * 10, atol=0.06)
    skeletons = read_skeletons(f"precomputed://file://{tmp_path}/e/neurons/skeletons")
    assert {int(path.stem) for path in (tmp_path / "e/swc").iterdir()} == set(skeletons)
    for neuron, skeleton in skeletons.items():
        found = read_swc(tmp_path / "e" / "swc" / f"{neuron}.swc")
        assert found.edge_lengths_nm.sum() == pytest.approx(skeleton.edge_lengths_nm.sum(), rel=1e-4)
        voxels = np.floor(skeleton.nodes_nm / SIZE_NM).astype(int)
        assert (expected[tuple(voxels.T)] == neuron).all()
    meshes = {path.name for path in (tmp_path / "e/neurons/mesh").glob("*:0")}
    assert f"{edited.neuron_of(1)}:0" in meshes


def test_skeletons_without_the_volume_are_those_of_the_edited_neurons(
    config: ConfigView, edited: ProofreadingState, tmp_path: Path
) -> None:
    pytest.importorskip("kimimaro")
    expected = edited_neurons(edited)
    export(config, ["swc"], tmp_path / "e")
    found = {int(path.stem): read_swc(path) for path in (tmp_path / "e/swc").iterdir()}
    assert set(found) == set(np.unique(expected[expected > 0]).tolist())
    for neuron, skeleton in found.items():
        assert (expected[tuple(np.floor(skeleton.nodes_nm / SIZE_NM).astype(int).T)] == neuron).all()


def test_what_lies_there_and_follows_from_the_same_is_left_alone(
    config: ConfigView, state: ProofreadingState, tmp_path: Path
) -> None:
    pytest.importorskip("kimimaro")
    export(config, ["swc"], tmp_path / "e")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "e/swc").iterdir()}
    export(config, ["swc"], tmp_path / "e")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "e/swc").iterdir()} == before
    state.merge(2, 3, client_key="merge 2 3", **BY)
    export(config, ["swc"], tmp_path / "e")
    assert {path.stem for path in (tmp_path / "e/swc").iterdir()} == {"1", "4", "6"}


def test_all_kinds_name_the_edit_that_they_are_of(
    config: ConfigView, edited: ProofreadingState, tmp_path: Path
) -> None:
    export(config, ["npz"], tmp_path / "e")
    edited.undo(3, client_key="undo 3", **BY)
    export(config, ["csv", "decisions"], tmp_path / "e")
    noted = json.loads((tmp_path / "e" / "export.json").read_text())
    assert {kind: each["edit"] for kind, each in noted["kinds"].items()} == {
        "npz": 3,
        "csv": 4,
        "decisions": 4,
    }
    assert noted["project"] == "tiny"


def test_an_undone_split_of_a_supervoxel_leaves_it_whole(
    config: ConfigView, edited: ProofreadingState, tmp_path: Path
) -> None:
    edited.undo(3, client_key="undo 3", **BY)
    export(config, ["npz"], tmp_path / "e")
    assert NeuronMap.load(tmp_path / "e" / "mapping.npz").supervoxels.tolist() == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "e" / "supervoxels").exists()


def test_a_link_shows_neurons_as_merged_supervoxels(
    config: ConfigView, edited: ProofreadingState, tmp_path: Path
) -> None:
    low, _ = parts_of_six(edited)
    neuron = edited.neuron_of(low)
    # 3 was joined with 1, and still leads to it.
    options = {"neurons": (3, neuron), "address": "https://data.example/tiny/", "point": (7, 7, 30)}
    export(config, ["link"], tmp_path / "out" / "export", **options)
    state = json.loads((tmp_path / "out/export/neuroglancer.json").read_text())
    (layer,) = state["layers"]
    assert layer["source"] == "precomputed://https://data.example/tiny/export/supervoxels"
    assert layer["segments"] == [str(edited.neuron_of(1)), str(neuron)]
    assert sorted(map(sorted, layer["equivalences"])) == sorted([["1", "2", "3"], [str(low)]])
    assert state["position"] == [30.5, 7.5, 7.5] and state["dimensions"]["x"] == [1e-8, "m"]
    link = (tmp_path / "out/export/neuroglancer_link.txt").read_text().strip()
    assert link.startswith("https://neuroglancer-demo.appspot.com/#!%7B") and " " not in link


LINKS_REFUSED = {
    "elsewhere": ("e", {}, "export the kind 'neurons' together with the link"),
    "no such neuron": ("out/export", {"neurons": (77,)}, "no neuron"),
}


@pytest.mark.parametrize("output, options, line", LINKS_REFUSED.values(), ids=LINKS_REFUSED)
def test_links_that_cannot_be_made_are_refused(
    config: ConfigView, tmp_path: Path, output: str, options: dict[str, object], line: str
) -> None:
    with pytest.raises(ProofreadingError, match=line):
        export(config, ["link"], tmp_path / output, **options)


def test_unknown_kinds_are_refused_by_name(config: ConfigView, tmp_path: Path) -> None:
    with pytest.raises(ProofreadingError, match="'obj' is no kind of export; choose from csv, npz"):
        export(config, ["csv", "obj"], tmp_path / "e")
    with pytest.raises(ProofreadingError, match="no kind of export is named"):
        export(config, [], tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_an_error_keeps_what_was_exported_before(
    config: ConfigView, state: ProofreadingState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from proofreading.export import ingest

    options = ExportOptions(chunk=(12, 12, 16))
    (tmp_path / "e").mkdir()
    export_state(config, state, ["chunkedgraph"], tmp_path / "e", options)
    before = {path: path.read_bytes() for path in (tmp_path / "e").rglob("*") if path.is_file()}

    def fail(*_: object) -> bytes:
        raise ProofreadingError("no more")

    monkeypatch.setattr(ingest, "encode_components", fail)
    state.merge(2, 3, client_key="merge 2 3", **BY)
    with pytest.raises(ProofreadingError, match="no more"):
        export_state(config, state, ["chunkedgraph"], tmp_path / "e", options)
    assert {path: path.read_bytes() for path in before} == before


def test_an_earlier_state_is_exported(config: ConfigView, edited: ProofreadingState, tmp_path: Path) -> None:
    export(config, ["csv"], tmp_path / "e", at="1")
    lines = (tmp_path / "e/mapping.csv").read_text().splitlines()[1:]
    assert [line.split(",") for line in lines] == [
        *[["1", "1"], ["2", "1"], ["3", "1"], ["4", "4"], ["5", "4"], ["6", "6"]]
    ]
    assert json.loads((tmp_path / "e/export.json").read_text())["kinds"]["csv"]["edit"] == 1
    with pytest.raises(ProofreadingError, match="decisions are those of now"):
        export(config, ["decisions"], tmp_path / "e", at="1")
    with pytest.raises(ProofreadingError, match="neither the number of an edit nor a time"):
        export(config, ["csv"], tmp_path / "e", at="yesterday")


def command(*arguments: str) -> int:
    return run_command(_export.FLAGS, _export.__doc__ or "", _export.main, arguments)


def test_the_command_writes_into_the_output_directory(
    config: ConfigView, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--config", str(tmp_path / "c.textproto"), "--kind", "csv", "--kind", "decisions") == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"written: {tmp_path}/out/export/mapping.csv",
        f"written: {tmp_path}/out/export/decisions.npz",
    ]
    assert "0 decided pairs" in printed.err


COMMANDS_REFUSED = {
    "no kind": ([], "export needs --config and at least one --kind"),
    "unknown kind": (["--kind", "obj"], "obj"),
    "no point": (["--kind", "link", "--point", "1,2"], "--point '1,2' is not three whole numbers"),
    "no ID": (["--kind", "link", "--neuron", "-4"], "--neuron '-4' is no ID"),
    "large ID": (["--kind", "link", "--neuron", str(2**63)], "is no ID"),
    "no chunk": (["--kind", "chunkedgraph", "--chunk", "0,1,1"], "choose larger ones"),
}


@pytest.mark.parametrize("arguments, line", COMMANDS_REFUSED.values(), ids=COMMANDS_REFUSED)
def test_what_the_command_cannot_do_is_refused_in_one_line(
    config: ConfigView,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    line: str,
) -> None:
    assert command("--config", str(tmp_path / "c.textproto"), *arguments) == 2
    printed = capsys.readouterr().err
    assert line in printed and len(printed.splitlines()) == 1


def test_the_command_knows_all_kinds() -> None:
    assert _export.FLAGS["kind"].parser.enum_values == list(KINDS)


@pytest.mark.slow
def test_exports_load_no_network_library() -> None:
    code = (
        "import sys, proofreading.export.project; "
        "print(sorted({'tensorflow', 'keras', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
