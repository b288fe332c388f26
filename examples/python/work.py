"""Works through a tenant's log as one client of a durable consumer; start several, and they share the work.

For example:

    calbridge consumer create mails --filter 'kind = APPEARED'
    python work.py --consumer mails
"""

import argparse
import sys
from typing import Any

import grpc

from client import schema
from client.connect import add_flags, connect, target
from client.consume import consume
from client.errors import refusal
from client.schema import name_of


def main() -> int:
    flags = read_flags()
    with connect(target(flags)) as channel:
        api = schema.from_reflection(channel)
        try:
            consume(api, channel, flags.tenant, flags.consumer, handle)
        except grpc.RpcError as error:
            print(refusal(error), file=sys.stderr)
            return 1


def handle(item: Any) -> None:
    """Your own work. It may come twice: remember `position` in the same transaction."""
    entry = item.transition
    print(entry.position, entry.uid, name_of(entry, "kind"), name_of(entry, "to_status"), flush=True)


def read_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser)
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--consumer", required=True)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
