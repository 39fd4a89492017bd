"""A model with its optimiser, one compiled optimisation step at a time, on one device or several.

What `ffn.backend` is to inference this module is to training: it names TensorFlow and JAX. Data
parallelism is the same in both: every device gets an equal share of the batch and a copy of the
weights, the sum of their gradients is the gradient of the batch, and the optimiser is applied once. So the
result differs from that of one device only by the order of a sum.

The loss is the weighted mean of the sigmoid cross-entropy of the updated logits against soft targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import logit

from configs.errors import ConfigError
from ffn.backend import backend_name, require_backend

if TYPE_CHECKING:
    import keras


class Counts(NamedTuple):
    """Sums over the voxels of a batch, each voxel counted with its weight.

    Attributes:
        loss: cross-entropy (natural logarithm).
        weight: the weights themselves.
        hits: voxels above the segment threshold whose target is above 1/2.
        found: voxels above the segment threshold.
        wanted: voxels whose target is above 1/2.
    """

    loss: float
    weight: float
    hits: float
    found: float
    wanted: float

    @property
    def mean_loss(self) -> float:
        """The loss of a step; 0 where all voxels are masked."""
        return self.loss / max(self.weight, 1.0)


class PendingStep:
    """A step that the device may still be at; `result` waits for it."""

    def __init__(self, updated: Any, counts: Any) -> None:
        self._updated, self._counts = updated, counts

    def result(self) -> tuple[np.ndarray, Counts]:
        """The updated logits from before the step, float32 (n, z, y, x), and what was counted."""
        return np.asarray(self._updated), Counts(*np.asarray(self._counts, np.float64).tolist())


class Trainable:
    """A model and an optimiser as compiled functions.

    Args:
        model: of `ffn.network.build_network`.
        optimizer: of `ffn.training.optimisers.make_optimizer`.
        segment_threshold: probability from which a voxel is counted as found.
        devices: how many share every batch; see `usable_devices`.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer,
        segment_threshold: float = 0.6,
        devices: int = 1,
    ) -> None:
        self._model, self._optimizer = model, optimizer
        optimizer.build(model.trainable_variables)
        make = {"tensorflow": _tensorflow_functions, "jax": _jax_functions}[backend_name()]
        self._step, self._evaluate = make(model, optimizer, float(logit(segment_threshold)), devices)

    def submit(
        self,
        image: np.ndarray,
        logits: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        learning_rate: float,
    ) -> PendingStep:
        """Starts one optimisation step; on an accelerator this returns before it is done.

        Args:
            image: normalised image, float32 (n, z, y, x); n is a multiple of the number of devices.
            logits: current logits, like image.
            target: wanted probabilities, like image.
            weight: of each voxel in the loss, like image, none negative.
            learning_rate: of this step.
        """
        self._optimizer.learning_rate = learning_rate
        return PendingStep(*self._step(image, logits, target, weight))

    def step(
        self,
        image: np.ndarray,
        logits: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        learning_rate: float,
    ) -> tuple[np.ndarray, float]:
        """One optimisation step on arrays as in `submit`.

        Returns:
            The updated logits from before the step (float32, like image) and the loss.
        """
        updated, counts = self.submit(image, logits, target, weight, learning_rate).result()
        return updated, counts.mean_loss

    def evaluate(self, weights: Sequence[np.ndarray], *fields: np.ndarray) -> Counts:
        """What other weights, in the order of `weights`, make of image, logits, target and weight."""
        return PendingStep(None, self._evaluate(list(weights), *fields)).result()[1]

    def weights(self) -> list[np.ndarray]:
        """The model's variables now, in the order of `model.trainable_variables`."""
        return [_to_numpy(variable) for variable in self._model.trainable_variables]

    def state(self) -> list[np.ndarray]:
        """All variables of model and optimiser, for `restore`."""
        return [_to_numpy(variable) for variable in self._variables()]

    def restore(self, state: list[np.ndarray]) -> None:
        """Inverse of `state`."""
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)

    def _variables(self) -> list[Any]:
        return [*self._model.trainable_variables, *self._optimizer.variables]


def usable_devices(wanted: int, batch_size: int) -> int:
    """How many devices share a batch: accelerators where there are any, else processors.

    Args:
        wanted: so many; 0: as many of those there are as can share the batch equally.
        batch_size: fields of view per step.

    Raises:
        ConfigError: more than there are, or a number the batch cannot be divided by.
    """
    require_backend()
    present = len({"tensorflow": _tensorflow_devices, "jax": _jax_devices}[backend_name()]())
    if not wanted:
        return max(n for n in range(1, present + 1) if batch_size % n == 0)
    if wanted > present:
        raise ConfigError(f"training.devices is {wanted}, but there are {present} here; lower it")
    if batch_size % wanted:
        raise ConfigError(
            f"training.batch_size {batch_size} cannot be shared equally by {wanted} devices; "
            "make it a multiple"
        )
    return wanted


