"""A training teaches what its labels say: right ones help, wrong ones show, and any network can be taught."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from tiny_project import TINY, bars, lit_bars, save_threshold_network, threshold_network, write_volumes

from commands import run_inference, train_ffn
from configs import load_config
from evaluation import skeletonise
from ffn import registry
from ffn.network import Architecture
from ffn.training.example_settings import ExampleSettings
from ffn.training.optimisers import OptimizerSettings
from ffn.training.train_settings import TrainSettings
from ffn.training.trainer import train
from ffn.training.training_volume import TrainingVolume
from ffn.weights import NetworkFile, NetworkInfo, load_network, save_network
from inference.checkpoint_selection import Figures, HeldOut, measure

SMALL = Architecture(depth=2, features=6, fov_zyx=(9, 9, 9), deltas_zyx=(3, 3, 3))
GREYS = {"image_mean": 120.0, "image_stddev": 60.0}


def trained(labels: np.ndarray, folder: Path, steps: int) -> NetworkFile:
    """A small network taught on the bars' image with some labels."""
    examples = ExampleSettings(min_object_voxels=100, clearance=1.5, **GREYS)
    settings = TrainSettings(
        total_fovs=8 * steps, batch_size=8, seed=5, examples=examples, checkpoint_minutes=0, ema_decay=0.9,
        optimizer=OptimizerSettings(learning_rate=0.01, warmup_steps=20), tensorboard=False,
    )  # fmt: skip
    volume = TrainingVolume("bars", lit_bars(bars()), labels, SMALL, examples)
    weights = train(SMALL, [volume], [1.0], settings, folder).weights
    info = NetworkInfo(SMALL, pad_value=0.5, move_threshold=0.6, segment_threshold=0.6, **GREYS)
    return NetworkFile(info, weights)


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    """The bars seen in a mirror."""
    labels = bars()[::-1, :, ::-1].copy()
    skeletons = skeletonise(labels, (10, 10, 10), const_nm=20, min_voxels=100)
    raw = np.ascontiguousarray(lit_bars(bars())[::-1, :, ::-1])
    return HeldOut("bars", raw, np.zeros(raw.shape, bool), skeletons, (10.0, 10.0, 10.0))


CONFIG = """
name: "tiny" output_dir: "run"
training {
  architecture { depth: 1 features: 3 fov { z: 5 y: 5 x: 5 } deltas { z: 2 y: 2 x: 2 } }
  volumes { raw { spec: "data.h5:raw" } labels { spec: "data.h5:labels" } }
  min_object_voxels: 100 centre_clearance_voxels: 1 total_fovs: 64 compute_dtype: FLOAT32
  output_weights: "net.ffn.h5"
  selection {
    volumes { raw { spec: "data.h5:raw" } labels { spec: "data.h5:labels" } }
    options { min_segment_size: 50 }
  }
}
"""


