"""A part of the benchmark that hangs, crashes or fails after its first figure."""

import os
import signal
import sys
import threading

from benchmarks.gpu.parts import emit, redirect

redirect()
emit("rate", value=1)
print("not a figure")
if sys.argv[1] == "hangs":
    threading.Event().wait()
if sys.argv[1] == "crashes":
    os.kill(os.getpid(), signal.SIGSEGV)
sys.exit(3)
