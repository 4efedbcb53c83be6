"""The callers file, tokens and rate limits, without a server."""

import hmac
import math
import time
from pathlib import Path
from typing import Any

import pytest

from classwire.contract.reasons import Reason
from classwire.contract.tokens import hash_of, is_hash, is_hash_of, name_in, new_token
from classwire_server.config.security import SecuritySettings
from classwire_server.errors import ConfigError, RequestError
from classwire_server.security.authenticator import Authenticator
from classwire_server.security.callers import read_callers
from classwire_server.security.rate_limit import Rate
from tests.security.files import callers_toml, replace

TOKEN, OTHER = (f"cw_alice_{letter * 43}" for letter in "ab")
HASH = hash_of(TOKEN, bytes(16))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one caller."""
    path = tmp_path / "callers.toml"
    replace(path, callers_toml({"alice": {"tokens": (TOKEN,)}}))
    return path


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """The pairs compared in constant time."""
    pairs: list[tuple[Any, Any]] = []
    plain = hmac.compare_digest

    def compare(a: Any, b: Any) -> bool:
        pairs.append((a, b))
        return plain(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    return pairs


def test_a_token_and_its_hash() -> None:
    """A token names its caller. Its salted hashes differ, and match only this token."""
    token, other = new_token("alice"), new_token("alice")
    kept = hash_of(token)
    assert name_in(token) == name_in(other) == "alice"
    assert token != other
    assert kept != hash_of(token)
    assert is_hash(kept)
    assert is_hash_of(kept, token)
    assert not is_hash_of(kept, other)
    assert token.removeprefix("cw_alice_") not in kept


@pytest.mark.parametrize(
    "text", ["", "cw_", "cw_alice", f"{TOKEN}x", f"{TOKEN}\n", f" {TOKEN}", "cw_Bob_" + "a" * 43]
)
def test_invalid_tokens(text: str) -> None:
    """An invalid token names no caller."""
    assert name_in(text) is None


@pytest.mark.parametrize(
    "token",
    [TOKEN, OTHER, OTHER.replace("alice", "bob"), "rubbish", "", "x" * 10_000, "cw_alice_é"],
    ids=["right", "wrong", "unknown", "rubbish", "empty", "long", "not ASCII"],
)
def test_tokens_are_compared_in_constant_time(
    token: str, file: Path, compared: list[tuple[Any, Any]]
) -> None:
    """Each token takes one comparison, even without a caller of that name. Only the right one is
    accepted; all others get BAD_CREDENTIALS.
    """
    access = Authenticator(SecuritySettings(callers=str(file)))
    if token == TOKEN:
        assert access.by_token(token).caller.name == "alice"
    else:
        with pytest.raises(RequestError) as refusal:
            access.by_token(token)
        assert refusal.value.reason is Reason.BAD_CREDENTIALS
        assert refusal.value.metadata == {}
    assert len(compared) == 1


def test_a_caller_may_have_several_tokens(file: Path) -> None:
    """So an operator can add the next token before removing the last one."""
    access = Authenticator(SecuritySettings(callers=str(file)))
    first = access.by_token(TOKEN)
    replace(file, callers_toml({"alice": {"tokens": (TOKEN, OTHER)}}))
    second = access.by_token(OTHER)
    assert not first.is_over()
    replace(file, callers_toml({"alice": {"tokens": (OTHER,)}}))
    assert first.is_over()
    assert not second.is_over()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no callers"),
        ("alice =", r"is not valid TOML \(at end of document\)"),
        (f"alice = 1{'0' * 5000}", "a number with too many digits"),
        (f"alice = {'[' * 5000}", "too many nested brackets"),
        (f"[{TOKEN}]\n[{TOKEN}]", r"something is named twice \(at line 2, column "),
        (f"[a.{TOKEN}]\n[a.{TOKEN}]", r"something is named twice \(at line 2, column "),
        (f"a = {{{TOKEN} = 1, {TOKEN} = 2}}", "something is named twice"),
        (f"{TOKEN} = 1\n{TOKEN} = 2", "something is named twice"),
        (f"a = {TOKEN}", r"is not valid TOML \(at line 1, column 5\)"),
        (f"['{TOKEN} ']", r"the name '\(a token\)' does not match"),
        (f"[alice]\n'{TOKEN};' = 1", r"no such key: \(a token\)"),
        ("alice = 1", "alice is not a table"),
        ("[Alice]", "'Alice' does not match"),
        ("[alice]\n", "alice has neither tokens nor certificates"),
        (f"[alice]\ntokens = '{HASH}'", "tokens is not a list of strings"),
        (f"[alice]\ntokens = ['{TOKEN}']", "tokens are hashes"),
        (f"[alice]\ntokens = ['{HASH}']\nmodel = ['a']", "no such key: model"),
        (f"[alice]\ntokens = ['{HASH}']\nmodels = 'a'", "models is not a list of strings"),
        (f"[alice]\ntokens = ['{HASH}']\ntext_tokens_per_s = 0", "less than 1"),
        (f"[alice]\ntokens = ['{HASH}']\ntext_tokens_per_s = {'9' * 400}", "too many digits"),
        (f"[alice]\ntokens = ['{HASH}']\ntext_tokens_per_s = nan", "less than 1"),
        (f"[alice]\ntokens = ['{HASH}']\ntext_tokens_per_s = true", "not a number"),
        ("[alice]\ncertificates = ['a.example']", "certificates need --tls-client-ca"),
    ],
)
def test_an_invalid_file(text: str, said: str, tmp_path: Path) -> None:
    """The error is one line that names the file and the mistake, but never a token."""
    path = tmp_path / "callers.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as refusal:
        read_callers(str(path), with_certificates=False, before={})
    assert str(refusal.value).startswith(f"--callers: {path}: ")
    assert "\n" not in str(refusal.value)
    assert TOKEN not in str(refusal.value)


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    """The error names the position of the first bad byte."""
    path = tmp_path / "callers.toml"
    path.write_bytes(b"alice = '\xff'")
    with pytest.raises(ConfigError, match=r"is not UTF-8 \(at byte 9\)"):
        read_callers(str(path), with_certificates=False, before={})


def test_a_certificate_has_one_caller(tmp_path: Path) -> None:
    """Two callers cannot share a certificate."""
    path = tmp_path / "callers.toml"
    path.write_text("[a]\ncertificates = ['x.example']\n[b]\ncertificates = ['x.example']")
    with pytest.raises(ConfigError, match=r"x\.example is named twice"):
        read_callers(str(path), with_certificates=True, before={})


def test_a_file_that_becomes_invalid(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The previous callers stay in use with one warning, until the file is valid again."""
    access = Authenticator(SecuritySettings(callers=str(file)))
    for broken in (b"", b"rubbish"):
        replace(file, broken)
        assert access.by_token(TOKEN).caller.name == access.by_token(TOKEN).caller.name == "alice"
    file.unlink()
    assert access.by_token(TOKEN)
    said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(said) == 3
    assert all(line.endswith("stays in use") for line in said)
    replace(file, callers_toml({"bob": {"tokens": (new_token("bob"),)}}))
    with pytest.raises(RequestError):
        access.by_token(TOKEN)


