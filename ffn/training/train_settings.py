"""How long and how to train, and which of it makes a run another run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from ffn.network import Architecture
from ffn.training.example_settings import ExampleSettings
from ffn.training.optimisers import OptimizerSettings

# What a continued run may change without becoming another run.
_MAY_DIFFER = (
    "total_fovs",
    "checkpoint_minutes",
    "checkpoint_steps",
    "keep_every_steps",
    "log_seconds",
    "log_steps",
    "divergence_factor",
    "tensorboard",
    "devices",
    "read_ahead",
    "read_threads",
)


@dataclass(frozen=True)
class TrainSettings:
    """How long and how to train.

    Attributes:
      total_fovs: fields of view in all.
      batch_size: examples in flight, fields of view per step.
      optimizer: see `OptimizerSettings`.
      ema_decay: of the averaged weights, per step; 0: the last weights are kept.
      compute_dtype: float32 or bfloat16 (variables stay float32).
      seed: of initial weights and examples.
      segment_threshold: probability from which a voxel is found, for precision and recall.
      devices: that share every batch; 0: all there are.
      checkpoint_minutes, checkpoint_steps: a checkpoint is written when either has passed; 0 = not by this.
      keep_every_steps: steps from one network that is kept to the next; 0: none.
      log_seconds, log_steps: a line of the log is written when either has passed; 0 = not by this.
      divergence_factor: the run ends where the loss exceeds its lowest so far times this; see `Measures`.
      tensorboard: whether the log has event files.
      read_ahead, read_threads: examples that are prepared ahead, and the threads that do it.
      examples: see `ExampleSettings`.
    """

    total_fovs: int
    batch_size: int = 16
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    ema_decay: float = 0.999
    compute_dtype: str = "float32"
    seed: int = 1
    segment_threshold: float = 0.6
    devices: int = 1
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int = 0
    keep_every_steps: int = 0
    log_seconds: float = 30.0
    log_steps: int = 0
    divergence_factor: float = 10.0
    tensorboard: bool = True
    read_ahead: int = 0
    read_threads: int = 0
    examples: ExampleSettings = field(default_factory=ExampleSettings)

    @property
    def steps(self) -> int:
        """Optimisation steps in all."""
        return self.total_fovs // self.batch_size


def identity_of(
    architecture: Architecture,
    settings: TrainSettings,
    data: str,
    start: str,
    contents: str = "",
) -> dict[str, Any]:
    """Everything a run follows from, as plain values by name.

    Args:
      architecture: of the network.
      settings: of the run; what a continued run may change is left out.
      data: describes what the volumes were made from.
      start: names the weights it starts from.
      contents: digest of what the volumes hold.
    """
    plain = {name: value for name, value in asdict(settings).items() if name not in _MAY_DIFFER}
    examples, optimizer = plain.pop("examples"), plain.pop("optimizer")
    described = {"data": data, "initial_weights": start, "contents of the training data": contents}
    identity = {**asdict(architecture), **plain, **optimizer, **examples, **described}
    return dict(json.loads(json.dumps(identity)))
