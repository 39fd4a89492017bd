"""Conditions on voxel positions, such as "(z < 10) | (x > 200)", read by a parser that knows nothing else.

An expression is a condition over `x`, `y` and `z`, absolute voxels of the raw volume:

    numbers        3, 2.5, x, y, z, + - * / // %, ** with a whole exponent from 0 to 8, abs(a), min(a, b, …),
                   max(a, b, …)
    conditions     a < b and the other comparisons, also in chains (0 <= x < 10), True, False, & and |, `and`
                   and `or`, ~ and `not`

Python's own grammar gives the tree, with its precedence (& and | bind more tightly than comparisons, so that
these need parentheses around them); every node of it is checked against the list above before anything is
computed, and nothing is ever compiled or executed. google/ffn hands the same field
(CoordinateExpressionOptions) to Python's `eval` with integer arrays x, y and z.

Numbers are float64, exact for whole numbers up to 2^53. A division by zero gives no error but infinity or
NaN, which no comparison but != holds for.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from configs.errors import ConfigError
from volumes import Box

_LONGEST = 4096  # characters
_DEEPEST = 150  # levels of the tree, far below the interpreter's own limit
_LARGEST_EXPONENT = 8
_VOXELS_AT_ONCE = 1 << 20

_Operation = Callable[..., Any]
_ARITHMETIC: Mapping[type[ast.AST], _Operation] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.remainder,
    ast.Pow: np.power,
}
_SIGNS: Mapping[type[ast.AST], _Operation] = {ast.UAdd: np.positive, ast.USub: np.negative}
_COMPARISONS: Mapping[type[ast.AST], _Operation] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_JOINS: Mapping[type[ast.AST], _Operation] = {
    ast.BitAnd: np.logical_and,
    ast.BitOr: np.logical_or,
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
}
_FUNCTIONS: Mapping[str, _Operation] = {"abs": np.abs, "min": np.minimum, "max": np.maximum}

_KNOWN = "known are numbers, x, y, z, + - * / // % **, comparisons, & | ~ and or not, abs, min, max and ( )"
_PARENTHESES = "put each comparison in parentheses: (z < 10) | (x > 200)"


def parse_expression(text: str) -> ast.expr:
    """Reads an expression and checks every part of it; nothing is computed.

    Args:
      text: the expression, see the module.

    Returns:
      A tree for `evaluate_expression`.

    Raises:
      ConfigError: no expression, one that is too long or too deeply nested, anything that is not on the list
        (says which piece, and where), numbers where conditions belong or the other way round, or an
        expression that is a number.
    """
    if len(text) > _LONGEST:
        raise ConfigError(
            f"a coordinate expression has {len(text)} characters, but at most {_LONGEST} are read; "
            "give several masks, which are united, or a mask volume"
        )
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        where = f" at character {error.offset}" if error.offset else ""
        raise ConfigError(
            f"coordinate expression {_quoted(text)} cannot be read{where} ({error.msg}); {_KNOWN}"
        ) from None
    except (ValueError, RecursionError, MemoryError):
        raise ConfigError(
            f"coordinate expression {_quoted(text)} cannot be read; nest it less deeply, in plain characters"
        ) from None
    checker = _Checker(text.strip())
    if not checker.is_condition(tree, 0):
        checker.refuse(tree, "is a number, not a condition", "compare it with something, e.g. z < 10")
    return tree


def evaluate_expression(tree: ast.expr, box: Box) -> np.ndarray:
    """Where a condition holds.

    Args:
      tree: from `parse_expression`.
      box: absolute voxels of the raw volume.

    Returns:
      bool (z, y, x) of `box.shape`. Beside it a few arrays of a megavoxel (or a section) are held at a time.
    """
    mask = np.empty(box.shape, bool)
    z, y, x = (np.arange(low, high, dtype=np.float64) for low, high in zip(box.start, box.stop, strict=True))
    sections = max(1, _VOXELS_AT_ONCE // max(1, len(y) * len(x)))
    for first in range(0, len(z), sections):
        part = slice(first, first + sections)
        grids = {"z": z[part, None, None], "y": y[:, None], "x": x}
        with np.errstate(all="ignore"):
            mask[part] = _value(tree, grids)
    return mask


class _Checker:
    """Walks the tree of one expression; knows the text for messages."""

    def __init__(self, text: str) -> None:
        self._text = text

    def is_condition(self, node: ast.expr, depth: int) -> bool:
        """Whether a node is a condition (True) or a number (False); refuses everything else."""
        if depth > _DEEPEST:
            self.refuse(
                node, "is nested too deeply", "give several masks, which are united, or a mask volume"
            )
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name(id="x" | "y" | "z"):
                return False
            case ast.Name():
                self.refuse(node, "is unknown", "positions are x, y and z")
            case ast.UnaryOp(op=ast.Invert() | ast.Not()):
                self._conditions([node.operand], node, depth)
                return True
            case ast.UnaryOp():
                self._numbers([node.operand], node, depth)
                return False
            case ast.BoolOp():
                self._conditions(node.values, node, depth)
                return True
            case ast.BinOp():
                return self._binary(node, depth)
            case ast.Compare():
                if not all(type(operator) in _COMPARISONS for operator in node.ops):
                    self.refuse(node, "cannot be used", _KNOWN)
                self._numbers([node.left, *node.comparators], node, depth)
                return True
            case ast.Call():
                return self._call(node, depth)
        self.refuse(node, "cannot be used", _KNOWN)

    def refuse(self, node: ast.expr, problem: str, mend: str) -> NoReturn:
        """Raises the error about one piece of the expression."""
        piece = ast.get_source_segment(self._text, node) or ""
        line = f"line {node.lineno}, " if node.lineno > 1 else ""
        where = f"{line}character {node.col_offset + 1}"
        raise ConfigError(
            f"coordinate expression {_quoted(self._text)}: {_quoted(piece)} at {where} {problem}; {mend}"
        )

    def _constant(self, node: ast.Constant) -> bool:
        if isinstance(node.value, bool):
            return True
        if not isinstance(node.value, (int, float)):
            self.refuse(node, "cannot be used", _KNOWN)
        if abs(node.value) > 2**63:
            self.refuse(node, "is too large", "give a number below 2^63")
        return False

    def _binary(self, node: ast.BinOp, depth: int) -> bool:
        if type(node.op) in _JOINS:
            self._conditions([node.left, node.right], node, depth)
            return True
        if type(node.op) not in _ARITHMETIC:
            self.refuse(node, "cannot be used", _KNOWN)
        self._numbers([node.left, node.right], node, depth)
        right = node.right.value if isinstance(node.right, ast.Constant) else None
        if isinstance(node.op, ast.Pow) and not (isinstance(right, int) and 0 <= right <= _LARGEST_EXPONENT):
            self.refuse(
                node.right,
                "is no exponent",
                f"give a whole number written out, from 0 to {_LARGEST_EXPONENT}",
            )
        if isinstance(node.op, (ast.Div, ast.FloorDiv, ast.Mod)) and right == 0:
            self.refuse(node, "divides by zero", "give another divisor")
        return False

    def _call(self, node: ast.Call, depth: int) -> bool:
        if not (isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS):
            self.refuse(node.func, "is no known function", "use abs, min or max")
        single = node.func.id == "abs"
        if node.keywords or (len(node.args) != 1 if single else len(node.args) < 2):
            wanted = "one number" if single else "two or more numbers"
            self.refuse(node, "has other arguments than it takes", f"give it {wanted}")
        self._numbers(node.args, node, depth)
        return False

    def _numbers(self, parts: list[ast.expr], whole: ast.expr, depth: int) -> None:
        for part in parts:
            if self.is_condition(part, depth + 1):
                self.refuse(part, f"is a condition, but {_quoted(_word(whole))} takes numbers", _PARENTHESES)

    def _conditions(self, parts: list[ast.expr], whole: ast.expr, depth: int) -> None:
        for part in parts:
            if not self.is_condition(part, depth + 1):
                self.refuse(part, f"is a number, but {_quoted(_word(whole))} takes conditions", _PARENTHESES)


def _value(node: ast.expr, grids: Mapping[str, np.ndarray]) -> Any:
    """The value of a checked node: float64 or bool, of a shape that broadcasts to that of the grids."""
    match node:
        case ast.Constant(value=bool(truth)):
            return truth
        case ast.Constant(value=int(number) | float(number)):
            return float(number)
        case ast.Name():
            return grids[node.id]
        case ast.UnaryOp(op=ast.Invert() | ast.Not()):
            return np.logical_not(_value(node.operand, grids))
        case ast.UnaryOp():
            return _SIGNS[type(node.op)](_value(node.operand, grids))
        case ast.BoolOp():
            return _folded(_JOINS[type(node.op)], node.values, grids)
        case ast.BinOp():
            operation = {**_ARITHMETIC, **_JOINS}[type(node.op)]
            return operation(_value(node.left, grids), _value(node.right, grids))
        case ast.Compare():
            return _chain(node, grids)
        case ast.Call(func=ast.Name(id="abs")):
            return np.abs(_value(node.args[0], grids))
        case ast.Call(func=ast.Name(id=name)):
            return _folded(_FUNCTIONS[name], node.args, grids)
    raise AssertionError(f"unchecked node {type(node).__name__}")


def _folded(operation: _Operation, parts: list[ast.expr], grids: Mapping[str, np.ndarray]) -> Any:
    total = _value(parts[0], grids)
    for part in parts[1:]:
        total = operation(total, _value(part, grids))
    return total


def _chain(node: ast.Compare, grids: Mapping[str, np.ndarray]) -> Any:
    left, holds = _value(node.left, grids), None
    for operator, part in zip(node.ops, node.comparators, strict=True):
        right = _value(part, grids)
        link = _COMPARISONS[type(operator)](left, right)
        holds = link if holds is None else np.logical_and(holds, link)
        left = right
    return holds


def _word(node: ast.expr) -> str:
    """How the operation of a node is written."""
    words: Mapping[type[Any], str] = {
        ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%",
        ast.Pow: "**", ast.UAdd: "+", ast.USub: "-", ast.BitAnd: "&", ast.BitOr: "|", ast.And: "and",
        ast.Or: "or", ast.Invert: "~", ast.Not: "not", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">",
        ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    }  # fmt: skip
    if isinstance(node, ast.Call):
        return node.func.id if isinstance(node.func, ast.Name) else "a function"
    operator = node.ops[0] if isinstance(node, ast.Compare) else getattr(node, "op", None)
    return words[type(operator)]


def _quoted(text: str) -> str:
    """A piece of the expression on one line, shortened."""
    line = "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
    return f"'{line if len(line) <= 80 else line[:80] + '…'}'"
