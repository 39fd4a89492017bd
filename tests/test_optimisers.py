"""Optimisers step as their publications say, and the rate follows its schedule."""

from __future__ import annotations

import numpy as np
import pytest

from configs.errors import ConfigError
from ffn.training.averages import Averages
from ffn.training.optimisers import OptimizerSettings, learning_rate_at, make_optimizer

BIG = 1e9  # a clip that cuts nothing


def stepped(settings: OptimizerSettings, gradients: list[float], start: float = 2.0) -> float:
    """A weight after one step per gradient, at the settings' rate."""
    import keras

    weight = keras.Variable(np.float32(start))
    optimizer = make_optimizer(settings)
    optimizer.build([weight])
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(np.float32(gradient))], [weight])
    return float(weight.value)


def adam(gradients: list[float], rate: float, beta_1: float, beta_2: float, start: float = 2.0) -> float:
    """Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1."""
    weight, mean, square = start, 0.0, 0.0
    for t, gradient in enumerate(gradients, 1):
        mean = beta_1 * mean + (1 - beta_1) * gradient
        square = beta_2 * square + (1 - beta_2) * gradient**2
        weight -= rate * (mean / (1 - beta_1**t)) / (np.sqrt(square / (1 - beta_2**t)) + 1e-8)
    return weight


def test_adam_uses_its_betas():
    settings = OptimizerSettings(learning_rate=0.1, beta_1=0.5, beta_2=0.75, gradient_clip=BIG)
    expected = adam([1.0, -3.0, 0.5], 0.1, 0.5, 0.75)
    assert stepped(settings, [1.0, -3.0, 0.5]) == pytest.approx(expected, rel=1e-5)


def test_adamw_takes_a_share_of_the_weight_besides():
    settings = OptimizerSettings(kind="adamw", learning_rate=0.1, weight_decay=0.5, gradient_clip=BIG)
    # 2 loses 0.1 * 0.5 of itself, and Adam's first step is the rate.
    assert stepped(settings, [3.0]) == pytest.approx(2 * 0.95 - 0.1, rel=1e-5)


def test_sgd_remembers_its_steps():
    settings = OptimizerSettings(kind="sgd", learning_rate=0.1, momentum=0.5, gradient_clip=BIG)
    # Steps of 0.1 and 0.5 * 0.1 + 0.2.
    assert stepped(settings, [1.0, 2.0]) == pytest.approx(2 - 0.1 - 0.25, rel=1e-5)


def test_gradients_are_cut_one_by_one():
    settings = OptimizerSettings(kind="sgd", learning_rate=0.1, momentum=0, gradient_clip=0.7)
    assert stepped(settings, [50.0]) == pytest.approx(2 - 0.07, rel=1e-5)
    assert stepped(settings, [-0.3]) == pytest.approx(2 + 0.03, rel=1e-5)


def rates(**settings: object) -> list[float]:
    return [
        learning_rate_at(step, 100, OptimizerSettings(learning_rate=1.0, **settings)) for step in range(100)
    ]


@pytest.mark.parametrize("schedule", ["flat_then_cosine", "cosine", "constant", "exponential"])
def test_every_schedule_begins_with_the_warm_up(schedule: str):
    assert rates(schedule=schedule, warmup_steps=10)[:9] == pytest.approx(np.arange(1, 10) / 10)


def test_flat_then_cosine_stays_and_falls():
    found = rates(warmup_steps=10, decay_share=0.5)
    assert found[10:50] == pytest.approx([1.0] * 40)
    assert found[75] == pytest.approx(0.5) and found[99] < 0.01
    assert all(a >= b for a, b in zip(found[50:], found[51:], strict=False))


def test_cosine_falls_from_the_end_of_the_warm_up():
    found = rates(schedule="cosine", warmup_steps=20)
    assert found[20] == 1 and found[60] == pytest.approx(0.5) and 0 < found[99] < 0.01


def test_constant_stays():
    assert rates(schedule="constant", warmup_steps=0) == [1.0] * 100


def test_exponential_is_multiplied_by_the_factor_every_so_many_steps():
    found = rates(schedule="exponential", warmup_steps=10, decay_factor=0.25, decay_steps=20)
    assert found[10] == 1 and found[20] == pytest.approx(0.5) and found[50] == pytest.approx(1 / 16)


def test_unknown_kinds_and_schedules_name_the_known_ones():
    with pytest.raises(ConfigError, match="'lion' is not one of adam, adamw, sgd"):
        make_optimizer(OptimizerSettings(kind="lion"))
    with pytest.raises(ConfigError, match="'steps' is not one of flat_then_cosine"):
        rates(schedule="steps")


def test_averages_forget_the_start_and_then_move_slowly():
    averages = Averages([np.zeros(2)], decay=0.999)
    averages.follow([np.ones(2)], 4)  # (5 / 14) ** 4 of the start is left.
    np.testing.assert_allclose(averages.values([])[0], 1 - (5 / 14) ** 4)
    averages.follow([np.zeros(2)], 100_000)
    np.testing.assert_allclose(averages.values([])[0], (1 - (5 / 14) ** 4) * 0.999**4)


def test_without_decay_the_last_weights_are_kept():
    averages = Averages([np.zeros(2)], decay=0)
    assert not averages.is_due(4)
    np.testing.assert_array_equal(averages.values([np.full(2, 7.0)])[0], 7)