def train_on(text: str) -> int:
    Path("c.textproto").write_text(text)
    return train_ffn.run(["--config", "c.textproto"])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the bars and the config of a small training on them."""
    monkeypatch.chdir(tmp_path)
    write_volumes("data.h5", raw=lit_bars(bars()), labels=bars())
    Path("c.textproto").write_text(CONFIG)
    return tmp_path


@pytest.mark.slow
def test_a_network_learns_from_right_labels_and_not_from_wrong_ones(place: Path, held_out: HeldOut) -> None:
    section = load_config("c.textproto").training.selection

    def judged(name: str, labels: np.ndarray, steps: int) -> Figures:
        return measure(trained(labels, place / name, steps), [held_out], section, "float32")

    # Objects of the same shapes where the image has others.
    wrong = np.ascontiguousarray(np.roll(bars()[::-1, ::-1, ::-1], (5, 5, 5), (0, 1, 2)))
    untrained = judged("untrained", bars(), 1)
    right, shuffled = judged("right", bars(), 250), judged("shuffled", wrong, 250)
    assert right.nerl > untrained.nerl + 0.4, (right, untrained)
    assert shuffled.nerl < untrained.nerl + 0.1, (shuffled, untrained)


def documented_network(folder: Path):
    """The module that docs/training.md shows."""
    text = (Path(__file__).parents[1] / "docs" / "training.md").read_text()
    (block,) = re.findall(r"```python\n# my_networks/unet.py\n(.*?)```", text, re.DOTALL)
    path = folder / "unet.py"
    path.write_text(block)
    spec = importlib.util.spec_from_file_location("unet", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("compute_dtype", ["FLOAT32", "BFLOAT16"])
def test_the_documented_network_of_ones_own_is_trained_selected_and_floods(
    place: Path, monkeypatch: pytest.MonkeyPatch, compute_dtype: str
) -> None:
    monkeypatch.setattr(registry, "_builders", dict(registry._builders))
    registry.register_network("my_unet", documented_network(place).build)
    text = CONFIG.replace("depth: 1", 'name: "my_unet" arguments: ["wide=5"] depth: 1').replace(
        "FLOAT32", compute_dtype
    )
    assert train_on(text) == 0
    network = load_network("net.ffn.h5")
    assert network.info.architecture.named_arguments == {"wide": "5"}
    assert network.weights["variable_002"].shape == (3, 3, 3, 3, 5)
    assert any(values.any() for values in network.weights.values())
    assert train_ffn.run(["select", "--config", "c.textproto"]) == 0
    assert load_network("run/selected.ffn.h5").info.architecture == network.info.architecture
    flood = """name: "flood" output_dir: "out" raw { spec: "data.h5:raw" } network { weights: "net.ffn.h5" }
    inference { options { min_segment_size: 10 } compute_dtype: FLOAT32 }"""
    Path("flood.textproto").write_text(flood)
    assert run_inference.run(["--config", "flood.textproto"]) == 0
    # Further training needs the same arguments.
    further = text.replace('output_weights: "net.ffn.h5"', 'output_weights: "b.ffn.h5"').replace(
        "total_fovs", 'initial_weights: "net.ffn.h5" total_fovs'
    )
    further = further.replace('"run"', '"further"')
    assert train_on(further) == 0
    assert train_on(further.replace("wide=5", "wide=6")) == 2


def test_a_training_of_every_setting_writes_all_it_says(place: Path) -> None:
    text = CONFIG.replace("features: 3", "features: 3 normalisation: LAYER").replace(
        "fov { z: 5 y: 5 x: 5 } deltas { z: 2 y: 2 x: 2 }", "fov { z: 3 y: 7 x: 5 } deltas { z: 1 y: 3 x: 0 }"
    )
    more = """total_fovs: 96 keep_every_steps: 2 checkpoint_steps: 4 ema_decay: 0 read_threads: 2 devices: 1
    optimizer { kind: ADAMW schedule: EXPONENTIAL decay_steps: 5 weight_decay: 0.1 warmup_steps: 0 }
    validation { raw { spec: "data.h5:raw" } labels { spec: "data.h5:labels" } }
    validation_loss { fovs: 8 every_steps: 3 }
    augmentation { elastic: 0.5 elastic_grid_nm: 100 slip: 0.5 slip_voxels: 1 missing_section: 0.1 }"""
    assert train_on(text.replace("total_fovs: 64", more)) == 0
    kept = sorted(path.relative_to("run").as_posix() for path in Path("run").rglob("*.ffn.h5"))
    assert kept == ["best.ffn.h5", *(f"checkpoints/step-{n:08d}.ffn.h5" for n in (2, 4, 6))]
    newest, last = load_network("net.ffn.h5"), load_network("run/checkpoints/step-00000006.ffn.h5")
    assert all(np.array_equal(newest.weights[name], last.weights[name]) for name in newest.weights)
    assert newest.info.architecture.normalisation == "layer"
    figures = newest.info.training["figures"]
    assert figures["fovs"] == 96 and {"loss", "validation_loss"} <= set(figures)
    assert (Path("run") / "log.csv").exists() and list(Path("run").glob("events.out.tfevents.*"))


def test_a_diverged_training_is_one_line_and_exit_code_2(place: Path, capsys: pytest.CaptureFixture) -> None:
    info = NetworkInfo(TINY, **GREYS)
    huge = {name: 1e30 * values for name, values in threshold_network().items()}
    save_network("huge.ffn.h5", NetworkFile(info, huge))
    started = CONFIG.replace("total_fovs", 'initial_weights: "huge.ffn.h5" total_fovs')
    assert train_on(started.replace("features: 3", "features: 2")) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: training diverged at step") and "lower the learning rate" in error


def test_weights_of_another_kind_are_refused_by_what_differs(
    place: Path, capsys: pytest.CaptureFixture
) -> None:
    save_threshold_network("first.ffn.h5")
    started = CONFIG.replace("total_fovs", 'initial_weights: "first.ffn.h5" total_fovs')
    for change, says in (
        (("features: 3", "features: 2 normalisation: LAYER"), "has normalisation unnormalised"),
        (("features: 3", "features: 3"), "has features 2"),
    ):
        assert train_on(started.replace(*change)) == 2
        assert says in capsys.readouterr().err
