"""Texts whose worker ends run again, each alone. A text that ends two workers alone is poison."""

import pytest

from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Batch, Pending, Priority
from classwire_server.scheduling.execution import ForwardPass
from classwire_server.scheduling.poison import REMEMBERED_TEXTS, PoisonInputs, PoisonTracker
from classwire_server.scheduling.scheduler import Bounds, Scheduler
from tests.scheduling.simulation import PROFILE, logits, waiting

NOW_S = 50.0
EXPIRY_S = 600.0


def make(lanes: int = 2) -> Scheduler:
    """A scheduler."""
    bounds = Bounds(10_000, poison_expiry_s=EXPIRY_S)
    return Scheduler(lanes=lanes, batch_tokens=1_000, profile=PROFILE, bounds=bounds)


@pytest.fixture
def scheduler() -> Scheduler:
    """A scheduler for two lanes."""
    return make()


def take(scheduler: Scheduler, now_s: float = NOW_S) -> Batch:
    """The next batch."""
    batch = scheduler.take(now_s)
    assert batch is not None
    return batch


def finish(scheduler: Scheduler, batch: Batch) -> None:
    """Finish a batch with answers."""
    done = ForwardPass(len(batch.rows), batch.tokens, logits(len(batch.rows)))
    scheduler.finish(batch, [done], NOW_S)


def die(scheduler: Scheduler, *texts: Pending, now_s: float = NOW_S, is_alone: bool = True) -> None:
    """Take a batch, which must have these texts, and let its worker end."""
    batch = take(scheduler, now_s)
    assert [text for row in batch.rows for text in row] == list(texts)
    scheduler.lost(batch, now_s, is_alone=is_alone)


def die_with(scheduler: Scheduler, *texts: Pending) -> None:
    """Queue texts, and let the worker end that computes them in one batch."""
    scheduler.add(texts, NOW_S)
    die(scheduler, *texts)


def convict(scheduler: Scheduler, now_s: float = NOW_S) -> Pending:
    """Queue a text, and let the worker end on it until it is poison."""
    text = waiting()
    scheduler.add([text], now_s)
    die(scheduler, text, now_s=now_s)
    die(scheduler, text, now_s=now_s)
    assert reason(text) == "POISON_INPUT"
    return text


def reason(text: Pending) -> str:
    """The reason of a text's error."""
    assert isinstance(text.error, RequestError)
    return text.error.reason


def test_each_runs_again_and_alone(scheduler: Scheduler) -> None:
    """The texts of the batch run one by one, with nothing else in flight. Other texts follow."""
    texts = [waiting() for _ in range(3)]
    die_with(scheduler, *texts)
    others = [waiting(), waiting(200, Priority.BULK), waiting(500)]
    scheduler.add(others, NOW_S)
    for text in texts:
        batch = take(scheduler)
        assert batch.rows == [[text]]
        assert scheduler.take(NOW_S) is None
        assert scheduler.take_urgent(NOW_S) is None
        finish(scheduler, batch)
        assert text.answer is not None
    assert take(scheduler).rows[0][0] is others[0]


def test_a_suspect_waits_until_nothing_else_runs(scheduler: Scheduler) -> None:
    """While another batch is in flight, no suspect and no new batch begins."""
    other = waiting(200)
    scheduler.add([other], NOW_S)
    batch = take(scheduler)
    suspect = waiting()
    die_with(scheduler, suspect)
    scheduler.add([waiting()], NOW_S)
    assert scheduler.take(NOW_S) is None
    finish(scheduler, batch)
    assert take(scheduler).rows == [[suspect]]


def test_nothing_urgent_goes_while_a_suspect_waits() -> None:
    """No urgent batch overtakes a suspect that waits for bulk work: the suspect would starve."""
    scheduler = make(lanes=1)
    scheduler.add([waiting(priority=Priority.BULK)], NOW_S)
    bulk = take(scheduler)
    suspect = waiting()
    scheduler.add([suspect], NOW_S)
    urgent = scheduler.take_urgent(NOW_S)
    assert urgent is not None
    scheduler.lost(urgent, NOW_S, is_alone=False)
    scheduler.add([waiting()], NOW_S)
    assert scheduler.take_urgent(NOW_S) is None
    finish(scheduler, bulk)
    assert take(scheduler).rows == [[suspect]]


def test_the_second_death_alone_is_the_last(scheduler: Scheduler) -> None:
    """A text that ends the worker twice alone is poison; its neighbours are answered. The same text
    from another caller is rejected at once.
    """
    texts = [waiting() for _ in range(3)]
    die_with(scheduler, *texts)
    finish(scheduler, take(scheduler))
    die(scheduler, texts[1])
    finish(scheduler, take(scheduler))
    assert texts[1].error is None
    die(scheduler, texts[1])
    again = waiting(same_as=texts[1])
    scheduler.admit([again], NOW_S)
    scheduler.add([again], NOW_S)
    assert scheduler.take(NOW_S) is None
    assert [reason(texts[1]), reason(again)] == ["POISON_INPUT"] * 2
    assert texts[0].answer is not None
    assert texts[2].answer is not None
    assert scheduler.ended == [texts[0], texts[2], texts[1], again]


