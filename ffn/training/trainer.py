"""Trains a flood-filling network: optimisation steps, averaged weights, checkpoints, a log.

Every visit of a field of view is a sample of an optimisation step (Adam, per-weight gradient
clipping). The network that is kept is the exponential moving average of the weights. The learning
rate warms up, stays, and falls along a half cosine over the last part of the run.
A checkpoint holds weights, averages, optimiser and the examples in flight, so that a killed run
continues with the same random streams.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from configs.errors import ConfigError
from ffn.network import Architecture, build_network, variable_shapes
from ffn.training.example_settings import ExampleSettings
from ffn.training.example_stream import ExampleStream
from ffn.training.training_volume import TrainingVolume
from jobs.pieces import load_npz, save_npz
from jobs.progress import Progress

if TYPE_CHECKING:
    import keras

    from ffn.backend import Trainable

OnCheckpoint: TypeAlias = Callable[[dict[str, np.ndarray], dict[str, float]], None]
_EMA_EVERY = 4
# What a continued run may change without becoming another run.
_MAY_DIFFER = ("total_fovs", "checkpoint_minutes", "checkpoint_steps", "log_seconds")


@dataclass(frozen=True)
class TrainSettings:
    """How long and how to train.

    Attributes:
      total_fovs: fields of view in all.
      batch_size: examples in flight, fields of view per step.
      learning_rate: of the flat part.
      warmup_steps: steps over which it rises from 0.
      decay_share: share of the run, at its end, over which it falls to 0.
      clip: gradients are cut to ±clip, weight by weight.
      ema_decay: of the averaged weights, per step.
      compute_dtype: float32 or bfloat16 (variables stay float32).
      seed: of initial weights and examples.
      checkpoint_minutes, checkpoint_steps: a checkpoint is written when either has passed; 0 = not by this.
      log_seconds: time between two lines of the log.
      examples: see `ExampleSettings`.
    """

    total_fovs: int
    batch_size: int = 16
    learning_rate: float = 1.5e-3
    warmup_steps: int = 200
    decay_share: float = 0.3
    clip: float = 0.7
    ema_decay: float = 0.999
    compute_dtype: str = "float32"
    seed: int = 1
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int = 0
    log_seconds: float = 30.0
    examples: ExampleSettings = field(default_factory=ExampleSettings)


@dataclass(frozen=True)
class TrainResult:
    """The averaged weights (as `ffn.network.variable_shapes` names them) and what the run says of itself."""

    weights: dict[str, np.ndarray]
    figures: dict[str, float]


def learning_rate_at(step: int, settings: TrainSettings) -> float:
    """The learning rate of a step (from 0): warm-up, flat, half cosine down.

    Args:
      step: from 0.
      settings: the length of the run, the flat rate, warm-up and decay.
    """
    steps = max(1, settings.total_fovs // settings.batch_size)
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    left = (steps - step) / max(1.0, settings.decay_share * steps)
    fall = 0.5 - 0.5 * math.cos(math.pi * min(1.0, max(0.0, left)))
    return settings.learning_rate * warm * fall


def _digest(weights: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names and values."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + np.ascontiguousarray(weights[name], np.float32).tobytes())
    return digest.hexdigest()


class _Averages:
    """Exponential moving average of the weights, with the start's bias taken out by a ramp."""

    def __init__(self, weights: list[np.ndarray], decay: float) -> None:
        self.values, self._decay = [w.copy() for w in weights], decay

    def follow(self, weights: list[np.ndarray], step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step)) ** _EMA_EVERY
        for average, weight in zip(self.values, weights, strict=True):
            average *= decay
            average += (1 - decay) * weight


def train(
    architecture: Architecture,
    volumes: list[TrainingVolume],
    volume_weights: list[float],
    settings: TrainSettings,
    run_dir: Path,
    on_checkpoint: OnCheckpoint | None = None,
    data: str = "",
    initial: Mapping[str, np.ndarray] | None = None,
) -> TrainResult:
    """Trains to `settings.total_fovs`, continuing from a checkpoint in `run_dir` if there is one.

    Args:
      architecture: of the network.
      volumes: where examples come from.
      volume_weights: how often each is drawn.
      settings: see `TrainSettings`.
      run_dir: gets `checkpoint.npz` and `log.csv`.
      on_checkpoint: called with the averaged weights and figures whenever a checkpoint was written.
      data: describes what the volumes were made from; a checkpoint is continued only with the same.
      initial: weights to start from, as `ffn.network.variable_shapes` names them; None: random ones.

    Returns:
      The averaged weights and the figures of the run.

    Raises:
      ConfigError: the loss is no longer finite (names the last good checkpoint where there is one), or the
        checkpoint was made with other settings or data (names the first that differs). The length of the run
        and the times of checkpoints and log lines may differ.
    """
    import keras

    from ffn.backend import Trainable

    keras.utils.set_random_seed(settings.seed)
    model = build_network(architecture, settings.compute_dtype)
    if initial is not None:
        model.set_weights([initial[variable.path] for variable in model.weights])
    engine = Trainable(model, _adam(settings))
    stream = ExampleStream(
        volumes, volume_weights, architecture, settings.examples, settings.batch_size, settings.seed
    )
    start = "random" if initial is None else _digest(initial)
    run = _Run(architecture, settings, run_dir, engine, stream, on_checkpoint, data, start)
    run.restore()
    run.loop()
    return TrainResult(run.averaged(), run.figures())


def _adam(settings: TrainSettings) -> keras.Optimizer:
    import keras

    return keras.optimizers.Adam(settings.learning_rate, clipvalue=settings.clip)


