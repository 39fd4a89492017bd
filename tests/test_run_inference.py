"""run_inference as a user meets it: a config or a google/ffn request in, results or clear refusals out."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny_project import (
    REQUEST,
    TINY,
    contents,
    grey_of,
    run,
    save_threshold_network,
    write_checkpoint,
    write_config,
    write_volumes,
)

from commands import import_checkpoint, run_inference
from configs import load_config
from ffn.network import Architecture
from ffn.weights import load_network
from inference import checkpoints, inputs
from inference.project import run_project
from volumes import open_volume
from volumes.phantom import PhantomSpec, make_phantom

SHAPE = (20, 24, 28)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with a tiny network, an image of two bright slabs, its labels and a config; also the cwd."""
    monkeypatch.chdir(tmp_path)
    save_threshold_network()
    labels = np.zeros(SHAPE, np.uint32)
    labels[:, 2:11] = 1
    labels[:, 13:22] = 2
    raw = grey_of(labels)
    nan = raw.astype(np.float32)
    nan[3, 4, 5] = np.nan
    write_volumes("data.h5", raw=raw, labels=labels, flat=raw[0], nan=nan)
    write_config()
    return tmp_path


def test_a_config_gives_objects_figures_a_picture_and_its_own_settings(place, capsys):
    assert run("--config", "c.textproto") == 0
    metrics = json.loads(Path("out/metrics.json").read_text())["stages"]["forward"]
    assert metrics["segmented_only"]["arand"] < 0.05 and metrics["coverage"] > 0.6 and metrics["objects"] == 2
    assert {"voi_split", "voi_merge", "segmented_only"} <= set(metrics)
    objects = open_volume(f"precomputed://file://{place / 'out/supervoxels'}")
    assert objects.dtype == np.uint64 and objects.shape == SHAPE
    assert set(np.unique(objects.read())) == {0, 1, 2}
    assert Path("out/slices.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "fields of view" in printed and "unsegmented = one object" in printed
    assert run("--config", "out/config.textproto") == 0, "the resolved config is a config"


def test_a_pass_that_is_done_is_not_run_again(place, capsys):
    assert run("--config", "c.textproto") == 0
    assert run("--config", "c.textproto") == 0
    assert "done before" in capsys.readouterr().out


def test_results_of_other_settings_are_not_mixed_in_and_stay_as_they_are(place, capsys):
    assert run("--config", "c.textproto") == 0
    before = contents("out")
    write_config(inference="edge_context: MIRROR")
    assert run("--config", "c.textproto") == 2
    assert "was made with mirror_margin = false, this run has true" in capsys.readouterr().err
    assert contents("out") == before


@pytest.mark.slow
def test_an_interrupted_pass_goes_on_where_it_was_and_ends_the_same(place, monkeypatch):
    assert run("--config", "c.textproto") == 0
    whole = np.load("out/passes/forward/0/0/seg-0_0_0.npz")
    eager = "checkpoint_interval_seconds: 1e-6"
    kept = checkpoints.Keeper.keep
    calls = []

    def die_at_the_hundredth(keeper) -> None:
        kept(keeper)
        calls.append(keeper)
        if len(calls) == 100:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

    monkeypatch.setattr(checkpoints.Keeper, "keep", die_at_the_hundredth)
    write_config(inference=eager, output_dir='"killed"')
    assert run("--config", "c.textproto") == 130
    assert Path("killed/passes/forward/0/0/seg-0_0_0.unfinished").exists()
    assert run("--config", "c.textproto") == 0
    again = np.load("killed/passes/forward/0/0/seg-0_0_0.npz")
    for name in ("segmentation", "object_ids", "seeds_zyx", "fovs"):
        np.testing.assert_array_equal(again[name], whole[name])
    fovs = [json.loads(str(each["counts"]))["fovs"] for each in (whole, again)]
    # The last field of view ends the flood, which then is not kept any more.
    assert fovs[0] == fovs[1] == len(calls) + 1, "no field of view was seen twice"
    assert not Path("killed/passes/forward/0/0/seg-0_0_0.unfinished").exists()


def test_an_image_that_was_replaced_is_noticed(place, capsys):
    assert run("--config", "c.textproto") == 0
    with h5py.File("data.h5", "r+") as file:
        file["raw"][:4] = 255 - file["raw"][:4]
    assert run("--config", "c.textproto") == 2
    assert "image_digest" in capsys.readouterr().err


def test_another_phantom_is_not_taken_for_the_one_that_is_there(place, capsys):
    for parameters, code in (("", 0), ("parameters { noise: 90 }", 2)):
        write_config(raw="", phantom=f"{{ shape {{ z: 24 y: 24 x: 24 }} {parameters} }}", evaluation="{}")
        Path("c.textproto").write_text(Path("c.textproto").read_text().replace('raw { spec: "" }', ""))
        assert run("--config", "c.textproto") == code
    assert len(list(Path("out").glob("phantom-*"))) == 1, "the other one was not even made"
    assert "was made with image =" in capsys.readouterr().err


def test_a_run_on_a_phantom_gives_the_phantom(place):
    write_config(raw="", phantom="{ shape { z: 24 y: 24 x: 24 } }", evaluation="{}")
    Path("c.textproto").write_text(Path("c.textproto").read_text().replace('raw { spec: "" }', ""))
    given = run_project(load_config("c.textproto"))
    made = make_phantom(PhantomSpec(shape=(24, 24, 24)))
    np.testing.assert_array_equal(given.image.read(), made.raw)
    np.testing.assert_array_equal(given.labels.read(), made.labels)


def test_a_run_on_a_phantom_goes_on_where_it_was(place, capsys):
    write_config(raw="", phantom="{ shape { z: 24 y: 24 x: 24 } }", evaluation="{}")
    Path("c.textproto").write_text(Path("c.textproto").read_text().replace('raw { spec: "" }', ""))
    for _ in range(2):
        assert run("--config", "c.textproto") == 0
    assert "done before" in capsys.readouterr().out


def test_the_table_treats_unsegmented_voxels_as_asked(place, capsys):
    write_config(evaluation='{ labels { spec: "data.h5:labels" } background: LEFT_OUT }')
    assert run("--config", "c.textproto") == 0
    printed = capsys.readouterr().out
    assert "segmented only" in printed and "unsegmented = one object" not in printed


def test_voxels_of_another_size_than_the_network_knows_are_noted(place, capsys):
    save_threshold_network(voxel_size_nm=(40, 4, 4))
    assert run("--config", "c.textproto") == 0
    assert "trained at voxels of (40.0, 4.0, 4.0) nm" in capsys.readouterr().err


def test_hdf5_output_holds_the_same_objects(place):
    write_config(outputs="{ hdf5: true precomputed: false png: false }")
    assert run("--config", "c.textproto") == 0
    written = open_volume("out/supervoxels.h5:segmentation")
    np.testing.assert_array_equal(
        written.read(), np.load("out/passes/forward/0/0/seg-0_0_0.npz")["segmentation"]
    )
    assert not Path("out/supervoxels").exists() and not Path("out/slices.png").exists()


def test_reversed_seeds_are_tried_from_the_other_end(place):
    write_config(inference='passes { name: "forward" } passes { name: "reversed" seed_order: REVERSED }')
    assert run("--config", "c.textproto") == 0
    first, second = (
        np.load(f"out/passes/{n}/0/0/seg-0_0_0.npz")["seeds_zyx"] for n in ("forward", "reversed")
    )
    assert first.tolist() == sorted(first.tolist())
    assert second.tolist() == sorted(second.tolist(), reverse=True)
    assert first[0].tolist() < second[0].tolist()


def test_mirrored_context_lets_objects_reach_the_faces_of_the_box(place):
    assert run("--config", "c.textproto") == 0
    without = np.load("out/passes/forward/0/0/seg-0_0_0.npz")["segmentation"]
    write_config(inference="edge_context: MIRROR", output_dir='"mirrored"')
    assert run("--config", "c.textproto") == 0
    mirrored = np.load("mirrored/passes/forward/0/0/seg-0_0_0.npz")["segmentation"]
    bright = open_volume("data.h5:raw").read() > 128
    assert mirrored.shape == without.shape
    for face in (np.s_[0], np.s_[-1], np.s_[:, :, 0], np.s_[:, :, -1]):
        filled, filled_mirrored = ((array[face] > 0)[bright[face]].mean() for array in (without, mirrored))
        assert filled < 0.5 < filled_mirrored


def test_a_box_is_segmented_in_coordinates_of_the_whole_volume(place):
    write_config(inference="box { start { z: 2 y: 4 x: 6 } shape { z: 16 y: 18 x: 20 } }")
    assert run("--config", "c.textproto") == 0
    assert np.load("out/passes/forward/6/4/seg-6_4_2.npz")["segmentation"].shape == (16, 18, 20)
    bounds = open_volume(f"precomputed://file://{place / 'out/supervoxels'}").bounds
    assert (bounds.start, bounds.stop) == ((2, 4, 6), (18, 22, 26))


def test_the_compute_type_can_be_overridden_and_is_recorded(place):
    assert run("--config", "c.textproto", "--compute_dtype", "bfloat16") == 0
    settings = json.loads(str(np.load("out/passes/forward/0/0/seg-0_0_0.npz")["settings"]))
    assert settings["compute_dtype"] == "bfloat16"
    assert "BFLOAT16" in Path("out/config.textproto").read_text()


def test_a_phantom_serves_as_image_and_ground_truth(place):
    phantom = "{ shape { z: 24 y: 24 x: 24 } seed: 3 }"
    write_config(raw="", phantom=phantom, evaluation="{}", output_dir='"phantom"')
    Path("c.textproto").write_text(Path("c.textproto").read_text().replace('raw { spec: "" }', ""))
    assert run("--config", "c.textproto") == 0
    assert json.loads(Path("phantom/metrics.json").read_text())["stages"]["forward"]["coverage"] >= 0
    (made,) = Path("phantom").glob("phantom-v1-seed3-*.h5")
    assert open_volume(f"{made}:volumes/labels/neuron_ids").dtype == np.uint64


_BOX_AT = "box {{ start {{ z: {z} y: 0 x: 0 }} shape {{ z: 20 y: 8 x: 8 }} }}"

# Refusals: (what is changed in the config, what the message has to say)
REFUSALS = {
    "missing file": ({"raw": "nowhere.h5:raw"}, "nowhere.h5"),
    "wrong dataset name": ({"raw": "data.h5:row"}, "labels"),
    "2-D data": ({"raw": "data.h5:flat"}, "2-D"),
    "float image with NaN": ({"raw": "data.h5:nan"}, "NaN"),
    "volume smaller than the field of view": ({"network": "large.ffn.h5"}, "field of view"),
    "boolean image": ({"raw": "small.h5:mask"}, "bool"),
    "raw and phantom": ({"phantom": "{ shape { z: 24 y: 24 x: 24 } }"}, "raw and phantom are both given"),
    "box outside the phantom": (
        {"raw": "", "phantom": "{ shape { z: 24 y: 24 x: 24 } }", "inference": _BOX_AT.format(z=9)},
        "leaves volume",
    ),
    "seed policy of a phantom": (
        {
            "raw": "",
            "phantom": "{ shape { z: 24 y: 24 x: 24 } }",
            "evaluation": "{}",
            "inference": 'passes { name: "a" seed_policy: "PolicyPeeks" }',
        },
        "PolicyPeaks",
    ),
    "phantom that no memory holds": (
        {"raw": "", "phantom": "{ shape { z: 90000 y: 90000 x: 90000 } }"},
        "make phantom.shape smaller",
    ),
    "box far outside": ({"inference": _BOX_AT.format(z=2**62)}, "shrink inference.box to lie inside"),
    "zero-size box": ({"inference": "box { start { z: 0 y: 0 x: 0 } shape { z: 0 y: 8 x: 8 } }"}, "shape.z"),
    "box outside": ({"inference": "box { start { z: 9 y: 0 x: 0 } shape { z: 20 y: 8 x: 8 } }"}, "z 0:20"),
    "missing network": ({"network": "nowhere.ffn.h5"}, "nowhere.ffn.h5"),
    "unknown shipped network": ({"network": "builtin:nowhere"}, "nowhere"),
    "truncated network": ({"network": "truncated.ffn.h5"}, "truncated"),
    "weights of another architecture": ({"network": "other.ffn.h5"}, "expects"),
    "output that cannot be written": ({"output_dir": '"data.h5/out"'}, "output_dir"),
    "config without the section": ({"network": ""}, "network"),
    "labels of another shape": ({"evaluation": '{ labels { spec: "small.h5:labels" } }'}, "labels"),
    "labels of another voxel size": (
        {"evaluation": '{ labels { spec: "small.h5:fine" } }'},
        "labels 'small.h5:fine' have voxels of (10.0, 8.0, 8.0) nm but the image has (10.0, 10.0, 10.0) nm",
    ),
    "labels that are no IDs": ({"evaluation": '{ labels { spec: "data.h5:nan" } }'}, "float32"),
    "labels below 0": ({"evaluation": '{ labels { spec: "small.h5:below" } }'}, "are -1 at z 3, y 4, x 5;"),
    "labels without any": ({"evaluation": '{ labels { spec: "small.h5:none" } }'}, "are 0 in all"),
    "seed policy arguments": (
        {"inference": "passes { name: 'a' seed_policy_args: '{\"x\": 1}' }"},
        "PolicyPeaks",
    ),
    "npz off": ({"outputs": "{ npz: false }"}, "outputs.npz"),
    "unknown seed policy": ({"inference": 'passes { name: "a" seed_policy: "PolicyPeeks" }'}, "PolicyPeaks"),
    "misspelt field": ({"inference": "bach_size: 3"}, "batch_size"),
}


@pytest.mark.parametrize("changes, says", REFUSALS.values(), ids=REFUSALS)
def test_bad_input_gets_one_line_exit_code_2_and_leaves_nothing_behind(place, capsys, changes, says):
    _make_bad_files()
    write_config(**changes)
    text = Path("c.textproto").read_text().replace('network { weights: "" }', "")
    Path("c.textproto").write_text(text.replace('raw { spec: "" }', ""))
    before = sorted(Path().rglob("*"))
    assert run("--config", "c.textproto") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and says in error
    assert sorted(Path().rglob("*")) == before


def _make_bad_files() -> None:
    large = Architecture(depth=1, features=2, fov_zyx=(21, 21, 21), deltas_zyx=(2, 2, 2))
    save_threshold_network("large.ffn.h5", large)
    whole = Path("net.ffn.h5").read_bytes()
    Path("truncated.ffn.h5").write_bytes(whole[: len(whole) // 2])
    Path("other.ffn.h5").write_bytes(whole)
    with h5py.File("other.ffn.h5", "r+") as file:
        del file["conv0_b/kernel"]
        file["conv0_b/kernel"] = np.zeros((3, 3, 3, 2, 5), np.float32)
    with h5py.File("small.h5", "w") as file:
        file.create_dataset("labels", data=np.ones((8, 8, 8), np.uint8)).attrs["resolution"] = (10.0,) * 3
        below = np.ones(SHAPE, np.int32)
        below[3, 4, 5:7] = -1
        for name, array in (
            ("none", np.zeros(SHAPE, np.uint8)),
            ("mask", np.ones(SHAPE, bool)),
            ("below", below),
        ):
            file.create_dataset(name, data=array).attrs["resolution"] = (10.0,) * 3
        fine = file.create_dataset("fine", data=np.ones(SHAPE, np.uint8))
        fine.attrs["resolution"] = (10.0, 8.0, 8.0)


@pytest.mark.parametrize(
    "name",
    [
        "config.textproto",
        "metrics.json",
        "slices.png",
        "supervoxels.npz",
        "supervoxels.csv",
        "supervoxels.h5",
    ],
)
@pytest.mark.parametrize("image", ["raw", "phantom"])
def test_a_directory_in_the_place_of_a_file_is_found_before_any_work(place, capsys, name, image):
    Path("out", name, "inner").mkdir(parents=True)
    _refused_in_the_way(capsys, name, image, "is a directory")


@pytest.mark.parametrize(
    "name",
    ["passes", "passes/forward", "reconciliation", "supervoxels", "image", "supervoxels.zarr"],
)
def test_a_file_in_the_place_of_a_directory_is_found_before_any_work(place, capsys, name):
    Path("out", name).parent.mkdir(parents=True)
    Path("out", name).write_text("mine")
    _refused_in_the_way(capsys, name, "raw", "is a file")


def _refused_in_the_way(capsys, name: str, image: str, says: str) -> None:
    made = {"raw": "", "phantom": "{ shape { z: 24 y: 24 x: 24 } }", "evaluation": "{}"}
    write_config(outputs="{ hdf5: true zarr: true }", **(made if image == "phantom" else {}))
    Path("c.textproto").write_text(Path("c.textproto").read_text().replace('raw { spec: "" }', ""))
    before = sorted(Path().rglob("*"))
    assert run("--config", "c.textproto") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"'out/{name}' {says}" in error and "output_dir" in error
    assert sorted(Path().rglob("*")) == before


def test_what_is_not_asked_for_may_be_in_the_way(place):
    Path("out/slices.png").mkdir(parents=True)
    Path("out/supervoxels").write_text("mine")
    write_config(outputs="{ png: false precomputed: false }")
    assert run("--config", "c.textproto") == 0
    assert Path("out/supervoxels").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments, says",
    [
        ([], "--config"),
        (["--config"], "config"),
        (["--confg", "c.textproto"], "confg"),
        (["--config", "c.textproto", "stray"], "stray"),
        (["--config", "nowhere.textproto"], "nowhere.textproto"),
        (["--config", "c.textproto", "--inference_request", "x"], "not both"),
        (["--config", "c.textproto", "--compute_dtype", "float64"], "float64"),
    ],
    ids=str,
)
def test_wrong_flags_get_one_line_and_exit_code_2(place, capsys, arguments, says):
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error


def test_help_names_both_forms_and_every_flag(capsys):
    assert run("--help") == 0
    printed = capsys.readouterr().out
    assert all(
        flag in printed for flag in ("--config", "--inference_request", "--bounding_box", "--compute_dtype")
    )


# google/ffn's form


BOX = "start { x: 4 y: 2 z: 0 } size { x: 24 y: 22 z: 20 }"


@pytest.fixture
def request_text(place) -> str:
    write_checkpoint("model.ckpt-7", TINY)
    return REQUEST.replace("DEPTH", "1")


def test_a_google_request_puts_its_result_where_google_ffn_does(request_text, capsys):
    assert run("--inference_request", request_text, "--bounding_box", BOX) == 0
    result = np.load("results/4/2/seg-4_2_0.npz")
    assert result["segmentation"].shape == (20, 22, 24)
    assert set(np.unique(result["segmentation"])) >= {0, 1}
    assert json.loads(str(result["settings"]))["compute_dtype"] == "float32"
    assert Path("results/4/2/seg-4_2_0.png").exists()
    filled, counts = np.mean(result["segmentation"] > 0), json.loads(str(result["counts"]))
    rows = dict(re.split(r"  +", row) for row in capsys.readouterr().out.splitlines())
    assert rows["box"] == "z 0:20, y 2:24, x 4:28 (20 x 22 x 24 voxels)"
    assert rows["objects"] == str(counts["objects"]) and rows["seeds"] == str(counts["seeds"])
    assert rows["filled"] == f"{100 * filled:.1f}% of the voxels"
    assert re.fullmatch(rf"{counts['fovs']} in \d+ s \(\d+ per second\)", rows["fields of view"])
    files = tuple(f"results/4/2/seg-4_2_0.{suffix}" for suffix in ("npz", "png"))
    assert (rows["result"], rows["picture"]) == files


def test_a_picture_that_a_killed_request_did_not_come_to_is_made_by_the_next(request_text, capsys):
    assert run("--inference_request", request_text, "--bounding_box", BOX) == 0
    picture, result = Path("results/4/2/seg-4_2_0.png"), Path("results/4/2/seg-4_2_0.npz")
    pixels, labels = picture.read_bytes(), result.read_bytes()
    picture.unlink()
    first = capsys.readouterr().out
    assert run("--inference_request", request_text, "--bounding_box", BOX) == 0
    assert (picture.read_bytes(), result.read_bytes()) == (pixels, labels)
    assert capsys.readouterr().out == first, "it is told of like one that was just made"


@pytest.mark.parametrize("suffix", ["npz", "prob", "png"])
def test_a_directory_in_the_place_of_a_request_s_file_is_found_before_any_work(request_text, capsys, suffix):
    Path(f"results/4/2/seg-4_2_0.{suffix}").mkdir(parents=True)
    before = sorted(Path().rglob("*"))
    assert run("--inference_request", request_text, "--bounding_box", BOX) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"seg-4_2_0.{suffix}" in error and "is a directory" in error
    assert sorted(Path().rglob("*")) == before


def test_a_google_request_and_a_config_of_the_same_settings_agree(request_text):
    assert run("--inference_request", request_text, "--bounding_box", BOX) == 0
    write_config(inference=f"bounding_box {{ {BOX} }}")
    assert run("--config", "c.textproto") == 0
    first = np.load("results/4/2/seg-4_2_0.npz")["segmentation"]
    second = np.load("out/passes/forward/4/2/seg-4_2_0.npz")["segmentation"]
    np.testing.assert_array_equal(first, second)


GOOGLE_REFUSALS = {
    "checkpoint of another architecture": ({'\\"features\\": 2': '\\"features\\": 4'}, "features"),
    "missing checkpoint": ({"model.ckpt-7": "model.ckpt-8"}, "model.ckpt-8"),
    "unsupported option": ({"seed_policy": 'reference_histogram: "h" seed_policy'}, "reference_histogram"),
    "policy arguments": ({"seed_policy": "seed_policy_args: '[1]' seed_policy"}, "seed_policy_args"),
    "box outside": ({}, "leaves volume"),
    "truncated checkpoint": ({}, "model.ckpt-7"),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOGLE_REFUSALS)
def test_a_request_that_cannot_run_gets_one_line_and_leaves_nothing_behind(request_text, capsys, case):
    replacements, says = GOOGLE_REFUSALS[case]
    for old, new in replacements.items():
        request_text = request_text.replace(old, new)
    box = BOX.replace("z: 20", "z: 21") if case == "box outside" else BOX
    if case == "truncated checkpoint":
        (data,) = Path().glob("model.ckpt-7.data*")
        data.write_bytes(data.read_bytes()[:100])
    assert run("--inference_request", request_text, "--bounding_box", box) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error
    assert not Path("results").exists()


def test_a_phantom_smaller_than_the_field_of_view_is_refused_before_it_is_made(place, capsys):
    _make_bad_files()
    write_config(raw="", phantom="{ shape { z: 16 y: 24 x: 24 } }", evaluation="{}", network="large.ffn.h5")
    Path("c.textproto").write_text(Path("c.textproto").read_text().replace('raw { spec: "" }', ""))
    assert run("--config", "c.textproto") == 2
    assert "field of view (21, 21, 21)" in capsys.readouterr().err
    assert not Path("out").exists()


def test_memory_that_ends_while_a_phantom_is_made_names_its_shape(place, capsys, monkeypatch):
    def too_large(spec):
        raise MemoryError

    monkeypatch.setattr(inputs, "make_phantom", too_large)
    write_config(raw="", phantom="{ shape { z: 24 y: 24 x: 24 } }", evaluation="{}")
    Path("c.textproto").write_text(Path("c.textproto").read_text().replace('raw { spec: "" }', ""))
    assert run("--config", "c.textproto") == 2
    assert "phantom of shape (24, 24, 24) (z, y, x) does not fit into memory; make" in capsys.readouterr().err


def test_an_image_of_64_bits_gives_the_objects_of_its_grey_values(place):
    with h5py.File("data.h5", "r+") as file:
        for name, dtype in (("int64", np.int64), ("uint64", np.uint64)):
            file.create_dataset(name, data=file["raw"][:].astype(dtype)).attrs["resolution"] = (10.0,) * 3
    found = []
    for name in ("raw", "int64", "uint64"):
        write_config(raw=f"data.h5:{name}", output_dir=f'"{name}"')
        assert run("--config", "c.textproto") == 0
        found.append(np.load(f"{name}/passes/forward/0/0/seg-0_0_0.npz")["segmentation"])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_a_request_needs_a_box(request_text, capsys):
    assert run("--inference_request", request_text) == 2
    assert "--bounding_box" in capsys.readouterr().err
    empty = "start { x: 4 y: 2 z: 0 } size { x: 24 y: 0 z: 20 }"
    assert run("--inference_request", request_text, "--bounding_box", empty) == 2
    assert "size.y" in capsys.readouterr().err


def test_refusals_do_not_wait_for_tensorflow(place):
    """A misspelt config is answered at once: nothing heavy is imported before it was read."""
    Path("c.textproto").write_text("nmae: 3")
    script = (
        "import sys; from commands.run_inference import run; code = run(['--config', 'c.textproto']);"
        "sys.exit(code if not {'tensorflow', 'keras', 'numba'} & set(sys.modules) else 99)"
    )
    repository = Path(run_inference.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    assert (
        subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True).returncode == 2
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend, says",
    [("openvino", "'openvino' is not installed"), ("spam", "spam"), ("numpy", "'numpy' has no engine")],
)
def test_a_backend_that_cannot_be_used_gets_one_line_and_exit_code_2(place, backend, says):
    if backend == "openvino" and importlib.util.find_spec(backend):
        pytest.skip("openvino is installed")
    script = "import sys; from commands.run_inference import run; sys.exit(run(['--config', 'c.textproto']))"
    repository = Path(run_inference.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(repository), "KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and not Path("out").exists()
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert says in done.stderr and "set KERAS_BACKEND to tensorflow or jax" in done.stderr


@pytest.mark.slow
def test_worker_processes_print_no_notices(place):
    script = (
        "import sys; from commands.run_inference import run\n"
        "if __name__ == '__main__': sys.exit(run(['--config', 'c.textproto', '--workers', '2']))"
    )
    write_config(inference="batch_size: 1")
    unset = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment = {**unset, "PYTHONPATH": str(Path(run_inference.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_backend_prints_while_it_loads_is_shown_when_it_fails(tmp_path, fails):
    body = (
        "raise RuntimeError('broken')" if fails else "backend = lambda: None; backend.backend = lambda: 'jax'"
    )
    (tmp_path / "keras.py").write_text(f"import os; os.write(2, b'a notice\\n'); {body}\n")
    script = "from ffn.backend import load_quietly; load_quietly(); load_quietly(); print('loaded')"
    paths = os.pathsep.join([str(tmp_path), str(Path(run_inference.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    if fails:
        assert done.returncode == 1 and "a notice" in done.stderr and "RuntimeError: broken" in done.stderr
    else:
        assert (done.stdout, done.stderr) == ("loaded\n", "")


def test_an_imported_checkpoint_segments_like_the_checkpoint_itself(request_text, capsys):
    checkpoint = """{ checkpoint {
      model_checkpoint_path: "model.ckpt-7" image_mean: 128 image_stddev: 64
      model_args: '{"depth": 1, "fov_size": [5, 5, 5], "deltas": [2, 2, 2], "features": 2}'
      init_activation: 0.95 pad_value: 0.5 move_threshold: 0.6 segment_threshold: 0.6 } }"""
    write_config()
    text = Path("c.textproto").read_text()
    Path("imported.textproto").write_text(text.replace('{ weights: "net.ffn.h5" }', checkpoint))
    assert import_checkpoint.run(["--config", "imported.textproto", "--output", "new.ffn.h5"]) == 0
    assert "field of view (5, 5, 5)" in capsys.readouterr().out
    first, second = (load_network(name) for name in ("new.ffn.h5", "net.ffn.h5"))
    assert first.info.architecture == second.info.architecture
    for name, weight in second.weights.items():
        np.testing.assert_array_equal(first.weights[name], weight)
    assert import_checkpoint.run(["--config", "c.textproto", "--output", "new.ffn.h5"]) == 2
    assert "no checkpoint section" in capsys.readouterr().err


def test_figures_that_other_commands_added_stay_as_long_as_the_stage_is_the_same(place):
    assert run("--config", "c.textproto") == 0
    path = Path("out/metrics.json")
    content = json.loads(path.read_text())
    content["stages"]["forward"]["erl_nm"] = 1234.5
    content["stages"]["constrained"] = {"voi_split": 0.5}
    path.write_text(json.dumps(content))
    assert run("--config", "c.textproto") == 0
    stages = json.loads(path.read_text())["stages"]
    assert stages["forward"]["erl_nm"] == 1234.5
    assert stages["constrained"] == {"voi_split": 0.5}
    content["stages"]["forward"]["objects"] += 1
    path.write_text(json.dumps(content))
    assert run("--config", "c.textproto") == 0
    stages = json.loads(path.read_text())["stages"]
    assert list(stages) == ["forward"]
    assert "erl_nm" not in stages["forward"]
