"""The trainer: partitions, examples that move like inference does, and runs that resume exactly."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import resources
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.special import logit

from commands import train_ffn
from configs.errors import ConfigError
from ffn.network import Architecture
from ffn.training.augmentation import Augmentation, apply_geometry, random_geometry
from ffn.training.example_settings import ExampleSettings, canvas_shape
from ffn.training.example_stream import ExampleStream
from ffn.training.examples import make_example
from ffn.training.optimisers import OptimizerSettings
from ffn.training.partitions import NO_OBJECT, centres_by_class, partition_classes
from ffn.training.trainer import TrainSettings, train
from ffn.training.training_volume import TrainingVolume
from ffn.weights import NetworkFile, load_network

TINY = Architecture(depth=2, features=2, fov_zyx=(5, 5, 5), deltas_zyx=(2, 2, 2))
SETTINGS = ExampleSettings(min_object_voxels=50, clearance=1.5)


def two_slabs(shape=(20, 22, 24)) -> tuple[np.ndarray, np.ndarray]:
    labels = np.ones(shape, np.uint32)
    labels[:, shape[1] // 2 :] = 2
    image = np.where(labels == 1, -1.0, 1.0).astype(np.float32)
    return image, labels


@pytest.fixture
def slabs() -> TrainingVolume:
    return TrainingVolume("slabs", *two_slabs(), TINY, SETTINGS)


def test_partition_is_the_share_of_same_object_voxels_around():
    labels = two_slabs()[1]
    classes = partition_classes(labels, (2, 2, 2), thresholds=(0.55, 0.9), min_object_voxels=1)
    middle = classes[10, :, 12]
    # Deep inside everything is the same object; at the border 3 of 5 layers are (0.6).
    assert middle[5] == 2 and middle[10] == 1 and middle[11] == 1
    assert partition_classes(labels, (2, 2, 2), (0.61, 0.9), 1)[10, 10, 12] == 0


def test_unlabelled_voxels_and_small_objects_have_no_class():
    labels = np.zeros((12, 12, 12), np.uint32)
    labels[2:5, 2:5, 2:5] = 7
    labels[6:, 6:, 6:] = 9
    classes = partition_classes(labels, (1, 1, 1), min_object_voxels=100)
    np.testing.assert_array_equal(classes != NO_OBJECT, labels == 9)


def test_partition_matches_counting_by_hand():
    labels = np.random.default_rng(0).integers(0, 3, (9, 8, 7))
    classes = partition_classes(labels, (1, 2, 1), thresholds=(0.2, 0.4), min_object_voxels=1)
    for point in [(0, 0, 0), (4, 4, 3), (8, 7, 6)]:
        if labels[point]:
            box = tuple(slice(max(0, p - r), p + r + 1) for p, r in zip(point, (1, 2, 1), strict=True))
            share = (labels[box] == labels[point]).sum() / 45
            assert classes[point] == (share >= 0.2) + (share >= 0.4)


def test_centres_leave_room_for_an_example():
    classes = partition_classes(two_slabs()[1], (1, 1, 1), min_object_voxels=1)
    for flat in centres_by_class(classes, (4, 4, 4)):
        index = np.array(np.unravel_index(flat, classes.shape)).T
        assert (index >= 4).all() and (index < np.array(classes.shape) - 4).all()


def test_classes_are_drawn_equally(slabs):
    rng = np.random.default_rng(0)
    drawn = [slabs.draw_centre(rng) for _ in range(2000)]
    of_class = {int(f): c for c, flats in enumerate(slabs.centres) for f in flats}
    counts = np.bincount([of_class[int(np.ravel_multi_index(d, slabs.labels.shape))] for d in drawn])
    assert counts.min() > 0.8 * counts.mean()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)], ids=str)
def test_image_and_target_stay_aligned_under_geometry(order):
    image, labels = np.random.default_rng(1).random((4, 5, 6)), np.zeros((4, 5, 6), int)
    labels[image > 0.5] = 1
    changed = apply_geometry(image, order, (0, 2)), apply_geometry(labels, order, (0, 2))
    np.testing.assert_array_equal(changed[0] > 0.5, changed[1] == 1)


def test_axes_are_exchanged_only_within_their_groups():
    rng = np.random.default_rng(2)
    augmentation = Augmentation(permute_axes=((1, 2),))
    orders = {random_geometry(augmentation, rng)[0] for _ in range(50)}
    assert orders == {(0, 1, 2), (0, 2, 1)}


def test_an_example_holds_the_object_of_its_centre_and_an_unknown_canvas(slabs):
    example = make_example(3, 0, [slabs], np.ones(1), TINY, SETTINGS)
    middle = tuple(n // 2 for n in canvas_shape(TINY, SETTINGS))
    assert example.target[middle] == np.float32(0.95)
    assert example.logits[middle] == pytest.approx(logit(0.95), rel=1e-6)
    assert np.count_nonzero(example.logits != np.float32(logit(0.5))) == 1
    inside = example.image[example.target > 0.5]
    assert np.ptp(np.sign(inside)) == 0


def test_an_example_of_anisotropic_fields_fits_its_canvas():
    flat = Architecture(depth=1, features=2, fov_zyx=(3, 7, 5), deltas_zyx=(0, 2, 1))
    settings = ExampleSettings(min_object_voxels=50, augmentation=Augmentation(permute_axes=()))
    volume = TrainingVolume("slabs", *two_slabs(), flat, settings)
    example = make_example(0, 0, [volume], np.ones(1), flat, settings)
    assert example.image.shape == example.target.shape == (3, 11, 7)
    assert (example.offsets[:, 0] == 0).all() and len(example.offsets) == 9


def test_the_field_of_view_moves_only_where_the_logits_allow(slabs):
    stream = ExampleStream([slabs], [1.0], TINY, SETTINGS, batch_size=1, seed=0)
    stream.fields_of_view()
    stream.update(np.full((1, 5, 5, 5), -9.0, np.float32))
    stream.fields_of_view()
    assert stream.slots[0].number == 1, "nowhere to go: the next example takes the slot"
    stream.update(np.full((1, 5, 5, 5), 9.0, np.float32))
    stream.fields_of_view()
    assert stream.slots[0].number == 1 and stream.taken == 1


def test_a_restored_stream_continues_with_the_same_fields(slabs):
    def play(stream, steps):
        batches = []
        for _ in range(steps):
            image, logits, *_ = stream.fields_of_view()
            batches.append((image, logits))
            stream.update(logits + image)
        return batches

    stream = ExampleStream([slabs], [1.0], TINY, SETTINGS, batch_size=3, seed=0)
    play(stream, 7)
    state = stream.state()
    expected = play(stream, 9)
    other = ExampleStream([slabs], [1.0], TINY, SETTINGS, batch_size=3, seed=0)
    other.restore(state)
    for (image, logits), (image_2, logits_2) in zip(expected, play(other, 9), strict=True):
        np.testing.assert_array_equal(image, image_2)
        np.testing.assert_array_equal(logits, logits_2)


def test_a_volume_without_a_usable_object_is_refused():
    image, labels = two_slabs((6, 6, 6))
    with pytest.raises(ConfigError, match="slab.*has no object"):
        TrainingVolume("slab", image, labels, TINY, SETTINGS)
    with pytest.raises(ConfigError, match="raw is"):
        TrainingVolume("slab", image[1:], labels, TINY, SETTINGS)


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
  phantoms { seeds: [7] shape { z: 24 y: 24 x: 24 } }
  min_object_voxels: 50 total_fovs: 64 compute_dtype: FLOAT32 output_weights: "net.ffn.h5"
}
"""


def test_train_ffn_writes_a_network_that_says_how_it_was_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.textproto").write_text(CONFIG)
    assert train_ffn.run(["--config", "c.textproto"]) == 0
    info = load_network("net.ffn.h5").info
    assert info.architecture == TINY and info.voxel_size_nm == (10.0, 10.0, 10.0)
    assert info.training["figures"]["fovs"] == 64 and "seeds: 7" in info.training["settings"]
    assert info.licence == "Apache-2.0"
    assert (tmp_path / "run" / "config.textproto").exists()


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
        (("phantoms {", 'volumes { raw { spec: "no.h5:a" } labels { spec: "b" } } phantoms {'), "no.h5"),
        (('"net.ffn.h5"', '"c.textproto/net.ffn.h5"'), "c.textproto"),
    ],
    ids=["volume too small", "misspelt", "missing file", "no place for the weights"],
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


def test_the_shipped_network_says_what_it_was_trained_on():
    if not (resources.files("ffn") / "networks" / "phantom.ffn.h5").is_file():
        pytest.skip("no shipped network yet")
    info = load_network("builtin:phantom").info
    assert info.licence == "Apache-2.0" and "phantom" in info.training["settings"]
