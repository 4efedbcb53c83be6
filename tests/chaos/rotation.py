"""Certificates and tokens that are replaced again and again while callers go on."""

import itertools
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import trustme

from classwire import Client, StreamItem, UnauthenticatedError
from classwire.contract.tokens import new_token
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.contract.engines import FakeEngine
from tests.security.files import HOST, Pair, ca_file, callers_toml, replace

from .callers import Callers, Ledger
from .known import Known
from .servers import inside
from .trial import Plan, Report, Trial

ROUNDS = 20
ANSWERS_BETWEEN = 100
STREAM_ITEMS = 50


class Beginners(Callers):
    """Callers whose streams are short."""

    begun = 0

    def _items(self) -> Iterator[StreamItem]:
        self.begun += 1
        yield from itertools.islice(super()._items(), STREAM_ITEMS)


class Newcomers(Callers):
    """A caller who connects anew for each call."""

    def __init__(self, connect: Callable[[], Client], ledger: Ledger) -> None:
        super().__init__(connect(), ledger, unary=1)
        self._connect = connect

    def _unary(self) -> None:
        self._client.close()
        self._client = self._connect()
        super()._unary()


def run(plan: Plan) -> Report:
    """Replace both, again and again; who has the newest of each, or the one before, is served."""
    report = Report()
    authority = trustme.CA()
    ca = ca_file(plan.work, authority)
    pair = Pair.at(plan.work, authority.issue_cert(HOST))
    own = [_own_pair(plan, authority, 0)]
    tokens = (new_token("alice"), new_token("alice"))
    token = tokens[-1]
    callers = plan.work / "callers.toml"
    replace(callers, callers_toml({"alice": {"tokens": tokens}}))

    def connect(shown: Callable[[], str] = lambda: token) -> Client:
        return Client(server.target, tls=own[-1].client_tls(ca), token=shown, retry=False)

    with (
        _server(plan, **pair.settings, tls_client_ca=str(ca), callers=str(callers)) as server,
        ExitStack() as ends,
    ):
        known = Known.ask(
            server.target,
            20 if plan.is_short else 1_000,
            tls=own[-1].client_tls(ca),
            token=token,
        )
        ledger = Ledger(known)
        client = ends.enter_context(connect())
        beginners = ends.enter_context(Beginners(client, ledger, unary=2, batches=1, streams=1))
        ends.enter_context(Newcomers(connect, ledger))
        shown = refused = 0
        for number in range(ROUNDS):
            gone, last = tokens
            tokens = (last, new_token("alice"))
            replace(callers, callers_toml({"alice": {"tokens": tokens}}))
            token = tokens[-1]
            pair.put(authority.issue_cert(HOST))
            own.append(_own_pair(plan, authority, number + 1))
            shown += _shown(server.port, own[-1], ca) == _certificate(pair)
            refused += _is_refused(connect, gone)
            _let_go_on(ledger, beginners, 10 if plan.is_short else ANSWERS_BETWEEN)
            plan.say(f"replaced {number + 1} times")
    report.add("new certificates that new connections get", str(ROUNDS), shown, shown == ROUNDS)
    report.add("old tokens that the server rejects", str(ROUNDS), refused, refused == ROUNDS)
    ledger.report(report, "callers with credentials")
    return report


def _let_go_on(ledger: Ledger, beginners: Beginners, answers: int) -> None:
    """Wait for so many answers, and until all that began before now is over."""
    before = beginners.begun + 1
    assert ledger.wait_until(lambda: beginners.begun > before), "no stream begins"
    assert ledger.wait_for(ledger.open), "not all is answered"
    assert ledger.wait_for_answers(answers), "nothing is answered"


def _server(plan: Plan, **settings: Any) -> AbstractContextManager[Server]:
    """Short runs are about credentials alone: no model answers."""
    if plan.is_short:
        return Server(ServerConfig(port=0, **settings), FakeEngine().launch)
    return inside(plan, **settings)


def _own_pair(plan: Plan, authority: trustme.CA, number: int) -> Pair:
    """A certificate of a caller; a client that is being made reads two files."""
    return Pair.at(plan.work, authority.issue_cert("alice.example"), f"caller-{number}")


def _shown(port: int, own: Pair, ca: object) -> bytes | None:
    """The certificate that a new connection sees."""
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(own.cert, own.key)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((HOST, port)) as bare,
        context.wrap_socket(bare, server_hostname=HOST) as secured,
    ):
        return secured.getpeercert(binary_form=True)


def _certificate(pair: Pair) -> bytes:
    first, end, _ = pair.cert.read_text().partition("-----END CERTIFICATE-----")
    return ssl.PEM_cert_to_DER_cert(first + end)


def _is_refused(connect: Callable[..., Client], token: str) -> bool:
    with connect(lambda: token) as client:
        try:
            client.models()
        except UnauthenticatedError:
            return True
    return False


ROTATION = Trial(
    "rotation",
    "A TLS server requires certificates and tokens. Its own and its callers' certificates and "
    "tokens are replaced repeatedly, under unary calls, batches and streams, on existing and new "
    "connections. Clients do not retry.",
    run,
)
