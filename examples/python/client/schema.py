"""The schema at run time: messages and stubs by their names.

A service of your own runs protoc once, as it is built, and imports what comes of it. Here both ways that need no build
are shown: the .proto files, and asking the service itself.
"""

import importlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

PACKAGE = "calbridge.v1"
SERVICES = ("IngestService", "BookingService", "ConsumerService", "DeliveryService")


class Schema:
    """`schema.GetBookingRequest(…)` is a message, `schema.BookingService(channel)` a stub."""

    def __init__(self, message: Callable[[str], type[Message]], stub: Callable[[str], type]) -> None:
        self._message = message
        self._stub = stub

    def __getattr__(self, name: str) -> Any:
        found = self._stub(name) if name in SERVICES else self._message(name)
        setattr(self, name, found)
        return found


def from_protos(folder: Path) -> Schema:
    """Lets protoc make Python of the files, and imports it."""
    # Needed by this way alone.
    from grpc_tools import protoc

    files = sorted(str(file.relative_to(folder)) for file in (folder / PACKAGE.replace(".", "/")).glob("*.proto"))
    if not files:
        raise ValueError(f"{folder} holds no calbridge/v1/*.proto: give the folder `proto` of calbridge")
    made = tempfile.TemporaryDirectory(prefix="calbridge-")
    well_known = Path(protoc.__file__).parent / "_proto"
    to = [f"--python_out={made.name}", f"--grpc_python_out={made.name}"]
    if protoc.main(["protoc", f"-I{folder}", f"-I{well_known}", *to, *files]) != 0:
        raise ValueError(f"protoc does not understand the files in {folder}")
    sys.path.insert(0, made.name)
    try:
        names = [file.removesuffix(".proto").replace("/", ".") for file in files]
        messages = [importlib.import_module(f"{name}_pb2") for name in names]
        stubs = [importlib.import_module(f"{name}_pb2_grpc") for name in names]
    finally:
        sys.path.remove(made.name)
        made.cleanup()
    return Schema(lambda name: _of(messages, name), lambda name: _of(stubs, f"{name}Stub"))


def from_reflection(channel: grpc.Channel) -> Schema:
    """Asks the service for its schema. No file is needed, and none can be out of date."""
    # Needed by this way alone.
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))

    def message(name: str) -> type[Message]:
        try:
            return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        except KeyError as unknown:
            raise AttributeError(f"{PACKAGE} has no message {name}") from unknown

    return Schema(message, lambda name: _stub(pool.FindServiceByName(f"{PACKAGE}.{name}")))


def name_of(message: Message, field: str) -> str:
    """An enum's value as the schema calls it; a newer service may have values without a name here."""
    number = getattr(message, field)
    value = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    return value.name if value else str(number)


def _of(modules: list, name: str) -> Any:
    for module in modules:
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"{PACKAGE} has no {name}")


def _stub(service: ServiceDescriptor) -> type:
    """What protoc would have made of a service."""

    def connect(self: Any, channel: grpc.Channel) -> None:
        for method in service.methods:
            asked = "stream" if method.client_streaming else "unary"
            answered = "stream" if method.server_streaming else "unary"
            call = getattr(channel, f"{asked}_{answered}")(
                f"/{service.full_name}/{method.name}",
                request_serializer=message_factory.GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
            )
            setattr(self, method.name, call)

    return type(f"{service.name}Stub", (), {"__init__": connect})
