"""The state of a stream of one call, step by step: no server, no threads."""

from typing import Any

import pytest

from classwire import (
    InternalError,
    InvalidInputError,
    Outcome,
    Reason,
    StreamItem,
    TextInput,
    UnavailableError,
)
from classwire._requests import MAX_MESSAGE_BYTES
from classwire._streaming.state import StreamState
from classwire.v1 import classwire_pb2 as pb

from .conversations import add_all, begin_call, finish, new_stream, results, sent, started, taken

NOT_TEXT: Any = 1


def stream(
    *, window: int | None = None, in_order: bool = False, limits: tuple[int, int] = (8, 4)
) -> StreamState:
    """A stream that the server has accepted."""
    state = new_stream(window=window, in_order=in_order)
    begin_call(state, limits)
    return state


def fill(state: StreamState) -> int:
    """Add texts for as long as they are wanted; how many."""
    count = 0
    while state.wants_item:
        state.add("text")
        count += 1
    return count


def test_no_item_is_taken_before_the_server_accepts() -> None:
    """A stream that is refused has consumed nothing of the caller's iterable."""
    state = new_stream()
    assert not state.wants_item
    state.receive(started())
    assert state.wants_item


def test_what_is_there_is_sent_in_messages_as_full_as_allowed() -> None:
    """One item alone goes at once; many are packed up to the server's limit."""
    state = stream()
    state.add("text")
    assert sent(state) == [["0"]]
    add_all(state, ["text"] * 6)
    assert sent(state) == [["1", "2", "3", "4"], ["5", "6"]]


