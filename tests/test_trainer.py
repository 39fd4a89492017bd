"""Runs that are killed and go on, what they log and keep, and how they end."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs.errors import ConfigError
from ffn.network import Architecture
from ffn.training.engine import Counts, Trainable, usable_devices
from ffn.training.event_files import EventFile, crc32c
from ffn.training.example_settings import ExampleSettings
from ffn.training.measures import STEPS, WINDOW, Measures
from ffn.training.optimisers import OptimizerSettings, make_optimizer
from ffn.training.train_settings import TrainSettings
from ffn.training.trainer import train
from ffn.training.training_log import COLUMNS, TrainingLog, table_row
from ffn.training.training_volume import TrainingVolume
from ffn.training.validation import Validation, ValidationSettings
from jobs.pieces import load_npz, save_npz
from jobs.progress import Progress

TINY = Architecture(depth=2, features=2, fov_zyx=(5, 5, 5), deltas_zyx=(2, 2, 2))
EXAMPLES = ExampleSettings(min_object_voxels=50, clearance=1.5)
# What a row says of the training itself, and not of the machine.
REPEATABLE = (
    "step",
    "fovs",
    "loss",
    "precision",
    "recall",
    "moves_taken",
    "learning_rate",
    "validation_loss",
)


def slabs(axis: int = 1) -> TrainingVolume:
    """Two objects, dark and bright, side by side along an axis."""
    labels = np.ones((20, 22, 24), np.uint32)
    labels[(slice(None),) * axis + (slice(labels.shape[axis] // 2, None),)] = 2
    image = np.where(labels == 1, -1.0, 1.0).astype(np.float32)
    return TrainingVolume("slabs", image, labels, TINY, EXAMPLES)


def settings(steps: int, **changes) -> TrainSettings:
    plain = TrainSettings(
        total_fovs=4 * steps, batch_size=4, seed=3, examples=EXAMPLES, checkpoint_minutes=0,
        optimizer=OptimizerSettings(warmup_steps=1), log_seconds=0, log_steps=2,
    )  # fmt: skip
    return replace(plain, **changes)


def validation(**changes) -> Validation:
    chosen = ValidationSettings(**{"fovs": 6, "every_steps": 4, **changes})
    return Validation([slabs(2)], [1.0], TINY, EXAMPLES, chosen)


def log_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return [{name: row[name] for name in REPEATABLE} for row in csv.DictReader(file)]


class Killed(Exception):
    pass


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_a_run_that_was_killed_goes_on_to_the_same_network_and_the_same_log(tmp_path: Path, kind: str):
    def kill(_weights, figures):
        if figures["fovs"] == 4 * 9:
            raise Killed

    chosen = settings(16, checkpoint_steps=3, optimizer=OptimizerSettings(kind=kind, warmup_steps=1))
    whole = train(TINY, [slabs()], [1.0], chosen, tmp_path / "whole", validation=validation())
    # The log of the killed run is three steps ahead of the checkpoint that is left.
    with pytest.raises(Killed):
        train(TINY, [slabs()], [1.0], chosen, tmp_path / "killed", kill, validation=validation())
    with (tmp_path / "killed" / "log.csv").open("a") as file:
        file.write("10,40,0.1,1,2,3,4,5,6,7,8\r\n11,44,0.")
    resumed = train(TINY, [slabs()], [1.0], chosen, tmp_path / "killed", validation=validation())
    for name, weight in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], weight, err_msg=name)
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "whole")
    assert [row["step"] for row in log_of(tmp_path / "whole")] == [str(2 * n) for n in range(1, 9)]


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = ["tests"]
from test_trainer import TINY, settings, slabs, train
train(TINY, [slabs()], [1.0], settings(600, checkpoint_steps=20), Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_process_that_was_killed_at_any_moment_goes_on_to_the_same_log(tmp_path: Path, repository: Path):
    def start(folder: Path) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], cwd=repository)

    assert start(tmp_path / "whole").wait() == 0
    for moment in (0.0, 0.7):  # seconds after its first checkpoint, and after the next start
        process = start(tmp_path / "killed")
        checkpoint, known = tmp_path / "killed" / "checkpoint.npz", _modified(tmp_path / "killed")
        while process.poll() is None and _modified(checkpoint.parent) == known:
            time.sleep(0.01)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(tmp_path / "killed").wait() == 0
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "whole")


def _modified(folder: Path) -> int:
    path = folder / "checkpoint.npz"
    return path.stat().st_mtime_ns if path.exists() else 0


def test_networks_are_kept_every_so_many_steps_and_where_the_validation_loss_is_lowest(tmp_path: Path):
    kept: dict[str, list[dict]] = {}

    def keep(name, weights, figures):
        assert set(weights) == {
            f"conv{n}/{k}" for n in ("0_a", "0_b", "1_a", "1_b", "_lom") for k in ("kernel", "bias")
        }
        kept.setdefault(name, []).append(figures)

    chosen = settings(12, keep_every_steps=4)
    train(TINY, [slabs()], [1.0], chosen, tmp_path, validation=validation(), on_keep=keep)
    assert sorted(set(kept) - {"best"}) == [f"step-{n:08d}" for n in (4, 8, 12)]
    losses = [float(row["validation_loss"]) for row in log_of(tmp_path) if row["validation_loss"]]
    assert kept["best"][-1]["validation_loss"] == min(losses)
    assert losses[-1] == min(losses), "a validation that learns nothing shows nothing"
    # At steps 4, 8 and 12.
    assert len(set(losses)) == 3


def test_a_run_goes_on_with_another_validation_whose_best_begins_anew(tmp_path: Path):
    kept = []

    def go(steps: int, **changes) -> float:
        held_out = validation(**changes) if changes else None
        keep = lambda name, _weights, figures: kept.append(figures["fovs"])  # noqa: E731
        train(TINY, [slabs()], [1.0], settings(steps), tmp_path, validation=held_out, on_keep=keep)
        return float(load_npz(tmp_path / "checkpoint.npz")["best"])

    first = go(4, fovs=6)
    assert go(6, fovs=6, every_steps=3) <= first
    parts = load_npz(tmp_path / "checkpoint.npz")
    save_npz(tmp_path / "checkpoint.npz", {**parts, "best": np.array(0.0)})
    # The lowest there was is 0, which nothing beats but the loss on something else.
    kept.clear()
    assert go(8, fovs=5) > 0 and kept[-1] == 32
    assert np.isnan(go(9))


def test_a_network_that_is_not_finite_is_not_kept_and_not_the_best(tmp_path: Path, monkeypatch):
    def keep(name, _weights, _figures):
        raise AssertionError(name)

    monkeypatch.setattr(Validation, "loss", lambda *_: np.nan)
    held_out = validation(every_steps=1)
    with pytest.raises(ConfigError, match="diverged at step 1 .validation loss nan"):
        train(TINY, [slabs()], [1.0], settings(8), tmp_path / "best", validation=held_out, on_keep=keep)
    weights = Trainable.weights
    monkeypatch.setattr(Trainable, "weights", lambda engine: [each * np.nan for each in weights(engine)])
    chosen = settings(8, keep_every_steps=1)
    with pytest.raises(ConfigError, match="diverged at step 1 .weights that are not finite"):
        train(TINY, [slabs()], [1.0], chosen, tmp_path / "kept", on_keep=keep)


def test_the_validation_loss_is_that_of_the_fields_by_hand():
    found = validation(fovs=5)
    fields = [found.field(number) for number in range(5)]
    assert all(each.shape == (5, 5, 5) for field in fields for each in field)
    # The seed's logit is all that an even one knows; an odd one knows the object where it was.
    assert [np.unique(logits).size for _, logits, _, _ in fields][::2] == [2, 2, 2]
    assert all((logits != 0).sum() > 1 for _, logits, _, _ in fields[1::2])
    expected = np.mean([np.logaddexp(0, x) - t * x for _, x, t, _ in fields])
    import keras

    from ffn.network import build_network

    keras.utils.set_random_seed(0)
    engine = Trainable(build_network(TINY), make_optimizer(OptimizerSettings()))
    # A fresh network leaves logits as they are, whatever the batch.
    assert found.loss(engine, engine.weights(), 2) == pytest.approx(expected, rel=1e-5)
    assert found.loss(engine, engine.weights(), 5) == pytest.approx(expected, rel=1e-5)


def test_masked_voxels_teach_and_count_nothing():
    import keras

    from ffn.network import build_network

    keras.utils.set_random_seed(0)
    engine = Trainable(build_network(TINY), make_optimizer(OptimizerSettings(learning_rate=0.1)), 0.5)
    random = np.random.default_rng(0)
    image, logits = random.standard_normal((2, 2, 5, 5, 5)).astype(np.float32)
    target = np.where(random.random(image.shape) > 0.5, np.float32(0.95), np.float32(0.05))
    weight = (random.random(image.shape) > 0.3).astype(np.float32)
    _, counts = engine.submit(image, logits, target, weight, 0.1).result()
    loss = np.logaddexp(0, logits) - target * logits  # A fresh network leaves logits as they are.
    assert counts.mean_loss == pytest.approx(loss[weight > 0].mean(), rel=1e-5)
    found, wanted = (logits >= 0) & (weight > 0), (target > 0.5) & (weight > 0)
    assert counts[2:] == ((found & wanted).sum(), found.sum(), wanted.sum())
    before = engine.weights()
    _, counts = engine.submit(image, logits, target, 0 * weight, 0.1).result()
    assert counts.mean_loss == 0
    after = engine.weights()
    # Adam still moves by what it remembers; a fresh one has nothing to remember.
    assert all(np.isfinite(each).all() for each in after) and len(before) == len(after)


def _counts(loss: float) -> Counts:
    return Counts(loss=2 * loss, weight=2.0, hits=3.0, found=4.0, wanted=6.0)


def test_figures_are_those_of_the_last_steps():
    measures = Measures()
    assert measures.figures() == {}
    measures.add(_counts(0.5), offered=0, taken=0)
    assert measures.figures() == {"loss": 0.5, "precision": 0.75, "recall": 0.5}
    for _ in range(STEPS):
        measures.add(_counts(0.25), offered=8, taken=2)
    assert measures.figures() == {"loss": 0.25, "precision": 0.75, "recall": 0.5, "moves_taken": 0.25}


def test_a_loss_many_times_its_lowest_has_diverged():
    measures = Measures()
    for _ in range(WINDOW):
        measures.add(_counts(0.1), 0, 0)
    for _ in range(WINDOW // 2 - 1):
        measures.add(_counts(0.3), 0, 0)
    assert not measures.divergence(2) and measures.suspicion(2)
    other = Measures()
    other.restore(measures.state())
    for _ in range(2):
        other.add(_counts(0.3), 0, 0)
    assert "above divergence_factor times its lowest, 0.1" in other.divergence(2) and not other.divergence(3)


def _after(*phases: tuple[float, int]) -> Measures:
    """Half of the voxels are inside; targets of 0.95 and 0.05, whose entropy is 0.1985."""
    measures = Measures(0.95, 0.05)
    for loss, steps in phases:
        for _ in range(steps):
            measures.add(Counts(100 * loss, 100.0, 40.0, 50.0, 50.0), 0, 0)
    return measures


def test_losses_are_compared_by_what_they_have_above_the_entropy_of_the_targets():
    assert "divergence_factor" in _after((0.2485, WINDOW), (0.70, WINDOW)).divergence(9)
    assert not _after((0.2485, WINDOW), (0.69, WINDOW)).divergence(10)
    # Next to nothing, many times over, is still little.
    assert not _after((0.1986, WINDOW), (0.25, WINDOW)).suspicion(10)


def test_a_loss_above_that_of_knowing_nothing_has_diverged_when_it_was_below():
    assert "far above that of knowing nothing" in _after((0.6, WINDOW), (3.8, WINDOW)).divergence(10)
    assert not _after((3.8, WINDOW), (1.0, 400)).divergence(10)
    assert not _after((3.8, WINDOW), (1.0, 400)).suspicion(10)
    assert "over 500 steps" in _after((0.4, WINDOW), (0.72, STEPS)).divergence(10)
    assert not _after((0.68, WINDOW), (0.72, STEPS)).divergence(10)
    assert _after((0.6, WINDOW), (1.0, WINDOW)).suspicion(10)


def test_a_wild_rate_with_settings_that_are_otherwise_the_defaults_ends_and_keeps_what_was_good(tmp_path):
    """The loss of a step is what a spoilt network has; the checkpoint is from before it was spoilt."""
    known = []
    optimizer = OptimizerSettings(learning_rate=1.0)
    wild = TrainSettings(total_fovs=16 * 900, examples=EXAMPLES, checkpoint_minutes=0, checkpoint_steps=20,
                         optimizer=optimizer, tensorboard=False)  # fmt: skip
    with pytest.raises(ConfigError, match=r"diverged at step \d+ \(loss .* last good checkpoint is"):
        train(TINY, [slabs()], [1.0], wild, tmp_path, lambda _weights, figures: known.append(figures["loss"]))
    assert max(known) < 0.77


def test_a_diverged_run_names_its_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ffn.training.measures.WINDOW", 4)
    wild = settings(40, optimizer=OptimizerSettings("sgd", 1.0, warmup_steps=20), divergence_factor=1.01)
    says = r"diverged at step \d+ \(loss .*, above divergence_factor.* checkpoint is .*checkpoint\.npz"
    with pytest.raises(ConfigError, match=says):
        train(TINY, [slabs()], [1.0], replace(wild, checkpoint_steps=1), tmp_path)


def test_a_row_is_shown_with_four_digits_and_a_dash_for_what_there_is_not():
    row = table_row({"step": 1200, "fovs_per_second": 63.456, "loss": 0.123456, "learning_rate": 0.0015})
    assert row.split() == ["1200", "63.46", "0.1235", "-", "-", "-", "-", "0.0015", "-"]


def test_a_log_of_another_release_is_begun_anew(tmp_path: Path):
    (tmp_path / "log.csv").write_text("fovs,loss\n16,0.5\n")
    with Progress(None, "fov") as progress:
        log = TrainingLog(tmp_path, False, progress, 20)
        log.append({"step": 21, "fovs": 336})
        log.append({"step": 21, "fovs": 336})
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    assert header == ",".join(COLUMNS) and rows == ["21,336" + "," * 9]


def test_crc32c_of_the_published_vectors():
    # RFC 3720, B.4, and the check value of the CRC catalogue.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(b"123456789") == 0xE3069283


def test_tensorflow_reads_the_event_files(tmp_path: Path):
    tf = pytest.importorskip("tensorflow")
    events = EventFile(tmp_path, 300)
    events.add(301, {"training/loss": 0.25, "training/none": float("nan"), "training/recall": -2.0})
    (path,) = tmp_path.glob("events.out.tfevents.*")
    first, restart, scalars = tf.compat.v1.train.summary_iterator(str(path))
    assert first.file_version == "brain.Event:2"
    assert restart.step == 300 and restart.session_log.status == restart.session_log.START
    assert scalars.step == 301 and abs(scalars.wall_time - time.time()) < 600
    assert [(v.tag, v.simple_value) for v in scalars.summary.value] == [
        ("training/loss", 0.25),
        ("training/recall", -2.0),
    ]


def test_a_run_writes_event_files_where_it_is_asked_to(tmp_path: Path):
    for name, wanted in (("with", True), ("without", False)):
        train(TINY, [slabs()], [1.0], settings(2, tensorboard=wanted), tmp_path / name)
        assert bool(list((tmp_path / name).glob("events.*"))) == wanted


def test_devices_that_there_are_not_or_that_cannot_share_a_batch_are_refused():
    assert usable_devices(0, 7) == 1 == usable_devices(1, 7)
    with pytest.raises(ConfigError, match=r"training.devices is 4096, but there are \d+ here"):
        usable_devices(4096, 4096)


DEVICES = """
import os, sys
backend = sys.argv[1]
os.environ["KERAS_BACKEND"] = backend
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
if backend == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
from configs.errors import ConfigError
from ffn.network import Architecture, build_network
from ffn.training.engine import Trainable, usable_devices
from ffn.training.optimisers import OptimizerSettings, make_optimizer

