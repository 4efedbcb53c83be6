"""The rows of the dashboard, in the order of an investigation."""

from .calls import SLOW, WELL
from .machinery import ENGINE, PROCESSES
from .work import BATCHES, ERRORS, QUEUE, STREAMS

ROWS = (WELL, SLOW, QUEUE, BATCHES, ERRORS, STREAMS, ENGINE, PROCESSES)