def _to_numpy(variable: Any) -> np.ndarray:
    import keras

    return np.array(keras.ops.convert_to_numpy(variable))


def _counted(target: Any, updated: Any, weight: Any, cut: float) -> tuple[Any, Any]:
    """The summed loss, and `Counts` as one tensor; `cut` is the segment threshold as a logit."""
    from keras import ops

    loss = ops.sum(weight * ops.binary_crossentropy(target, updated, from_logits=True))
    found = weight * ops.cast(updated >= cut, "float32")
    wanted = ops.cast(target > 0.5, "float32")
    others = [weight, found * wanted, found, weight * wanted]
    return loss, ops.stack([loss, *(ops.sum(each) for each in others)])


def _tensorflow_devices() -> list[str]:
    import tensorflow as tf

    present = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in present]


def _tensorflow_functions(
    model: keras.Model, optimizer: keras.Optimizer, cut: float, devices: int
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import tensorflow as tf

    names = _tensorflow_devices()[:devices]
    variables = model.trainable_variables

    def forward(weights: list, image: tf.Tensor, logits: tf.Tensor, training: bool) -> tf.Tensor:
        fields = tf.stack([image, logits], axis=-1)
        return model.stateless_call(weights, [], fields, training=training)[0][..., 0]

    def share(weights: list, total: tf.Tensor, fields: Sequence[tf.Tensor]) -> tuple:
        image, logits, target, weight = fields
        with tf.GradientTape() as tape:
            tape.watch(weights)
            updated = forward(weights, image, logits, True)
            loss, counts = _counted(target, updated, weight, cut)
            loss = loss / total
        return updated, counts, tape.gradient(loss, weights)

    @tf.function(jit_compile=False)
    def step(*fields: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        weights = [tf.convert_to_tensor(variable.value) for variable in variables]
        total = tf.maximum(tf.reduce_sum(fields[3]), 1.0)
        shares = []
        parts = [tf.split(each, devices) for each in fields]
        for name, *part in zip(names, *parts, strict=True):
            with tf.device(name):
                shares.append(share(weights, total, part))
        updated, counts, gradients = zip(*shares, strict=True)
        optimizer.apply([tf.add_n(each) for each in zip(*gradients, strict=True)], variables)
        return tf.concat(updated, 0), tf.add_n(counts)

    @tf.function(jit_compile=False)
    def evaluate(
        weights: list, image: tf.Tensor, logits: tf.Tensor, target: tf.Tensor, weight: tf.Tensor
    ) -> tf.Tensor:
        return _counted(target, forward(weights, image, logits, False), weight, cut)[1]

    def converted(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arrays: function(*tf.nest.map_structure(tf.convert_to_tensor, arrays))

    return converted(step), converted(evaluate)


def _jax_devices() -> list[Any]:
    import jax

    return jax.local_devices()


def _jax_functions(
    model: keras.Model, optimizer: keras.Optimizer, cut: float, devices: int
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import jax
    import jax.numpy as jnp
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.array(_jax_devices()[:devices]), ("batch",))
    shared, everywhere = NamedSharding(mesh, PartitionSpec("batch")), NamedSharding(mesh, PartitionSpec())

    def forward(weights: list, image: jax.Array, logits: jax.Array, training: bool) -> jax.Array:
        fields = jnp.stack([image, logits], axis=-1)
        return model.stateless_call(weights, [], fields, training=training)[0][..., 0]

    def mean_loss(
        weights: list, image: jax.Array, logits: jax.Array, target: jax.Array, weight: jax.Array
    ) -> tuple:
        updated = forward(weights, image, logits, True)
        loss, counts = _counted(target, updated, weight, cut)
        return loss / jnp.maximum(counts[1], 1.0), (updated, counts)

    @jax.jit
    def step(weights: list, slots: list, *fields: jax.Array) -> tuple:
        (_, (updated, counts)), gradients = jax.value_and_grad(mean_loss, has_aux=True)(weights, *fields)
        weights, slots = optimizer.stateless_apply(slots, gradients, weights)
        return updated, counts, weights, slots

    @jax.jit
    def evaluate(
        weights: list, image: jax.Array, logits: jax.Array, target: jax.Array, weight: jax.Array
    ) -> jax.Array:
        return _counted(target, forward(weights, image, logits, False), weight, cut)[1]

    def run(*fields: np.ndarray) -> tuple[Any, Any]:
        stored = [*model.trainable_variables, *optimizer.variables]
        values = jax.device_put([variable.value for variable in stored], everywhere)
        count = len(model.trainable_variables)
        updated, counts, weights, slots = step(
            values[:count], values[count:], *jax.device_put(fields, shared)
        )
        for variable, value in zip(stored, [*weights, *slots], strict=True):
            variable.assign(value)
        return updated, counts

    return run, evaluate
