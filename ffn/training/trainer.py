"""Trains a flood-filling network: optimisation steps, averaged weights, checkpoints, a log.

Every visit of a field of view is a sample of an optimisation step. The network that is kept is the
exponential moving average of the weights. A checkpoint holds weights, averages, optimiser, the examples in
flight and the figures of the last steps, so that a killed run continues with the same random streams to the
same result and the same log. A run whose loss is no longer finite, or many times what it was, ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from configs.errors import ConfigError
from ffn.network import Architecture, build_network, variable_shapes
from ffn.training.averages import Averages
from ffn.training.checkpoints import Checkpoint, save_checkpoint, start_of
from ffn.training.engine import Trainable, usable_devices
from ffn.training.example_stream import ExampleStream
from ffn.training.measures import Measures
from ffn.training.optimisers import learning_rate_at, make_optimizer
from ffn.training.run_clock import Clock
from ffn.training.train_settings import TrainSettings, identity_of
from ffn.training.training_log import TrainingLog
from ffn.training.training_volume import TrainingVolume
from ffn.training.validation import Validation
from jobs.progress import Progress

Weights: TypeAlias = dict[str, np.ndarray]
OnCheckpoint: TypeAlias = Callable[[Weights, dict[str, float]], None]
OnKeep: TypeAlias = Callable[[str, Weights, dict[str, float]], None]
CHECKPOINT = "checkpoint.npz"
BEST = "best"


@dataclass(frozen=True)
class TrainResult:
    """The averaged weights (as `ffn.network.variable_shapes` names them) and what the run says of itself."""

    weights: Weights
    figures: dict[str, float]


def train(
    architecture: Architecture,
    volumes: Sequence[TrainingVolume],
    volume_weights: Sequence[float],
    settings: TrainSettings,
    run_dir: Path,
    on_checkpoint: OnCheckpoint | None = None,
    data: str = "",
    initial: Mapping[str, np.ndarray] | None = None,
    validation: Validation | None = None,
    on_keep: OnKeep | None = None,
    contents: str = "",
) -> TrainResult:
    """Trains to `settings.total_fovs`, continuing from a checkpoint in `run_dir` if there is one.

    Args:
      architecture: of the network.
      volumes: where examples come from.
      volume_weights: how often each is drawn.
      settings: see `TrainSettings`.
      run_dir: gets `checkpoint.npz`, `log.csv` and event files.
      on_checkpoint: called with the averaged weights and figures whenever a checkpoint was written.
      data: describes what the volumes were made from; a checkpoint is continued only with the same.
      initial: weights to start from, as `ffn.network.variable_shapes` names them; None: random ones.
      validation: data that are not trained on.
      on_keep: called with a name, averaged weights and figures when a network is to be kept: 'step-00001000'
        every `settings.keep_every_steps`, 'best' when the validation loss is the lowest so far.
      contents: digest of what the volumes hold; a checkpoint is continued only with the same.

    Returns:
      The averaged weights and the figures of the run.

    Raises:
      ConfigError: the loss is no longer finite or has diverged (names the last good checkpoint where there is
        one), or the checkpoint was made with other settings or data (names the first that differs). The
        length of the run, its devices, the validation, and when it logs and keeps something may differ.
    """
    import keras

    keras.utils.set_random_seed(settings.seed)
    model = build_network(architecture, settings.compute_dtype)
    if initial is not None:
        model.set_weights([initial[name] for name in variable_shapes(architecture)])
    devices = usable_devices(settings.devices, settings.batch_size)
    engine = Trainable(model, make_optimizer(settings.optimizer), settings.segment_threshold, devices)
    identity = identity_of(architecture, settings, data, start_of(initial), contents)
    with ExampleStream(
        volumes,
        volume_weights,
        architecture,
        settings.examples,
        settings.batch_size,
        settings.seed,
        settings.read_ahead,
        settings.read_threads,
    ) as stream:
        run = _Run(architecture, settings, run_dir, engine, stream, validation, identity)
        run.on_checkpoint, run.on_keep = on_checkpoint, on_keep
        run.restore()
        run.loop()
    return TrainResult(run.averaged(), run.figures())


class _Run:
    """The state of one training and its files."""

    def __init__(
        self,
        architecture: Architecture,
        settings: TrainSettings,
        run_dir: Path,
        engine: Trainable,
        stream: ExampleStream,
        validation: Validation | None,
        identity: dict[str, Any],
    ) -> None:
        self._architecture, self._settings, self._identity = architecture, settings, identity
        self._engine, self._stream, self._validation = engine, stream, validation
        self._run_dir, self._checkpoint = run_dir, run_dir / CHECKPOINT
        self.on_checkpoint: OnCheckpoint | None = None
        self.on_keep: OnKeep | None = None
        self._averages = Averages(engine.weights(), settings.ema_decay)
        self._measures = Measures(settings.examples.target_inside, settings.examples.target_outside)
        self._step, self._hours = 0, 0.0
        self._validation_loss = self._best = math.nan
        run_dir.mkdir(parents=True, exist_ok=True)

    def restore(self) -> None:
        if not self._checkpoint.exists():
            return
        saved = Checkpoint(self._checkpoint, self._identity)
        self._step, self._hours = int(saved.number("step")), saved.number("hours")
        # Losses on other data say nothing of these.
        if self._validation and saved.text("validation") == self._validation.digest:
            self._validation_loss, self._best = saved.number("validation_loss"), saved.number("best")
        self._engine.restore(saved.arrays("variables"))
        self._averages.restore(saved.arrays("averages"))
        self._measures.restore(saved.named("measures"))
        self._stream.restore(saved.named("stream"))

    def save(self) -> None:
        variables = self._engine.state()
        self._require_finite(variables)
        parts = {
            "step": self._step,
            "hours": self._hours,
            "validation_loss": self._validation_loss,
            "best": self._best,
            "validation": self._validation.digest if self._validation else "",
            "variables": variables,
            "averages": self._averages.state(),
            "measures": self._measures.state(),
            "stream": self._stream.state(),
        }
        save_checkpoint(self._checkpoint, self._identity, parts)
        if self.on_checkpoint:
            self.on_checkpoint(self.averaged(), self.figures())

    def _require_finite(self, variables: Sequence[np.ndarray]) -> None:
        if not all(np.isfinite(each).all() for each in variables):
            raise ConfigError(self._diverged("weights that are not finite"))

    def averaged(self) -> Weights:
        values = self._averages.values(self._engine.weights())
        return dict(zip(variable_shapes(self._architecture), values, strict=True))

    def figures(self) -> dict[str, float]:
        figures = {
            "fovs": self._step * self._settings.batch_size,
            "hours": round(self._hours, 3),
            **self._measures.figures(),
        }
        if not math.isnan(self._validation_loss):
            figures["validation_loss"] = round(self._validation_loss, 5)
        return figures

    def loop(self) -> None:
        settings = self._settings
        size, done = settings.batch_size, self._step * settings.batch_size
        with Progress(settings.steps * size, "fov", description="training", done=done) as progress:
            log = TrainingLog(self._run_dir, settings.tensorboard, progress, self._step)
            clock = Clock(self._step)
            while self._step < settings.steps:
                self._one_step()
                progress.advance(size)
                self._hours += clock.tick() / 3600
                self._validate()
                self._keep()
                if clock.is_due("note", self._step, 1.0, 0):
                    progress.note(**self._measures.figures())
                if clock.is_due("log", self._step, settings.log_seconds, settings.log_steps):
                    log.append(self._row(clock))
                if clock.is_due(
                    "save", self._step, 60 * settings.checkpoint_minutes, settings.checkpoint_steps
                ):
                    self._save_unless_suspicious()
            log.append(self._row(clock))
        if why := self._suspicion():
            raise ConfigError(self._diverged(why))
        self.save()

    def _save_unless_suspicious(self) -> None:
        """A checkpoint, unless the loss is far above its lowest: then the last one stays."""
        if not self._suspicion():
            self.save()

    def _suspicion(self) -> str:
        return self._measures.suspicion(self._settings.divergence_factor)

    def _one_step(self) -> None:
        offered, taken = self._stream.offered, self._stream.taken
        fields = self._stream.fields_of_view()
        offered, taken = self._stream.offered - offered, self._stream.taken - taken
        updated, counts = self._engine.submit(*fields, self._rate(self._step)).result()
        if not math.isfinite(counts.mean_loss):
            raise ConfigError(self._diverged(f"loss {counts.mean_loss}"))
        self._stream.update(updated)
        self._step += 1
        self._measures.add(counts, offered, taken)
        if why := self._measures.divergence(self._settings.divergence_factor):
            raise ConfigError(self._diverged(why))
        if self._averages.is_due(self._step):
            self._averages.follow(self._engine.weights(), self._step)

    def _rate(self, step: int) -> float:
        return learning_rate_at(step, self._settings.steps, self._settings.optimizer)

    def _validate(self) -> None:
        """The validation loss when it is time, and the network kept where it is the lowest so far."""
        validation = self._validation
        if validation is None or not (validation.is_due(self._step) or self._step == self._settings.steps):
            return
        weights = self._averages.values(self._engine.weights())
        self._validation_loss = validation.loss(self._engine, weights, self._settings.batch_size)
        if not math.isfinite(self._validation_loss):
            raise ConfigError(self._diverged(f"validation loss {self._validation_loss}"))
        if math.isnan(self._best) or self._validation_loss < self._best:
            self._best = self._validation_loss
            if validation.settings.keep_best and self.on_keep:
                self.on_keep(BEST, self.averaged(), self.figures())

    def _keep(self) -> None:
        every = self._settings.keep_every_steps
        if every and self._step % every == 0 and self.on_keep:
            self._require_finite(self._engine.weights())
            self.on_keep(f"step-{self._step:08d}", self.averaged(), self.figures())

    def _diverged(self, how: str) -> str:
        """The message of a run that ends; a checkpoint is continued at its own rate only."""
        said = f"training diverged at step {self._step} ({how})"
        if not self._checkpoint.exists():
            return f"{said} before the first checkpoint; lower the learning rate and start again"
        return (
            f"{said}; the last good checkpoint is {self._checkpoint}: lower the learning rate and train into "
            f"another folder, with the network file written with it as initial_weights"
        )

    def _row(self, clock: Clock) -> dict[str, float]:
        """A line of the log."""
        return {
            **self.figures(),
            "step": self._step,
            "fovs_per_second": round(clock.rate(self._step) * self._settings.batch_size, 2),
            "waiting_share": round(self._stream.waiting_share(), 4),
            "learning_rate": self._rate(self._step),
        }
