"""From text to a checked message, or to one line that says what to mend.

Every refusal names the source, the line, the field by its full path, and what would have been valid there:
the fields of that message and the closest one for a misspelt name, the type for a value of another type, the
bounds for a value out of range.

Input: text in protobuf's text format. Output: a message of the schema, complete with its defaults.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from configs.errors import ConfigError
from configs.locations import WHOLE, FieldPath, Place, line_of, scan
from configs.rules import Violation, fill_defaults, is_repeated, violations, words_for_type

M = TypeVar("M", bound=Message)


def parse_text(text: str, message_type: type[M], source: str) -> M:
    """Parse and check one message.

    Args:
        text: the message in text format.
        message_type: a generated message class of the schema.
        source: what to call the text in an error: a file's path, a flag.

    Returns:
        The message with every declared default written out.

    Raises:
        ConfigError: syntax, unknown field, wrong type, missing value or value out of range.
    """
    message = message_type()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise ConfigError(_explain(error, text, message_type.DESCRIPTOR, source)) from None
    complete(message, source, scan(text))
    return message


def complete(message: Message, source: str, places: list[Place] | None = None) -> None:
    """Fill in the defaults, then refuse what breaks a rule of the schema.

    Args:
        message: changed in place.
        source: what to call the message in an error.
        places: where its fields stand in the text it came from, if it came from one.

    Raises:
        ConfigError: the first violation in the order of the text, and how many more there are.
    """
    fill_defaults(message)
    found: dict[FieldPath, Violation] = {}
    for violation in violations(message):
        found.setdefault(violation.path, violation)
    if not found:
        return
    lines = {path: line_of(places or [], path) for path in found}
    first = found[min(lines, key=lambda path: lines[path])]
    where = source if places is None else f"{source}:{lines[first.path]}"
    subject = _name(first.path, message.DESCRIPTOR)
    more = f" (and {len(found) - 1} more to mend)" if len(found) > 1 else ""
    raise ConfigError(f"{where}: {subject} {first.sentence}{more}")


def unknown_field(name: str, descriptor: Descriptor, owner: str) -> str:
    """The sentence about a name that is no field: the closest one and the list of all.

    Args:
        name: the name that was written.
        descriptor: the message it was written in.
        owner: what to call that message.
    """
    valid = [field.name for field in descriptor.fields]
    close = difflib.get_close_matches(name, valid, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else "."
    return f"{owner} has no field {name!r}{guess} Valid fields: {', '.join(valid)}"


def _name(path: FieldPath, descriptor: Descriptor) -> str:
    """A path as a reader would write it: `inference.passes[1].name`; the message's name when empty."""
    if not path:
        return descriptor.name
    steps = []
    for name, index in path:
        field = descriptor.fields_by_name[name]
        steps.append(f"{name}[{index}]" if is_repeated(field) and index != WHOLE else name)
        descriptor = field.message_type
    return ".".join(steps)


def _explain(error: text_format.ParseError, text: str, descriptor: Descriptor, source: str) -> str:
    """One line about text the parser refused: an unknown field, a wrong type, or else bad syntax."""
    position = (error.GetLine() or 1, error.GetColumn() or 1)
    for place in scan(text):
        if place.name.position > position:
            break
        owner = _descriptor_at(place.path[:-1], descriptor)
        if owner is None or not place.name.text.isidentifier():
            continue
        field = owner.fields_by_name.get(place.name.text)
        if field is None:
            name = _name(place.path[:-1], descriptor)
            return f"{source}:{place.name.line}: {unknown_field(place.name.text, owner, name)}"
        problem = _misuse(place, field, position)
        if problem:
            return f"{source}:{position[0]}: {_name(place.path, descriptor)} {problem}"
    return f"{source}:{position[0]}: {_plain_words(str(error))}"


def _misuse(place: Place, field: FieldDescriptor, position: tuple[int, int]) -> str | None:
    """What is wrong with a known field: written twice, or with a value of another type at this position."""
    if place.path[-1][1] > 0 and not is_repeated(field):
        return "is given a second time"
    value = place.value
    if value is None or value.position != position:
        return None
    is_block = value.text in ("{", "<")
    if is_block and field.message_type is not None:
        return None
    return f"takes {words_for_type(field)}, but is {_printable(value.text)}"


def _descriptor_at(path: FieldPath, descriptor: Descriptor) -> Descriptor | None:
    """The message type at a path, None when the path leaves the schema."""
    current: Descriptor | None = descriptor
    for name, _ in path:
        field = current.fields_by_name.get(name) if current is not None else None
        current = field.message_type if field is not None else None
    return current


def _plain_words(text: str) -> str:
    """The parser's sentence without its own position, the line it quotes, and package names."""
    without_position = re.sub(r"^\d+:\d+ : ", "", text)
    without_line = re.sub(r"^(['\"]).*\1: ", "", without_position, flags=re.DOTALL)
    return _printable(re.sub(r'"(?:ffn_reconstruction|ffn)\.(\w+)"', r'"\1"', without_line))


def _printable(text: str) -> str:
    """The text on one line of bounded length, signs that no terminal shows in escaped form."""
    line = textwrap.shorten(text, 200, placeholder=" …") if " " in text[:200] else text[:200]
    return line if line.isprintable() else ascii(line)
