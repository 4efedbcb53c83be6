"""The state of a stream over several calls. Pure: no server, no threads."""

import pytest

from classwire import InternalError, InvalidInputError, Reason, StreamItem, UnavailableError
from classwire._calls.retry import Retry
from classwire._streaming.reconnection import Reconnection
from classwire._streaming.state import StreamState

from .conversations import add_all, begin_call, new_stream, results, sent, started, taken

DRAINING = UnavailableError("draining", reason=Reason.DRAINING)


def stream(*, in_order: bool = False, window: int | None = None) -> StreamState:
    """Return a stream with reconnection, in its first call."""
    reconnection = Reconnection(Retry(True))
    state = new_stream(in_order=in_order, window=window, reconnection=reconnection)
    begin_call(state)
    return state


def lose(state: StreamState, error: Exception = DRAINING) -> None:
    """End the call with an error, and let the stream continue."""
    ended = state.calls_ended
    state.ended(error)
    assert state.calls_ended == ended + 1
    assert not state.is_over
    assert not state.wants_message


def test_what_is_unanswered_is_sent_again_before_what_is_new() -> None:
    """Unanswered items, sent or queued, go again in order before new ones."""
    state = stream()
    add_all(state, "abcd")
    sent(state)
    state.receive(results("0", "2"))
    add_all(state, "e")
    lose(state)
    assert state.pause_s > 0
    state.add("f")  # the source was making it
    assert not state.wants_item
    begin_call(state)
    assert sent(state) == [["1", "3", "4", "5"]]
    state.receive(results("5", "4", "3", "1"))
    assert taken(state) == ["0", "2", "5", "4", "3", "1"]


def test_in_order_a_result_that_waited_for_its_turn_is_kept() -> None:
    """In order, an early result is kept, and its item is not sent again."""
    state = stream(in_order=True)
    add_all(state, ["a", "b", "\ud800", "d"])
    sent(state)
    state.receive(results("1"))
    lose(state)
    begin_call(state)
    assert sent(state) == [["0", "3"]]
    state.receive(results("0", "3"))
    assert taken(state) == ["0", "1", "2", "3"]


def test_nothing_is_sent_before_the_new_server_has_said_how_much() -> None:
    """The stream sends nothing before the new server announces its limits."""
    state = stream()
    add_all(state, "abcdef")
    sent(state)
    lose(state)
    state.begin_call()
    assert not state.wants_message
    state.receive(started(window=8, most=2))
    assert sent(state) == [["0", "1"], ["2", "3"], ["4", "5"]]


def test_the_window_is_that_of_the_new_server() -> None:
    """A smaller window of the new server holds items back; a larger one takes more at once."""
    state = stream()
    add_all(state, "abcdef")
    sent(state)
    lose(state)
    begin_call(state, (4, 2))
    assert not state.wants_item
    sent(state)
    state.receive(results("0", "1", "2"))
    assert taken(state) == ["0", "1", "2"]
    assert not state.wants_item
    state.receive(results("3"))
    taken(state)
    assert state.wants_item
    lose(state)
    begin_call(state, (16, 4))
    for _ in range(14):
        assert state.wants_item
        state.add("text")
    assert not state.wants_item


def test_an_asked_window_stays() -> None:
    """A window that the caller asked for stays, whatever the servers offer."""
    state = stream(window=2)
    state.add("a")
    lose(state)
    begin_call(state, (100, 4))
    state.add("b")
    assert not state.wants_item


def test_an_answer_to_the_call_before_is_found_out() -> None:
    """An answer to an item of the previous call is a contract violation."""
    state = stream()
    state.add("a")
    sent(state)
    lose(state)
    begin_call(state)
    with pytest.raises(InternalError, match="no item waits"):
        state.receive(results("0"))


def test_an_item_whose_outcome_is_unavailable_is_sent_again() -> None:
    """An item with the outcome UNAVAILABLE goes again in the next call; other outcomes are kept."""
    state = stream()
    add_all(state, "abc")
    sent(state)
    with pytest.raises(UnavailableError) as raised:
        state.receive(results("0", lost=["1"]))
    lose(state, raised.value)
    assert taken(state) == ["0"]
    begin_call(state)
    assert sent(state) == [["1", "2"]]


def test_without_retries_it_is_an_outcome() -> None:
    """Without retries UNAVAILABLE is the outcome of the item."""
    state = new_stream()
    begin_call(state)
    state.add("a")
    sent(state)
    state.receive(results(lost=["0"]))
    id_, _, outcome = state.take()
    assert (id_, type(outcome)) == ("0", UnavailableError)


def test_a_stream_without_open_items_waits_for_one() -> None:
    """When the server ends an idle stream, the client makes the next call only for the next
    item.
    """
    state = stream()
    state.add("a")
    sent(state)
    state.receive(results("0"))
    lose(state)
    assert not state.wants_call
    assert state.wants_item
    state.add("\ud800")  # gets its outcome without a server
    assert not state.wants_call
    state.add("c")
    assert (state.wants_call, state.pause_s) == (True, 0)
    begin_call(state)
    assert sent(state) == [["2"]]


def test_a_stream_without_open_items_ends_well_with_its_source() -> None:
    """When the source ends without open items, the stream ends well without another call."""
    state = stream()
    lose(state)
    state.exhausted()
    assert state.is_over
    state.finish()


def test_what_the_source_raises_while_no_server_is_there_is_raised() -> None:
    """An error that the source raises between two calls ends the stream, and is raised."""
    state = stream()
    lose(state)
    state.exhausted(KeyError("mine"))
    assert state.is_over
    with pytest.raises(KeyError):
        state.finish()


def test_an_error_that_is_no_loss_ends_a_stream_without_open_items() -> None:
    """Only a lost server lets a stream without open items continue; other errors end it."""
    state = stream()
    state.ended(InvalidInputError("wrong"))
    assert state.is_over
    with pytest.raises(InvalidInputError):
        state.finish()


def test_a_rejected_stream_tries_again_with_nothing_taken() -> None:
    """A rejected stream retries without reading the source."""
    state = new_stream(reconnection=Reconnection(Retry(True)))
    state.begin_call()
    lose(state)
    assert (state.wants_item, state.wants_call) == (False, True)
    begin_call(state)
    assert state.wants_item


def test_after_the_sources_end_what_is_unanswered_is_sent_again() -> None:
    """After the source's end the next call sends the unanswered items, and half-closes."""
    state = stream()
    add_all(state, "ab")
    sent(state)
    state.exhausted()
    lose(state)
    assert not state.sending_is_over
    begin_call(state)
    assert sent(state) == [["0", "1"]]
    assert state.sending_is_over
    state.receive(results("0", "1"))
    state.ended()
    assert state.is_over
    state.finish()


def test_an_id_that_waits_to_be_sent_again_is_in_use() -> None:
    """An id that waits to be sent again can't be used by another item."""
    state = stream()
    add_all(state, ["a", "b"])
    lose(state)
    with pytest.raises(InvalidInputError):
        state.add(StreamItem("1", "text"))


def test_an_abandoned_stream_makes_no_call_after_the_one_that_says_why() -> None:
    """After its client closes, a stream makes no call but the one that gives the reason."""
    in_call = stream()
    in_call.add("a")
    in_call.abandon()
    in_call.ended(DRAINING)
    assert in_call.is_over
    paused, resting = stream(), stream()
    paused.add("a")
    for state in (paused, resting):
        lose(state)
        state.abandon()
        assert state.skips_pause
        assert state.wants_call
        state.begin_call()
        state.ended(DRAINING)
        assert state.is_over
