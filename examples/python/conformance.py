"""Runs the shared script `../conformance.json` against a service: a line a step, exit code 1 at the first that fails.

For example:

    python conformance.py --schema reflection
    python conformance.py --schema proto --protos ../../proto --tenant acme --reader-token-file reader.token
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import uuid
from pathlib import Path
from typing import Any

import grpc

from client import schema
from client.connect import Target, add_flags, connect, target
from client.consume import Consumption
from client.errors import refusal
from client.watch import Cursor, watch
from script import Mismatch, Plain, at, filled, must_hold, plain

HERE = Path(__file__).resolve().parent
# No step takes longer, unless something that must come does not.
PATIENCE = 20.0


def main() -> int:
    flags = read_flags()
    script = json.loads(flags.script.read_text())
    with connect(target(flags)) as channel, tempfile.TemporaryDirectory() as folder:
        api = schema.from_protos(flags.protos) if flags.schema == "proto" else schema.from_reflection(channel)
        run = Run(api, {"": channel, **others(flags, Path(folder))}, Path(folder))
        run.values = {**script["values"], "run": uuid.uuid4().hex[:8], "tenant": flags.tenant}
        skipped = 0
        for number, step in enumerate(script["steps"], 1):
            if step.get("as", "") not in run.channels:
                skipped += 1
                print(f"{number:3} skipped, needs --reader-token-file: {step['step']}", flush=True)
                continue
            patience = threading.Timer(PATIENCE, hang, (number, step))
            patience.start()
            try:
                run.step(step)
            except (Mismatch, grpc.RpcError) as failure:
                seen = refusal(failure) if isinstance(failure, grpc.RpcError) else failure
                print(f"{number:3} FAILED: {step['step']}\n    {seen}", flush=True)
                return 1
            finally:
                patience.cancel()
            print(f"{number:3} ok: {step['step']}", flush=True)
    print(f"{len(script['steps']) - skipped} steps ok, {skipped} skipped", flush=True)
    return 0


class Run:
    """What is known while the script runs."""

    def __init__(self, api: schema.Schema, channels: dict[str, grpc.Channel], folder: Path) -> None:
        self.channels = channels
        self.values: dict[str, Plain] = {}
        self._api = api
        self._folder = folder

    def step(self, step: dict[str, Plain]) -> None:
        later = {name: step[name] for name in ("meanwhile", "keep") if name in step}
        step = filled({name: part for name, part in step.items() if name not in later}, self.values) | later
        expected = step.get("refused")
        try:
            if "call" in step:
                answer = self._call(step)
            elif "watch" in step:
                answer = self._watch(step)
            else:
                answer = self._consume(step)
        except grpc.RpcError as error:
            if expected is None:
                raise
            seen = refusal(error)
            must_hold(expected, {"code": seen.code, "reason": seen.reason, "metadata": seen.metadata})
            return
        if expected is not None:
            raise Mismatch(f"expected {json.dumps(expected)}, seen an answer")
        must_hold(step.get("expect", {}), answer)
        for name, path in step.get("keep", {}).items():
            self.values[name] = at(answer, path)

    def _call(self, step: dict[str, Any]) -> Plain:
        """One answer as it is; those of a stream as a list, by their sequence."""
        service, method = step["call"].split(".")
        call = getattr(getattr(self._api, service)(self.channels[step.get("as", "")]), method)
        kind = getattr(self._api, f"{method}Request")
        if "requests" not in step:
            return plain(call(kind(**step["request"])))
        answers = call(iter([kind(**request) for request in step["requests"]]))
        return sorted((plain(answer) for answer in answers), key=lambda answer: int(answer["sequence"]))

    def _watch(self, step: dict[str, Any]) -> Plain:
        """The entries that came: `take` of them, or all up to the head."""
        cursor = Cursor(self._folder / step["cursor"]) if "cursor" in step else Cursor(self._folder / uuid.uuid4().hex)
        entries: list[Plain] = []
        meanwhile = [step["meanwhile"]] if "meanwhile" in step else []

        def caught_up() -> None:
            while meanwhile:
                self.step(meanwhile.pop())

        take = step.get("take")
        choices = {**step["watch"], "cursor": cursor, "caught_up": caught_up, "stop_at_head": take is None}
        for entry in watch(self._api, self.channels[step.get("as", "")], **choices):
            entries.append(plain(entry))
            if len(entries) == take:
                break
        return entries

    def _consume(self, step: dict[str, Any]) -> Plain:
        """The items that came, of each of which was said what the script wants, and what the service heard too late."""
        items: list[Plain] = []
        with Consumption(self._api, self.channels[step.get("as", "")], **step["consume"]) as client:
            says = iter(step["say"])
            for item in client:
                for what in next(says):
                    self._say(client, what, item.id, items)
                items.append(plain(item))
                if len(items) == len(step["say"]):
                    break
        return {"items": items, "lost": client.lost}

    def _say(self, client: Consumption, what: dict[str, Any], id: str, before: list[Any]) -> None:
        [(kind, said)] = what.items()
        if kind == "nack":
            client.nack(id, **said)
        elif kind == "ack_before":
            client.ack(before[-1]["id"])
        else:
            getattr(client, kind)(id)


def hang(number: int, step: dict[str, Any]) -> None:
    print(f"{number:3} FAILED: {step['step']}\n    nothing came within {PATIENCE:.0f} s", flush=True)
    os._exit(1)


def others(flags: argparse.Namespace, folder: Path) -> dict[str, grpc.Channel]:
    """Who calls besides: one who may read alone, one without a token, one whose token nobody has."""
    if flags.reader_token_file is None:
        return {}
    made_up = folder / "made-up.token"
    made_up.write_text("cbt_made_up_by_the_conformance_script")
    tokens = {"reader": flags.reader_token_file, "nobody": None, "forger": str(made_up)}
    return {who: connect(Target(flags.service, ca=flags.service_ca, token_file=file)) for who, file in tokens.items()}


def read_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser)
    parser.add_argument("--schema", choices=("proto", "reflection"), default="proto")
    parser.add_argument("--protos", type=Path, default=HERE.parent.parent / "proto", help="where the .proto files are")
    parser.add_argument("--script", type=Path, default=HERE.parent / "conformance.json")
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--reader-token-file", help="a token of the scope `read` alone, for the steps about callers")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
