"""The worker as a program. Its arguments are the file descriptors of its connections."""

import sys
from multiprocessing.connection import Connection

from .main import main

if __name__ == "__main__":
    control, *links = (Connection(int(argument)) for argument in sys.argv[1:])
    main(control, links)
