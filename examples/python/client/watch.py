"""Following a tenant's log, with a cursor of one's own.

Every entry comes in its order, and none is left out, however often the connection, the service or this program ends.
What was not dealt with at the end of the program comes again.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc

from .errors import refusal
from .schema import Schema

# Between two tries while the service is away: drawn between half of it and all of it, twice as long each time.
PAUSE_FIRST = 0.1
PAUSE_LONGEST = 10.0


class Cursor:
    """A position in a file. What was written is there after a crash, the old one or the new one, never half of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.position = path.read_text().strip() if path.exists() else ""

    def move(self, position: str) -> None:
        written = self._path.with_name(self._path.name + ".new")
        with written.open("w") as file:
            file.write(position)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._path)
        self.position = position


def watch(
    schema: Schema,
    channel: grpc.Channel,
    tenant: str,
    cursor: Cursor,
    caught_up: Callable[[], None] = lambda: None,
    **choices: Any,
) -> Iterator[Any]:
    """Transitions, and with `include_recorded=True` deliveries that change no booking.

    An entry is dealt with when the next one is asked for: then the cursor moves. `caught_up` is called with each
    heartbeat, the first of which comes at the end of what is kept. `choices` are further fields of
    `WatchTransitionsRequest`. CURSOR_EXPIRED, like everything else that does not pass, is raised.
    """
    pauses = Pauses()
    while True:
        request = schema.WatchTransitionsRequest(tenant=tenant, after_position=cursor.position, **choices)
        call = schema.BookingService(channel).WatchTransitions(request)
        try:
            for response in call:
                pauses.begin_again()
                kind = response.WhichOneof("entry")
                entry = getattr(response, kind)
                if kind == "heartbeat":
                    # It moves the cursor past what the filter leaves out, so that it does not grow old.
                    caught_up()
                else:
                    yield entry
                cursor.move(entry.position)
            return
        except grpc.RpcError as error:
            if not refusal(error).is_passing():
                raise
        finally:
            call.cancel()
        pauses.wait()


class Pauses:
    """Between tries, longer each time, and never the same for two clients."""

    def __init__(self) -> None:
        self._next = PAUSE_FIRST

    def begin_again(self) -> None:
        self._next = PAUSE_FIRST

    def wait(self) -> None:
        time.sleep(self._next * random.uniform(0.5, 1))
        self._next = min(self._next * 2, PAUSE_LONGEST)
