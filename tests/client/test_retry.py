"""What the client retries, when and how often. Pure: no server, no threads, a fake clock."""

from collections.abc import Callable

import pytest

from classwire import (
    CancelledError,
    Classification,
    ClasswireError,
    DeadlineExceededError,
    InternalError,
    InvalidInputError,
    OverloadedError,
    PoisonInputError,
    Reason,
    UnavailableError,
)
from classwire._calls import responses, unary
from classwire._calls.retry import (
    FIRST_CONTACT_S,
    FIRST_PAUSE_S,
    LEAST_TIME_S,
    LONGEST_PAUSE_S,
    Contact,
    Deadline,
    Retry,
)
from classwire._calls.steps import Call, Pause, Reply, Steps, retried
from classwire.v1 import classwire_pb2 as pb

Answer = object
UNAVAILABLE = UnavailableError("nobody there")


class Run:
    """An operation on a clock that only its pauses and its calls move."""

    def __init__(
        self,
        steps: Steps[object],
        answer: Callable[["Run", Call], Answer],
        *,
        timeout_s: float | None = 30,
        retry: bool = True,
        call_s: float = 0.0,
        contact: Contact | None = None,
    ) -> None:
        self.now_s = 0.0
        self.calls: list[Call] = []
        self.pauses_s: list[float] = []
        self.result: object = None

        def clock() -> float:
            return self.now_s

        deadline = Deadline(timeout_s, clock)
        retries = Retry(retry, lambda: 0.5, contact=contact, clock=clock)
        actions = retried(steps, retries, deadline)
        try:
            action = next(actions)
            while True:
                if isinstance(action, Pause):
                    self.pauses_s.append(action.seconds)
                    self.now_s += action.seconds
                    action = next(actions)
                    continue
                self.calls.append(action)
                self.now_s += call_s
                answered = answer(self, action)
                if isinstance(answered, ClasswireError):
                    action = actions.throw(answered)
                else:
                    action = actions.send(Reply(answered))
        except StopIteration as done:
            self.result = done.value
        except ClasswireError as error:
            self.result = error


def ask() -> Steps[object]:
    """An operation of one call."""
    reply = yield Call("models", "GetServerInfo", pb.GetServerInfoRequest())
    return reply.message


def in_turn(*answers: Answer) -> Callable[[Run, Call], Answer]:
    """Return the answers in turn, and then the last one for ever."""
    return lambda run, call: answers[min(len(run.calls), len(answers)) - 1]


def test_pauses_grow_and_differ() -> None:
    """Each pause doubles up to a bound; jitter takes off up to a half."""
    highest, lowest = Retry(True, lambda: 1.0), Retry(True, lambda: 0.0)
    expected = FIRST_PAUSE_S
    for _ in range(10):
        assert highest.pause_s(UNAVAILABLE, None) == expected
        assert lowest.pause_s(UNAVAILABLE, None) == expected / 2
        expected = min(2 * expected, LONGEST_PAUSE_S)
    highest.succeeded()
    assert highest.pause_s(UNAVAILABLE, None) == FIRST_PAUSE_S


@pytest.mark.parametrize("left_s", [None, 3.001 + LEAST_TIME_S, 4.0, 100.0])
@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_never_earlier_than_the_server_asked_nor_at_the_deadline(
    left_s: float | None, chance: float
) -> None:
    """An overloaded call is retried after the pushback plus jitter, and before the deadline."""
    overloaded = OverloadedError("full", reason=Reason.OVERLOADED, retry_after_s=3.0)
    pause_s = Retry(True, lambda: chance).pause_s(overloaded, left_s)
    assert pause_s is not None
    assert pause_s > 3.0
    assert left_s is None or pause_s < left_s


@pytest.mark.parametrize(
    ("error", "left_s"),
    [
        (OverloadedError("full", retry_after_s=3.0), 3.0),
        (OverloadedError("full", retry_after_s=3.0), 2.0),
        (UNAVAILABLE, LEAST_TIME_S / 2),
        (UNAVAILABLE, 0.0),
    ],
)
def test_nothing_is_tried_again_when_it_would_be_too_late(
    error: ClasswireError, left_s: float
) -> None:
    """A pushback that exceeds the deadline raises the error at once."""
    assert Retry(True).pause_s(error, left_s) is None


