"""Triton's own client, and Classwire's, against a server of this checkout.

Run by scripts/test-tritonclient, which makes the environment and the files that this module
reads.
"""

import asyncio
import importlib.metadata
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

np: Any = pytest.importorskip("numpy")
triton: Any = pytest.importorskip("tritonclient.grpc", reason="see scripts/test-tritonclient")

import tritonclient.grpc.aio as triton_aio  # noqa: E402
from google.protobuf.descriptor_pb2 import (  # noqa: E402
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from tritonclient.utils import InferenceServerException  # noqa: E402

from classwire import Client  # noqa: E402

HERE = Path(__file__).parent
PAGE = HERE / "triton.md"
MODEL = "stars-en"
TEXTS = (
    "I really love this book",
    "Fell apart in the first wash.",
    "It's okay 😀. Nothing special.",
)
LABELS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
PATIENCE_S = 60


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """Yield the address of `classwire serve` with the embedded checkpoint."""
    command = [os.environ["CLASSWIRE_COMMAND"], "serve", "--port", "0", "--deterministic"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            address = server.stdout.readline().removeprefix("listening on ").strip()
            assert server.stdout.readline() == "serving\n"
            yield address
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=PATIENCE_S) == 0
        finally:
            server.kill()


@pytest.fixture(scope="module")
def client(target: str) -> Iterator[Any]:
    """Yield Triton's client."""
    with triton.InferenceServerClient(target) as client:
        yield client


@pytest.fixture(scope="module")
def expected(target: str) -> Any:
    """Return the scores of the texts by Classwire's client, by label id: (texts, labels)."""
    with Client(target) as client:
        results = [client.classify(text) for text in TEXTS]
    by_id = [sorted(result.scores, key=lambda score: score.label_id) for result in results]
    return np.array([[score.score for score in row] for row in by_id], np.float32)


def inputs(*texts: str, kind: Any = triton) -> list[Any]:
    """Return the input of a request, of shape [n,1]."""
    text = kind.InferInput("text", [len(texts), 1], "BYTES")
    text.set_data_from_numpy(np.array([t.encode() for t in texts], object).reshape(-1, 1))
    return [text]


def decoded(array: Any) -> list[Any]:
    """Return an array of bytes objects as nested lists of texts."""
    return [decoded(entry) if isinstance(entry, np.ndarray) else entry.decode() for entry in array]


def test_environment() -> None:
    """Both clients share one environment, on protobuf 6."""
    assert importlib.metadata.version("protobuf").startswith("6.")
    assert importlib.metadata.version("tritonclient") == "2.73.0"


def test_unary(client: Any, expected: Any) -> None:
    """`infer` returns the same scores, bit for bit, and the labels of the highest."""
    result = client.infer(MODEL, inputs(*TEXTS), request_id="r", model_version="1", priority=2)

    scores = result.as_numpy("scores")
    assert scores.tobytes() == expected.tobytes()
    label_ids = expected.argmax(axis=1).tolist()
    assert result.as_numpy("label_id").tolist() == label_ids
    assert decoded(result.as_numpy("label")) == [LABELS[label_id] for label_id in label_ids]
    assert (result.get_response().id, result.get_response().model_version) == ("r", "1")


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compression(client: Any, expected: Any, compression: str) -> None:
    """The server accepts compressed requests."""
    result = client.infer(MODEL, inputs(*TEXTS), compression_algorithm=compression)

    assert result.as_numpy("scores").tobytes() == expected.tobytes()


def test_async(client: Any, expected: Any) -> None:
    """`async_infer` passes results to its callback."""
    done: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    for _ in range(8):
        client.async_infer(
            MODEL, inputs(*TEXTS), callback=lambda result, error: done.put((result, error))
        )

    for _ in range(8):
        result, error = done.get(timeout=PATIENCE_S)
        assert error is None
        assert result.as_numpy("scores").tobytes() == expected.tobytes()


def test_asyncio(target: str, expected: Any) -> None:
    """The asyncio client makes calls and streams."""

    async def run() -> list[Any]:
        async with triton_aio.InferenceServerClient(target) as client:
            one = await client.infer(MODEL, inputs(*TEXTS, kind=triton_aio))

            async def requests() -> Any:
                for text in TEXTS:
                    yield {"model_name": MODEL, "inputs": inputs(text, kind=triton_aio)}

            streamed = []
            async for result, error in client.stream_infer(requests()):
                assert error is None
                streamed.append(result.as_numpy("scores"))
            return [one.as_numpy("scores"), np.concatenate(streamed)]

    for scores in asyncio.run(run()):
        assert scores.tobytes() == expected.tobytes()


def test_stream(client: Any, expected: Any) -> None:
    """A stream answers in order; a bad request gets an error in its place, and the stream goes
    on.
    """
    answers: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for number, text in enumerate(TEXTS):
        client.async_stream_infer(MODEL, inputs(text), request_id=str(number))
        client.async_stream_infer(MODEL, inputs("fine", " "))
    client.async_stream_infer("other", inputs("fine"))

    for number in range(len(TEXTS)):
        result, error = answers.get(timeout=PATIENCE_S)
        assert error is None
        response = result.get_response()
        assert (response.id, response.model_name) == (str(number), MODEL)
        assert response.parameters["triton_final_response"].bool_param
        assert result.as_numpy("scores").tobytes() == expected[number].tobytes()
        _, error = answers.get(timeout=PATIENCE_S)
        assert error.message() == "EMPTY_TEXT: text[1]: the text is empty or blank"
    _, error = answers.get(timeout=PATIENCE_S)
    assert error.message() == f"UNKNOWN_MODEL: no model of that name; there is {MODEL}"
    client.stop_stream()
    assert answers.empty()


@pytest.mark.parametrize("classes", [1, 3, 9])
def test_classification(client: Any, expected: Any, classes: int) -> None:
    """`class_count` returns the highest classes in Triton's notation."""
    outputs = [
        triton.InferRequestedOutput("label"),
        triton.InferRequestedOutput("scores", class_count=classes),
    ]

    result = client.infer(MODEL, inputs(*TEXTS), outputs=outputs)

    assert [output.name for output in result.get_response().outputs] == ["label", "scores"]
    for row, found in zip(expected, decoded(result.as_numpy("scores")), strict=True):
        best = sorted(range(5), key=lambda label_id: -row[label_id])[:classes]
        assert found == [f"{row[i]:f}:{i}:{LABELS[i]}" for i in best]


def test_no_texts(client: Any) -> None:
    """A request without texts gets tensors without elements."""
    result = client.infer(MODEL, inputs())

    assert [result.as_numpy(name).shape for name in ("scores", "label", "label_id")] == [
        (0, 5),
        (0,),
        (0,),
    ]


def test_errors(client: Any) -> None:
    """Statuses and their messages reach the caller."""
    for code, message, given in (
        ("INVALID_ARGUMENT", "text[1]: ", {"inputs": inputs("fine", "")}),
        ("NOT_FOUND", "no model of that name", {"model_name": "other"}),
        ("NOT_FOUND", "the model has one version, 1", {"model_version": "2"}),
        ("DEADLINE_EXCEEDED", "", {"client_timeout": 1e-6}),
    ):
        call = {"model_name": MODEL, "inputs": inputs("fine"), **given}
        with pytest.raises(InferenceServerException) as caught:
            client.infer(**call)
        assert caught.value.status() == f"StatusCode.{code}"
        assert caught.value.message().startswith(message)
    shared = inputs("fine")
    shared[0].set_shared_memory("region", 8)
    with pytest.raises(InferenceServerException, match="there is no shared memory"):
        client.infer(MODEL, shared)


def test_descriptions(client: Any) -> None:
    """The client can query the server's and the models' metadata, config and statistics."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata().name == "classwire"
    metadata = client.get_model_metadata(MODEL)
    assert [tensor.name for tensor in metadata.inputs] == ["text", "text_pair"]
    config = client.get_model_config(MODEL, as_json=True)["config"]
    assert config["max_batch_size"] == 256
    assert config["input"][0]["data_type"] == "TYPE_STRING"
    [model] = client.get_model_repository_index().models
    assert (model.name, model.version, model.state) == (MODEL, "1", "READY")
    [before] = client.get_inference_statistics(MODEL).model_stats
    client.infer(MODEL, inputs("something new", "and newer"))
    [after] = client.get_inference_statistics().model_stats
    assert after.inference_stats.success.count == before.inference_stats.success.count + 1
    assert after.inference_count == before.inference_count + 2
    assert after.execution_count > before.execution_count


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.load_model(MODEL),
        lambda client: client.unload_model(MODEL),
        lambda client: client.get_system_shared_memory_status(),
        lambda client: client.get_cuda_shared_memory_status(),
        lambda client: client.get_trace_settings(),
        lambda client: client.get_log_settings(),
    ],
)
def test_other_methods_are_unimplemented(client: Any, call: Any) -> None:
    """All other methods are UNIMPLEMENTED."""
    with pytest.raises(InferenceServerException) as caught:
        call(client)
    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"


def test_example(target: str) -> None:
    """The documented program prints the documented output, but for the processor's last digits."""
    ended = subprocess.run(
        [sys.executable, HERE / "classify.py", target, MODEL, TEXTS[0], TEXTS[1]],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )

    printed, documented = _scores(ended.stdout), _scores(PAGE.read_text(encoding="utf-8"))
    assert printed == pytest.approx(documented, abs=1e-5)
    assert list(printed) == ["4:5 stars", "0:1 star"]
    assert ended.stderr == ""


def _scores(text: str) -> dict[str, float]:
    return {label: float(score) for score, label in re.findall(r"^(0\.\d{6}):(.+)$", text, re.M)}


PERF_ANALYZER = shutil.which("perf_analyzer", path=sysconfig.get_path("scripts"))


@pytest.mark.skipif(PERF_ANALYZER is None, reason="perf_analyzer has no binary for this machine")
@pytest.mark.parametrize(
    "options", [["-b", "2"], ["--async", "--streaming"]], ids=["calls", "stream"]
)
def test_perf_analyzer(target: str, tmp_path: Path, options: list[str]) -> None:
    """perf_analyzer reads the model's metadata, loads the server, and reads its statistics."""
    data = tmp_path / "texts.json"
    data.write_text(json.dumps({"data": [{"text": [text]} for text in TEXTS]}), "utf-8")
    command = [PERF_ANALYZER or "", "-i", "grpc", "-u", target, "-m", MODEL, *options]
    command += ["--input-data", str(data), "--shape", "text:1", "--concurrency-range", "2"]
    command += ["--measurement-mode", "count_windows", "--measurement-request-count", "20"]

    ended = subprocess.run(
        [*command, "--stability-percentage", "999"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout
    figures = dict(
        re.findall(r"(Request count|Inference count|Execution count): (\d+)", ended.stdout)
    )
    assert len(figures) == 3, ended.stdout
    assert all(int(count) > 0 for count in figures.values())
    assert int(figures["Inference count"]) >= int(figures["Request count"])


def differences(
    ours: FileDescriptorProto | DescriptorProto,
    theirs: Sequence[FileDescriptorProto | DescriptorProto],
    path: str,
) -> Iterator[str]:
    """Yield the differences of messages and enums from Triton's: name, number, type, label,
    oneof.
    """
    is_file = isinstance(ours, FileDescriptorProto)
    kinds = "message_type" if is_file else "nested_type"
    known = {message.name: message for owner in theirs for message in getattr(owner, kinds)}
    for message in getattr(ours, kinds):
        where = f"{path}.{message.name}"
        if message.name not in known:
            yield f"{where}: is not there"
            continue
        other = known[message.name]
        fields = {field.number: field for field in other.field}
        for field in message.field:
            if field.number not in fields:
                yield f"{where}.{field.name}: no field {field.number}"
            elif facts(field, message) != facts(fields[field.number], other):
                yield f"{where}.{field.name}: {facts(fields[field.number], other)}"
        yield from differences(message, [other], where)
    enums = {enum.name: enum for owner in theirs for enum in owner.enum_type}
    for enum in ours.enum_type:
        values = {value.number: value.name for value in enums[enum.name].value}
        if values != {value.number: value.name for value in enum.value}:
            yield f"{path}.{enum.name}: {values}"


def facts(field: FieldDescriptorProto, owner: DescriptorProto) -> tuple[Any, ...]:
    """Return the properties of a field that matter to the wire and to generated code."""
    oneof = owner.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
    return field.name, field.type, field.type_name, field.label, oneof


def described(module: Any) -> FileDescriptorProto:
    """Return the descriptor of the file that a module was generated from."""
    file = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file


def test_messages_and_rpcs_are_tritons() -> None:
    """Triton's contract has every field and method of the server's."""
    theirs = [described(triton.service_pb2), described(triton.model_config_pb2)]
    [ours] = FileDescriptorSet.FromString((HERE / "open_inference.binpb").read_bytes()).file

    assert ours.package == theirs[0].package == "inference"
    assert list(differences(ours, theirs, "inference")) == []
    [service], [other] = ours.service, theirs[0].service
    methods = {method.name: method for method in other.method}
    assert service.name == other.name
    assert len(service.method) == 10
    for method in service.method:
        assert methods[method.name] == method