def test_a_death_in_company_does_not_count(scheduler: Scheduler) -> None:
    """However often a worker ends with a text and another batch, the text is no poison."""
    text = waiting()
    scheduler.add([text], NOW_S)
    for _ in range(5):
        die(scheduler, text, is_alone=False)
    finish(scheduler, take(scheduler))
    assert text.answer is not None


def test_only_the_last_trial_waits_for_a_settled_worker(scheduler: Scheduler) -> None:
    """Its death convicts, so a worker that was killed at its start must not have the text."""
    texts = [waiting(), waiting()]
    die_with(scheduler, *texts)
    trials = []
    for _ in range(3):
        trials.append(take(scheduler))
        scheduler.lost(trials[-1], NOW_S, is_alone=True)
    assert [batch.rows for batch in trials] == [[[texts[0]]], [[texts[1]]], [[texts[0]]]]
    assert [batch.is_last_trial for batch in trials] == [False, False, True]


def test_all_callers_of_a_poisonous_text_get_the_error(scheduler: Scheduler) -> None:
    """Callers that share a poison text, queued or in flight, all get the error. Their number
    does not count: each death counts once.
    """
    text = waiting()
    die_with(scheduler, text)
    waited, joined = waiting(same_as=text), waiting(same_as=text, priority=Priority.BULK)
    scheduler.add([waited], NOW_S)
    batch = take(scheduler)
    scheduler.add([joined], NOW_S)
    scheduler.lost(batch, NOW_S, is_alone=True)
    assert {reason(each) for each in (text, waited, joined)} == {"POISON_INPUT"}
    assert scheduler.waiting_texts == 0


def test_coalesced_texts_share_one_death(scheduler: Scheduler) -> None:
    """A worker that ends with one text of three callers has ended once on it."""
    texts = [waiting()]
    texts += [waiting(same_as=texts[0]) for _ in range(2)]
    die_with(scheduler, *texts)
    finish(scheduler, take(scheduler))
    assert all(text.answer for text in texts)


def test_a_batch_that_was_never_begun_has_no_suspects(scheduler: Scheduler) -> None:
    """Texts of a batch that was never begun are queued again, together, any number of times."""
    texts = [waiting() for _ in range(3)]
    scheduler.add(texts, NOW_S)
    for again in (scheduler.never_begun, scheduler.run_again, scheduler.never_begun):
        batch = take(scheduler)
        assert len(batch.rows) == 3
        again(batch)
    finish(scheduler, take(scheduler))
    assert all(text.answer and not text.is_suspect for text in texts)
    assert scheduler.waiting_texts == 0


def test_a_suspect_that_comes_too_late(scheduler: Scheduler) -> None:
    """A suspect whose batch came too late keeps its number of deaths."""
    text = waiting()
    die_with(scheduler, text)
    for _ in range(5):
        scheduler.run_again(take(scheduler))
    assert text.error is None
    die(scheduler, text)
    assert reason(text) == "POISON_INPUT"


def test_a_worker_that_ends_without_the_suspect(scheduler: Scheduler) -> None:
    """Something else ends workers, so the deaths of the suspect count from 0. It still runs alone,
    and two more deaths convict it.
    """
    text = waiting()
    die_with(scheduler, text)
    scheduler.never_begun(take(scheduler))
    die(scheduler, text)
    assert text.error is None
    scheduler.add([waiting()], NOW_S)
    die(scheduler, text)
    assert reason(text) == "POISON_INPUT"


def test_late_while_it_waits_to_run_again(scheduler: Scheduler) -> None:
    """A text whose deadline passes before a worker is up again ends as WORKER_LOST."""
    text = waiting(deadline_s=NOW_S + 1)
    die_with(scheduler, text)
    scheduler.expire(NOW_S + 1)
    assert reason(text) == "WORKER_LOST"
    assert scheduler.waiting_texts == 0


def test_suspects_outlive_their_callers(scheduler: Scheduler) -> None:
    """The tracker remembers a suspect whose callers have gone. It runs alone, and is found to be
    poison.
    """
    first = waiting(deadline_s=NOW_S + 1)
    die_with(scheduler, first)
    scheduler.expire(NOW_S + 1)
    second, neighbour = waiting(same_as=first), waiting()
    scheduler.add([neighbour, second], NOW_S)
    batch = take(scheduler)
    assert batch.rows == [[second]]
    scheduler.withdraw([second])
    scheduler.lost(batch, NOW_S, is_alone=True)
    finish(scheduler, take(scheduler))
    third = waiting(same_as=first)
    scheduler.add([third], NOW_S)
    assert (reason(third), neighbour.is_suspect) == ("POISON_INPUT", False)


