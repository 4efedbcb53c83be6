"""The rows of the dashboard, in the order of an investigation."""

from .calls import SLOW, WELL
from .machinery import ENGINE, PROCESSES
from .predictions import PREDICTIONS
from .work import BATCHES, ERRORS, QUEUE, STREAMS

ROWS = (WELL, SLOW, QUEUE, BATCHES, ERRORS, STREAMS, PREDICTIONS, ENGINE, PROCESSES)
