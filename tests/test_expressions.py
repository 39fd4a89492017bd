"""Conditions on positions: what they mean, and that nothing else is understood."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import ConfigError
from inference.expressions import evaluate_expression, parse_expression
from volumes import Box

BOX = Box((-2, 3, 10), (3, 7, 16))


def _mask(text: str, box: Box = BOX) -> np.ndarray:
    return evaluate_expression(parse_expression(text), box)


def _by_hand(condition, box: Box = BOX) -> np.ndarray:
    """One voxel at a time, by Python's own arithmetic."""
    mask = np.empty(box.shape, bool)
    for index in np.ndindex(box.shape):
        mask[index] = condition(*(low + i for low, i in zip(box.start, index, strict=True)))
    return mask


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("z < 0", lambda z, y, x: z < 0),
        ("(z < 0) | (x > 12)", lambda z, y, x: z < 0 or x > 12),
        ("z < 0 or x > 12 and not y == 4", lambda z, y, x: z < 0 or (x > 12 and y != 4)),
        ("~((y >= 4) & (y <= 5))", lambda z, y, x: not 4 <= y <= 5),
        ("11 <= x < 14 != y", lambda z, y, x: 11 <= x < 14 and y != 14),
        ("z**2 + (y - 5)**2 + (x - 12)**2 < 6", lambda z, y, x: z**2 + (y - 5) ** 2 + (x - 12) ** 2 < 6),
        ("x % 3 == 1", lambda z, y, x: x % 3 == 1),
        ("z // 2 == -1", lambda z, y, x: z // 2 == -1),
        ("z % 2 == 1", lambda z, y, x: z % 2 == 1),
        ("x / 4 > 2.75", lambda z, y, x: x / 4 > 2.75),
        ("-z + +y > 5", lambda z, y, x: y - z > 5),
        ("abs(z) < 2", lambda z, y, x: abs(z) < 2),
        ("max(z, y - 4, x - 12) <= 1", lambda z, y, x: max(z, y - 4, x - 12) <= 1),
        ("min(y, x - 9) == 3", lambda z, y, x: min(y, x - 9) == 3),
        (" \tx > 12\n", lambda z, y, x: x > 12),
        ("((x > 12) |\n(y < 4))", lambda z, y, x: x > 12 or y < 4),
        ("True", lambda z, y, x: True),
        ("(1 < 2) & (x < 12)", lambda z, y, x: x < 12),
        ("2 < 1", lambda z, y, x: False),
    ],
)  # fmt: skip
def test_a_condition_holds_where_python_says_so(text: str, condition):
    mask = _mask(text)
    assert mask.dtype == bool and mask.shape == BOX.shape
    np.testing.assert_array_equal(mask, _by_hand(condition))


def test_and_binds_more_tightly_than_comparisons_as_in_google_ffns_requests():
    np.testing.assert_array_equal(
        _mask("(z < 1) | (y > 5) & (x < 12)"), _mask("(z < 1) | ((y > 5) & (x < 12))")
    )


def test_division_by_a_position_that_is_zero_holds_nowhere():
    np.testing.assert_array_equal(_mask("x % z >= 0") | _mask("x % z < 0"), _mask("z != 0"))
    assert not _mask("0 / z == 0", Box((0, 0, 0), (1, 2, 2))).any()


def test_large_boxes_are_worked_on_in_parts():
    box = Box((5, 0, 0), (9, 1100, 1000))
    mask = _mask("z * 1000000 + y * 1000 + x >= 7500250", box)
    assert mask.sum() == (600_000 - 250) + 1_100_000
    assert not mask[:2].any() and mask[3].all() and not mask[2, 500, 249] and mask[2, 500, 250]


# Pairs of a text and what it means for one voxel, grown together.
OPERATORS = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne, "&": operator.and_,
    "|": operator.or_, "and": operator.and_, "or": operator.or_,
}  # fmt: skip


def _join(parts):
    (left, value), sign, (right, other) = parts
    return f"({left} {sign} {right})", lambda *zyx: OPERATORS[sign](value(*zyx), other(*zyx))


def _negate(part):
    return f"(not {part[0]})", lambda *zyx: not part[1](*zyx)


def _joined(inner, signs: str):
    return st.tuples(inner, st.sampled_from(signs.split()), inner).map(_join)


POSITIONS = [("z", lambda z, y, x: z), ("y", lambda z, y, x: y), ("x", lambda z, y, x: x)]
LITERALS = [("2", lambda *_: 2), ("-7", lambda *_: -7)]
NUMBERS = st.recursive(
    st.sampled_from(POSITIONS + LITERALS), lambda inner: _joined(inner, "+ - *"), max_leaves=5
)
CONDITIONS = st.recursive(
    _joined(NUMBERS, "< <= > >= == !="),
    lambda inner: st.one_of(_joined(inner, "& | and or"), inner.map(_negate)),
    max_leaves=4,
)


