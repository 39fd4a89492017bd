"""Training data: what examples hold, how a field of view moves, reading ahead, volumes out of a config."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.special import logit
from training_cases import SETTINGS, TINY, blobs, two_slabs

from configs import load_config
from configs.errors import ConfigError, ReconstructionError
from ffn.network import Architecture
from ffn.training import centres as centres_module
from ffn.training.augmentation import Augmentation
from ffn.training.centre_draw import CentreDraw
from ffn.training.example_settings import ExampleSettings, canvas_shape, example_settings
from ffn.training.example_stream import ExampleStream
from ffn.training.examples import make_example
from ffn.training.grey_sample import about_normalisation, sample_greys
from ffn.training.read_ahead import ReadAhead
from ffn.training.sources import read_volumes, training_sources
from ffn.training.training_volume import TrainingVolume
from volumes import downsample_image, downsample_labels
from volumes.arrays import ArrayVolume
from volumes.box import Box

STILL = Augmentation(permute_axes=(), reflect=False, contrast=0, brightness=0)


@pytest.fixture
def slabs() -> TrainingVolume:
    return TrainingVolume("slabs", *two_slabs(), TINY, SETTINGS)


def _example(volume, number=0, settings=SETTINGS, architecture=TINY):
    return make_example(number, 0, CentreDraw([volume], [1.0]), architecture, settings)


def _stream(volume, batch_size=1, settings=SETTINGS, **ahead) -> ExampleStream:
    return ExampleStream([volume], [1.0], TINY, settings, batch_size, seed=0, **ahead)


# What an example holds.


def test_an_example_holds_the_object_of_its_centre_and_an_unknown_canvas(slabs):
    example = _example(slabs, 3)
    middle = tuple(n // 2 for n in canvas_shape(TINY, SETTINGS))
    assert example.target[middle] == np.float32(0.95)
    assert example.logits[middle] == pytest.approx(logit(0.95), rel=1e-6)
    assert np.count_nonzero(example.logits != np.float32(logit(0.5))) == 1
    assert (example.weight == 1).all()
    inside = example.image[example.target > 0.5]
    assert np.ptp(np.sign(inside)) == 0


def test_an_example_of_anisotropic_fields_fits_its_canvas():
    flat = Architecture(depth=1, features=2, fov_zyx=(3, 7, 5), deltas_zyx=(0, 2, 1))
    settings = ExampleSettings(min_object_voxels=50, augmentation=Augmentation(permute_axes=()))
    volume = TrainingVolume("slabs", *two_slabs(), flat, settings)
    example = _example(volume, 0, settings, flat)
    assert example.image.shape == example.target.shape == (3, 11, 7)
    assert (example.offsets[:, 0] == 0).all() and len(example.offsets) == 9


def test_greys_are_normalised_on_reading():
    image, labels = two_slabs()
    settings = replace(SETTINGS, image_mean=128.0, image_stddev=33.0, augmentation=STILL)
    stored = (image * 66 + 128).astype(np.uint8)
    example = _example(TrainingVolume("slabs", stored, labels, TINY, settings), 1, settings)
    assert example.image.dtype == np.float32 and set(np.unique(example.image)) <= {-2, 2}


def test_under_a_mask_there_is_no_centre_and_no_loss():
    image, labels = two_slabs()
    mask = np.zeros(labels.shape, np.uint8)
    mask[:12] = 3
    settings = replace(SETTINGS, augmentation=STILL)
    volume = TrainingVolume("slabs", image, labels, TINY, settings, mask)
    rng, centres = np.random.default_rng(0), CentreDraw([volume], [1.0])
    for number in range(30):
        assert centres.draw(rng)[1][0] >= 12
        example = _example(volume, number, settings)
        hidden = (example.weight == 0).sum(axis=0)
        assert set(np.unique(example.weight)) <= {0, 1} and np.ptp(hidden) == 0 and hidden[0, 0] <= 4
    with _stream(volume, 8, settings) as stream:
        weights = [stream.fields_of_view()[3] for _ in range(4)]
    assert {0, 1} == set(np.unique(weights)) and weights[0].shape == (8, 5, 5, 5)


def test_volumes_are_drawn_in_proportion_to_their_weights():
    image, labels = two_slabs()
    volumes = [TrainingVolume(str(n), np.full_like(image, n), labels, TINY, SETTINGS) for n in range(3)]
    still = replace(SETTINGS, augmentation=STILL)
    shares = np.array([0.5, 0.4, 0.1])
    drawn = [make_example(n, 0, CentreDraw(volumes, shares), TINY, still).image[0, 0, 0] for n in range(500)]
    assert np.abs(np.bincount(np.array(drawn, int)) / 500 - shares).max() < 0.07


# How its field of view moves.


def test_the_field_of_view_moves_only_where_the_logits_allow(slabs):
    stream = _stream(slabs)
    stream.fields_of_view()
    stream.update(np.full((1, 5, 5, 5), -9.0, np.float32))
    stream.fields_of_view()
    assert stream.slots[0].number == 1, "nowhere to go: the next example takes the slot"
    assert stream.offered == 26 and stream.taken == 0
    stream.update(np.full((1, 5, 5, 5), 9.0, np.float32))
    stream.fields_of_view()
    assert stream.slots[0].number == 1 and stream.taken == 1


def _visits(volume, settings, answer) -> list[int]:
    """How many fields of view each of three examples shows a network that always gives one answer."""
    stream, shown = _stream(volume, 1, settings), [0] * 4
    while True:
        stream.fields_of_view()
        number = stream.slots[0].number
        if number == 3:
            return shown[:3]
        shown[number] += 1
        stream.update(answer(stream))


@pytest.mark.parametrize("most, visits", [(0, 27), (1, 2), (5, 6), (26, 27), (99, 27)])
def test_moves_of_an_example_are_as_many_as_the_config_lets(slabs, most, visits):
    always = lambda stream: np.full((1, 5, 5, 5), 9.0, np.float32)  # noqa: E731
    assert _visits(slabs, replace(SETTINGS, max_moves=most), always) == [visits] * 3


@pytest.mark.parametrize("window, visits", [((0, 0, 0), 1), ((0, 0, 1), 3), ((0, 1, 1), 9), ((2, 2, 2), 27)])
def test_a_window_lets_the_field_of_view_move_to_what_lies_beside_its_centre(slabs, window, visits):
    """Moves are 2 voxels long; the network answers with the 3³ voxels in the middle only."""

    def only_the_middle(stream):
        answer = np.full((1, 5, 5, 5), -9.0, np.float32)
        if stream.slots[0].visits == 1:
            answer[0, 1:4, 1:4, 1:4] = 9.0
            return answer
        box = stream._fields[0]
        return stream.slots[0].logits[box][None]

    assert _visits(slabs, replace(SETTINGS, move_window=window), only_the_middle) == [visits] * 3


def test_the_order_of_positions_is_the_centre_first_then_shuffled(slabs):
    orders = [tuple(map(tuple, _example(slabs, n).offsets)) for n in range(20)]
    assert all(order[0] == (0, 0, 0) and len(set(order)) == 27 for order in orders)
    assert len(set(orders)) == 20


# Reading ahead, and going on after an interruption.


def _play(stream, steps):
    batches = []
    for _ in range(steps):
        image, logits, target, weight = stream.fields_of_view()
        batches.append(np.stack([image, logits, target, weight]))
        stream.update(logits + image)
    return np.stack(batches)


@pytest.mark.parametrize("ahead, threads", [(0, 0), (1, 1), (5, 3), (64, 2), (9, 0)])
def test_what_a_stream_gives_does_not_depend_on_reading_ahead(slabs, ahead, threads):
    expected = _play(_stream(slabs, 3), 30)
    with _stream(slabs, 3, read_ahead=ahead, read_threads=threads) as stream:
        np.testing.assert_array_equal(_play(stream, 30), expected)


@pytest.mark.parametrize("before", [0, 7])
@pytest.mark.parametrize("moves", [{}, {"max_moves": 3}, {"move_window": (1, 1, 1)}], ids=str)
def test_a_restored_stream_continues_with_the_same_fields(slabs, before, moves):
    settings = replace(SETTINGS, **moves)
    stream = _stream(slabs, 3, settings)
    if before:
        _play(stream, before)
    state = stream.state()
    expected = _play(stream, 9)
    with _stream(slabs, 3, settings, read_ahead=4, read_threads=2) as other:
        _play(other, 2)
        other.restore(state)
        np.testing.assert_array_equal(_play(other, 9), expected)
        assert (other.offered, other.taken) == (stream.offered, stream.taken)


def test_results_come_by_number_and_no_more_are_made_ahead_than_asked_for():
    made = []

    def make(number):
        time.sleep(0.002 * (number % 3))
        made.append(number)
        return number

    ahead = ReadAhead(make, ahead=4, threads=3)
    assert [ahead.take() for _ in range(20)] == list(range(20))
    ahead.close()
    assert max(made) <= 23 and ahead.next == 20


def test_an_error_while_reading_ahead_is_raised_before_its_turn():
    failed = threading.Event()

    def make(number):
        if number == 30:
            failed.set()
            raise ConfigError("a damaged chunk")
        return number

    ahead = ReadAhead(make, ahead=40, threads=1)
    ahead.take()
    assert failed.wait(10)
    with pytest.raises(ConfigError, match="damaged chunk"):
        for _ in range(20):
            ahead.take()
            time.sleep(0.01)
    ahead.close()


def test_closing_ends_the_threads_and_drops_what_waits():
    before = threading.active_count()
    ahead = ReadAhead(lambda number: time.sleep(0.01), ahead=5000, threads=2)
    ahead.take()
    ahead.close()
    ahead.close()
    assert threading.active_count() == before


def test_the_waiting_share_is_the_time_that_the_device_had_nothing_to_do(slabs, monkeypatch):
    stream = _stream(slabs)
    make = stream._ahead._make

    def slowly(number):
        time.sleep(0.05)
        return make(number)

    stream._ahead._make = slowly
    stream.waiting_share()
    stream.fields_of_view()
    assert stream.waiting_share() > 0.8
    time.sleep(0.1)
    stream.update(np.zeros((1, 5, 5, 5), np.float32))
    assert stream.waiting_share() < 0.2


# What cannot be trained on.


def _refused(image, labels, says, mask=None, **changes):
    with pytest.raises(ConfigError) as caught:
        TrainingVolume("a.h5:raw", image, labels, TINY, replace(SETTINGS, **changes), mask)
    message = str(caught.value)
    assert says in message and message.startswith("training volume a.h5:raw") and "\n" not in message


def test_a_volume_without_anything_to_learn_is_refused_and_says_why():
    image, labels = two_slabs()
    _refused(*two_slabs((8, 22, 24)), "of shape (8, 22, 24) is smaller than an example of (9, 9, 9) voxels")
    _refused(image[1:], labels, "raw is (19, 22, 24) but labels are (20, 22, 24)")
    _refused(image, labels, "but mask are (1, 22, 24)", labels[:1])
    _refused(image, labels, "no object of at least 9999 voxels, the largest has 5280", min_object_voxels=9999)
    _refused(image, 0 * labels, "no object of at least 50 voxels, the largest has 0")
    _refused(image, 0 * labels + 7, "holds the label 7 alone, so that there is nothing to tell it from")
    _refused(image, labels, "lies under its mask altogether", labels > 0)
    mask = np.ones(labels.shape, bool)
    mask[:3] = False
    _refused(image, labels, "in which an example of (9, 9, 9) fits", mask)


# What its grey values are like.


@pytest.mark.parametrize("shape", [(20, 22, 24), (20, 22, 400)], ids=str)
def test_greys_are_looked_at_as_they_are_read(shape):
    image, labels = two_slabs(shape)
    image = image * 30 + 100
    greys = sample_greys(TrainingVolume("a", image, labels, TINY, replace(SETTINGS, image_mean=7.0)))
    assert greys.mean == pytest.approx(100) and greys.stddev == pytest.approx(30)
    assert not about_normalisation("a", greys, 120, 40)
    assert "mean 100 and standard deviation 30, far from image_mean 0.5" in about_normalisation(
        "a", greys, 0.5, 20
    )
    assert about_normalisation("a", greys, 100, 61) and about_normalisation("a", greys, 100, 14)
    image[0, 0, 0] += 1
    assert sample_greys(TrainingVolume("a", image, labels, TINY, SETTINGS)).digest != greys.digest


def test_an_image_of_one_grey_value_is_refused():
    image, labels = two_slabs((20, 22, 400))
    image[:] = 128
    with pytest.raises(ConfigError, match="training volume a has the grey value 128 everywhere"):
        sample_greys(TrainingVolume("a", image, labels, TINY, SETTINGS))
    image[3, 3, 100] = 129
    assert sample_greys(TrainingVolume("a", image, labels, TINY, SETTINGS)).stddev == 0


# Volumes out of a config.

CONFIG = """
name: "tiny" output_dir: "run"
training {
  architecture { depth: 2 features: 2 fov { z: 5 y: 5 x: 5 } deltas { z: 2 y: 2 x: 2 } }
  volumes {
    raw { spec: "a.h5:raw" voxel_size_nm { z: 10 y: 10 x: 10 } }
    labels { spec: "a.h5:labels" }
    mask { spec: "a.h5:mask" }
  }
  min_object_voxels: 50 total_fovs: 64 output_weights: "net.ffn.h5" image_mean: 100 image_stddev: 50
}
"""
SHAPE = (40, 42, 44)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A config file's folder with a.h5: image, labels, mask."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    arrays = {"raw": rng.integers(0, 255, SHAPE).astype(np.uint8), "labels": blobs(SHAPE, 0)}
    arrays["mask"] = (rng.random(SHAPE) < 0.02).astype(np.uint8)
    _write(**arrays)
    return arrays


def _write(**arrays):
    with h5py.File("a.h5", "a") as file:
        for name, array in arrays.items():
            file.pop(name, None)
            file[name] = array


def _read(text=CONFIG):
    Path("c.textproto").write_text(text)
    config = load_config("c.textproto")
    training = config.training
    settings = replace(example_settings(training), augmentation=STILL)
    sources = training_sources(training.volumes, training.phantoms, config.preprocessing, Path("run"))
    (volume,), size_nm = read_volumes(sources, training, TINY, settings, Path("run"))
    return volume, size_nm


BOX = "box { start { z: 2 y: 3 x: 4 } shape { z: 36 y: 35 x: 38 } }\n  }\n  min_object"


@pytest.mark.parametrize("box", [None, Box((2, 3, 4), (38, 38, 42))], ids=["whole", "box"])
@pytest.mark.parametrize("factor", [1, 2])
def test_volumes_beyond_memory_give_the_same_examples_as_those_held_in_it(files, box, factor):
    text = CONFIG.replace("}\n  min_object", BOX) if box else CONFIG
    if factor == 2:
        text = text.replace("total_fovs", "voxel_size_nm { z: 20 y: 20 x: 20 } total_fovs")
    held, size_nm = _read(text)
    streamed, _ = _read(text.replace("total_fovs", "memory_gb: 0 total_fovs"))
    assert isinstance(held._image, ArrayVolume) and not isinstance(streamed._image, ArrayVolume)
    assert size_nm == (10.0 * factor,) * 3
    for number in range(5):
        first, second = (_example(v, number, v.settings) for v in (held, streamed))
        for name in ("image", "target", "weight", "offsets"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    whole = box or Box.from_shape(SHAPE)
    raw, labels, mask = (files[name][whole.slices()] for name in ("raw", "labels", "mask"))
    found = streamed.read(Box.from_shape(streamed.shape))
    factors = (factor,) * 3
    expected = (downsample_image(raw, factors).astype(np.float32) - 100) / 50
    np.testing.assert_allclose(found.image, expected, atol=1e-6)
    np.testing.assert_array_equal(found.labels, downsample_labels(labels, factors))
    masked = downsample_image(mask.astype(np.float32), factors) > 0
    np.testing.assert_array_equal(found.weight == 0, masked)


def test_volumes_beyond_memory_may_be_read_by_several_threads(files):
    volume, _ = _read(CONFIG.replace("total_fovs", "memory_gb: 0 total_fovs"))
    expected = _play(_stream(volume, 3, volume.settings), 10)
    with _stream(volume, 3, volume.settings, read_ahead=8, read_threads=4) as stream:
        np.testing.assert_array_equal(_play(stream, 10), expected)


def test_classes_of_centres_are_made_once(files, monkeypatch):
    first, _ = _read()
    monkeypatch.setattr(centres_module, "block_classes", None)
    again, _ = _read()
    both = [CentreDraw([each], [1.0]) for each in (first, again)]
    draws = [[c.draw(np.random.default_rng(n))[1] for n in range(20)] for c in both]
    assert draws[0] == draws[1] and len(list(Path("run/centres").iterdir())) == 2


def test_every_setting_of_examples_and_augmentation_is_taken_from_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = CONFIG.replace(
        "total_fovs",
        """max_moves: 7 move_window { z: 1 y: 2 x: 3 } fov_moves: 2 centre_clearance_voxels: 3
        augmentation { reflect: false permute_axes: false missing_section: 0.1 slip_voxels: 9 elastic_nm: 7 }
        total_fovs""",
    )
    Path("c.textproto").write_text(text)
    made = example_settings(load_config("c.textproto").training)
    assert made.max_moves == 7 and made.move_window == (1, 2, 3) and made.moves == (2, 2, 2)
    assert (made.image_mean, made.image_stddev, made.clearance) == (100, 50, 3)
    expected = Augmentation((), False, missing_section=0.1, slip_voxels=9, elastic_nm=7.0)
    assert made.augmentation == expected


def _nan(raw):
    raw = raw.astype(np.float32)
    raw[3, 4, 5] = np.nan
    return raw


@pytest.mark.parametrize("memory", ["", "memory_gb: 0 "], ids=["held", "streamed"])
@pytest.mark.parametrize(
    "change, old, new, says",
    [
        (lambda a: {"labels": a["labels"][1:]}, "", "", "a.h5:labels (z 0:39, y 0:42, x 0:44) and its image"),
        (lambda a: {"mask": a["mask"][..., 1:]}, "", "", "a.h5:mask (z 0:40, y 0:42, x 0:43) and its image"),
        (
            lambda a: {},
            '"a.h5:labels" ',
            '"a.h5:labels" voxel_size_nm { z: 20 y: 10 x: 10 } ',
            "a.h5:labels has voxels of (20.0, 10.0, 10.0) nm (zyx), its image a.h5:raw of (10.0, 10.0, 10.0)",
        ),
        (
            lambda a: {},
            "}\n  min_object",
            BOX.replace("x: 4 ", "x: 7 "),
            "leaves 'a.h5:raw' (z 0:40, y 0:42, x",
        ),
        (lambda a: {"raw": _nan(a["raw"])}, "", "", "a.h5:raw holds nan at voxel (3, 4, 5) (zyx)"),
        (lambda a: {"labels": -a["labels"].astype(np.int64)}, "", "", "a.h5:labels has label -"),
        (lambda a: {"labels": 0 * a["labels"] + 3}, "", "", "holds the label 3 alone"),
        (lambda a: {"mask": 0 * a["mask"] + 3}, "", "", "lies under its mask altogether"),
        (lambda a: {}, "min_object_voxels: 50", "min_object_voxels: 50000", "the largest has"),
    ],
    ids=["shape", "mask-shape", "voxel-size", "box", "nan", "negative", "one-label", "masked", "too-small"],
)
def test_bad_volumes_are_refused_by_name(files, memory, change, old, new, says):
    _write(**change(files))
    text = CONFIG.replace("total_fovs", f"{memory}total_fovs")
    assert old in text
    with pytest.raises(ReconstructionError) as caught:
        _read(text.replace(old, new, 1) if old else text)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert not Path("run").exists()
