"""Prints each change of a tenant's bookings, and goes on tomorrow where it ends today.

For example:

    python follow.py --cursor cursor.txt --filter 'status = SCHEDULED'
"""

import argparse
import sys
from pathlib import Path

import grpc

from client import schema
from client.connect import add_flags, connect, target
from client.errors import refusal
from client.schema import name_of
from client.watch import Cursor, watch


def main() -> int:
    flags = read_flags()
    with connect(target(flags)) as channel:
        api = schema.from_reflection(channel)
        choices = {"filter": flags.filter, "stop_at_head": flags.stop_at_head}
        try:
            for entry in watch(api, channel, flags.tenant, Cursor(flags.cursor), **choices):
                # A program that must know also what is in the booking finds it in `entry.booking`.
                print(entry.position, entry.uid, name_of(entry, "kind"), name_of(entry, "to_status"), flush=True)
        except grpc.RpcError as error:
            refused = refusal(error)
            print(refused, file=sys.stderr)
            if refused.reason == "CURSOR_EXPIRED":
                # What was purged can't be told any more: read the bookings as they are, then follow from here.
                print(f"earliest position: {refused.metadata['earliest_position']}", file=sys.stderr)
            return 1
    return 0


def read_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser)
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--cursor", type=Path, required=True, help="the file that keeps the position")
    parser.add_argument("--filter", default="")
    parser.add_argument("--stop-at-head", action="store_true", help="end after what is kept")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
