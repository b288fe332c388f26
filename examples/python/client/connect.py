"""Where the service is, what is shown to it, and the channel to it.

A token never travels in the clear: beyond this machine it needs https.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import grpc

# A page of bookings with long answers is larger than gRPC's own 4 MiB.
MESSAGE_BYTES = 64 * 1024 * 1024
# A service that has gone without a word is noticed after this and KEEPALIVE_ANSWER_MS, also by a silent stream.
KEEPALIVE_MS = 20_000
KEEPALIVE_ANSWER_MS = 10_000

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Target:
    """The flags and variables of calbridge's own commands, with the same meaning."""

    service: str = "http://127.0.0.1:50051"
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    token_file: str | None = None


def add_flags(parser: argparse.ArgumentParser) -> None:
    def add(name: str, what: str, default: str | None = None) -> None:
        variable = f"CALBRIDGE_{name.upper().replace('-', '_')}"
        parser.add_argument(f"--{name}", default=os.environ.get(variable, default), help=f"{what} ({variable})")

    add("service", "http://HOST:PORT or https://HOST:PORT", Target.service)
    add("service-ca", "who may vouch for the service, PEM; else the public authorities")
    add("service-certificate", "what is shown to a service that asks for a certificate, PEM")
    add("service-key", "its key, PEM")
    add("service-token-file", "the token that is shown to the service")


def target(flags: argparse.Namespace) -> Target:
    return Target(
        flags.service,
        flags.service_ca,
        flags.service_certificate,
        flags.service_key,
        flags.service_token_file,
    )


def connect(to: Target) -> grpc.Channel:
    """Nothing is sent before the first call; the channel connects anew by itself."""
    url = urlsplit(to.service)
    if url.scheme not in ("http", "https") or not url.hostname or not url.port:
        raise ValueError(f"service {to.service!r} must be http://HOST:PORT or https://HOST:PORT")
    options = [
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_ANSWER_MS),
    ]
    if url.scheme == "https":
        credentials = grpc.ssl_channel_credentials(_read(to.ca), _read(to.key), _read(to.certificate))
        channel = grpc.secure_channel(url.netloc, credentials, options)
    else:
        channel = grpc.insecure_channel(url.netloc, options)
    if to.token_file is None:
        return channel
    if url.scheme == "http" and url.hostname not in LOOPBACK:
        raise ValueError(f"service {to.service!r}: a token needs https, or a service on this machine")
    return grpc.intercept_channel(channel, _Bearer(Path(to.token_file).read_text().strip()))


def _read(path: str | None) -> bytes | None:
    return Path(path).read_bytes() if path else None


class _Details(NamedTuple):
    """gRPC's interface has no values of its own."""

    method: str
    timeout: float | None
    metadata: list[tuple[str, str | bytes]]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Bearer(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Shows the token with every call. gRPC's own call credentials refuse to do so without TLS, on loopback too."""

    def __init__(self, token: str) -> None:
        self._header = ("authorization", f"Bearer {token}")

    def intercept_unary_unary(self, continuation: Callable, details: grpc.ClientCallDetails, request: Any) -> Any:
        metadata = [*(details.metadata or ()), self._header]
        shown = _Details(
            details.method,
            details.timeout,
            metadata,
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )
        return continuation(shown, request)

    intercept_unary_stream = intercept_unary_unary
    intercept_stream_unary = intercept_unary_unary
    intercept_stream_stream = intercept_unary_unary