class _Run:
    """The state of one training and its files."""

    def __init__(
        self,
        architecture: Architecture,
        settings: TrainSettings,
        run_dir: Path,
        engine: Trainable,
        stream: ExampleStream,
        on_checkpoint: OnCheckpoint | None,
        data: str,
        start: str,
    ) -> None:
        self._architecture, self._settings, self._engine, self._stream = (
            architecture,
            settings,
            engine,
            stream,
        )
        self._data, self._start = data, start
        self._on_checkpoint = on_checkpoint or (lambda weights, figures: None)
        self._checkpoint = run_dir / "checkpoint.npz"
        self._log = run_dir / "log.csv"
        self._averages = _Averages(engine.weights(), settings.ema_decay)
        self._step, self._hours = 0, 0.0
        self._losses: list[float] = []
        run_dir.mkdir(parents=True, exist_ok=True)

    def _identity(self) -> dict[str, Any]:
        """Everything the run follows from, as plain values by name."""
        settings = {k: v for k, v in asdict(self._settings).items() if k not in _MAY_DIFFER}
        examples = settings.pop("examples")
        described = {"data": self._data, "initial_weights": self._start}
        identity = {**asdict(self._architecture), **settings, **examples, **described}
        plain: dict[str, Any] = json.loads(json.dumps(identity))
        return plain

    def restore(self) -> None:
        if not self._checkpoint.exists():
            return
        saved = load_npz(self._checkpoint)
        theirs, mine = json.loads(str(saved["identity"])), self._identity()
        for name in sorted(set(theirs) | set(mine)):
            if theirs.get(name) != mine.get(name):
                raise ConfigError(
                    f"checkpoint {self._checkpoint} was made with {name} = {theirs.get(name)}, this run has "
                    f"{mine.get(name)}; train into another folder or delete the checkpoint"
                )
        self._step, self._hours = int(saved["step"]), float(saved["hours"])
        self._engine.restore([saved[f"variable_{i}"] for i in range(int(saved["variables"]))])
        self._averages.values = [saved[f"average_{i}"] for i in range(len(self._averages.values))]
        self._losses = saved["losses"].tolist()
        self._stream.restore({k[7:]: v for k, v in saved.items() if k.startswith("stream_")})

    def save(self) -> None:
        variables = self._engine.state()
        arrays = {
            "identity": np.array(json.dumps(self._identity())),
            "step": np.array(self._step),
            "hours": np.array(self._hours),
            "losses": np.array(self._losses),
            "variables": np.array(len(variables)),
            **{f"variable_{i}": v for i, v in enumerate(variables)},
            **{f"average_{i}": v for i, v in enumerate(self._averages.values)},
            **{f"stream_{k}": v for k, v in self._stream.state().items()},
        }
        save_npz(self._checkpoint, arrays, compress=False)
        self._on_checkpoint(self.averaged(), self.figures())

    def averaged(self) -> dict[str, np.ndarray]:
        return dict(zip(variable_shapes(self._architecture), self._averages.values, strict=True))

    def figures(self) -> dict[str, float]:
        taken, offered = self._stream.taken, max(1, self._stream.offered)
        return {
            "fovs": self._step * self._settings.batch_size,
            "hours": round(self._hours, 3),
            "loss": round(float(np.mean(self._losses)), 5) if self._losses else math.inf,
            "moves_taken": round(taken / offered, 4),
        }

    def loop(self) -> None:
        settings = self._settings
        steps = settings.total_fovs // settings.batch_size
        last = saved = logged = time.monotonic()
        done = self._step * settings.batch_size
        with Progress(steps * settings.batch_size, "fov", description="training", done=done) as progress:
            while self._step < steps:
                self._one_step()
                progress.advance(settings.batch_size)
                now = time.monotonic()
                self._hours += (now - last) / 3600
                last = now
                if now - logged > settings.log_seconds:
                    self._write_log()
                    logged = now
                    progress.note(loss=self.figures()["loss"])
                if self._checkpoint_due(now - saved):
                    self.save()
                    saved = now
        self.save()

    def _checkpoint_due(self, seconds: float) -> bool:
        minutes, steps = self._settings.checkpoint_minutes, self._settings.checkpoint_steps
        return bool(minutes and seconds > 60 * minutes) or bool(steps and self._step % steps == 0)

    def _one_step(self) -> None:
        image, logits, target, weight = self._stream.fields_of_view()
        rate = learning_rate_at(self._step, self._settings)
        updated, loss = self._engine.step(image, logits, target, weight, rate)
        if not math.isfinite(loss):
            raise ConfigError(self._diverged(loss))
        self._stream.update(updated)
        self._step += 1
        self._losses = [*self._losses[-499:], loss]
        if self._step % _EMA_EVERY == 0:
            self._averages.follow(self._engine.weights(), self._step)

    def _diverged(self, loss: float) -> str:
        """The message of a loss that is no longer finite; a checkpoint is continued at its own rate only."""
        said = f"training diverged at step {self._step} (loss {loss})"
        if not self._checkpoint.exists():
            return f"{said} before the first checkpoint; lower the learning rate and start again"
        return (
            f"{said}; the last good checkpoint is {self._checkpoint}: lower the learning rate and train into "
            f"another folder, with the network file written with it as initial_weights"
        )

    def _write_log(self) -> None:
        row = {
            **self.figures(),
            "step": self._step,
            "learning_rate": learning_rate_at(self._step, self._settings),
        }
        fresh = not self._log.exists()
        with self._log.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if fresh:
                writer.writeheader()
            writer.writerow(row)
