"""Where Keras meets its backend: with `ffn.training.engine` the only module that knows TensorFlow from JAX.

`KERAS_BACKEND` decides (TensorFlow unless set). TensorFlow runs networks as graphs *without* XLA, which on a
CPU is about ten times slower than oneDNN's convolutions; JAX always goes through XLA and is meant
for accelerators. Nothing global is set in either.

Arrays are (n, z, y, x) float32: the normalised image and logits going in, updated logits coming out.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.errors import ConfigError

if TYPE_CHECKING:
    import keras

_ENGINES = ("tensorflow", "jax")
_KNOWN = " or ".join(_ENGINES)
_PACKAGES = ("tensorflow", "jax", "torch", "openvino")
COMPUTE_DTYPES = ("float32", "bfloat16")
_LOADING = threading.Lock()
_BFLOAT16_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}


class Prediction:
    """Logits that the device may still be computing; `result` waits for them."""

    def __init__(self, logits: Any, count: int) -> None:
        self._logits = logits
        self._count = count

    def result(self) -> np.ndarray:
        """Updated logits, float32 (n, z, y, x), without the padding of the batch."""
        return np.asarray(self._logits)[: self._count]


class Predictor:
    """A network compiled for inference with the weights it had when this was made.

    Later changes to the model's weights do not show: they are constants of the compiled graph, which
    spares casting them to the compute type at every call.
    """

    def __init__(self, forward: Callable[[Any, Any], Any], *, pads_batches: bool) -> None:
        self._forward = forward
        self._pads_batches = pads_batches

    def submit(self, image: np.ndarray, logits: np.ndarray) -> Prediction:
        """Starts one batch; on an accelerator this returns before the logits are there.

        Args:
            image: normalised image, float32 (n, z, y, x).
            logits: current logits, float32 (n, z, y, x), no NaN.
        """
        count = len(image)
        if self._pads_batches:
            padding = _next_power_of_two(count) - count
            image, logits = _pad_batch(image, padding), _pad_batch(logits, padding)
        return Prediction(self._forward(image, logits), count)

    def predict(self, image: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Updated logits, float32 (n, z, y, x), for image and logits as in `submit`."""
        return self.submit(image, logits).result()

    __call__ = predict


def make_predictor(model: keras.Model) -> Predictor:
    """Compiles a model of `ffn.network.build_network` for inference on the backend in use.

    Raises:
        ConfigError: a Keras backend that this system has no engine for.
    """
    engine = _engine({"tensorflow": _tensorflow_predictor, "jax": _jax_predictor})
    return engine(model)


def keep_unfused(tensor: Any) -> Any:
    """The same tensor, behind a step that TensorFlow's graph optimiser does not look through.

    TensorFlow (2.21) fuses convolution, bias and ReLU, unless the graph holds a chain of residual sums: it
    then tries to fuse these too, trips ("remapper failed") and leaves the whole graph unfused, which costs
    5 % in float32 and 15 % in bfloat16. With one branch of every sum behind this step the rest is fused.
    """
    return _engine({"tensorflow": _tensorflow_snapshot, "jax": lambda same: same})(tensor)


def require_backend() -> None:
    """Imports Keras and its backend.

    Raises:
        ConfigError: a Keras backend that does not exist, is not installed, or that this system has no
            engine for.
    """
    try:
        importlib.import_module("keras")
    except ModuleNotFoundError as error:
        # The package of a backend has its name; whatever else is missing is no choice of the user's.
        if error.name not in _PACKAGES:
            raise
        raise ConfigError(
            f"Keras backend {error.name!r} is not installed; set KERAS_BACKEND to {_KNOWN}, one that is"
        ) from error
    except ValueError as error:
        raise ConfigError(f"Keras: {error}; set KERAS_BACKEND to {_KNOWN}") from error
    if backend_name() not in _ENGINES:
        raise _no_engine()


