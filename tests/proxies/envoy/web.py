"""Calls without gRPC, by JSON and by gRPC-Web, as a browser makes them."""

import base64
import http.client
import json
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from tests.contract.engines import PATIENCE_S

CLASSIFY = "classwire.v1.ClassifyService/Classify"
TRAILERS = 0x80
"""The flag of the frame that ends a response of gRPC-Web."""

M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Reply:
    """An answer by HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON by its type too."""
        assert self.headers["content-type"] == "application/json", self
        return json.loads(self.body)


def send(
    target: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
    tls: ssl.SSLContext | None = None,
) -> Reply:
    """Make an HTTP request on a new connection, by TLS if `tls` is given."""
    connection = http.client.HTTPConnection(target, timeout=PATIENCE_S)
    if tls is not None:
        connection = http.client.HTTPSConnection(target, timeout=PATIENCE_S, context=tls)
    try:
        connection.request(method, f"/{path}", body, dict(headers or {}))
        return _reply(connection.getresponse())
    finally:
        connection.close()


def raw(target: str, request: bytes) -> Reply:
    """Send bytes on a new connection, and read one answer."""
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        connection.sendall(request)
        with http.client.HTTPResponse(connection, method="POST") as response:
            response.begin()
            return _reply(response)


def _reply(response: http.client.HTTPResponse) -> Reply:
    names = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, names, response.read())


def post(target: str, path: str, request: object, **headers: str) -> Reply:
    """Make a call with a request in JSON."""
    sent = {"content-type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return send(target, path, json.dumps(request).encode(), sent)


@dataclass(frozen=True)
class WebOutcome:
    """The messages and the trailers of a call by gRPC-Web."""

    messages: list[bytes]
    trailers: Mapping[str, str]

    def message(self, kind: type[M]) -> M:
        """The only message."""
        (found,) = self.messages
        return kind.FromString(found)


def grpc_web(target: str, path: str, request: Message, *, is_text: bool = False) -> WebOutcome:
    """Make a call by gRPC-Web; `is_text` encodes both ways by base64."""
    content = request.SerializeToString()
    body = struct.pack(">BI", 0, len(content)) + content
    kind = "application/grpc-web-text" if is_text else "application/grpc-web+proto"
    headers = {"content-type": kind, "accept": kind, "x-grpc-web": "1"}
    reply = send(target, path, base64.b64encode(body) if is_text else body, headers)
    # Envoy's own errors have another status too.
    assert reply.status == 200 or "grpc-status" in reply.headers, reply
    left = reply.body
    if is_text:  # each frame may be padded
        left = b"".join(base64.b64decode(left[n : n + 4]) for n in range(0, len(left), 4))
    messages = []
    # An error may come in the headers, without a frame.
    trailers = {name: value for name, value in reply.headers.items() if name.startswith("grpc-")}
    while left:
        flag, length = struct.unpack(">BI", left[:5])
        frame, left = left[5 : 5 + length], left[5 + length :]
        if flag == TRAILERS:
            trailers |= dict(line.split(":", 1) for line in frame.decode().split("\r\n") if line)
        else:
            messages.append(frame)
    return WebOutcome(messages, trailers)
