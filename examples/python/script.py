"""The shared script as Python sees it: its values, and how an answer is compared with what must come.

`../conformance.json` is the script and `../README.md` its grammar; `../node/script.js` is this file's twin.
"""

import json
import re
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

# A booking is long, and its beginning says enough.
SHOWN = 500

VALUE = re.compile(r"\$\{([a-z_0-9]+)\}")

# What JSON can hold, and bytes.
Plain = Any


class Mismatch(Exception):  # noqa: N818, it is a finding
    """What came is not what must come."""


def filled(text: Plain, values: dict[str, Plain]) -> Plain:
    """`${name}` is a value: any one where it is the whole text, a text within a longer one. `{"$body": …}` is the bytes
    of what it holds, as compact JSON; `{"$text": …}` is a text where any JSON may stand."""
    if isinstance(text, list):
        return [filled(part, values) for part in text]
    if isinstance(text, dict):
        whole = {name: filled(part, values) for name, part in text.items()}
        if "$text" in whole:
            return {"string_value": whole["$text"]}
        if "$body" in whole:
            return json.dumps(whole["$body"], separators=(",", ":"), ensure_ascii=False).encode()
        return whole
    if not isinstance(text, str):
        return text
    if value := VALUE.fullmatch(text):
        return filled(values[value[1]], values)
    return VALUE.sub(lambda found: filled(found[0], values), text)


def plain(message: Message) -> Plain:
    """A message as the script writes it: enums by name, 64-bit integers as texts, an unset message or optional as null,
    times as seconds and nanos, free JSON as itself."""
    if message.DESCRIPTOR.full_name == "google.protobuf.Struct":
        return json_format.MessageToDict(message)
    return {field.name: _field(message, field) for field in message.DESCRIPTOR.fields}


def at(message: Plain, path: str) -> Plain:
    """`bookings.0.uid`."""
    for part in path.split("."):
        message = message[int(part)] if isinstance(message, list) else message[part]
    return message


def must_hold(expected: Plain, seen: Plain, path: str = "") -> None:
    """Every field that is expected is there; others may be. "*" is anything that is not empty."""
    if expected == "*" and seen:
        return
    if isinstance(expected, dict) and isinstance(seen, dict):
        for name, part in expected.items():
            must_hold(part, seen.get(name), f"{path}.{name}" if path else name)
    elif isinstance(expected, list) and isinstance(seen, list):
        if len(expected) != len(seen):
            counts = f"expected {len(expected)} of them, seen {len(seen)}"
            raise Mismatch(f"{path or 'the answer'}: {counts}: {_shown(seen)}")
        for index, part in enumerate(expected):
            must_hold(part, seen[index], f"{path}.{index}" if path else str(index))
    elif type(expected) is not type(seen) or expected != seen:
        raise Mismatch(f"{path or 'the answer'}: expected {_shown(expected)}, seen {_shown(seen)}")


def _shown(side: Plain) -> str:
    return json.dumps(side, ensure_ascii=False, default=str)[:SHOWN]


def _field(message: Message, field: FieldDescriptor) -> Plain:
    value = getattr(message, field.name)
    if field.message_type and field.message_type.GetOptions().map_entry:
        kind = field.message_type.fields_by_name["value"]
        return {key: _one(part, kind) for key, part in value.items()}
    if field.is_repeated:
        return [_one(part, field) for part in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _one(value, field)


def _one(value: Any, field: FieldDescriptor) -> Plain:
    if field.message_type:
        return plain(value)
    if field.enum_type:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    if field.cpp_type in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64):
        return str(value)
    return value
