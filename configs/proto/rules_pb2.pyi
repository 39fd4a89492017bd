from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor
RULE_FIELD_NUMBER: _ClassVar[int]
rule: _descriptor.FieldDescriptor
MESSAGE_RULE_FIELD_NUMBER: _ClassVar[int]
message_rule: _descriptor.FieldDescriptor
ONEOF_RULE_FIELD_NUMBER: _ClassVar[int]
oneof_rule: _descriptor.FieldDescriptor

class Rule(_message.Message):
    __slots__ = ("required", "min", "max", "above", "below", "json", "pattern", "pattern_in_words", "odd", "unique_by", "default_text", "ascending")
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    ABOVE_FIELD_NUMBER: _ClassVar[int]
    BELOW_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    PATTERN_IN_WORDS_FIELD_NUMBER: _ClassVar[int]
    ODD_FIELD_NUMBER: _ClassVar[int]
    UNIQUE_BY_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_TEXT_FIELD_NUMBER: _ClassVar[int]
    ASCENDING_FIELD_NUMBER: _ClassVar[int]
    required: bool
    min: float
    max: float
    above: float
    below: float
    json: bool
    pattern: str
    pattern_in_words: str
    odd: bool
    unique_by: str
    default_text: str
    ascending: bool
    def __init__(self, required: bool = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., above: _Optional[float] = ..., below: _Optional[float] = ..., json: bool = ..., pattern: _Optional[str] = ..., pattern_in_words: _Optional[str] = ..., odd: bool = ..., unique_by: _Optional[str] = ..., default_text: _Optional[str] = ..., ascending: bool = ...) -> None: ...

class MessageRule(_message.Message):
    __slots__ = ("any_of",)
    ANY_OF_FIELD_NUMBER: _ClassVar[int]
    any_of: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, any_of: _Optional[_Iterable[str]] = ...) -> None: ...

class OneofRule(_message.Message):
    __slots__ = ("required",)
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    required: bool
    def __init__(self, required: bool = ...) -> None: ...
