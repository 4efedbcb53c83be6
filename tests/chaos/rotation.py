"""Certificates and tokens that are replaced again and again while callers go on."""

import itertools
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import trustme

from classwire import Client, Item, Unauthenticated
from classwire._tokens import new_token
from tests.security.files import HOST, Pair, ca_file, callers_toml, replace

from .callers import Callers, Ledger
from .known import Known
from .servers import inside
from .trial import Plan, Report, Trial

ANSWERS_BETWEEN = 100
STREAM_ITEMS = 50
CLIENT = "client"


class Beginners(Callers):
    """Callers whose streams are short."""

    begun = 0

    def _items(self) -> Iterator[Item]:
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
    rounds = 3 if plan.is_short else 20
    authority = trustme.CA()
    ca = ca_file(plan.work, authority)
    pair = Pair.at(plan.work, authority.issue_cert(HOST))
    own = Pair.at(plan.work, authority.issue_cert("alice.example"), CLIENT)
    tokens = deque([new_token("alice")], maxlen=2)
    callers = plan.work / "callers.toml"
    replace(callers, callers_toml({"alice": {"tokens": tuple(tokens)}}))

    def connect(token: Callable[[], str] = lambda: tokens[-1]) -> Client:
        return Client(server.target, tls=own.shown_to(ca), token=token, retry=False)

    with (
        inside(plan, **pair.settings, tls_client_ca=str(ca), callers=str(callers)) as server,
        ExitStack() as ends,
    ):
        known = Known.ask(
            server.target,
            200 if plan.is_short else 1_000,
            tls=own.shown_to(ca),
            token=tokens[-1],
        )
        ledger = Ledger(known)
        client = ends.enter_context(connect())
        beginners = ends.enter_context(Beginners(client, ledger, unary=2, batches=1, streams=1))
        ends.enter_context(Newcomers(connect, ledger))
        shown = refused = 0
        for number in range(rounds):
            gone = tokens[0] if len(tokens) == 2 else new_token("alice")
            tokens.append(new_token("alice"))
            replace(callers, callers_toml({"alice": {"tokens": tuple(tokens)}}))
            pair.put(authority.issue_cert(HOST))
            own.put(authority.issue_cert("alice.example"))
            shown += _shown(server.port, own, ca) == _certificate(pair)
            refused += _is_refused(connect, gone)
            before = beginners.begun
            assert ledger.wait_until(lambda: beginners.begun > before), "no stream begins"  # noqa: B023
            assert ledger.wait_for_answers(ANSWERS_BETWEEN), "nothing is answered"
            plan.say(f"replaced {number + 1} times")
    report.add("new certificates that new connections see", str(rounds), shown, shown == rounds)
    report.add("old tokens that are refused", str(rounds), refused, refused == rounds)
    ledger.report(report, "callers with credentials")
    return report


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
        except Unauthenticated:
            return True
    return False


ROTATION = Trial(
    "rotation",
    "A server of TLS that asks for certificates and tokens, each of its own and of its callers "
    "replaced again and again, under unary calls, batches and streams, on connections that stay "
    "and on new ones; clients that try nothing again.",
    run,
)
