"""Texts whose worker ends: each runs once more, alone; a text that ends it twice is poison."""

import pytest

from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Batch, Pending, Priority
from classwire_server.scheduling.execution import ForwardPass
from classwire_server.scheduling.poison import REMEMBERED_TEXTS, PoisonTracker
from classwire_server.scheduling.scheduler import Scheduler
from tests.scheduling.simulation import PROFILE, logits, waiting

NOW_S = 50.0


@pytest.fixture
def scheduler() -> Scheduler:
    """A scheduler for two lanes."""
    return Scheduler(
        lanes=2, batch_tokens=1_000, profile=PROFILE, max_queue_tokens=10_000, cache_bytes=0
    )


def take(scheduler: Scheduler) -> Batch:
    """The next batch."""
    batch = scheduler.take(NOW_S)
    assert batch is not None
    return batch


def finish(scheduler: Scheduler, batch: Batch) -> None:
    """Finish a batch with answers."""
    done = ForwardPass(len(batch.rows), batch.tokens, logits(len(batch.rows)))
    scheduler.finish(batch, [done], NOW_S)


def die_with(scheduler: Scheduler, *texts: Pending) -> None:
    """Take texts in one batch, and let the worker end."""
    scheduler.add(texts, NOW_S)
    batch = take(scheduler)
    assert [text for row in batch.rows for text in row] == list(texts)
    scheduler.run_again(batch, has_died=True)


def reason(text: Pending) -> str:
    """The reason of a text's error."""
    assert isinstance(text.error, RequestError)
    return text.error.reason


def test_each_runs_once_more_and_alone(scheduler: Scheduler) -> None:
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
    scheduler = Scheduler(
        lanes=1, batch_tokens=1_000, profile=PROFILE, max_queue_tokens=10_000, cache_bytes=0
    )
    scheduler.add([waiting(priority=Priority.BULK)], NOW_S)
    bulk = take(scheduler)
    suspect = waiting()
    scheduler.add([suspect], NOW_S)
    urgent = scheduler.take_urgent(NOW_S)
    assert urgent is not None
    scheduler.run_again(urgent, has_died=True)
    scheduler.add([waiting()], NOW_S)
    assert scheduler.take_urgent(NOW_S) is None
    finish(scheduler, bulk)
    assert take(scheduler).rows == [[suspect]]


def test_the_second_death_is_the_last(scheduler: Scheduler) -> None:
    """A text that ends the worker twice is poison; its neighbours are answered. The same text from
    another caller is rejected at once.
    """
    texts = [waiting() for _ in range(3)]
    die_with(scheduler, *texts)
    for text in texts:
        batch = take(scheduler)
        if text is texts[1]:
            scheduler.run_again(batch, has_died=True)
        else:
            finish(scheduler, batch)
    again = waiting(same_as=texts[1])
    scheduler.admit([again], NOW_S)
    scheduler.add([again], NOW_S)
    assert scheduler.take(NOW_S) is None
    assert [reason(texts[1]), reason(again)] == ["POISON_INPUT"] * 2
    assert texts[0].answer is not None
    assert texts[2].answer is not None
    assert scheduler.ended == [texts[0], texts[1], texts[2], again]


def test_all_callers_of_a_poisonous_text_get_the_error(scheduler: Scheduler) -> None:
    """Callers that share a poisonous text, queued or in flight, all get the error."""
    text = waiting()
    die_with(scheduler, text)
    waited, joined = waiting(same_as=text), waiting(same_as=text, priority=Priority.BULK)
    scheduler.add([waited], NOW_S)
    batch = take(scheduler)
    scheduler.add([joined], NOW_S)
    scheduler.run_again(batch, has_died=True)
    assert {reason(each) for each in (text, waited, joined)} == {"POISON_INPUT"}
    assert scheduler.waiting_texts == 0


def test_a_batch_that_was_never_begun_has_no_suspects(scheduler: Scheduler) -> None:
    """Texts of a batch that was never begun are queued again, together, any number of times."""
    texts = [waiting() for _ in range(3)]
    scheduler.add(texts, NOW_S)
    for _ in range(5):
        batch = take(scheduler)
        assert len(batch.rows) == 3
        scheduler.run_again(batch, has_died=False)
    finish(scheduler, take(scheduler))
    assert all(text.answer and not text.deaths for text in texts)
    assert scheduler.waiting_texts == 0


def test_no_worker_for_a_suspect(scheduler: Scheduler) -> None:
    """A suspect whose batch was never begun keeps its number of deaths."""
    texts = [waiting(), waiting()]
    die_with(scheduler, *texts)
    scheduler.run_again(take(scheduler), has_died=False)
    for _ in texts:
        batch = take(scheduler)
        assert len(batch.rows) == 1
        finish(scheduler, batch)
    assert all(text.answer for text in texts)


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
    scheduler.run_again(batch, has_died=True)
    finish(scheduler, take(scheduler))
    third = waiting(same_as=first)
    scheduler.add([third], NOW_S)
    assert (reason(third), neighbour.deaths) == ("POISON_INPUT", 0)


def test_a_computed_text_is_no_suspect(scheduler: Scheduler) -> None:
    """A suspect that was computed runs with others again."""
    text = waiting()
    die_with(scheduler, text)
    finish(scheduler, take(scheduler))
    scheduler.add([waiting(same_as=text), waiting()], NOW_S)
    assert len(take(scheduler).rows) == 2


def test_withdrawn_texts_do_not_run_again(scheduler: Scheduler) -> None:
    """A text that is withdrawn while in flight, or queued again, does not run again."""
    texts = [waiting(), waiting(), waiting()]
    scheduler.add(texts, NOW_S)
    batch = take(scheduler)
    scheduler.withdraw(texts[:1])
    scheduler.run_again(batch, has_died=True)
    scheduler.withdraw(texts[1:2])
    assert take(scheduler).rows == [texts[2:]]


def test_the_tracker_is_bounded() -> None:
    """The tracker evicts the oldest suspect, and separately the oldest poisonous text."""
    suspicion = PoisonTracker()
    keys = [waiting().key for _ in range(REMEMBERED_TEXTS + 1)]
    poison = waiting().key
    suspicion.died(poison, 2)
    for key in keys:
        suspicion.died(key, 1)
    assert [suspicion.deaths(key) for key in (keys[0], keys[1], poison)] == [0, 1, 2]
    for key in keys:
        suspicion.died(key, 2)
    assert [suspicion.is_poison(key) for key in (keys[0], keys[1], poison)] == [False, True, False]
