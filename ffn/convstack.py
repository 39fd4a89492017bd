"""ConvStack3D: a residual stack of 3-D convolutions, the network this system trains unless told otherwise.

    x = conv0_b(conv0_a([image, logits]))
    x = x + conv_b(ReLU(conv_a(ReLU(normalised x))))      per further module
    updated logits = logits + conv_lom(ReLU(normalised x))

`normalisation: layer` brings the channels of every voxel, each voxel for itself, to mean 0 and standard
deviation 1 before each module and before the last convolution; other voxels have no say in it, so that a
field of view gives the same logits in any batch. Without it 'normalised x' is x.

Source of the method: Januszewski et al. 2018 (doi:10.1038/s41592-018-0049-4), the stack of residual modules
named ConvStack3D in google/ffn; of the normalisation, Ba et al. 2016 (arXiv:1607.06450).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ffn.backend import keep_unfused

if TYPE_CHECKING:
    import keras

    from ffn.network import Architecture

_EPSILON = 1e-5  # added to the variance of a voxel's channels


def variable_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every variable, in the order of the model's `weights`.

    Names are 'conv0_a/kernel', 'conv0_a/bias', …, with normalisation 'norm1/gamma', 'norm1/beta', … before
    the module's; kernels are (z, y, x, channels in, channels out).

    Args:
        architecture: depth, features and normalisation count.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, size, channels_in, channels_out in _convolutions(architecture):
        norm = _norm_before(name)
        if norm and architecture.normalisation == "layer":
            shapes[f"{norm}/gamma"] = shapes[f"{norm}/beta"] = (channels_in,)
        shapes[f"{name}/kernel"] = (size, size, size, channels_in, channels_out)
        shapes[f"{name}/bias"] = (channels_out,)
    return shapes


def build(architecture: Architecture, compute_dtype: str) -> keras.Model:
    """The model with fresh weights; it starts as the identity on logits.

    With bfloat16 the convolutions that take the time are computed in it. What runs through the whole network
    stays float32: image and logits, the sums of the residual modules, the normalisation and the update. That
    halves the error of the logits and costs 2 % (33x33x33, 12 modules of 32 features) or less.

    Args:
        architecture: which network.
        compute_dtype: 'float32' or 'bfloat16'.
    """
    import keras

    exact = keras.DTypePolicy("float32")
    fast = exact if compute_dtype == "float32" else keras.DTypePolicy(f"mixed_{compute_dtype}")

    def convolve(name: str, x: Any, policy: Any, activation: str | None = None) -> Any:
        size, filters = (1, 1) if name == "conv_lom" else (3, architecture.features)
        layer = keras.layers.Conv3D(
            filters, size, padding="same", activation=activation, name=name, dtype=policy,
            kernel_initializer=_initializer(name, architecture.depth),
        )  # fmt: skip
        return layer(x)

    def rectify(place: str, x: Any) -> Any:
        if architecture.normalisation == "layer":
            x = keras.layers.LayerNormalization(epsilon=_EPSILON, name=f"norm{place}", dtype=exact)(x)
        return keras.layers.ReLU(name=f"relu{place}", dtype=exact)(x)

    inputs = keras.Input((*architecture.fov_zyx, 2), dtype="float32", name="image_and_logits")
    x = convolve("conv0_a", inputs, exact, "relu")
    x = convolve("conv0_b", x, fast)
    for module in range(1, architecture.depth):
        inside = rectify(str(module), x)
        inside = convolve(f"conv{module}_a", inside, fast, "relu")
        inside = convolve(f"conv{module}_b", inside, fast)
        inside = keras.layers.Lambda(keep_unfused, name=f"unfused{module}", dtype=fast)(inside)
        x = keras.layers.Add(name=f"module{module}", dtype=exact)([x, inside])
    update = convolve("conv_lom", rectify("_lom", x), exact)
    return keras.Model(inputs, update + inputs[..., 1:2], name=architecture.name)


def _convolutions(architecture: Architecture) -> list[tuple[str, int, int, int]]:
    """(layer name, kernel edge, channels in, channels out) from input to output."""
    features = architecture.features
    layers = [
        (f"conv{module}_{half}", 3, features, features)
        for module in range(architecture.depth)
        for half in "ab"
    ]
    layers[0] = ("conv0_a", 3, 2, features)
    return [*layers, ("conv_lom", 1, features, 1)]


def _norm_before(layer: str) -> str | None:
    """Name of the normalisation in front of a convolution, if there may be one."""
    if layer.endswith("_b") or layer == "conv0_a":
        return None
    return "norm" + layer.removeprefix("conv").removesuffix("_a")


def _initializer(layer: str, depth: int) -> Any:
    """Starts a residual stack as the identity: the output proposes nothing, modules add little."""
    import keras

    if layer == "conv_lom":
        return "zeros"
    return "he_normal" if layer.endswith("_a") else keras.initializers.VarianceScaling(1 / depth)
