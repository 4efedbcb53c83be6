"""Classify texts over HTTP: uvicorn --app-dir examples/fastapi service:app.

The environment names the server of the models: CLASSWIRE_TARGET, CLASSWIRE_TOKEN and more.
"""

import contextlib
import logging
import math
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from classwire import (
    AsyncClient,
    ClasswireError,
    DeadlineExceededError,
    InvalidInputError,
    MessageTooLargeError,
    OverloadedError,
    PoisonInputError,
    UnavailableError,
)

TIMEOUT_S = 2.0
"""Time of a call, retries included. The server rejects at once what it cannot answer by then."""
MAX_TEXTS = 64

STATUS: dict[type[ClasswireError], int] = {
    InvalidInputError: 422,
    PoisonInputError: 422,  # never a status after which HTTP clients send the text again
    MessageTooLargeError: 413,
    OverloadedError: 503,
    UnavailableError: 503,
    DeadlineExceededError: 504,
}
"""The HTTP status of an error's class. Any other error is this service's own fault: 500."""

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, AsyncClient]]:
    """Share one client, and so one connection, among all requests; close it at the end.

    The client connects at the first call, so the service starts without a server.
    """
    async with AsyncClient.from_env(timeout_s=TIMEOUT_S) as client:
        yield {"client": client}


def shared_client(request: Request) -> AsyncClient:
    """Return the client that the service started with."""
    client: AsyncClient = request.state.client
    return client


class Given(BaseModel):
    """A text, or a pair of texts."""

    text: str
    text_pair: str | None = None


app = FastAPI(lifespan=lifespan)
Shared = Annotated[AsyncClient, Depends(shared_client)]
Texts = Annotated[list[str], Field(max_length=MAX_TEXTS)]


@app.post("/classify")
async def classify(given: Given, client: Shared) -> dict[str, Any]:
    """Return the label and score of one text."""
    result = await client.classify(given.text, given.text_pair)
    return {"label": result.label, "score": result.score}


@app.post("/classify-batch")
async def classify_batch(texts: Texts, client: Shared) -> list[dict[str, Any]]:
    """Return for each text, in order, its label and score or its error."""
    outcomes = await client.classify_batch(texts, top_k=1, timeout_s=2 * TIMEOUT_S)
    return [
        {"label": outcome.label, "score": outcome.score} if outcome.ok else told(outcome)
        for outcome in outcomes
    ]


@app.get("/ready")
async def ready(client: Shared) -> JSONResponse:
    """Return 200 while the server of the models answers calls, else 503, and its health."""
    try:
        health: str = await client.health()
    except ClasswireError as error:
        health = error.reason or error.code.name
    return JSONResponse({"health": health}, 200 if health == "SERVING" else 503)


@app.exception_handler(ClasswireError)
async def failed(request: Request, error: ClasswireError) -> JSONResponse:
    """Return the error of a call, and how long to wait after an overload."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return JSONResponse(told(error), status_of(error), headers)


def status_of(error: ClasswireError) -> int:
    """Return the HTTP status of an error."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def told(error: ClasswireError) -> dict[str, Any]:
    """Return the error as callers see it: with details if it is theirs, else the log has them."""
    shown: dict[str, Any] = {"reason": error.reason or error.code.name}
    if status_of(error) < 500:
        shown |= {"message": error.message, "field": error.field}
    else:
        request = f" (request {error.request_id})" if error.request_id else ""
        log.error("%s%s", error, request)
    return {"error": shown}
