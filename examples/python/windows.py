"""Read a long text in windows: windows.py HOST:PORT TEXT [CA.pem].

Prints label and score of the whole text, then of each window, with the part that it reads.
"""

import sys

from classwire import ClasswireError, Client, Tls


def main() -> int:
    """Print the lines and return 0; print the error and return 1 if there is one."""
    target, text, *ca = sys.argv[1:]
    tls = Tls(ca=ca[0]) if ca else False

    with Client(target, tls=tls, timeout_s=5) as client:
        try:
            # Small windows tell where a label rises; by default they have the model's max_tokens.
            result = client.classify(
                text, truncation="windows", window_tokens=24, include_windows=True
            )
        except ClasswireError as error:
            print(error, file=sys.stderr)
            return 1
    print(result.label, f"{result.score:.4f}", sep="\t")
    labels = {score.label_id: score.label for score in result.scores}
    for window in result.windows:
        label_id, score = max(enumerate(window.scores), key=lambda entry: entry[1])
        part = text[window.start : window.end]
        print(labels[label_id], f"{score:.4f}", part, sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main())
