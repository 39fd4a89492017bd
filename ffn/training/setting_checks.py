"""Settings of a training that do not go together: refused, or told of where they may be meant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from configs import ConfigView
from configs.errors import ConfigError
from ffn.training.train_settings import TrainSettings
from ffn.weights import NetworkInfo

# What a network learnt to be given, and that a training which starts from it may not know of.
_OF_THE_INPUT = ("image_mean", "image_stddev", "init_activation", "pad_value", "move_threshold")


def require_sense(training: ConfigView, settings: TrainSettings) -> None:
    """Refuses settings with which nothing can be learnt, or a network would be lost.

    Args:
      training: the config's section.
      settings: made from it.

    Raises:
      ConfigError: names the settings.
    """
    examples = settings.examples
    if settings.steps < 1:
        raise ConfigError(
            f"training.total_fovs {settings.total_fovs} is less than training.batch_size "
            f"{settings.batch_size}, so that there is not one step; raise total_fovs or lower batch_size"
        )
    if examples.pad_value >= examples.move_threshold:
        raise ConfigError(
            f"training.pad_value {examples.pad_value:g} reaches training.move_threshold "
            f"{examples.move_threshold:g}, so that the field of view would move anywhere; lower pad_value"
        )
    for name in ("init_activation", "target_inside"):
        if getattr(examples, name) < examples.move_threshold:
            raise ConfigError(
                f"training.{name} {getattr(examples, name):g} is below training.move_threshold "
                f"{examples.move_threshold:g}, so that the field of view would not move; raise {name}"
            )
    start, output = training.initial_weights, training.output_weights
    if start and Path(start).resolve() == Path(output).resolve():
        raise ConfigError(
            f"training.initial_weights and training.output_weights are both {output}, which would overwrite "
            f"what the training starts from; name another output_weights"
        )


def cautions(training: ConfigView, settings: TrainSettings, initial: NetworkInfo | None) -> Iterator[str]:
    """Lines about what is allowed but probably not meant.

    Args:
      training: the config's section.
      settings: made from it.
      initial: what the network says of itself that the training starts from.
    """
    if settings.optimizer.warmup_steps >= settings.steps:
        yield (
            f"optimizer.warmup_steps {settings.optimizer.warmup_steps} are not over after all "
            f"{settings.steps} steps of this training (total_fovs / batch_size), which never reaches its rate"
        )
    if initial is None:
        return
    for name in _OF_THE_INPUT:
        theirs, mine = getattr(initial, name), getattr(training, name)
        if theirs is not None and theirs != mine:
            yield f"training.{name} is {mine:g}, but initial_weights were trained with {theirs:g}"
