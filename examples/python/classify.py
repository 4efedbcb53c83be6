"""Classify one text: classify.py HOST:PORT TEXT [CA.pem]."""

import sys

from classwire import ClasswireError, Client, Reason, Tls


def advice(error: ClasswireError) -> str:
    """Return what to do about an error. Decides by the reason, whose meaning never changes."""
    match error.reason:
        case Reason.EMPTY_TEXT | Reason.TEXT_TOO_LARGE:
            return "send another text"
        case Reason.TOO_MANY_TOKENS:
            return "read all of it: truncation='windows'; or drop its end: 'drop_end'"
        case Reason.OVERLOADED:
            return f"retry in {error.retry_after_s} s, or allow more time"
        case Reason.POISON_INPUT:
            return "do not retry; tell the operator"
        case _:
            return "the same call may fail again"


def main() -> int:
    """Print the label and its score and return 0; print the error and return 1 if there is one."""
    target, text, *ca = sys.argv[1:]
    tls = Tls(ca=ca[0]) if ca else False

    # One client serves all threads of a program. Each call ends within 5 s. Until then the client
    # retries UNAVAILABLE, and OVERLOADED after the server's `retry_after`.
    with Client(target, tls=tls, timeout_s=5) as client:
        try:
            result = client.classify(text)
        except ClasswireError as error:
            print(f"{error}: {advice(error)}", file=sys.stderr)
            return 1
    print(f"{result.label} {result.score:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
