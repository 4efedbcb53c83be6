"""Run all vectors: VECTORS serving=HOST:PORT [faulty=HOST:PORT] [draining=HOST:PORT]."""

import json
import sys
from collections import Counter

import grpc

from .calls import attempt
from .verdict import verdict


def main(vectors: str, *servers: str) -> int:
    """Print what fails, a line for each group, and the sum; the exit code is 1 when any failed."""
    with open(vectors, encoding="utf-8") as file:
        document = json.load(file)
    channels = {
        name: grpc.insecure_channel(target)
        for name, _, target in (server.partition("=") for server in servers)
    }
    total: Counter[str] = Counter()
    for group in document["groups"]:
        counts: Counter[str] = Counter()
        channel = channels.get(group["server"])
        for vector in group["vectors"]:
            if channel is None:
                counts["skipped"] += 1
                continue
            found = list(verdict(vector["expect"], attempt(channel, vector), document["tolerance"]))
            counts["failed" if found else "passed"] += 1
            if found:
                print(f"FAIL {group['name']}/{vector['name']}: {'; '.join(found)}")
        print(f"group {group['name']}: {_sum(counts)}", flush=True)
        total += counts
    print(_sum(total))
    return int(total["failed"] > 0)


def _sum(counts: Counter[str]) -> str:
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    return f"{counts['passed']} passed, {counts['failed']} failed{skipped}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
