"""Training by config: what it writes, continues and refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import resources
from pathlib import Path

import h5py
import numpy as np
import pytest
from training_cases import SETTINGS, TINY, two_slabs

from commands import train_ffn
from configs.errors import ConfigError
from ffn.network import Architecture
from ffn.training.optimisers import OptimizerSettings
from ffn.training.train_settings import TrainSettings
from ffn.training.trainer import train
from ffn.training.training_volume import TrainingVolume
from ffn.weights import NetworkFile, load_network
from jobs.lock import only_run_in


@pytest.fixture
def slabs() -> TrainingVolume:
    return TrainingVolume("slabs", *two_slabs(), TINY, SETTINGS)


def _settings(total: int, learning_rate: float = 1.5e-3, **changes) -> TrainSettings:
    return TrainSettings(
        total_fovs=total,
        batch_size=4,
        optimizer=OptimizerSettings(warmup_steps=1, learning_rate=learning_rate),
        seed=3,
        examples=SETTINGS,
        checkpoint_minutes=0,
        **changes,
    )


@pytest.mark.slow
def test_training_separates_two_slabs_and_a_killed_run_resumes_with_the_same_result(slabs, tmp_path):
    class Killed(Exception):
        pass

    def kill(weights, figures):
        if figures["fovs"] == 80:
            raise Killed

    settings = _settings(160, checkpoint_steps=20)
    whole = train(TINY, [slabs], [1.0], settings, tmp_path / "whole")
    with pytest.raises(Killed):
        train(TINY, [slabs], [1.0], settings, tmp_path / "killed", kill)
    resumed = train(TINY, [slabs], [1.0], settings, tmp_path / "killed")
    assert resumed.figures["fovs"] == whole.figures["fovs"] == 160
    for name, weight in whole.weights.items():
        np.testing.assert_allclose(resumed.weights[name], weight, rtol=1e-5, atol=1e-7, err_msg=name)


def test_a_checkpoint_of_another_network_is_refused(slabs, tmp_path):
    train(TINY, [slabs], [1.0], _settings(8), tmp_path)
    other = Architecture(depth=3, features=2, fov_zyx=(5, 5, 5), deltas_zyx=(2, 2, 2))
    with pytest.raises(ConfigError, match="another folder"):
        train(other, [slabs], [1.0], _settings(8), tmp_path)


@pytest.mark.parametrize(
    "name, change",
    [("learning_rate", {"optimizer": OptimizerSettings(warmup_steps=1)}), ("seed", {"seed": 4})],
)
def test_a_run_is_not_continued_with_other_settings(slabs, tmp_path, name, change):
    train(TINY, [slabs], [1.0], _settings(8, 1e-3), tmp_path)
    with pytest.raises(ConfigError, match=f"made with {name} = .*another folder"):
        train(TINY, [slabs], [1.0], replace(_settings(16, 1e-3), **change), tmp_path)
    with pytest.raises(ConfigError, match="made with data"):
        train(TINY, [slabs], [1.0], _settings(16, 1e-3), tmp_path, data="another volume")
    assert train(TINY, [slabs], [1.0], _settings(16, 1e-3), tmp_path).figures["fovs"] == 16


def test_a_diverged_loss_stops_the_run_and_names_a_checkpoint_only_where_there_is_one(slabs, tmp_path):
    wild = _settings(200, learning_rate=1e30)
    with pytest.raises(ConfigError, match="diverged at step .* before the first checkpoint; lower") as caught:
        train(TINY, [slabs], [1.0], wild, tmp_path)
    assert "checkpoint.npz" not in str(caught.value) and not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=r"diverged.*last good checkpoint is .*checkpoint\.npz: lower"):
        train(TINY, [slabs], [1.0], replace(wild, checkpoint_steps=1), tmp_path)
    assert (tmp_path / "checkpoint.npz").exists()


CONFIG = """
name: "tiny" output_dir: "run"
training {
  architecture { depth: 2 features: 2 fov { z: 5 y: 5 x: 5 } deltas { z: 2 y: 2 x: 2 } }
  phantoms { seeds: [7] shape { z: 24 y: 24 x: 24 } parameters { cell_bodies: 0 } }
  min_object_voxels: 50 total_fovs: 64 compute_dtype: FLOAT32 output_weights: "net.ffn.h5"
}
"""


def test_train_ffn_writes_a_network_that_says_how_it_was_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.textproto").write_text(CONFIG)
    assert train_ffn.run(["--config", "c.textproto"]) == 0
    assert capsys.readouterr().err.count("note: centres by class, from thin to enclosed: [") == 1
    info = load_network("net.ffn.h5").info
    assert info.architecture == TINY and info.voxel_size_nm == (10.0, 10.0, 10.0)
    assert info.training["figures"]["fovs"] == 64 and "seeds: 7" in info.training["settings"]
    assert info.licence == "Apache-2.0"
    # Going on longer is the same run, other data are another.
    _train(CONFIG.replace("total_fovs: 64", "total_fovs: 80"))
    assert load_network("net.ffn.h5").info.training["run"] == info.training["run"]
    shutil.rmtree("run")
    _train(CONFIG.replace("seeds: [7]", "seeds: [8]"))
    assert load_network("net.ffn.h5").info.training["run"] != info.training["run"]
    assert (tmp_path / "run" / "config.textproto").exists()


def test_grey_values_far_from_the_normalisation_are_told_and_a_single_one_is_refused(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    _train(CONFIG.replace("total_fovs", "image_mean: 0.5 image_stddev: 0.2 total_fovs"))
    assert "note: training volume phantom 7 has grey values of mean " in capsys.readouterr().err
    raw, labels = two_slabs((24, 24, 24))
    with h5py.File("a.h5", "w") as file:
        file["raw"], file["labels"] = np.full_like(raw, 90), labels
    volume = """volumes { raw { spec: "a.h5:raw" voxel_size_nm { z: 10 y: 10 x: 10 } }
    labels { spec: "a.h5:labels" } } phantoms {"""
    Path("c.textproto").write_text(CONFIG.replace("phantoms {", volume).replace('"run"', '"other"'))
    assert train_ffn.run(["--config", "c.textproto"]) == 2
    assert "a.h5:raw has the grey value 90 everywhere" in capsys.readouterr().err


def _train(text: str) -> NetworkFile:
    Path("c.textproto").write_text(text)
    assert train_ffn.run(["--config", "c.textproto"]) == 0
    return load_network("net.ffn.h5")


def test_a_training_starts_from_a_network_and_records_its_history(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first = _train(CONFIG)
    Path("net.ffn.h5").rename("first.ffn.h5")
    further = CONFIG.replace('"run"', '"further"').replace("seeds: [7]", "seeds: [8]")
    # One step at a rate of nearly 0: the weights are still those it started from.
    further = further.replace(
        "total_fovs: 64", 'total_fovs: 16 initial_weights: "first.ffn.h5" optimizer { learning_rate: 1e-9 }'
    )
    second = _train(further)
    for name, weight in first.weights.items():
        np.testing.assert_allclose(second.weights[name], weight, atol=1e-6)
    said = capsys.readouterr().err
    assert "note: optimizer.warmup_steps 200 are not over after all 1 steps" in said
    assert "initial_weights were trained" not in said
    other = further.replace('"further"', '"third"').replace(
        "total_fovs", "image_mean: 90 pad_value: 0.4 total_fovs"
    )
    _train(other)
    said = capsys.readouterr().err
    assert "note: training.image_mean is 90, but initial_weights were trained with 128\n" in said
    assert "training.pad_value is 0.4, but" in said and said.count("were trained with") == 2
    history = second.info.training["started_from"]
    assert "seeds: 7" in history["settings"] and history["figures"]["fovs"] == 64
    Path("c.textproto").write_text(further.replace("features: 2", "features: 4"))
    assert train_ffn.run(["--config", "c.textproto"]) == 2
    assert "has features 2, training.architecture has 4" in capsys.readouterr().err


def test_training_data_are_resampled_to_the_resolution_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    coarse = CONFIG.replace("total_fovs", "voxel_size_nm { z: 20 y: 20 x: 20 } total_fovs")
    assert _train(coarse.replace("x: 24", "x: 32")).info.voxel_size_nm == (20.0, 20.0, 20.0)
    Path("c.textproto").write_text(coarse.replace("z: 20 y: 20", "z: 25 y: 20"))
    assert train_ffn.run(["--config", "c.textproto"]) == 2
    assert "whole multiples" in capsys.readouterr().err


def test_preprocessing_is_shared_with_training_and_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = CONFIG.replace("total_fovs", "optimizer { warmup_steps: 0 } total_fovs")
    plain = _train(text)
    shutil.rmtree("run")
    inverted = _train(text + "preprocessing { invert: true }")
    assert "invert: true" in inverted.info.training["preprocessing"]
    assert any(np.abs(inverted.weights[name] - plain.weights[name]).max() > 1e-4 for name in plain.weights)


@pytest.mark.parametrize(
    "change, says",
    [
        (("shape { z: 24 y: 24 x: 24 }", "shape { z: 8 y: 8 x: 8 }"), "no object"),
        (("training {", "inference {} tr1ning {"), "tr1ning"),
        (("total_fovs: 64", "total_fovs: 15"), "total_fovs 15 is less than training.batch_size 16"),
        (("total_fovs", "pad_value: 0.6 total_fovs"), "pad_value 0.6 reaches training.move_threshold 0.6"),
        (
            ("total_fovs", "init_activation: 0.55 total_fovs"),
            "init_activation 0.55 is below training.move_th",
        ),
        (
            ("total_fovs", "target_inside: 0.55 total_fovs"),
            "target_inside 0.55 is below training.move_thresh",
        ),
        (
            ("total_fovs", 'initial_weights: "./net.ffn.h5" total_fovs'),
            "are both net.ffn.h5, which would overw",
        ),
        (("phantoms {", 'volumes { raw { spec: "no.h5:a" } labels { spec: "b" } } phantoms {'), "no.h5"),
        (('"net.ffn.h5"', '"c.textproto/net.ffn.h5"'), "c.textproto"),
    ],
    ids=[
        "volume too small",
        "misspelt",
        "no step",
        "pad",
        "seed",
        "target",
        "own start",
        "missing file",
        "no place for the weights",
    ],
)
def test_train_ffn_refuses_what_it_cannot_train_on(tmp_path, monkeypatch, capsys, change, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.textproto").write_text(CONFIG.replace(*change))
    assert train_ffn.run(["--config", "c.textproto"]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not (tmp_path / "net.ffn.h5").exists()


def _with_nan(raw, labels):
    raw = raw.astype(np.float32)
    raw[3, 4, 5] = np.nan
    return raw, labels


def _with_infinity(raw, labels):
    raw = raw.astype(np.float64)
    raw[3, 4, 5] = 1e300  # finite, but not in float32
    return raw, labels


def _with_a_negative_label(raw, labels):
    labels = labels.astype(np.int32)
    labels[3, 4, 5:] = -7
    return raw, labels


@pytest.mark.parametrize(
    "spoil, says",
    [
        (_with_nan, "a.h5:raw holds nan at voxel (3, 4, 5) (zyx), which is not finite"),
        (_with_infinity, "a.h5:raw holds 1e+300 at voxel (3, 4, 5) (zyx)"),
        (_with_a_negative_label, "a.h5:labels has label -7 at voxel (3, 4, 5) (zyx)"),
        (lambda raw, labels: (raw, labels.astype(np.float32)), "labels are float32; object IDs are integers"),
    ],
    ids=["not a number", "beyond float32", "negative label", "float labels"],
)
@pytest.mark.parametrize("extra", ["", "preprocessing { invert: true }"], ids=["plain", "preprocessed"])
def test_data_that_cannot_be_trained_on_are_refused_before_anything_is_written(
    tmp_path, monkeypatch, capsys, spoil, says, extra
):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    raw, labels = spoil(rng.integers(1, 255, (24, 24, 24), np.uint8), two_slabs((24, 24, 24))[1])
    with h5py.File("a.h5", "w") as file:
        file["raw"], file["labels"] = raw, labels
    # The box begins at x 2, and messages count voxels as the volume does.
    volume = """volumes {
      raw { spec: "a.h5:raw" voxel_size_nm { z: 10 y: 10 x: 10 } } labels { spec: "a.h5:labels" }
      box { start { z: 0 y: 0 x: 2 } shape { z: 24 y: 24 x: 22 } }
    } phantoms {"""
    Path("c.textproto").write_text(CONFIG.replace("phantoms {", volume) + extra)
    assert train_ffn.run(["--config", "c.textproto"]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "c.textproto"]


def test_a_run_that_is_not_continued_keeps_its_config(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _train(CONFIG)
    before = Path("run/config.textproto").read_text()
    Path("c.textproto").write_text(CONFIG.replace("total_fovs", "seed: 9 total_fovs"))
    assert train_ffn.run(["--config", "c.textproto"]) == 2
    assert "made with seed" in capsys.readouterr().err
    assert Path("run/config.textproto").read_text() == before


@pytest.mark.parametrize("what", ["raw", "labels"])
def test_a_run_is_not_continued_with_data_that_changed_in_place(tmp_path, monkeypatch, capsys, what):
    monkeypatch.chdir(tmp_path)
    raw, labels = two_slabs((24, 24, 24))
    with h5py.File("a.h5", "w") as file:
        file["raw"], file["labels"] = raw * 30 + 128, labels
    old, new = CONFIG.index("  phantoms"), CONFIG.index("  min_object")
    volume = """volumes {
      raw { spec: "a.h5:raw" voxel_size_nm { z: 10 y: 10 x: 10 } } labels { spec: "a.h5:labels" }
    }
"""
    text = CONFIG[:old] + volume + CONFIG[new:]
    _train(text)
    with h5py.File("a.h5", "a") as file:
        file[what][...] = file[what][...][:, ::-1]
    Path("c.textproto").write_text(text.replace("total_fovs: 64", "total_fovs: 80"))
    assert train_ffn.run(["--config", "c.textproto"]) == 2
    assert "was made with contents of the training data = " in capsys.readouterr().err


def test_two_trainings_do_not_share_an_output_directory(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("c.textproto").write_text(CONFIG)
    Path("run").mkdir()
    with only_run_in(Path("run")):
        assert train_ffn.run(["--config", "c.textproto"]) == 2
    assert "another run works in run" in capsys.readouterr().err and not Path("run/log.csv").exists()


def test_the_shipped_network_says_what_it_was_trained_on():
    if not (resources.files("ffn") / "networks" / "phantom.ffn.h5").is_file():
        pytest.skip("no shipped network yet")
    info = load_network("builtin:phantom").info
    assert info.licence == "Apache-2.0" and "phantom" in info.training["settings"]
