"""The rows of the dashboard: what on-call asks, in the order in which it is asked."""

from .calls import SLOW, WELL
from .machinery import ENGINE, PROCESSES
from .work import BATCHES, ERRORS, QUEUE, STREAMS

ROWS = (WELL, SLOW, QUEUE, BATCHES, ERRORS, STREAMS, ENGINE, PROCESSES)
