"""Loads gRPC with its log off, so that it writes nothing to a program's standard error.

gRPC reads GRPC_VERBOSITY when it is loaded. A program that loads gRPC before Classwire, or sets the
variable, keeps its log. Import this module before gRPC.
"""

import os
import sys

if "grpc" not in sys.modules and "GRPC_VERBOSITY" not in os.environ:
    os.environ["GRPC_VERBOSITY"] = "NONE"
    try:
        import grpc  # noqa: F401
    finally:
        del os.environ["GRPC_VERBOSITY"]  # child processes decide for themselves
