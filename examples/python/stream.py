"""Classify standard input by the line, however long it is: stream.py HOST:PORT [CA.pem].

Prints for each line its number, label and score, or its number and the reason why it has none.
"""

import sys

from classwire import ClasswireError, Client, Item, Tls


def main() -> int:
    """Print an outcome for each line, as it is known; 1 when the servers went away for good."""
    target, *ca = sys.argv[1:]
    tls = Tls(ca=ca[0]) if ca else False
    # Read no faster than the server answers: at most its window lies between here and the loop.
    lines = (Item(str(number), line.strip()) for number, line in enumerate(sys.stdin, start=1))

    # What a server that drains or fails has left unanswered, the client sends to another; it gives
    # up when there has been none for 30 s.
    with Client(target, tls=tls, timeout_s=30) as client:
        try:
            for number, outcome in client.classify_stream(lines, item_timeout_s=60):
                if isinstance(outcome, ClasswireError):  # of this line alone
                    print(number, outcome.reason, sep="\t", flush=True)
                else:
                    print(number, outcome.label, f"{outcome.score:.4f}", sep="\t", flush=True)
        except ClasswireError as error:  # of the whole stream
            print(f"{error}: no answer to {', '.join(error.unanswered)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
