"""`classwire` without the counts of labels, to measure what they cost.

python -m benchmarks.uncounted serve
"""

import sys
from typing import Any
from unittest.mock import patch

from classwire.cli import main


def _count_nothing(*_: Any) -> None:
    pass


if __name__ == "__main__":
    with patch("classwire_server.service.responses.record", _count_nothing):
        sys.exit(main())