@pytest.mark.parametrize(
    "error",
    [
        OverloadedError("full", reason=Reason.OVERLOADED),
        PoisonInputError("poison", reason=Reason.POISON_INPUT),
        InternalError("defect"),
        InvalidInputError("wrong"),
        CancelledError("closed"),
        DeadlineExceededError("late", reason=Reason.EXPIRED_IN_QUEUE),
        DeadlineExceededError("late"),
        RuntimeError("not a ClasswireError"),
    ],
    ids=lambda error: str(getattr(error, "reason", "")) or type(error).__name__,
)
def test_what_is_never_tried_again(error: Exception) -> None:
    """Permanent errors, and overload without a pushback, are never retried."""
    assert Retry(True).pause_s(error, None) is None


def test_unavailable_is_tried_again_until_it_is_not(caplog: pytest.LogCaptureFixture) -> None:
    """UNAVAILABLE is retried until a call succeeds, and the caller sees only the answer. The log
    has each retry.
    """
    caplog.set_level("INFO", "classwire")
    run = Run(ask(), in_turn(*[UNAVAILABLE] * 9, "answer"))
    assert (run.result, len(run.calls), len(run.pauses_s)) == ("answer", 10, 9)
    assert caplog.messages[0] == "UNAVAILABLE: nobody there; trying again in 0.1 s"
    assert len(caplog.messages) == 9


@pytest.mark.parametrize("timeout_s", [0.1, 1.0, 30.0])
def test_the_deadline_ends_it_with_the_last_error(timeout_s: float) -> None:
    """At the deadline the last error is raised: the last attempts come closer together."""
    run = Run(ask(), in_turn(UNAVAILABLE), timeout_s=timeout_s)
    assert run.result is UNAVAILABLE
    assert timeout_s - LEAST_TIME_S <= run.now_s < timeout_s
    assert len(run.calls) < 40


@pytest.mark.parametrize("timeout_s", [0.1, 30.0, None])
def test_before_the_first_contact_it_ends_soon(timeout_s: float | None) -> None:
    """A client that no server has answered gives up after `FIRST_CONTACT_S`, or at its deadline."""
    run = Run(ask(), in_turn(UNAVAILABLE), timeout_s=timeout_s, contact=Contact())
    limit_s = min(timeout_s or FIRST_CONTACT_S, FIRST_CONTACT_S)
    assert run.result is UNAVAILABLE
    assert limit_s - LEAST_TIME_S <= run.now_s < limit_s


def test_a_slow_first_attempt_is_the_only_one() -> None:
    """The time counts from the start: an attempt that takes longer is not repeated."""
    run = Run(ask(), in_turn(UNAVAILABLE), call_s=FIRST_CONTACT_S, contact=Contact())
    assert (run.result, len(run.calls)) == (UNAVAILABLE, 1)


def test_without_a_deadline_it_goes_on_for_ever() -> None:
    """With a timeout of math.inf the operation is retried for ever."""
    run = Run(ask(), in_turn(*[UNAVAILABLE] * 500, "answer"), timeout_s=None)
    assert run.result == "answer"


def test_a_bare_timeout_while_retrying_is_not_what_the_caller_sees() -> None:
    """When the deadline passes in a retry, the caller gets the error before it, not a bare
    timeout.
    """
    timeout = DeadlineExceededError("Deadline Exceeded")
    run = Run(ask(), in_turn(UNAVAILABLE, timeout))
    assert run.result is UNAVAILABLE
    assert UNAVAILABLE.__cause__ is timeout
    assert Run(ask(), in_turn(timeout)).result is timeout
    expired = DeadlineExceededError("late", reason=Reason.EXPIRED_IN_QUEUE)
    assert Run(ask(), in_turn(UNAVAILABLE, expired)).result is expired


def test_without_retries_every_error_comes_at_once() -> None:
    """With `retry=False` every error is raised at once."""
    run = Run(ask(), in_turn(UNAVAILABLE), retry=False)
    assert (run.result, len(run.calls), run.pauses_s) == (UNAVAILABLE, 1, [])


def test_health_is_not_retried() -> None:
    """`health` is not retried, since its caller asks for the health now."""
    run = Run(unary.health(""), in_turn(UNAVAILABLE))
    assert (run.result, len(run.calls)) == (UNAVAILABLE, 1)


