"""The state of a stream of one call. Pure: no server, no threads."""

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
from classwire._calls.requests import MAX_MESSAGE_BYTES
from classwire._streaming.state import StreamState
from classwire.v1 import classwire_pb2 as pb

from .conversations import add_all, begin_call, finish, new_stream, results, sent, started, taken


def stream(
    *, window: int | None = None, in_order: bool = False, limits: tuple[int, int] = (8, 4)
) -> StreamState:
    """Return a stream that the server has accepted."""
    state = new_stream(window=window, in_order=in_order)
    begin_call(state, limits)
    return state


def fill(state: StreamState) -> int:
    """Add texts while the stream wants some, and return their number."""
    count = 0
    while state.wants_item:
        state.add("text")
        count += 1
    return count


def test_no_item_is_taken_before_the_server_accepts() -> None:
    """A rejected stream reads nothing of the caller's iterable."""
    state = new_stream()
    assert not state.wants_item
    state.receive(started())
    assert state.wants_item


def test_what_is_there_is_sent_in_messages_as_full_as_allowed() -> None:
    """A single item goes at once; several are packed up to the server's limit."""
    state = stream()
    state.add("text")
    assert sent(state) == [["0"]]
    add_all(state, ["text"] * 6)
    assert sent(state) == [["1", "2", "3", "4"], ["5", "6"]]


def test_a_message_is_bounded_in_bytes() -> None:
    """A message is bounded in bytes; a larger text goes alone."""
    state = stream(limits=(8, 8))
    half = "x" * (MAX_MESSAGE_BYTES // 2)
    add_all(state, [half, half, "y", half * 3, "z"])
    assert sent(state) == [["0"], ["1", "2"], ["3"], ["4"]]


@pytest.mark.parametrize(("asked", "held"), [(None, 8), (3, 3), (100, 8)])
def test_the_window_is_the_smaller_one(asked: int | None, held: int) -> None:
    """The window is the smaller one of the caller's and the server's."""
    assert fill(stream(window=asked)) == held


def test_an_item_is_held_until_the_caller_takes_its_outcome() -> None:
    """An item counts against the window until the caller takes its outcome: slow callers slow the
    source.
    """
    state = stream(window=2)
    fill(state)
    sent(state)
    state.receive(results("0", "1"))
    assert not state.wants_item
    state.take()
    assert state.wants_item


def test_a_full_window_opens_for_several_items_at_once() -> None:
    """A full window reopens for several items at once, so that messages do not shrink to one
    item.
    """
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
    """The id of a bare text is its position, which counts elements with ids as well."""
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
    """By default results come as they arrive."""
    state = stream()
    add_all(state, "abc")
    sent(state)
    state.receive(results("2"))
    assert taken(state) == ["2"]
    state.receive(results("0", "1"))
    assert taken(state) == ["0", "1"]


def test_in_order_a_text_that_is_not_sent_keeps_its_place() -> None:
    """In order, a text that the client rejects keeps its place."""
    state = stream(in_order=True)
    add_all(state, ["a", "\ud800", "c"])
    assert not state.has_outcome
    assert sent(state) == [["0", "2"]]
    state.receive(results("0"))
    assert taken(state) == ["0", "1"]
    state.receive(results("2"))
    assert taken(state) == ["2"]


def test_a_text_without_utf8_is_an_outcome() -> None:
    """A text without UTF-8 is not sent; its error names the position, not the text."""
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
def test_a_bad_id_is_rejected(id_: str) -> None:
    """An id that is not 1 to 128 bytes of UTF-8 is rejected."""
    with pytest.raises(InvalidInputError):
        stream().add(StreamItem(id_, "text"))


def test_an_id_may_be_used_again_once_it_is_answered() -> None:
    """Two unanswered items can't share an id; an answered id can be used again."""
    state = stream()
    state.add(StreamItem("x" * 128, "text"))
    with pytest.raises(InvalidInputError) as raised:
        state.add(StreamItem("x" * 128, "text"))
    assert raised.value.reason is Reason.BAD_ID
    sent(state)
    state.receive(results("x" * 128))
    state.add(StreamItem("x" * 128, "text"))
    assert state.wants_message


def test_a_stream_ends_well_when_all_is_answered() -> None:
    """After the iterable's end the client half-closes when all is sent, and ends when all is
    answered.
    """
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
    """A status other than OK after the last answer is no error."""
    state = stream()
    state.exhausted()
    finish(state, UnavailableError("draining"))


def test_the_error_of_a_stream_has_the_unanswered_ids() -> None:
    """A stream's error has all unanswered ids, queued and sent, in the order of the iterable."""
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
    """An item that the source gives after the end of the stream is unanswered."""
    state = stream()
    state.ended(UnavailableError("draining"))
    state.add("text")
    with pytest.raises(UnavailableError) as raised:
        state.finish()
    assert raised.value.unanswered == ("0",)


def test_in_order_what_was_not_given_is_unanswered() -> None:
    """In order, results that were not delivered yet count as unanswered."""
    state = stream(in_order=True)
    add_all(state, "ab")
    sent(state)
    state.receive(results("1"))
    with pytest.raises(UnavailableError) as raised:
        finish(state, UnavailableError("draining"))
    assert raised.value.unanswered == ("0", "1")


def test_the_callers_own_error_comes_first() -> None:
    """An exception of the iterable wins over the stream's own error."""
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
    """A server that breaks the contract raises InternalError."""
    state = new_stream()
    *allowed, broken = messages
    for message in allowed:
        state.receive(message)
    with pytest.raises(InternalError, match="broke the contract"):
        state.receive(broken)


def test_an_answer_to_an_unsent_item_is_found_out() -> None:
    """A result for an item that was not sent, or already answered, raises InternalError."""
    state = stream()
    state.add("text")
    with pytest.raises(InternalError):
        state.receive(results("0"))
    sent(state)
    state.receive(results("0"))
    with pytest.raises(InternalError):
        state.receive(results("0"))


def test_a_stream_that_ends_too_early_is_found_out() -> None:
    """An OK status with unanswered items raises InternalError."""
    state = stream()
    state.add("text")
    with pytest.raises(InternalError, match="1 items unanswered") as raised:
        finish(state)
    assert raised.value.unanswered == ("0",)


def test_an_event_of_a_newer_contract_is_passed_over() -> None:
    """An unknown event of a newer contract is ignored."""
    state = stream()
    state.receive(pb.StreamClassifyResponse())
    assert state.wants_item


def test_an_outcome_of_neither_kind_is_an_error_of_that_item() -> None:
    """A result that is neither scores nor an error is an error of that item."""
    state = stream()
    state.add("text")
    sent(state)
    empty = pb.StreamResults(results=[pb.StreamResult(id="0")])
    state.receive(pb.StreamClassifyResponse(results=empty))
    outcome: Outcome = state.take().outcome
    assert isinstance(outcome, InternalError)