def test_a_message_is_bounded_in_bytes() -> None:
    """Large texts are not packed beyond what any server takes; one that is larger goes alone."""
    state = stream(limits=(8, 8))
    half = "x" * (MAX_MESSAGE_BYTES // 2)
    add_all(state, [half, half, "y", half * 3, "z"])
    assert sent(state) == [["0"], ["1", "2"], ["3"], ["4"]]


@pytest.mark.parametrize(("asked", "held"), [(None, 8), (3, 3), (100, 8)])
def test_the_window_is_the_smaller_one(asked: int | None, held: int) -> None:
    """No more items are held than the caller and the server both allow."""
    assert fill(stream(window=asked)) == held


def test_an_item_is_held_until_the_caller_takes_its_outcome() -> None:
    """A caller who is slow slows the source, with all results long there."""
    state = stream(window=2)
    fill(state)
    sent(state)
    state.receive(results("0", "1"))
    assert not state.wants_item
    state.take()
    assert state.wants_item


def test_a_full_window_opens_for_several_items_at_once() -> None:
    """Room for one is not filled by one: messages would shrink to single items."""
    state = stream(limits=(8, 4))
    fill(state)
    sent(state)
    state.receive(results("0", "1", "2", "3"))
    for _ in range(3):
        state.take()
        assert not state.wants_item
    state.take()
    assert fill(state) == 4
    assert sent(state) == [["8", "9", "10", "11"]]


def test_ids_are_the_positions_of_bare_texts() -> None:
    """Elements with ids of their own count as well."""
    state = stream()
    add_all(
        state,
        [
            "a",
            StreamItem("mine", "b"),
            TextInput("c", "d"),
            StreamItem("pair", TextInput("e", "f")),
        ],
    )
    items = state.next_message().items.items
    assert [item.id for item in items] == ["0", "mine", "2", "pair"]
    assert [item.input.text_pair for item in items] == ["", "", "d", "f"]
    assert [item.input.HasField("text_pair") for item in items] == [False, False, True, True]


def test_results_come_as_they_are_known() -> None:
    """Out of order, unless asked."""
    state = stream()
    add_all(state, "abc")
    sent(state)
    state.receive(results("2"))
    assert taken(state) == ["2"]
    state.receive(results("0", "1"))
    assert taken(state) == ["0", "1"]


def test_in_order_a_text_that_is_not_sent_keeps_its_place() -> None:
    """Its outcome is known at once, and comes after those before it."""
    state = stream(in_order=True)
    add_all(state, ["a", "\ud800", "c"])
    assert not state.has_outcome
    assert sent(state) == [["0", "2"]]
    state.receive(results("0"))
    assert taken(state) == ["0", "1"]
    state.receive(results("2"))
    assert taken(state) == ["2"]


def test_a_text_without_utf8_is_an_outcome() -> None:
    """It is not sent, and fails no other; the error says where, without the text."""
    state = stream()
    add_all(state, ["good", TextInput("good", "secret\udfff"), "good"])
    id_, index, outcome = state.take()
    assert (id_, index) == ("1", 1)
    assert isinstance(outcome, InvalidInputError)
    assert (outcome.reason, outcome.field) == (Reason.BAD_ENCODING, "input.text_pair")
    assert outcome.metadata == {"position": "6"}
    assert "secret" not in str(outcome)
    assert sent(state) == [["0", "2"]]


@pytest.mark.parametrize("id_", ["", "x" * 129, "é" * 65, "\ud800"])
def test_a_bad_id_is_refused(id_: str) -> None:
    """An id has 1 to 128 bytes of UTF-8."""
    with pytest.raises(InvalidInputError):
        stream().add(StreamItem(id_, "text"))


def test_an_id_may_be_used_again_once_it_is_answered() -> None:
    """Two unanswered items can't have one id; it would not be known whose the result is."""
    state = stream()
    state.add(StreamItem("x" * 128, "text"))
    with pytest.raises(InvalidInputError) as raised:
        state.add(StreamItem("x" * 128, "text"))
    assert raised.value.reason is Reason.BAD_ID
    sent(state)
    state.receive(results("x" * 128))
    state.add(StreamItem("x" * 128, "text"))
    assert state.wants_message


@pytest.mark.parametrize(
    "item",
    [None, b"text", 1, StreamItem("a", NOT_TEXT), StreamItem(NOT_TEXT, "x"), TextInput(NOT_TEXT)],
)
def test_what_is_no_text_is_a_type_error(item: Any) -> None:
    """Wrong types are a mistake in the caller's program."""
    with pytest.raises(TypeError, match="must be a str, not"):
        stream().add(item)


def test_a_stream_ends_well_when_all_is_answered() -> None:
    """After the iterable's end, this side closes once all is sent."""
    state = stream()
    state.add("text")
    state.exhausted()
    assert not state.sending_is_over
    sent(state)
    assert state.sending_is_over
    state.receive(results("0"))
    finish(state)
    assert taken(state) == ["0"]


def test_an_end_after_the_last_answer_needs_no_good_status() -> None:
    """Nothing was lost if the server goes away once all is answered."""
    state = stream()
    state.exhausted()
    finish(state, UnavailableError("draining"))


def test_the_error_of_a_stream_has_the_unanswered_ids() -> None:
    """Queued and sent ones alike, in the order of the caller's iterable."""
    state = stream()
    add_all(state, "abc")
    sent(state)
    add_all(state, "de")
    state.receive(results("1"))
    with pytest.raises(UnavailableError) as raised:
        finish(state, UnavailableError("draining", reason=Reason.DRAINING))
    assert raised.value.unanswered == ("0", "2", "3", "4")
    assert taken(state) == ["1"]


def test_an_item_that_comes_too_late_is_unanswered() -> None:
    """The source was making it when the stream ended."""
    state = stream()
    state.ended(UnavailableError("draining"))
    state.add("text")
    with pytest.raises(UnavailableError) as raised:
        state.finish()
    assert raised.value.unanswered == ("0",)


def test_in_order_what_was_not_given_is_unanswered() -> None:
    """A result that waits for its turn is lost with the stream: it has to be sent again."""
    state = stream(in_order=True)
    add_all(state, "ab")
    sent(state)
    state.receive(results("1"))
    with pytest.raises(UnavailableError) as raised:
        finish(state, UnavailableError("draining"))
    assert raised.value.unanswered == ("0", "1")


def test_the_callers_own_error_comes_first() -> None:
    """What the iterable raised is raised in the end."""
    state = stream()
    state.exhausted(KeyError("mine"))
    with pytest.raises(KeyError, match="mine"):
        finish(state)


@pytest.mark.parametrize(
    "messages",
    [
        [results("0")],
        [started(), started()],
        [started(window=0)],
        [started(most=0)],
        [started(), results("0")],
    ],
    ids=["results first", "started twice", "no window", "no items", "unknown id"],
)
def test_a_server_that_breaks_the_contract_is_found_out(
    messages: list[pb.StreamClassifyResponse],
) -> None:
    """InternalError, instead of results under the wrong id."""
    state = new_stream()
    *allowed, broken = messages
    for message in allowed:
        state.receive(message)
    with pytest.raises(InternalError, match="broke the contract"):
        state.receive(broken)


def test_an_answer_before_the_question_is_found_out() -> None:
    """Neither an item that is not sent nor one already answered can be answered."""
    state = stream()
    state.add("text")
    with pytest.raises(InternalError):
        state.receive(results("0"))
    sent(state)
    state.receive(results("0"))
    with pytest.raises(InternalError):
        state.receive(results("0"))


def test_a_stream_that_ends_too_early_is_found_out() -> None:
    """A good status with items unanswered is a defect of the server."""
    state = stream()
    state.add("text")
    with pytest.raises(InternalError, match="1 items unanswered") as raised:
        finish(state)
    assert raised.value.unanswered == ("0",)


def test_an_event_of_a_newer_contract_is_passed_over() -> None:
    """An empty message, as an unknown event looks here, changes nothing."""
    state = stream()
    state.receive(pb.StreamClassifyResponse())
    assert state.wants_item


def test_an_outcome_of_neither_kind_is_an_error_of_that_item() -> None:
    """It is never taken for scores."""
    state = stream()
    state.add("text")
    sent(state)
    empty = pb.StreamResults(results=[pb.StreamResult(id="0")])
    state.receive(pb.StreamClassifyResponse(results=empty))
    outcome: Outcome = state.take().outcome
    assert isinstance(outcome, InternalError)