def test_each_call_of_an_operation_is_tried_again() -> None:
    """Each page of `models` is retried alone; the first page is not asked for twice."""
    first = pb.ListModelsResponse(models=[pb.Model(name="a")], next_page_token="more")
    second = pb.ListModelsResponse(models=[pb.Model(name="b")])
    run = Run(unary.list_models(), in_turn(first, UNAVAILABLE, second))
    assert isinstance(run.result, list)
    assert [model.name for model in run.result] == ["a", "b"]
    assert [call.request.page_token for call in run.calls] == ["", "more", "more"]


def batch(*texts: str, most: int = 8) -> Steps[object]:
    """Return a batch operation that knows the model's limits."""
    limits = responses.model(pb.Model(limits=pb.ModelLimits(max_texts_per_call=most))).limits
    assert limits is not None
    return unary.classify_batch(texts, "", pb.ClassifyOptions(), {"": limits})


def failing(
    code: int, reason: str, *, times: int, retry_after_ms: int = 0
) -> Callable[[Run, Call], Answer]:
    """Answer a batch; texts that begin with "x" fail the first `times` times."""

    def answer(run: Run, call: Call) -> Answer:
        error = pb.ItemError(code=code, reason=reason)
        if retry_after_ms:
            error.retry_after.FromMilliseconds(retry_after_ms)
        outcomes = [
            pb.Outcome(error=error)
            if each.text.startswith("x") and len(run.calls) <= times
            else pb.Outcome(classification=pb.Classification(token_count=len(each.text)))
            for each in call.request.inputs
        ]
        return pb.BatchClassifyResponse(outcomes=outcomes)

    return answer


def sent(run: Run) -> list[list[str]]:
    """Return the texts of each call."""
    return [[each.text for each in call.request.inputs] for call in run.calls]


@pytest.mark.parametrize(
    ("code", "reason", "retry_after_ms"),
    [(14, "WORKER_LOST", 0), (8, "OVERLOADED", 1500)],
)
def test_of_a_batch_only_what_failed_is_sent_again(
    code: int, reason: str, retry_after_ms: int
) -> None:
    """A batch sends its failed texts again, not before the pushback, and keeps the order."""
    answer = failing(code, reason, times=2, retry_after_ms=retry_after_ms)
    run = Run(batch("a", "xx", "bbb", "xxxx"), answer)
    assert sent(run) == [["a", "xx", "bbb", "xxxx"], ["xx", "xxxx"], ["xx", "xxxx"]]
    assert isinstance(run.result, list)
    assert [outcome.token_count for outcome in run.result] == [1, 2, 3, 4]
    assert all(pause_s > retry_after_ms / 1000 for pause_s in run.pauses_s)


@pytest.mark.parametrize("last", [None, UNAVAILABLE, DeadlineExceededError("Deadline Exceeded")])
def test_texts_that_do_not_get_better_keep_their_errors(last: ClasswireError | None) -> None:
    """At the deadline the failed texts keep their errors, and the others keep their scores."""
    fail = failing(14, "WORKER_LOST", times=1000)

    def answer(run: Run, call: Call) -> Answer:
        return last if last is not None and len(run.calls) > 2 else fail(run, call)

    run = Run(batch("a", "xx"), answer, timeout_s=2)
    assert isinstance(run.result, list)
    good, bad = run.result
    assert isinstance(good, Classification)
    assert isinstance(bad, UnavailableError)
    assert bad.reason is Reason.WORKER_LOST


@pytest.mark.parametrize(("code", "reason"), [(13, "POISON_INPUT"), (8, "OVERLOADED")])
def test_texts_that_cannot_get_better_are_not_sent_again(code: int, reason: str) -> None:
    """Poison, and overload without a pushback, are not sent again."""
    run = Run(batch("a", "xx"), failing(code, reason, times=1))
    assert len(run.calls) == 1


def test_without_retries_no_text_is_sent_again() -> None:
    """With `retry=False` a text's error is its outcome."""
    run = Run(batch("a", "xx"), failing(14, "WORKER_LOST", times=1), retry=False)
    assert len(run.calls) == 1
    assert isinstance(run.result, list)
    assert isinstance(run.result[1], UnavailableError)
