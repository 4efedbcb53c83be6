"""`classwire admin`: change the models of a running server, or drain it."""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from classwire._connection.environment import Security
from classwire.escaping import visible

from .credentials import security_of, security_options, settings_named
from .failures import Failure, WrongUse

if TYPE_CHECKING:
    from classwire.admin.v1 import admin_pb2 as pb

DEFAULT_TARGET = "127.0.0.1:50052"
ANSWER_TIMEOUT_S = 30.0
"""Deadline of calls that change no model. Those that do have none."""


@dataclass(frozen=True)
class Admin:
    """The options of all admin commands."""

    target: str
    security: Security

    def call(self, method: str, request: Any) -> Any:
        """Make a call and return its response."""
        with self._stub() as (stub, metadata):
            is_change = method == "UnloadModel"
            timeout_s = None if is_change else ANSWER_TIMEOUT_S
            return getattr(stub, method)(request, metadata=metadata, timeout=timeout_s)

    def follow(self, method: str, request: Any) -> Iterator[Any]:
        """Make a call and yield its responses as they come."""
        with self._stub() as (stub, metadata):
            yield from getattr(stub, method)(request, metadata=metadata)

    @contextmanager
    def _stub(self) -> Iterator[tuple[Any, Any]]:
        """A stub, and the metadata of its calls. Raises Failure if no admin service answers."""
        from classwire._connection import grpc_log  # noqa: F401

        # isort: split
        import grpc

        from classwire._connection.credentials import Credentials
        from classwire._connection.session import Session
        from classwire.admin.v1.admin_pb2_grpc import AdminServiceStub
        from classwire.errors import UnavailableError

        with settings_named(self.security):
            shown = Credentials(credentials=None, **self.security.arguments())
            session = Session(self.target, ANSWER_TIMEOUT_S, None, False, shown)
            if shown.channel is None:
                channel = grpc.insecure_channel(self.target, session.options)
            else:
                channel = grpc.secure_channel(self.target, shown.channel, session.options)
            with channel:
                try:
                    with session.calling():
                        yield AdminServiceStub(channel), shown.metadata()
                except UnavailableError as error:
                    if "`classwire serve`" not in error.message:
                        raise
                    raise Failure(
                        f"no admin service answers at {self.target}; `classwire serve "
                        "--admin-port 50052` has one"
                    ) from error


def admin_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --target and the security options; pass them as `admin`."""

    @click.option(
        "--target",
        envvar="CLASSWIRE_ADMIN_TARGET",
        default=DEFAULT_TARGET,
        show_default=True,
        show_envvar=True,
        help="Address of the server's admin service.",
    )
    @security_options
    @functools.wraps(command)
    def with_admin(*, target: str, **others: Any) -> None:
        command(admin=Admin(target, security_of(others)), **others)

    return with_admin


revision_option = click.option(
    "--revision", default="", metavar="NAME", help="Branch, tag or commit of a hub id."
)


@click.group()
def admin() -> None:
    """Change the models of a running server, or drain it.

    The commands call the admin service, which `classwire serve --admin-port` starts on a port of
    its own. The server does not save changes: at its next start it serves the models of
    its settings.
    """


@admin.command()
@click.argument("model", metavar="[NAME=]CHECKPOINT")
@revision_option
@admin_options
def load(*, admin: Admin, model: str, revision: str) -> None:
    """Add a model: a folder on the server's machine, or a hub id."""
    from classwire.admin.v1 import admin_pb2 as pb

    name, separator, checkpoint = model.partition("=")
    if not separator:
        name, checkpoint = "", model
    if separator and not name:
        raise WrongUse(f"{model!r} has an empty name")
    request = pb.LoadModelRequest(name=name, checkpoint=checkpoint, revision=revision)
    _show_progress(admin.follow("LoadModel", request))


@admin.command()
@click.argument("name")
@click.argument("checkpoint", default="")
@revision_option
@admin_options
def reload(*, admin: Admin, name: str, checkpoint: str, revision: str) -> None:
    """Replace the checkpoint of model NAME without downtime.

    Without CHECKPOINT, the server reads the model's own checkpoint again. If the server cannot
    serve the new checkpoint, it keeps the old one.
    """
    from classwire.admin.v1 import admin_pb2 as pb

    request = pb.ReloadModelRequest(name=name, checkpoint=checkpoint, revision=revision)
    _show_progress(admin.follow("ReloadModel", request))


@admin.command()
@click.argument("name")
@click.option(
    "--default",
    "new_default",
    default="",
    metavar="NAME",
    help="New default model, if this one is the default.",
)
@admin_options
def unload(*, admin: Admin, name: str, new_default: str) -> None:
    """Unload the model NAME when its calls in flight are answered."""
    from classwire.admin.v1 import admin_pb2 as pb

    admin.call("UnloadModel", pb.UnloadModelRequest(name=name, new_default=new_default))
    click.echo(f"{name} is unloaded")


@admin.command()
@click.argument("name")
@admin_options
def default(*, admin: Admin, name: str) -> None:
    """Make NAME the default model, for calls that name no model."""
    from classwire.admin.v1 import admin_pb2 as pb

    admin.call("SetDefaultModel", pb.SetDefaultModelRequest(name=name))
    click.echo(f"{name} is the default")


