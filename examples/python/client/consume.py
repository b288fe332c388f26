"""One client of a durable consumer: the service keeps the cursor, and deals entries out to all clients that it has.

Each entry comes at least once. So do what you do for it in one transaction with its position, and pass by what is
there.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import grpc

from .errors import refusal
from .schema import Schema
from .watch import Pauses

# A service that was told the last word answers it with the end of the call; one that hangs is left.
GOODBYE = 5.0


class Consumption:
    """A call of `Consume`: iterate over its items, and say of each what became of it.

    At the end of the `with` block what was said is heard by the service; what was not settled goes to others at once.
    """

    def __init__(self, schema: Schema, channel: grpc.Channel, tenant: str, consumer: str, max_in_flight: int = 0):
        self._schema = schema
        self._requests: queue.SimpleQueue = queue.SimpleQueue()
        self._say(open={"tenant": tenant, "consumer": consumer, "max_in_flight": max_in_flight})
        self._call = schema.ConsumerService(channel).Consume(iter(self._requests.get, None))
        # Ids of which the service heard too late: their leases had ended, and they may be out to another client.
        self.lost: list[str] = []

    def __enter__(self) -> "Consumption":
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.put(None)
        patience = threading.Timer(GOODBYE, self._call.cancel)
        patience.start()
        try:
            # What comes now goes to others.
            for _item in self:
                pass
        except grpc.RpcError:
            # What the service did not hear comes again.
            pass
        finally:
            patience.cancel()

    def __iter__(self) -> Iterator[Any]:
        for response in self._call:
            kind = response.WhichOneof("response")
            if kind == "item":
                yield response.item
            elif kind == "leases_lost":
                self.lost.extend(response.leases_lost.ids)

    def ack(self, *ids: str) -> None:
        """These are dealt with."""
        self._say(ack={"ids": ids})

    def nack(self, id: str, action: str = "RETRY", reason: str = "", delay: dict[str, int] | None = None) -> None:
        """RETRY: again after a pause, the consumer's own unless `delay` says another. PARK: a dead letter now. SKIP:
        let it go. Operators read the reason, so it holds no personal data."""
        self._say(nack={"id": id, "action": f"NACK_ACTION_{action}", "reason": reason, "delay": delay})

    def extend(self, *ids: str) -> None:
        """These take longer: each is out for another `ack_wait` from now."""
        self._say(extend={"ids": ids})

    def _say(self, **request: Any) -> None:
        self._requests.put(self._schema.ConsumeRequest(**request))


def consume(
    schema: Schema,
    channel: grpc.Channel,
    tenant: str,
    consumer: str,
    handle: Callable[[Any], None],
    max_in_flight: int = 0,
) -> NoReturn:
    """Hands every item to `handle`, and acks it when that returns; what it raises is a nack. Goes on for ever: a
    service that is away comes back. What does not pass, such as CONSUMER_PAUSED, is raised."""
    pauses = Pauses()
    while True:
        try:
            with Consumption(schema, channel, tenant, consumer, max_in_flight) as client:
                for item in client:
                    pauses.begin_again()
                    try:
                        handle(item)
                    except Exception as failure:  # whatever it is: one entry that fails must not stop the others
                        client.nack(item.id, reason=type(failure).__name__)
                    else:
                        client.ack(item.id)
        except grpc.RpcError as error:
            if not refusal(error).is_passing():
                raise
        pauses.wait()