def test_a_computed_text_is_no_suspect(scheduler: Scheduler) -> None:
    """A suspect that was computed runs with others again, and its deaths count from 0."""
    text = waiting()
    die_with(scheduler, text)
    finish(scheduler, take(scheduler))
    again = waiting(same_as=text)
    scheduler.add([again, waiting()], NOW_S)
    batch = take(scheduler)
    assert len(batch.rows) == 2
    finish(scheduler, batch)
    last = waiting(same_as=text)
    die_with(scheduler, last)
    assert last.error is None


def test_withdrawn_texts_do_not_run_again(scheduler: Scheduler) -> None:
    """A text that is withdrawn while in flight, or queued again, does not run again."""
    texts = [waiting(), waiting(), waiting()]
    scheduler.add(texts, NOW_S)
    batch = take(scheduler)
    scheduler.withdraw(texts[:1])
    scheduler.lost(batch, NOW_S, is_alone=True)
    scheduler.withdraw(texts[1:2])
    assert take(scheduler).rows == [texts[2:]]


def test_a_conviction_expires_into_one_more_trial(scheduler: Scheduler) -> None:
    """Until then the scheduler rejects the text. Then it runs once, alone. A death convicts it
    again, for as long; if the worker survives, it is as any other text.
    """
    text = convict(scheduler)
    before = waiting(same_as=text)
    scheduler.add([before], NOW_S + EXPIRY_S - 0.1)
    assert reason(before) == "POISON_INPUT"

    later_s = NOW_S + EXPIRY_S
    tried, neighbour = waiting(same_as=text), waiting()
    scheduler.admit([tried, neighbour], later_s)
    scheduler.add([neighbour, tried], later_s)
    die(scheduler, tried, now_s=later_s)
    assert reason(tried) == "POISON_INPUT"
    finish(scheduler, take(scheduler))
    again = waiting(same_as=text)
    scheduler.add([again], later_s + EXPIRY_S - 0.1)
    assert reason(again) == "POISON_INPUT"

    acquitted = waiting(same_as=text)
    scheduler.add([acquitted], later_s + EXPIRY_S)
    batch = take(scheduler)
    assert (batch.rows, batch.is_last_trial) == ([[acquitted]], True)
    finish(scheduler, batch)
    assert acquitted.answer is not None
    scheduler.add([waiting(same_as=text), waiting()], later_s + EXPIRY_S)
    assert len(take(scheduler).rows) == 2


def test_poisonous_texts_are_counted(scheduler: Scheduler) -> None:
    """Their number, and when the first and the last were found; expired ones do not count."""
    assert scheduler.poison_inputs(NOW_S) == PoisonInputs()
    for found_s in (NOW_S, NOW_S + 1, NOW_S + 5):
        convict(scheduler, found_s)
    assert scheduler.poison_inputs(NOW_S + 5) == PoisonInputs(3, NOW_S, NOW_S + 5)
    left = scheduler.poison_inputs(NOW_S + 1 + EXPIRY_S)
    assert left == PoisonInputs(1, NOW_S + 5, NOW_S + 5)


def test_cleared_texts_are_new(scheduler: Scheduler) -> None:
    """A text that was cleared runs with others, and two more deaths convict it."""
    texts = [convict(scheduler), convict(scheduler)]
    assert scheduler.clear_poison() == 2
    assert scheduler.poison_inputs(NOW_S) == PoisonInputs()
    again = [waiting(same_as=text) for text in texts]
    scheduler.add(again, NOW_S)
    batch = take(scheduler)
    assert len(batch.rows) == 2
    scheduler.lost(batch, NOW_S, is_alone=True)
    die(scheduler, again[0])
    finish(scheduler, take(scheduler))
    assert again[0].error is None
    die(scheduler, again[0])
    assert reason(again[0]) == "POISON_INPUT"
    assert scheduler.clear_poison() == 1


def test_the_tracker_is_bounded() -> None:
    """The tracker evicts the oldest suspect, and separately the oldest poison text."""
    tracker = PoisonTracker(EXPIRY_S)
    keys = [waiting().key for _ in range(REMEMBERED_TEXTS + 1)]
    poison = waiting().key
    for key in (poison, poison, *keys):
        tracker.died(key, NOW_S, is_alone=True)
    assert [tracker.is_suspect(key) for key in (keys[0], keys[1])] == [False, True]
    assert tracker.is_poison(poison)
    for key in keys[2:]:
        tracker.died(key, NOW_S, is_alone=True)
    assert [tracker.is_poison(key) for key in (poison, keys[2])] == [True, True]
    for _ in range(2):
        tracker.died(keys[0], NOW_S, is_alone=True)
    assert [tracker.is_poison(key) for key in (poison, keys[2])] == [False, True]