@given(CONDITIONS)
def test_any_condition_equals_python_on_every_voxel(condition):
    text, meaning = condition
    np.testing.assert_array_equal(_mask(text), _by_hand(meaning))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("w < 3", "'w' at character 1 is unknown; positions are x, y and z"),
        ("z < 10 | x > 200", "'10' at character 5 is a number, but '|' takes conditions; put each"),
        ("(z < 1) + 1 < 2", "'z < 1' at character 2 is a condition, but '+' takes numbers"),
        ("(z < 1) == (x < 2)", "'z < 1' at character 2 is a condition, but '==' takes numbers"),
        ("-(z < 1)", "'z < 1' at character 3 is a condition, but '-' takes numbers"),
        ("not x", "'x' at character 5 is a number, but 'not' takes conditions"),
        ("x + 1", "'x + 1' at character 1 is a number, not a condition; compare it"),
        ("__import__('os').system('x') < 1", "at character 1 is no known function; use abs, min or max"),
        ("open('f') < 1", "'open' at character 1 is no known function"),
        ("x.__class__ < 1", "'x.__class__' at character 1 cannot be used; known are numbers, x, y, z"),
        ("(1, 2)[0] < x", "cannot be used"),
        ("[i for i in (1,)] < x", "cannot be used"),
        ("(lambda: 1)() < x", "is no known function"),
        ("x if y < 2 else z < 3", "cannot be used"),
        ("(x := 3) < 4", "'x := 3' at character 2 cannot be used"),
        ("x < 'a'", "''a'' at character 5 cannot be used"),
        ("x < 2j", "'2j' at character 5 cannot be used"),
        ("x < None", "cannot be used"),
        ("x in y", "'x in y' at character 1 cannot be used"),
        ("x is y", "cannot be used"),
        ("x << 3 < y", "'x << 3' at character 1 cannot be used"),
        ("(x < 3) ^ (y < 3)", "cannot be used"),
        ("f'{x}' < 3", "cannot be used"),
        ("x ** 9 < 3", "'9' at character 6 is no exponent; give a whole number written out, from 0 to 8"),
        ("x ** y < 3", "'y' at character 6 is no exponent"),
        ("x ** 0.5 < 3", "'0.5' at character 6 is no exponent"),
        ("1 < 9 ** 9 ** 9 ** 9", "is no exponent"),
        ("x % 0 == 1", "'x % 0' at character 1 divides by zero; give another divisor"),
        ("x // 0.0 == 1", "divides by zero"),
        ("x < 1e400", "'1e400' at character 5 is too large; give a number below 2^63"),
        ("x < " + "9" * 3000, "is too large"),
        ("abs(x, y) < 1", "'abs(x, y)' at character 1 has other arguments than it takes; give it one number"),
        ("min(x) < 1", "give it two or more numbers"),
        ("max(x, y, key=z) < 1", "has other arguments"),
        ("max(*x) < 1", "has other arguments"),
        ("abs(x < 1) < 1", "'x < 1' at character 5 is a condition, but 'abs' takes numbers"),
        ("", "cannot be read"),
        ("   ", "cannot be read"),
        ("x <", "cannot be read"),
        ("x < 1; y < 2", "cannot be read"),
        ("x = 1", "cannot be read"),
        ("import os", "cannot be read"),
        ("x < 1\x00", "cannot be read"),
        ("((x < 1) &\n(w < 2))", "'w' at line 2, character 2 is unknown"),
        ("x" + " + x" * 400 + " < 1", "is nested too deeply; give several masks"),
        ("(" * 1000 + "x < 1" + ")" * 1000, "cannot be read"),
        # Python 3.10 still parses this one, and then it is too deep for us.
        ("~" * 4000 + "(x < 1)", "nest"),
        ("x < 1 or " * 1000 + "x < 2", "has 9005 characters, but at most 4096 are read"),
    ],
)  # fmt: skip
def test_everything_else_is_refused_by_name_and_place(text: str, said: str):
    with pytest.raises(ConfigError) as caught:
        parse_expression(text)
    message = str(caught.value)
    assert said in message and "\n" not in message and ";" in message
    assert message.isprintable() and len(message) < 500


def test_many_joined_boxes_fit_into_one_expression():
    text = " | ".join(f"((z == {i}) & (x < {i}))" for i in range(60))
    assert _mask(text, Box((40, 0, 0), (42, 1, 50))).sum() == 40 + 41
