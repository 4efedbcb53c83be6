"""An instrument that loads a server or Envoy, by gRPC as `benchmarks.load` or by JSON over HTTP."""

import http.client
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from benchmarks import checkpoints, load
from benchmarks.instrument import MeasurementError, serve

from .points import JSON

PATH = "/classwire.v1.ClassifyService/Classify"
HEADERS = {"content-type": "application/json"}


def by_json(target: str, texts: Sequence[str], in_flight: int) -> dict[str, Any]:
    """Send one text per call over `in_flight` connections, and parse the answers.

    Returns JSON: texts answered, seconds, and each text's latency. Raises ValueError for an answer
    without a result.
    """
    bodies = iter([json.dumps({"input": {"text": text}}).encode() for text in texts])
    latencies_s: list[float] = []  # list.append and next(bodies) are atomic

    def call(connection: http.client.HTTPConnection) -> None:
        for body in bodies:
            started_s = time.perf_counter()
            connection.request("POST", PATH, body, HEADERS)
            answer = json.loads(connection.getresponse().read())
            latencies_s.append(time.perf_counter() - started_s)
            if "result" not in answer:
                raise ValueError(f"code {answer['code']}: {answer['message']}")

    connections = [
        http.client.HTTPConnection(target, timeout=load.TIMEOUT_S) for _ in range(in_flight)
    ]
    try:
        for connection in connections:
            connection.connect()
        with ThreadPoolExecutor(in_flight) as pool:
            started_s = time.perf_counter()
            for done in [pool.submit(call, connection) for connection in connections]:
                done.result()
            seconds = time.perf_counter() - started_s
    finally:
        for connection in connections:
            connection.close()
    return {"texts": len(latencies_s), "seconds": seconds, "latencies_s": latencies_s}


def run(target: str, shape: str, lengths: Sequence[int], in_flight: int, words: str) -> Any:
    """See `benchmarks.load.run`; the shape may also be JSON. Raises MeasurementError for a failed
    call by gRPC, ValueError for one by JSON.
    """
    if shape == JSON:
        texts = checkpoints.texts(lengths, checkpoints.words_of(words))
        return by_json(target, texts, in_flight)
    try:
        return load.run(target, shape, lengths, in_flight, words)
    except grpc.RpcError as error:
        raise MeasurementError(f"{error.code()}: {error.details()}") from None


if __name__ == "__main__":
    serve({"run": run})