def load_quietly() -> None:
    """Does what `require_backend` does, without the notices that backends print about the machine.

    TensorFlow writes these straight to the process's standard error before its log level is read. They are
    shown after all when the import fails. May be called from several threads.

    Raises:
        ConfigError: see `require_backend`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _LOADING:
        if "keras" in sys.modules:
            require_backend()
            return
        sys.stderr.flush()
        terminal = os.dup(2)
        with tempfile.TemporaryFile() as notices:
            os.dup2(notices.fileno(), 2)
            try:
                require_backend()
            except ConfigError:
                raise
            except BaseException:
                notices.seek(0)
                os.write(terminal, notices.read())
                raise
            finally:
                os.dup2(terminal, 2)
                os.close(terminal)


def backend_name() -> str:
    """'tensorflow' or 'jax': the Keras backend in use."""
    import keras

    return keras.backend.backend()


def resolve_compute_dtype(requested: str) -> str:
    """'float32' or 'bfloat16' for a setting that may also be 'auto' (bfloat16 where the hardware has it).

    Raises:
        ConfigError: anything else.
    """
    if requested == "auto":
        return "bfloat16" if supports_bfloat16() else "float32"
    if requested not in COMPUTE_DTYPES:
        raise ConfigError(f"compute type {requested!r} is not one of auto, {', '.join(COMPUTE_DTYPES)}")
    return requested


def supports_bfloat16() -> bool:
    """Whether bfloat16 is computed in hardware here: an accelerator, or a CPU with AVX512-BF16 or AMX."""
    return has_accelerator() or bool(_BFLOAT16_CPU_FLAGS & _cpu_flags())


def has_accelerator() -> bool:
    """Whether the backend computes on an accelerator here."""
    return _engine({"tensorflow": _tensorflow_has_accelerator, "jax": _jax_has_accelerator})()


def _engine(choices: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    name = backend_name()
    if name not in choices:
        raise _no_engine()
    return choices[name]


def _no_engine() -> ConfigError:
    return ConfigError(f"Keras backend {backend_name()!r} has no engine here; set KERAS_BACKEND to {_KNOWN}")


def _tensorflow_predictor(model: keras.Model) -> Predictor:
    import tensorflow as tf

    weights = [_to_numpy(variable) for variable in model.trainable_variables]
    fields = tf.TensorSpec([None, *model.input_shape[1:4]], tf.float32)

    @tf.function(input_signature=[fields, fields], jit_compile=False)
    def forward(image: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        constants = [tf.constant(weight) for weight in weights]
        updated, _ = model.stateless_call(constants, [], tf.stack([image, logits], axis=-1), training=False)
        return updated[..., 0]

    compiled = forward.get_concrete_function()
    # A compiled function takes arrays as well, but converts them much more slowly.
    return Predictor(lambda *arrays: compiled(*map(tf.constant, arrays)), pads_batches=False)


def _jax_predictor(model: keras.Model) -> Predictor:
    import jax
    import jax.numpy as jnp

    weights = [jnp.asarray(_to_numpy(variable)) for variable in model.trainable_variables]

    @jax.jit
    def forward(image: jax.Array, logits: jax.Array) -> jax.Array:
        updated, _ = model.stateless_call(weights, [], jnp.stack([image, logits], axis=-1), training=False)
        return updated[..., 0]

    # Every batch size is a compilation of its own, hence few sizes.
    return Predictor(forward, pads_batches=True)


def _tensorflow_snapshot(tensor: Any) -> Any:
    import tensorflow as tf

    @tf.custom_gradient
    def snapshot(same: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return tf.raw_ops.Snapshot(input=same), lambda gradient: gradient

    return snapshot(tensor)


def _tensorflow_has_accelerator() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _jax_has_accelerator() -> bool:
    import jax

    return jax.default_backend() != "cpu"


def _cpu_flags() -> set[str]:
    """The processor's features as Linux names them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), set())


def _next_power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _pad_batch(array: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((count, *array.shape[1:]), array.dtype)]) if count else array


def _to_numpy(variable: Any) -> np.ndarray:
    import keras

    return np.array(keras.ops.convert_to_numpy(variable))
