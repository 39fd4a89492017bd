"""Optimisers and the learning rate of every step.

The optimisers are Keras's. The rate is a function of the step and of the length of the run, and not of
anything the optimiser counts: it rises linearly over the warm-up and then follows the schedule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.errors import ConfigError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class OptimizerSettings:
    """Which optimiser, and its rate; the fields of the config's `optimizer` section.

    Attributes:
      kind: adam, adamw or sgd.
      learning_rate: of the flat part.
      warmup_steps: steps over which it rises from 0.
      schedule: what comes then: flat_then_cosine, cosine, constant or exponential.
      decay_share: share of the run, at its end, over which flat_then_cosine falls to 0.
      decay_factor, decay_steps: exponential multiplies the rate by the one every so many steps, smoothly.
      gradient_clip: gradients are cut to ± this, weight by weight.
      beta_1, beta_2: decay of the moving averages of gradient and squared gradient (adam, adamw).
      momentum: decay of the steps (sgd).
      weight_decay: share of a weight that is taken away per step and unit of the rate (adamw).
    """

    kind: str = "adam"
    learning_rate: float = 1.5e-3
    warmup_steps: int = 200
    schedule: str = "flat_then_cosine"
    decay_share: float = 0.3
    decay_factor: float = 0.5
    decay_steps: int = 10_000
    gradient_clip: float = 0.7
    beta_1: float = 0.9
    beta_2: float = 0.999
    momentum: float = 0.9
    weight_decay: float = 0.01


def make_optimizer(settings: OptimizerSettings) -> keras.Optimizer:
    """A Keras optimiser whose learning rate is set anew with every step.

    Raises:
      ConfigError: a kind that there is not.
    """
    import keras

    rate, clip = settings.learning_rate, settings.gradient_clip
    betas = {"beta_1": settings.beta_1, "beta_2": settings.beta_2}
    if settings.kind == "adam":
        return keras.optimizers.Adam(rate, clipvalue=clip, **betas)
    if settings.kind == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, clipvalue=clip, **betas)
    if settings.kind == "sgd":
        return keras.optimizers.SGD(rate, momentum=float(settings.momentum), clipvalue=clip)
    raise ConfigError(f"optimizer kind {settings.kind!r} is not one of adam, adamw, sgd")


def learning_rate_at(step: int, steps: int, settings: OptimizerSettings) -> float:
    """The learning rate of a step.

    Args:
      step: from 0.
      steps: in the whole run.
      settings: the flat rate, warm-up and schedule.

    Raises:
      ConfigError: a schedule that there is not.
    """
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    return settings.learning_rate * warm * _share(step, max(1, steps), settings)


def _share(step: int, steps: int, settings: OptimizerSettings) -> float:
    """The part of the flat rate that the schedule leaves."""
    after_warmup = max(0, step - settings.warmup_steps)
    if settings.schedule == "flat_then_cosine":
        return _half_cosine((steps - step) / max(1.0, settings.decay_share * steps))
    if settings.schedule == "cosine":
        return _half_cosine(1 - after_warmup / max(1, steps - settings.warmup_steps))
    if settings.schedule == "exponential":
        return settings.decay_factor ** (after_warmup / settings.decay_steps)
    if settings.schedule == "constant":
        return 1.0
    raise ConfigError(
        f"optimizer schedule {settings.schedule!r} is not one of flat_then_cosine, cosine, constant, "
        "exponential"
    )


def _half_cosine(left: float) -> float:
    """1 where the part of the fall that is left is 1 or more, 0 at its end."""
    return 0.5 - 0.5 * math.cos(math.pi * min(1.0, max(0.0, left)))
