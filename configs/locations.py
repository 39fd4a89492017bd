"""Where in a text-format file each field stands.

Protobuf's Python parser forgets positions once it has succeeded, yet an error about a value out of range has
to name its line. This second, tolerant pass over the text finds them. It knows the grammar of protobuf's
text format but no schema, and it reads malformed text as far as it makes sense, so it also serves to explain
what the real parser refused.

Input: the text. Output: one `Place` for each field occurrence, in the order of the text.
Source of the grammar: https://protobuf.dev/reference/protobuf/textformat-spec/
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

# A path names every step from the outermost message: the field and which of its occurrences it is, or WHOLE
# for a list as such.
FieldPath = tuple[tuple[str, int], ...]
WHOLE = -1

_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
      | (?P<text>"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)
      | (?P<word>[A-Za-z0-9_.+-]+)
      | (?P<sign>.)""",
    re.VERBOSE,
)
_CLOSING = {"{": "}", "<": ">"}

# No message of ours nests so far; text that does is not followed further down.
_DEEPEST = 64


@dataclass(frozen=True)
class Token:
    """One word, quoted text or sign of the file; `line` and `column` count from 1."""

    text: str
    is_text: bool
    line: int
    column: int

    @property
    def position(self) -> tuple[int, int]:
        """Line and column."""
        return self.line, self.column


@dataclass(frozen=True)
class Place:
    """One occurrence of a field: its name, and its value when the text goes on that far."""

    path: FieldPath
    name: Token
    value: Token | None


def scan(text: str) -> list[Place]:
    """Find every field occurrence.

    Args:
        text: a message in protobuf's text format, well formed or not.

    Returns:
        The places in the order of the text; values of a list are occurrences of their own.
    """
    scanner = _Scanner(list(_tokens(text)))
    scanner.read_message(())
    return scanner.places


def line_of(places: list[Place], path: FieldPath) -> int:
    """Line of a field, or of the innermost enclosing field that is written, or 1.

    Args:
        places: the result of `scan`.
        path: the field looked for; it need not be in the text.
    """
    lines = {place.path: _value_line(place) for place in places}
    path = tuple((name, max(index, 0)) for name, index in path)
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


def _value_line(place: Place) -> int:
    """A plain value may stand below its name; a block is found by its name."""
    return place.name.line if place.value is None or place.value.text in _CLOSING else place.value.line


def _tokens(text: str) -> Iterator[Token]:
    line, line_start = 1, 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "blank":
            column = match.start() - line_start + 1
            yield Token(match.group(), match.lastgroup == "text", line, column)
        newlines = match.group().count("\n")
        if newlines:
            line += newlines
            line_start = match.start() + match.group().rindex("\n") + 1


class _Scanner:
    """Recursive descent over the tokens; every step takes at least one token, so it always ends."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self.places: list[Place] = []

    def read_message(self, path: FieldPath) -> None:
        """Read fields until a closing brace (left in place) or the end."""
        occurrences: Counter[str] = Counter()
        while (token := self._peek()) is not None and token.text not in _CLOSING.values():
            self._take()
            if token.text not in (",", ";"):
                self._read_field(token, path, occurrences)

    def _read_field(self, name: Token, path: FieldPath, occurrences: Counter[str]) -> None:
        self._skip(":")
        if not self._skip("["):
            self._read_value(name, path, occurrences)
            return
        while (token := self._peek()) is not None and token.text != "]":
            if not self._skip(","):
                self._read_value(name, path, occurrences)
        self._skip("]")

    def _read_value(self, name: Token, path: FieldPath, occurrences: Counter[str]) -> None:
        here = (*path, (name.text, occurrences[name.text]))
        occurrences[name.text] += 1
        value = self._peek()
        self.places.append(Place(here, name, value))
        if value is None or value.text in _CLOSING.values():
            return
        self._take()
        if value.text in _CLOSING and len(here) < _DEEPEST:
            self.read_message(here)
            self._skip(_CLOSING[value.text])
        elif value.is_text:
            while (token := self._peek()) is not None and token.is_text:
                self._take()

    def _peek(self) -> Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self) -> None:
        self._next += 1

    def _skip(self, sign: str) -> bool:
        token = self._peek()
        if token is None or token.is_text or token.text != sign:
            return False
        self._take()
        return True