def test_a_rate_survives_a_change_of_the_file(file: Path) -> None:
    """An edit of the file neither resets a caller's debt nor replaces its rate object."""
    access = Authenticator(SecuritySettings(callers=str(file)))

    def rate(tokens_per_s: int) -> Rate:
        entry = {"tokens": (TOKEN,), "text_tokens_per_s": tokens_per_s}
        replace(file, callers_toml({"alice": entry, "bob": {"tokens": (new_token("bob"),)}}))
        return access.by_token(TOKEN).caller.rate

    first = rate(10)
    assert rate(10) is first
    first.take(600, time.monotonic())
    assert rate(20) is first
    assert first.tokens_per_s == 20
    with pytest.raises(RequestError):
        first.check(time.monotonic())


def test_an_invalid_file_changes_no_rate(file: Path) -> None:
    """Valid entries before the mistake have no effect either."""
    access = Authenticator(SecuritySettings(callers=str(file)))
    alice = callers_toml({"alice": {"tokens": (TOKEN,), "text_tokens_per_s": 5}})
    replace(file, alice + b"\n[bob]\n")
    assert access.by_token(TOKEN).caller.rate.tokens_per_s == math.inf


@pytest.mark.parametrize(("tokens_per_s", "wait_s"), [(50, 10), (101, 500 / 101), (math.inf, 0)])
def test_a_new_rate_keeps_the_debt(tokens_per_s: float, wait_s: float) -> None:
    """The debt is the same number of tokens, paid at the new rate."""
    rate = Rate(100)
    rate.take(600, 1_000.0)
    rate.change(tokens_per_s, 1_000.0)
    assert rate.tokens_per_s == tokens_per_s
    assert rate.wait_s(1_000.0) == pytest.approx(wait_s)


def test_a_new_rate_without_debt() -> None:
    """A caller without debt has none at the new rate. The tokens of one second are free."""
    for rate in (Rate(), Rate(10)):
        rate.take(10, 1_000.0)
        rate.change(100, 1_005.0)
        assert rate.wait_s(1_005.0) == 0
        rate.take(600, 1_005.0)
        assert rate.wait_s(1_005.0) == 5


def test_a_large_call_is_paid_for_by_waiting() -> None:
    """A call of any size passes once the debt is paid. The tokens of one second are free."""
    rate = Rate(100)
    assert rate.wait_s(1_000.0) == 0
    rate.take(100, 1_000.0)
    assert rate.wait_s(1_000.0) == 0
    rate.take(500, 1_000.0)
    assert rate.wait_s(1_000.0) == 5
    rate.take(100, 1_002.0)
    assert rate.wait_s(1_002.0) == 4
    with pytest.raises(RequestError) as refusal:
        rate.check(1_002.0)
    assert refusal.value.reason is Reason.RATE_LIMITED
    assert refusal.value.retry_after_s == 4
    assert refusal.value.metadata == {"text_tokens_per_s": "100"}
    rate.check(1_006.0)


def test_concurrent_calls_overdraw_once() -> None:
    """Of calls that all passed the check, only one overdraws the rate. The others are rejected
    without a charge.
    """
    rate = Rate(100)
    for _ in range(3):
        rate.check(1_000.0)
    rate.charge(600, 1_000.0)
    with pytest.raises(RequestError) as caught:
        rate.charge(600, 1_000.0)

    assert caught.value.reason == "RATE_LIMITED"
    assert rate.wait_s(1_000.0) == 5


def test_no_rate_limit() -> None:
    """A caller without a rate limit never waits."""
    rate = Rate()
    rate.take(1 << 40, 0.0)
    assert rate.wait_s(0.0) == 0
