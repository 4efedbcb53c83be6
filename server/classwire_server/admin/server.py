"""The gRPC server of the admin service, on an address of its own."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc

from classwire.admin.v1 import admin_pb2 as pb
from classwire.contract.reasons import Reason
from classwire_server.config.endpoints import check_port, target_of
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ChangeRefused, Refusal, RequestError, StartError
from classwire_server.registration import interceptors, methods
from classwire_server.rpc.call import PRINCIPAL, Call, parse
from classwire_server.rpc.call_executor import CallExecutor
from classwire_server.rpc.observer import CallObserver
from classwire_server.rpc.receive_timeout import ReceiveTimeout
from classwire_server.rpc.rejection import Listener, reject
from classwire_server.rpc.server_options import FAREWELL_S, grpc_options
from classwire_server.rpc.status import request_error

from .service import AdminService

if TYPE_CHECKING:
    from classwire_server.security.certificates import Certificates

THREADS = 8
"""Maximum calls at a time. A change of models holds a thread; others ask for its progress."""
RECEIVE_TIMEOUT_S = 5.0
"""How long a caller may take to send its message."""

Receive = Callable[[Iterator[bytes], grpc.ServicerContext], bytes]
"""Returns the message of a call, and ends the call when its caller may not administer."""


class AdminServer:
    """Serves the admin service on its own address, from `listen` until `close`. Thread-safe.

    It uses TLS when there are `certificates`. Callers authenticate as on the server's port, and
    need the right to administer. `target` is the address as `host:port`, empty before `listen`.
    """

    def __init__(
        self,
        config: ServerConfig,
        service: AdminService,
        certificates: "Certificates | None",
        listeners: Sequence[Listener],
    ) -> None:
        self.target = ""
        self._config = config
        self._service = service
        self._received = ReceiveTimeout(RECEIVE_TIMEOUT_S)
        self._certificates = certificates
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="admin")
        executor = CallExecutor(self._pool)
        self._grpc = grpc.server(
            executor,
            options=grpc_options(config),
            interceptors=[
                CallObserver(methods((pb,)), listeners, executor),
                *interceptors(config, executor),
            ],
        )
        self._grpc.add_generic_rpc_handlers((_handlers(service, self._receive),))

    def listen(self) -> None:
        """Bind the port, and serve. Raises StartError when it can't bind the address."""
        host, port = self._config.admin_host, self._config.admin_port
        check_port(host, port)
        address = target_of(host, port)
        try:
            if self._certificates is not None:
                credentials = self._certificates.credentials()
                port = self._grpc.add_secure_port(address, credentials)
            else:
                port = self._grpc.add_insecure_port(address)
        except RuntimeError:
            raise StartError(f"cannot listen on {address}") from None
        self.target = target_of(host, port)
        self._grpc.start()

    def allow(self) -> None:
        """Accept changes of models. Called once the server has loaded its first models."""
        self._service.allow_changes()

    def forbid(self) -> None:
        """Reject changes of models from now on. Called when the server stops."""
        self._service.forbid_changes()

    def close(self) -> None:
        """Send the last responses, and stop."""
        self._grpc.stop(FAREWELL_S).wait()
        self._pool.shutdown(wait=False)

    def _receive(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """The message of a call. Ends the call when its caller may not administer."""
        if not PRINCIPAL.get().caller.may_administer:  # before the wait for its message
            reject(context, RequestError(Reason.NOT_ALLOWED, "the caller may not administer"))
        return self._received.message(requests, context)


def _handlers(service: AdminService, receive: Receive) -> grpc.GenericRpcHandler:
    def answers(
        method: Callable[[Any, Call], Iterator[Any]], request_type: Any
    ) -> Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]:
        def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            call = Call.of(context)
            raw = receive(requests, context)
            failure: Refusal
            try:
                for message in method(parse(request_type, raw), call):
                    yield message.SerializeToString()
                return
            except ChangeRefused as error:
                failure = error
            except Exception as error:  # the caller gets a status, and never an exception's text
                failure = request_error(error)
            reject(context, failure)

        return handle

    def streaming(method: Callable[[Any, Call], Iterator[Any]], request_type: Any) -> Any:
        return grpc.stream_stream_rpc_method_handler(answers(method, request_type))

    def unary(method: Callable[[Any, Call], Any], request_type: Any) -> Any:
        handle = answers(lambda request, call: iter((method(request, call),)), request_type)
        return grpc.stream_unary_rpc_method_handler(
            lambda requests, context: next(handle(requests, context))
        )

    (name,) = pb.DESCRIPTOR.services_by_name
    return grpc.method_handlers_generic_handler(
        pb.DESCRIPTOR.services_by_name[name].full_name,
        {
            "LoadModel": streaming(service.load_model, pb.LoadModelRequest),
            "ReloadModel": streaming(service.reload_model, pb.ReloadModelRequest),
            "UnloadModel": unary(service.unload_model, pb.UnloadModelRequest),
            "SetDefaultModel": unary(service.set_default_model, pb.SetDefaultModelRequest),
            "Drain": unary(service.drain, pb.DrainRequest),
            "GetStatus": unary(service.get_status, pb.GetStatusRequest),
            "ListPoisonInputs": unary(service.list_poison_inputs, pb.ListPoisonInputsRequest),
            "ClearPoisonInputs": unary(service.clear_poison_inputs, pb.ClearPoisonInputsRequest),
        },
    )
