"""Classify each line of standard input, which may be endless: stream.py HOST:PORT [CA.pem].

Prints each line's number, label and score, or its number and the error's reason.
"""

import sys

from classwire import ClasswireError, Client, StreamItem, Tls


def main() -> int:
    """Print each outcome when it is known; return 1 if no server comes back."""
    target, *ca = sys.argv[1:]
    tls = Tls(ca=ca[0]) if ca else False
    # The client reads lazily: at most the server's window of lines has no outcome yet.
    lines = (
        StreamItem(str(number), line.strip()) for number, line in enumerate(sys.stdin, start=1)
    )

    # If a server drains or fails, the client sends the lines without an outcome to another one. It
    # gives up after 30 s without a server.
    with Client(target, tls=tls, timeout_s=30) as client:
        try:
            for number, _, outcome in client.classify_stream(lines, item_timeout_s=60):
                if outcome.ok:
                    print(number, outcome.label, f"{outcome.score:.4f}", sep="\t", flush=True)
                else:  # the error of this line
                    print(number, outcome.reason, sep="\t", flush=True)
        except ClasswireError as error:  # the error of the whole stream
            print(f"{error}: no answer to {', '.join(error.unanswered)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
