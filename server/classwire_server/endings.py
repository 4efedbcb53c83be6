"""What callers hear of texts that end without an answer."""

from classwire.contract.reasons import Reason

from .errors import RequestError


def expired() -> RequestError:
    """The time of a text has passed."""
    return RequestError(Reason.EXPIRED_IN_QUEUE, "the time limit passed before the model ran")


def draining() -> RequestError:
    """The server ends, or the model is another."""
    return RequestError(Reason.DRAINING, "the server, or the model, is going away")


def lost() -> RequestError:
    """There is no process to run the model."""
    return RequestError(Reason.WORKER_LOST, "the model's process has ended and is being restarted")


def poisonous() -> RequestError:
    """The process ended on this text, and on this text alone."""
    return RequestError(Reason.POISON_INPUT, "the model's process ended twice on this text")