@admin.command()
@admin_options
def drain(*, admin: Admin) -> None:
    """Stop the server after its calls in flight, as SIGTERM does."""
    from classwire.admin.v1 import admin_pb2 as pb

    begun = admin.call("Drain", pb.DrainRequest())
    click.echo(
        f"draining: {begun.calls_in_flight} calls in flight, for at most {begun.timeout.seconds} s"
    )


@admin.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@admin_options
def status(*, admin: Admin, as_json: bool) -> None:
    """Show models, queues and memory of the server."""
    from classwire.admin.v1 import admin_pb2 as pb

    now = admin.call("GetStatus", pb.GetStatusRequest())
    if as_json:
        from google.protobuf.json_format import MessageToJson

        click.echo(
            MessageToJson(
                now,
                indent=None,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,  # a 0 is a figure too
            )
        )
        return
    _print_status(now)


@admin.command()
@click.argument("model", default="")
@click.option("--clear", is_flag=True, help="Let the server run these texts again.")
@admin_options
def poison(*, admin: Admin, model: str, clear: bool) -> None:
    """Show how many texts the server rejects with POISON_INPUT.

    Each ended the model's process twice while the process ran only that text. Without MODEL, the
    command covers all models. It never shows a text.
    """
    from classwire.admin.v1 import admin_pb2 as pb

    if clear:
        request = pb.ClearPoisonInputsRequest(model=model)
        cleared = admin.call("ClearPoisonInputs", request).count
        click.echo(f"{cleared} poison text{'s' * (cleared != 1)} cleared")
        return
    found = admin.call("ListPoisonInputs", pb.ListPoisonInputsRequest(model=model))
    if found.poison_inputs:
        _print_poison(found.poison_inputs)
    else:
        click.echo("no poison texts")


def _show_progress(answers: Iterator[Any]) -> None:
    """Show each stage of a change on standard error, then the model on standard output."""
    with ExitStack() as ends:
        say = _progress(ends)
        for answer in answers:
            if answer.HasField("model"):
                model = answer.model
                break
            say(_name(answer.stage, "CHANGE_STAGE_"))
        else:
            raise Failure("the server did not say how the change ended")
    labels = f"{len(model.labels)} label{'s' * (len(model.labels) != 1)}"
    click.echo(f"{model.name}: {model.architecture}, {labels}, {model.fingerprint[:12]}")


def _progress(ends: ExitStack) -> Callable[[str], None]:
    """Shows one changing line on a terminal, else a line for each stage."""
    if not sys.stderr.isatty():
        return functools.partial(click.echo, err=True)
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    shown = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    ends.enter_context(shown)
    task = shown.add_task("", total=None)
    return lambda stage: shown.update(task, description=stage)


def _print_status(now: "pb.GetStatusResponse") -> None:
    from .inspection import columns
    from .rendering import console

    out = console()
    doing = f"{now.calls_in_flight} calls in flight, {now.open_streams} of them streams"
    out.print(f"{_name(now.state, 'SERVER_STATE_')}: {doing}")
    if now.HasField("change"):
        change = now.change
        stage = _name(change.stage, "CHANGE_STAGE_")
        out.print(f"{visible(change.model)}: {stage}, for {change.elapsed.seconds} s")
    if now.memory_budget_bytes:
        needed_mb = sum(each.memory_bytes for each in now.models) / 1e6
        out.print(f"memory: {needed_mb:.0f} of {now.memory_budget_bytes / 1e6:.0f} MB")
    shown = columns(
        "model", "state", "calls", "waiting", "tokens", "MB", "fingerprint", right=(2, 3, 4, 5)
    )
    for each in now.models:
        shown.add_row(
            visible(each.model.name) + " (default)" * each.model.is_default,
            _name(each.model.state, "MODEL_STATE_"),
            str(each.calls_in_flight),
            str(each.waiting_texts),
            str(each.waiting_tokens),
            f"{each.memory_bytes / 1e6:.0f}",
            each.model.fingerprint[:12],
        )
    out.print(shown)


def _print_poison(found: "Iterable[pb.PoisonInputs]") -> None:
    from .inspection import columns
    from .rendering import console

    shown = columns("model", "poison texts", "first", "last", right=(1,))
    for each in found:
        times = (
            f"{time.ToDatetime(UTC).astimezone():%Y-%m-%d %H:%M:%S}"
            for time in (each.first_time, each.last_time)
        )
        shown.add_row(visible(each.model), str(each.count), *times)
    console().print(shown)


def _name(value: int, prefix: str) -> str:
    """The word for a value of an enum."""
    from classwire.admin.v1 import admin_pb2 as pb
    from classwire.v1 import classwire_pb2

    enums = {
        "CHANGE_STAGE_": pb.ChangeStage,
        "SERVER_STATE_": pb.ServerState,
        "MODEL_STATE_": classwire_pb2.ModelState,
    }
    names = (name for name, number in enums[prefix].items() if number == value)
    return next(names, str(value)).removeprefix(prefix).lower()
