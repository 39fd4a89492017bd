"""The network computes what the method says, whatever the compute type and the batch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from configs.errors import ConfigError
from ffn import backend
from ffn.network import Architecture, build_network, variable_shapes

TINY = Architecture(depth=3, features=4, fov_zyx=(5, 7, 9), deltas_zyx=(1, 2, 3))
NORMALISED = replace(TINY, normalisation="layer")


def random_weights(architecture: Architecture) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: 0.3 * random.standard_normal(shape) for name, shape in variable_shapes(architecture).items()
    }


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return random_weights(TINY)


@pytest.fixture(scope="module")
def fields() -> tuple[np.ndarray, np.ndarray]:
    """Image and logits of five fields of view, both float32 (n, z, y, x)."""
    random = np.random.default_rng(1)
    image, logits = random.standard_normal((2, 5, *TINY.fov_zyx)).astype(np.float32)
    return image, logits


def predictor(
    weights: dict[str, np.ndarray], compute_dtype: str, architecture: Architecture = TINY
) -> backend.Predictor:
    model = build_network(architecture, compute_dtype)
    model.set_weights(list(weights.values()))
    return backend.make_predictor(model)


def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """SAME cross-correlation of (z, y, x, channels in), one pair of channels at a time."""
    channels = [
        sum(ndimage.correlate(x[..., i], kernel[..., i, o], mode="constant") for i in range(x.shape[-1]))
        for o in range(kernel.shape[-1])
    ]
    return np.stack(channels, axis=-1) + bias


def expected_logits(weights: dict[str, np.ndarray], image: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The method in float64: two convolutions, residual modules, ReLU, 1x1x1, plus the seed logits."""

    def layer(name: str, x: np.ndarray) -> np.ndarray:
        return convolved(x, weights[f"{name}/kernel"], weights[f"{name}/bias"])

    def relu(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    def normalised(place: str, x: np.ndarray) -> np.ndarray:
        if f"norm{place}/gamma" not in weights:
            return x
        spread = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        centred = (x - x.mean(axis=-1, keepdims=True)) / spread
        return weights[f"norm{place}/gamma"] * centred + weights[f"norm{place}/beta"]

    x = np.stack([image, logits], axis=-1).astype(np.float64)
    x = layer("conv0_b", relu(layer("conv0_a", x)))
    for module in range(1, TINY.depth):
        inside = relu(normalised(str(module), x))
        x = x + layer(f"conv{module}_b", relu(layer(f"conv{module}_a", inside)))
    return layer("conv_lom", relu(normalised("_lom", x)))[..., 0] + logits


@pytest.mark.parametrize("architecture", [TINY, NORMALISED], ids=["plain", "normalised"])
def test_network_is_the_residual_stack_added_to_the_seed_logits(
    architecture: Architecture, fields: tuple[np.ndarray, np.ndarray]
) -> None:
    weights = random_weights(architecture)
    updated = predictor(weights, "float32", architecture).predict(*fields)
    assert updated.dtype == np.float32
    for index, (image, logits) in enumerate(zip(*fields, strict=True)):
        assert np.allclose(updated[index], expected_logits(weights, image, logits), rtol=1e-4, atol=1e-4)


def test_bfloat16_network_is_close_to_float32(
    weights: dict[str, np.ndarray], fields: tuple[np.ndarray, np.ndarray]
) -> None:
    exact = predictor(weights, "float32").predict(*fields)
    rounded = predictor(weights, "bfloat16").predict(*fields)
    assert np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()
    assert not np.array_equal(rounded, exact)


@pytest.mark.parametrize("compute_dtype", backend.COMPUTE_DTYPES)
def test_sum_with_the_seed_logits_keeps_float32(
    compute_dtype: str, weights: dict[str, np.ndarray], fields: tuple[np.ndarray, np.ndarray]
) -> None:
    silent = {name: 0 * value if name.startswith("conv_lom") else value for name, value in weights.items()}
    assert np.array_equal(predictor(silent, compute_dtype).predict(*fields), fields[1])


@pytest.mark.parametrize("architecture", [TINY, NORMALISED], ids=["plain", "normalised"])
@pytest.mark.parametrize("compute_dtype", backend.COMPUTE_DTYPES)
def test_variables_are_float32_and_named_after_the_layers(
    architecture: Architecture, compute_dtype: str
) -> None:
    variables = build_network(architecture, compute_dtype).weights
    found = [(variable.path, tuple(variable.shape)) for variable in variables]
    assert found == list(variable_shapes(architecture).items())
    assert {str(variable.dtype) for variable in variables} == {"float32"}


@pytest.mark.parametrize("compute_dtype", backend.COMPUTE_DTYPES)
def test_batching_does_not_change_a_field_of_view(
    compute_dtype: str, weights: dict[str, np.ndarray], fields: tuple[np.ndarray, np.ndarray]
) -> None:
    network = predictor(weights, compute_dtype)
    together = network.predict(*fields)
    for index, (image, logits) in enumerate(zip(*fields, strict=True)):
        assert np.array_equal(network.predict(image[None], logits[None])[0], together[index])


def test_predictor_keeps_the_weights_it_was_made_with(
    weights: dict[str, np.ndarray], fields: tuple[np.ndarray, np.ndarray]
) -> None:
    model = build_network(TINY)
    model.set_weights(list(weights.values()))
    network = backend.make_predictor(model)
    before = network.predict(*fields)
    model.set_weights([0 * value for value in weights.values()])
    assert np.array_equal(network.predict(*fields), before)


def test_padding_of_a_batch_is_cut_off_again() -> None:
    seen = []

    def forward(image: np.ndarray, logits: np.ndarray) -> np.ndarray:
        seen.append(image.shape)
        return image + logits

    image = np.arange(24, dtype=np.float32).reshape(3, 2, 2, 2)
    padded = backend.Predictor(forward, pads_batches=True)
    assert np.array_equal(padded.submit(image, image).result(), 2 * image)
    assert seen == [(4, 2, 2, 2)]


def test_unfused_step_passes_values_and_gradients_on() -> None:
    tf = pytest.importorskip("tensorflow")
    if backend.backend_name() != "tensorflow":
        pytest.skip("gradient tape of TensorFlow")
    x = tf.constant([1.0, -2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = backend.keep_unfused(x) * 3.0
    assert np.array_equal(y, [3.0, -6.0])
    assert np.array_equal(tape.gradient(y, x), [3.0, 3.0])


WRONG_ARCHITECTURES = [
    pytest.param({"name": "unet"}, "unknown network 'unet'; known are convstack_3d", id="name"),
    pytest.param({"depth": 0}, "depth is 0; it must be at least 1", id="depth"),
    pytest.param({"features": 1.5}, "features is 1.5; it must be a whole number", id="features"),
    pytest.param({"fov_zyx": (5, 6, 7)}, r"fov_zyx is \(5, 6, 7\); each edge must be odd", id="even fov"),
    pytest.param({"fov_zyx": (5, 7)}, "must be three whole numbers z, y, x", id="two axes"),
    pytest.param({"fov_zyx": 33}, "must be three whole numbers z, y, x", id="one number"),
    pytest.param({"deltas_zyx": (1, 2, 5)}, r"deltas_zyx is \(1, 2, 5\); each must lie in 0", id="delta"),
    pytest.param({"deltas_zyx": (-1, 2, 2)}, "deltas_zyx", id="negative delta"),
    pytest.param({"normalisation": "batch"}, "'batch'; it is one of unnormalised, layer", id="normalisation"),
    pytest.param({"arguments": ["width=3"]}, "convstack_3d takes none", id="arguments"),
    pytest.param({"arguments": ["width"]}, "each must be 'name=value'", id="no value"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_ARCHITECTURES)
def test_impossible_architecture_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Architecture.from_dict({**TINY.to_dict(), **change})


@pytest.mark.parametrize("architecture", [TINY, NORMALISED], ids=["plain", "normalised"])
def test_architecture_survives_its_dictionary(architecture: Architecture) -> None:
    assert Architecture.from_dict(architecture.to_dict()) == architecture


def test_the_dictionary_of_a_plain_network_is_that_of_earlier_releases() -> None:
    assert set(TINY.to_dict()) == {"depth", "features", "fov_zyx", "deltas_zyx", "name"}


def test_architecture_with_an_unknown_field_names_it_and_the_missing_one() -> None:
    values = TINY.to_dict()
    values["width"] = values.pop("features")
    with pytest.raises(ConfigError, match=r"unknown fields \['width'\] and lacks \['features'\]"):
        Architecture.from_dict(values)


def test_flat_network_does_not_move_along_z() -> None:
    assert Architecture(2, 4, (1, 9, 9), (0, 2, 2)).fov_radius_zyx == (0, 4, 4)


def test_unknown_compute_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="'float16' is not one of float32, bfloat16"):
        build_network(TINY, "float16")
    with pytest.raises(ConfigError, match="'half' is not one of auto, float32, bfloat16"):
        backend.resolve_compute_dtype("half")


@pytest.mark.parametrize(("supported", "resolved"), [(True, "bfloat16"), (False, "float32")])
def test_auto_takes_bfloat16_where_the_hardware_has_it(
    monkeypatch: pytest.MonkeyPatch, supported: bool, resolved: str
) -> None:
    monkeypatch.setattr(backend, "supports_bfloat16", lambda: supported)
    assert backend.resolve_compute_dtype("auto") == resolved
    assert backend.resolve_compute_dtype("float32") == "float32"


def test_backend_without_an_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "backend_name", lambda: "torch")
    with pytest.raises(ConfigError, match="'torch' has no engine here; set KERAS_BACKEND to tensorflow"):
        backend.make_predictor(None)


def test_importing_the_package_does_not_load_a_backend(repository: Path) -> None:
    code = "import sys, ffn.weights, ffn.tf1_checkpoint; print({'tensorflow', 'keras'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr
