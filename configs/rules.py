"""What the schema's own options demand of a message: defaults are filled in, violations are found.

The options (`configs/proto/rules.proto`) stand on the fields; nothing here knows any particular field.

Input: a parsed protobuf message of the schema. Output: the same message with every default written out, and
the violations as (path, sentence) pairs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from configs.locations import WHOLE, FieldPath
from configs.proto import rules_pb2

_WHOLE_NUMBERS = frozenset(
    {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT32,
     FieldDescriptor.CPPTYPE_UINT64}
)  # fmt: skip
_REAL_NUMBERS = frozenset({FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE})


@dataclass(frozen=True)
class Violation:
    """A field that breaks a rule; `sentence` reads on from the field's name."""

    path: FieldPath
    sentence: str


def fill_defaults(message: Message) -> None:
    """Write the declared default into every absent field, in place and in all nested messages.

    Args:
        message: any message of the schema. Fields without a declared default stay absent.
    """
    for field in message.DESCRIPTOR.fields:
        if is_absent(message, field):
            _fill(message, field)
        for _, child in children(message, field):
            fill_defaults(child)


def violations(message: Message, path: FieldPath = ()) -> Iterator[Violation]:
    """Find what breaks the rules of the schema, in a message and all it contains.

    Args:
        message: a message after `fill_defaults`.
        path: where the message itself stands.

    Yields:
        The violations, in the order of the schema.
    """
    yield from _choice_violations(message, path)
    for field in message.DESCRIPTOR.fields:
        rule = rule_of(field)
        if is_absent(message, field):
            here = (*path, (field.name, WHOLE))
            if rule.required:
                yield Violation(here, f"is required but missing ({words_for_type(field)})")
            continue
        yield from _value_violations(message, field, rule, path)
        yield from _repeated_violations(message, field, rule, path)
        for index, child in children(message, field):
            yield from violations(child, (*path, (field.name, index)))


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether the field holds a list. In proto2 those are the fields without presence.

    Protobuf's own `is_repeated` is younger than the oldest release supported, its `label` is on the way out.
    """
    return not field.has_presence


def is_absent(message: Message, field: FieldDescriptor) -> bool:
    """Whether a singular field is not set, or a repeated one is empty.

    Args:
        message: any message of the schema.
        field: one of its fields.
    """
    if is_repeated(field):
        return len(getattr(message, field.name)) == 0
    return not message.HasField(field.name)


def children(message: Message, field: FieldDescriptor) -> Iterator[tuple[int, Message]]:
    """The messages a field holds, with their index; nothing for plain fields and maps.

    Args:
        message: any message of the schema.
        field: one of its fields.
    """
    if field.message_type is None or is_map(field) or is_absent(message, field):
        return
    value = getattr(message, field.name)
    yield from enumerate(value) if is_repeated(field) else [(0, value)]


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a protobuf map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def is_vector(descriptor: Descriptor | None) -> bool:
    """Whether a message is nothing but numbers named x, y and z."""
    return descriptor is not None and {field.name for field in descriptor.fields} == {"x", "y", "z"}


def rule_of(field: FieldDescriptor) -> rules_pb2.Rule:
    """The rule declared on a field; an empty one when there is none."""
    return field.GetOptions().Extensions[rules_pb2.rule]


def words_for_type(field: FieldDescriptor) -> str:
    """What a field takes, in words: 'a whole number', 'one of AUTO, FLOAT32', 'a block { x, y, z }'."""
    if field.message_type is not None:
        return f"a block {{ {', '.join(inner.name for inner in field.message_type.fields)} }}"
    if field.enum_type is not None:
        return f"one of {', '.join(value.name for value in field.enum_type.values)}"
    if field.cpp_type in _WHOLE_NUMBERS:
        return _words_for_integer(field)
    if field.cpp_type in _REAL_NUMBERS:
        return "a number"
    return "true or false" if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else "text in quotes"


def _words_for_integer(field: FieldDescriptor) -> str:
    bits = 32 if field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32) else 64
    unsigned = field.cpp_type in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
    return f"a whole number of {bits} bits{', not negative' if unsigned else ''}"


def _fill(message: Message, field: FieldDescriptor) -> None:
    rule = rule_of(field)
    if rule.HasField("default_text"):
        text_format.Merge(f"{field.name}: {rule.default_text}", message)
    elif field.has_default_value:
        setattr(message, field.name, field.default_value)


def _choice_violations(message: Message, path: FieldPath) -> Iterator[Violation]:
    """Oneofs that have to be decided, and groups of fields of which one has to be there."""
    descriptor = message.DESCRIPTOR
    groups = [
        [field.name for field in oneof.fields]
        for oneof in descriptor.oneofs
        if oneof.GetOptions().Extensions[rules_pb2.oneof_rule].required
    ]
    any_of = list(descriptor.GetOptions().Extensions[rules_pb2.message_rule].any_of)
    for group in [*groups, *([any_of] if any_of else [])]:
        if all(is_absent(message, descriptor.fields_by_name[name]) for name in group):
            yield Violation(path, f"needs one of {', '.join(group)}")


def _value_violations(
    message: Message, field: FieldDescriptor, rule: rules_pb2.Rule, path: FieldPath
) -> Iterator[Violation]:
    values = getattr(message, field.name)
    for index, value in enumerate(values if is_repeated(field) else [values]):
        here = (*path, (field.name, index))
        if is_vector(field.message_type):
            yield from _component_violations(value, rule, here)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield from _number_violation(value, rule, here)
        elif isinstance(value, str):
            yield from _text_violation(value, rule, here)


def _component_violations(vector: Message, rule: rules_pb2.Rule, path: FieldPath) -> Iterator[Violation]:
    for field in vector.DESCRIPTOR.fields:
        # An absent component counts as 0, unless it is required: then its absence is the violation.
        if vector.HasField(field.name) or not rule_of(field).required:
            yield from _number_violation(getattr(vector, field.name), rule, (*path, (field.name, 0)))


def _number_violation(value: float, rule: rules_pb2.Rule, path: FieldPath) -> Iterator[Violation]:
    if not math.isfinite(value):
        yield Violation(path, f"is {value}, but must be a finite number")
    elif not _within(value, rule):
        yield Violation(path, f"is {value:g}, but must be {_words_for_bounds(rule)}")
    elif rule.odd and value % 2 == 0:
        yield Violation(path, f"is {value:g}, but must be odd")


def _within(value: float, rule: rules_pb2.Rule) -> bool:
    return (
        (not rule.HasField("min") or value >= rule.min)
        and (not rule.HasField("max") or value <= rule.max)
        and (not rule.HasField("above") or value > rule.above)
        and (not rule.HasField("below") or value < rule.below)
    )


def _words_for_bounds(rule: rules_pb2.Rule) -> str:
    words = {"min": "at least", "above": "above", "max": "at most", "below": "below"}
    declared = [(word, getattr(rule, name)) for name, word in words.items() if rule.HasField(name)]
    return " and ".join(f"{word} {bound:g}" for word, bound in declared)


def _text_violation(value: str, rule: rules_pb2.Rule, path: FieldPath) -> Iterator[Violation]:
    if rule.required and not value.strip():
        yield Violation(path, "is required but empty")
    elif rule.HasField("pattern") and not re.fullmatch(rule.pattern, value):
        yield Violation(path, f"is {value!r}, but must consist of {rule.pattern_in_words}")
    elif rule.json and value.strip():
        yield from _json_violation(value, path)


def _json_violation(value: str, path: FieldPath) -> Iterator[Violation]:
    try:
        parsed: Any = json.loads(value)
    except ValueError as error:
        yield Violation(path, f"is not valid JSON: {error}")
        return
    if not isinstance(parsed, dict):
        yield Violation(path, f'must be a JSON object such as {{"name": 1}}, but is {value.strip()[:40]!r}')


def _repeated_violations(
    message: Message, field: FieldDescriptor, rule: rules_pb2.Rule, path: FieldPath
) -> Iterator[Violation]:
    values = getattr(message, field.name)
    if rule.ascending and any(low >= high for low, high in zip(values, values[1:], strict=False)):
        yield Violation((*path, (field.name, WHOLE)), "must ascend from entry to entry")
    if rule.unique_by:
        seen: set[Any] = set()
        for index, entry in enumerate(values):
            key = getattr(entry, rule.unique_by)
            if key in seen:
                again = (*path, (field.name, index), (rule.unique_by, 0))
                yield Violation(again, f"is {key!r} a second time; each entry needs its own")
            seen.add(key)
