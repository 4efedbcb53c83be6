"""A part of the benchmark that hangs, or fails, after its first figure."""

import sys
import threading

from benchmarks.gpu.parts import redirect, say

redirect()
say("rate", value=1)
print("not a figure")
if sys.argv[1] == "hangs":
    threading.Event().wait()
sys.exit(3)
