"""google/ffn's TensorFlow 1 checkpoints become networks of ours, or an error that says why not."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from configs.errors import ConfigError
from ffn.backend import make_predictor
from ffn.network import Architecture, variable_shapes
from ffn.tf1_checkpoint import CONVSTACK_3D_MODEL, architecture_from_args, import_checkpoint
from ffn.weights import NetworkFile, WeightsError, instantiate

tf = pytest.importorskip("tensorflow")

ARGS = {"depth": 2, "features": 3, "fov_size": [9, 7, 5], "deltas": [3, 2, 1]}
FIB25_ARGS = '{"depth": 12, "fov_size": [33, 33, 33], "deltas": [8, 8, 8]}'
NORMALISATION = {"image_mean": 128.0, "image_stddev": 33.0}


def tf1_name(name: str) -> str:
    return "seed_update/" + name.replace("kernel", "weights").replace("bias", "biases")


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    """Our variable name -> values of a small network."""
    random = np.random.default_rng(0)
    shapes = variable_shapes(architecture_from_args(CONVSTACK_3D_MODEL, ARGS))
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def prefix(tmp_path: Path, tensors: dict[str, np.ndarray]) -> Path:
    """A checkpoint laid out as google/ffn's are, with a variable that belongs to the training."""
    prefix = tmp_path / "model.ckpt-7"
    saved = {tf1_name(name): tensor for name, tensor in tensors.items()}
    saved["global_step"] = np.int32(7)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(saved),
        shape_and_slices=[""] * len(saved),
        tensors=[tf.constant(tensor) for tensor in saved.values()],
    )
    return prefix


def import_with(prefix: Path, **changed_args: object) -> NetworkFile:
    args = json.dumps({**ARGS, **changed_args})
    return import_checkpoint(prefix, CONVSTACK_3D_MODEL, args, **NORMALISATION)


def test_checkpoint_becomes_a_network_of_ours(prefix: Path, tensors: dict[str, np.ndarray]) -> None:
    network = import_with(prefix)
    assert network.info.architecture == Architecture(2, 3, fov_zyx=(5, 7, 9), deltas_zyx=(1, 2, 3))
    assert (network.info.image_mean, network.info.image_stddev) == (128.0, 33.0)
    assert network.weights.keys() == tensors.keys()
    assert all(np.array_equal(network.weights[name], tensors[name]) for name in tensors)


OTHER_ARCHITECTURES = [
    pytest.param({"depth": 3}, r"lacks 'seed_update/conv2_a/weights', which depth 3", id="deeper"),
    pytest.param({"depth": 1}, r"has 'seed_update/conv1_a/biases', which depth 1", id="shallower"),
    pytest.param(
        {"features": 8},
        r"'seed_update/conv0_a/weights' has shape \(3, 3, 3, 2, 3\); depth 2 and 8 features in model_args "
        r"call for \(3, 3, 3, 2, 8\)",
        id="wider",
    ),
]


@pytest.mark.parametrize(("change", "message"), OTHER_ARCHITECTURES)
def test_other_architecture_names_the_tensor(prefix: Path, change: dict, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        import_with(prefix, **change)
    assert f"checkpoint {prefix} is of another architecture" in str(caught.value)


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_truncated_checkpoint_is_refused(prefix: Path, part: str, kept: float) -> None:
    file = Path(f"{prefix}.{part}")
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(WeightsError, match="is truncated or damaged: .*; copy it again") as caught:
        import_with(prefix)
    assert "\n" not in str(caught.value)


def test_missing_index_asks_for_the_prefix(prefix: Path) -> None:
    with pytest.raises(WeightsError, match=r"there is no .*\.index\.index; give a checkpoint's path without"):
        import_with(Path(f"{prefix}.index"))


def test_missing_data_file_is_named(prefix: Path) -> None:
    Path(f"{prefix}.data-00000-of-00001").unlink()
    with pytest.raises(WeightsError, match="data-00000-of-00001"):
        import_with(prefix)


WRONG_ARGS = [
    pytest.param("unet.UNet", "{}", "model_name 'unet.UNet' is not known", id="another model"),
    pytest.param(CONVSTACK_3D_MODEL, "{depth: 2}", "model_args is not JSON", id="no JSON"),
    pytest.param(CONVSTACK_3D_MODEL, "[1]", "must be a JSON object", id="a list"),
    pytest.param(CONVSTACK_3D_MODEL, '{"width": 1}', r"unknown entries \['width'\]", id="unknown"),
    pytest.param(CONVSTACK_3D_MODEL, "{}", "fov_size is None; it must be three", id="no size"),
    pytest.param(CONVSTACK_3D_MODEL, '{"fov_size": [9, 9, "a"], "deltas": [1, 1, 1]}', "whole", id="text"),
]


@pytest.mark.parametrize(("model_name", "model_args", "message"), WRONG_ARGS)
def test_model_arguments_are_checked(model_name: str, model_args: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        architecture_from_args(model_name, model_args)


def test_depth_and_features_have_the_defaults_of_the_original() -> None:
    module_name = f"ffn.training.models.{CONVSTACK_3D_MODEL}"
    architecture = architecture_from_args(module_name, {"fov_size": [33, 33, 17], "deltas": (8, 8, 4)})
    assert (architecture.depth, architecture.features) == (9, 32)
    assert (architecture.fov_zyx, architecture.deltas_zyx) == ((17, 33, 33), (4, 8, 8))


def first_field_of_view(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """Normalised image and logits, float32 (1, 33, 33, 33), of the first step of the reference run."""
    with h5py.File(shared / "data" / "ffn_reference_dev.h5") as reference:
        centre = reference["forward/visited_zyx"][0] + reference.attrs["corner_zyx"]
    box = tuple(slice(c - 16, c + 17) for c in centre)
    with h5py.File(shared / "data" / "fib25_training2_dev.h5") as volume:
        image = (volume["raw"][box].astype(np.float32) - 128) / 33
    logits = np.full_like(image, np.log(0.05 / 0.95))
    logits[16, 16, 16] = np.log(0.95 / 0.05)
    return image[None], logits[None]


def plain_tensorflow(prefix: Path, image: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The checkpoint's tensors through bare `tf.nn.conv3d`, none of our code in between."""
    reader = tf.train.load_checkpoint(str(prefix))

    def convolve(x: tf.Tensor, name: str) -> tf.Tensor:
        kernel = reader.get_tensor(f"seed_update/{name}/weights")
        return tf.nn.conv3d(x, kernel, [1] * 5, "SAME") + reader.get_tensor(f"seed_update/{name}/biases")

    x = convolve(tf.nn.relu(convolve(np.stack([image, logits], -1), "conv0_a")), "conv0_b")
    for module in range(1, 12):
        x += convolve(tf.nn.relu(convolve(tf.nn.relu(x), f"conv{module}_a")), f"conv{module}_b")
    return logits + convolve(tf.nn.relu(x), "conv_lom").numpy()[..., 0]


def test_imported_fib25_network_equals_its_tensors_in_plain_tensorflow(shared_data: Path) -> None:
    prefix = shared_data / "models" / "fib25" / "model.ckpt-27465036"
    network = import_checkpoint(prefix, CONVSTACK_3D_MODEL, FIB25_ARGS, **NORMALISATION)
    image, logits = first_field_of_view(shared_data)
    updated = make_predictor(instantiate(network)).predict(image, logits)
    expected = plain_tensorflow(prefix, image, logits)
    assert np.isfinite(updated).all()
    assert np.array_equal(updated, expected), np.abs(updated - expected).max()
