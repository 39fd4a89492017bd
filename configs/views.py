"""Loaded settings as values that cannot change.

A `ConfigView` stands for one message of the schema. Its attributes are the fields:

    a plain field               its value; None when absent and without a default
    an enum                     its name in lower case: 'auto', 'reversed'
    a vector (z, y, x)          a tuple in z, y, x order, also where the message speaks x, y, z: this is the
                                one place where google/ffn's vectors are turned
    a message                   a ConfigView, or None when absent
    a repeated field            a tuple of the above

Views compare and hash by content and can be pickled (they travel to workers).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from google.protobuf import symbol_database, text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from configs.errors import ConfigError
from configs.parsing import complete, unknown_field
from configs.rules import is_absent, is_map, is_repeated, is_vector, words_for_type


class ConfigView:
    """A frozen, validated message of the schema; see the module's text for what attributes give."""

    __slots__ = ("_message", "_values")

    _message: Message
    _values: dict[str, Any]

    def __init__(self, message: Message) -> None:
        """Take a copy of a message that has been completed and checked.

        Args:
            message: a message after `configs.parsing.complete`.
        """
        own = type(message)()
        own.CopyFrom(message)
        object.__setattr__(self, "_message", own)
        values = {field.name: _read(own, field) for field in own.DESCRIPTOR.fields}
        object.__setattr__(self, "_values", values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            descriptor = self._message.DESCRIPTOR
            raise AttributeError(unknown_field(name, descriptor, descriptor.name)) from None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is read-only; use .replace({name}=…), which validates")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is read-only; use .replace({name}=None)")

    def replace(self, **fields: Any) -> ConfigView:
        """A view with some fields changed, validated again.

        Args:
            **fields: new values in the form the attributes give them; a mapping serves for a message, and
                None clears a field, which then takes its default.

        Returns:
            The new view; this one stays as it is.

        Raises:
            ConfigError: an unknown field, a value of another type, or one that breaks a rule.
        """
        message = self.to_message()
        for name, value in fields.items():
            _write(message, name, value)
        complete(message, f"replace({', '.join(fields)})")
        return ConfigView(message)

    def to_dict(self) -> dict[str, Any]:
        """The fields that have a value, by name, in the form the attributes give them."""
        return {name: value for name, value in self._values.items() if value not in (None, ())}

    def to_message(self) -> Message:
        """A copy as a protobuf message, every default written out."""
        message = type(self._message)()
        message.CopyFrom(self._message)
        return message

    def to_text(self) -> str:
        """The settings in text format, every default written out; loading it gives an equal view."""
        return text_format.MessageToString(self._message, as_utf8=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConfigView):
            return NotImplemented
        return self._message == other._message

    def __hash__(self) -> int:
        return hash((self._message.DESCRIPTOR.full_name, self._message.SerializeToString(deterministic=True)))

    def __dir__(self) -> list[str]:
        return sorted([*object.__dir__(self), *self._values])

    def __repr__(self) -> str:
        text = text_format.MessageToString(self._message, as_utf8=True, as_one_line=True)
        return f"ConfigView({self._message.DESCRIPTOR.name} {{ {text} }})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._message.DESCRIPTOR.full_name, self._message.SerializeToString())


def _restore(full_name: str, serialized: bytes) -> ConfigView:
    message = symbol_database.Default().GetSymbol(full_name)()
    message.ParseFromString(serialized)
    return ConfigView(message)


def _read(message: Message, field: FieldDescriptor) -> Any:
    if is_map(field):
        entries = getattr(message, field.name)
        return MappingProxyType({key: _read_one(field.message_type.fields_by_name["value"], value)
                                 for key, value in entries.items()})  # fmt: skip
    if is_repeated(field):
        return tuple(_read_one(field, value) for value in getattr(message, field.name))
    return None if is_absent(message, field) else _read_one(field, getattr(message, field.name))


def _read_one(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name.lower()
    if is_vector(field.message_type):
        return value.z, value.y, value.x
    return value if field.message_type is None else ConfigView(value)


def _write(message: Message, name: str, value: Any) -> None:
    """Set one field from the form `_read` gives."""
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise ConfigError(unknown_field(name, message.DESCRIPTOR, message.DESCRIPTOR.name))
    message.ClearField(name)
    if value is None:
        return
    try:
        if is_repeated(field):
            for entry in value:
                _append(message, field, entry)
        elif field.message_type is not None:
            _write_message(getattr(message, name), value)
        else:
            setattr(message, name, _plain(field, value))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} takes {words_for_type(field)}, but is {value!r} ({error})") from None


def _append(message: Message, field: FieldDescriptor, entry: Any) -> None:
    entries = getattr(message, field.name)
    if field.message_type is not None:
        _write_message(entries.add(), entry)
    else:
        entries.append(_plain(field, entry))


def _write_message(target: Message, value: Any) -> None:
    target.SetInParent()
    if isinstance(value, ConfigView):
        target.CopyFrom(value._message)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            _write(target, name, inner)
    elif is_vector(target.DESCRIPTOR) and isinstance(value, Iterable):
        target.z, target.y, target.x = value
    else:
        raise TypeError("a view, a mapping, or three numbers for a vector")


def _plain(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is None or not isinstance(value, str):
        return value
    number = field.enum_type.values_by_name.get(value.upper())
    if number is None:
        raise ValueError(f"no such value{_closest(value.upper(), field)}")
    return number.number


def _closest(value: str, field: FieldDescriptor) -> str:
    close = difflib.get_close_matches(value, list(field.enum_type.values_by_name), n=1)
    return f"; did you mean {close[0]}?" if close else ""
