"""What a service says when it refuses: match the reason, never the message."""

from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

DOMAIN = "calbridge"


@dataclass(frozen=True)
class Refusal:
    """A code of gRPC, and the `google.rpc.ErrorInfo` that calbridge puts beside it."""

    code: str
    # BOOKING_NOT_FOUND, CURSOR_EXPIRED, …; empty where it was not calbridge that answered.
    reason: str
    # For programs: earliest_position of CURSOR_EXPIRED, scope of SCOPE_MISSING, …
    metadata: dict[str, str]
    # For people.
    message: str

    def __str__(self) -> str:
        return f"{self.code}/{self.reason}: {self.message}" if self.reason else f"{self.code}: {self.message}"

    def is_passing(self) -> bool:
        """Whether the same call may succeed by and by. What it would have written was not committed."""
        # RESOURCE_EXHAUSTED is also what gRPC says of a message that is too large, for ever.
        return self.code == "UNAVAILABLE" or self.reason == "OVERLOADED"


def refusal(error: grpc.RpcError) -> Refusal:
    # `grpc-status-details-bin`: the code and message again, and details.
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info) and info.domain == DOMAIN:
            break
    else:
        info.Clear()
    return Refusal(error.code().name, info.reason, dict(info.metadata), error.details() or "")