random = np.random.default_rng(0)
batches = []
for _ in range(4):
    image, logits = random.standard_normal((2, 4, 5, 5, 5)).astype("f4")
    target = np.where(image > 0, 0.95, 0.05).astype("f4")
    weight = (random.random(image.shape) > [[[[0.9]]], [[[0.1]]], [[[0]]], [[[0.5]]]]).astype("f4")
    batches.append((image, logits, target, weight))

def run(devices):
    keras.utils.set_random_seed(1)
    network = build_network(Architecture(2, 3, (5, 5, 5), (2, 2, 2)))
    engine = Trainable(network, make_optimizer(OptimizerSettings("sgd", gradient_clip=0.01)), 0.6, devices)
    results = [engine.submit(*batch, 0.5).result() for batch in batches]
    return [(updated, *counts) for updated, counts in results], engine.weights()

assert usable_devices(0, 4) == 2 and usable_devices(0, 5) == 1, usable_devices(0, 4)
try:
    usable_devices(2, 5)
except ConfigError as error:
    assert "cannot be shared equally by 2 devices" in str(error)
(one, weights), (two, weights_2) = run(1), run(2)
for a, b in zip(one, two, strict=True):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5, rtol=1e-5)
for a, b in zip(weights, weights_2, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)
print("same", one[0][1] != one[3][1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_train_as_one(backend: str, repository: Path):
    pytest.importorskip(backend)
    done = subprocess.run(
        [sys.executable, "-c", DEVICES, backend], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["same", "True"]
