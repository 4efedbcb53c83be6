"""Run all vectors: VECTORS serving=HOST:PORT [faulty=HOST:PORT] [draining=HOST:PORT]."""

import json
import sys
from collections import Counter
from collections.abc import Mapping

import grpc

from .calls import Json, NotHeld, attempt
from .verdict import verdict

READY_S = 10.0


def main(vectors: str, *servers: str) -> int:
    """Print failures, a line for each group, and the sum; return 1 if any vector fails.

    Returns 2, after one line with the reason, if a server is unreachable or none is named.
    """
    with open(vectors, encoding="utf-8") as file:
        document = json.load(file)
    channels = {
        name: grpc.insecure_channel(target)
        for name, _, target in (server.partition("=") for server in servers)
    }
    if obstacle := _obstacle(document, channels):
        print(obstacle, file=sys.stderr)
        return 2
    total: Counter[str] = Counter()
    for group in document["groups"]:
        counts: Counter[str] = Counter()
        channel = channels.get(group["server"])
        for vector in group["vectors"]:
            if channel is None:
                counts["skipped"] += 1
                continue
            found = _failures(channel, vector, document["tolerance"])
            counts["failed" if found else "passed"] += 1
            if found:
                print(f"FAIL {group['name']}/{vector['name']}: {'; '.join(found)}")
        print(f"group {group['name']}: {_sum(counts)}", flush=True)
        total += counts
    print(_sum(total))
    return int(total["failed"] > 0)


def _obstacle(document: Json, channels: Mapping[str, grpc.Channel]) -> str:
    """Return why these servers can't be used, else "": a cancelled call passes without a server."""
    known = {group["server"] for group in document["groups"] if group["vectors"]}
    for name, channel in channels.items():
        if name not in known:
            return f"{name}: no vectors are for a server of that name"
        try:
            grpc.channel_ready_future(channel).result(READY_S)
        except grpc.FutureTimeoutError:
            return f"{name}: no answer"
    return "" if channels else "no server is named"


def _failures(channel: grpc.Channel, vector: Json, tolerance: float) -> list[str]:
    try:
        return list(verdict(vector["expect"], attempt(channel, vector), tolerance))
    except NotHeld as problem:
        return [str(problem)]


def _sum(counts: Counter[str]) -> str:
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    return f"{counts['passed']} passed, {counts['failed']} failed{skipped}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
