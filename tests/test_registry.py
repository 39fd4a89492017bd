"""A user's own Keras model is a network like the shipped kind: built, stored, loaded and refused by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest

from configs.errors import ConfigError
from ffn import registry
from ffn.backend import make_predictor
from ffn.network import Architecture, build_network, variable_shapes
from ffn.registry import register_network
from ffn.weights import NetworkFile, NetworkInfo, instantiate, load_network, save_network, weights_of

SHAPE = {"depth": 1, "features": 3, "fov_zyx": (3, 5, 5), "deltas_zyx": (1, 1, 1)}


def pointwise(architecture: Architecture, compute_dtype: str):
    """Two 1x1x1 convolutions; their layers have no names of their own."""
    import keras

    width = int(architecture.named_arguments.get("width", architecture.features))
    inputs = keras.Input((*architecture.fov_zyx, 2), dtype="float32")
    x = keras.layers.Conv3D(width, 1, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Conv3D(1, 1)(x) + inputs[..., 1:2])


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_builders", dict(registry._builders))


def architecture(name: str, *arguments: str) -> Architecture:
    register_network(name, pointwise)
    return Architecture(**SHAPE, name=name, arguments=arguments)


def test_a_stored_network_of_ones_own_computes_what_it_did(tmp_path: Path) -> None:
    own = architecture("pointwise", "width=4")
    model = build_network(own)
    build_network(own)  # Keras numbers the layers of this one otherwise.
    path = tmp_path / "own.ffn.h5"
    info = NetworkInfo(own, image_mean=128, image_stddev=33)
    save_network(path, NetworkFile(info, weights_of(model, own)))
    loaded = load_network(path)
    assert loaded.info.architecture == own
    image, logits = np.random.default_rng(0).standard_normal((2, 2, 3, 5, 5)).astype(np.float32)
    expected = make_predictor(model).predict(image, logits)
    np.testing.assert_array_equal(make_predictor(instantiate(loaded)).predict(image, logits), expected)
    assert not np.allclose(expected, logits)


def test_arguments_reach_the_builder_and_decide_the_shapes() -> None:
    assert variable_shapes(architecture("pointwise", "width=4")) == {
        "variable_000": (1, 1, 1, 2, 4),
        "variable_001": (4,),
        "variable_002": (1, 1, 1, 4, 1),
        "variable_003": (1,),
    }
    assert variable_shapes(architecture("pointwise"))["variable_001"] == (3,)


def test_a_name_belongs_to_one_network() -> None:
    register_network("pointwise", pointwise)
    register_network("pointwise", pointwise)
    with pytest.raises(ConfigError, match="'convstack_3d' is registered already"):
        register_network("convstack_3d", pointwise)


def test_an_installed_package_brings_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    brought = EntryPoints(
        [
            EntryPoint("theirs", f"{__name__}:pointwise", registry.GROUP),
            EntryPoint("broken", f"{__name__}:absent", registry.GROUP),
        ]
    )
    monkeypatch.setattr(registry, "entry_points", lambda **wanted: brought.select(**wanted))
    assert build_network(Architecture(**SHAPE, name="theirs")).count_params() == 3 * 2 + 3 + 3 + 1
    with pytest.raises(ConfigError, match="'broken' .* cannot be imported"):
        build_network(Architecture(**SHAPE, name="broken"))
    with pytest.raises(ConfigError, match="known are broken, convstack_3d, theirs"):
        Architecture(**SHAPE, name="third")


def _model(inputs_shape=(3, 5, 5, 2), channels=1, dtype="float32", extra=None):
    def build(_architecture, _compute_dtype):
        import keras

        inputs = keras.Input(inputs_shape, dtype="float32")
        x = inputs if extra is None else extra(keras)(inputs)
        return keras.Model(inputs, keras.layers.Conv3D(channels, 1, dtype=dtype)(x))

    return build


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (_model(inputs_shape=(5, 5, 5, 2)), r"maps float32 \(None, 5, 5, 5, 2\).*must map float32 \(None, 3"),
        (_model(channels=2), r"to float32 \(None, 3, 5, 5, 2\); it must"),
        (_model(dtype="bfloat16"), r"to bfloat16"),
        (_model(extra=lambda keras: keras.layers.BatchNormalization()), "not trained, .*moving_mean"),
        (_model(extra=lambda keras: keras.layers.Conv3D(2, 1, dtype="float64")), "not float32, "),
        (lambda *_: None, "maps nothing to nothing"),
    ],
    ids=["other field of view", "two outputs", "bfloat16 logits", "running means", "float64", "no model"],
)
def test_a_model_that_does_not_fit_in_is_refused(build, says: str) -> None:
    register_network("own", build)
    with pytest.raises(ConfigError, match=f"network 'own'.*{says}"):
        build_network(Architecture(**SHAPE, name="own"))
