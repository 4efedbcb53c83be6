"""Ahead-of-time compilation of a packed model: one library of native code, without its weights.

`torch.export` records the forward pass with any number of tokens and texts, AOTInductor turns it
into C++. What it computes in one call needs no Python between two operators.
"""

import hashlib
import os
import platform
import subprocess
import uuid
import warnings
import weakref
import zipfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import transformers

from classwire import __version__
from classwire_server.engine import Precision
from classwire_server.engine.forward.packed import PackedModel
from classwire_server.errors import CompileError

LIBRARY = "model.so"
OPERATORS = "model.json"
"""The operators that the library calls back; torch looks for it beside the library."""
RUNNER = "runner.so"
NAMESPACE = "namespace"
"""Name of the runner's operators."""

_RUNNER_SOURCE = Path(__file__).with_name("compiled_runner.cpp")

_LEAST_TOKENS, _LEAST_BOUNDS = 2, 3
"""torch.export takes a dimension of 1 (or a lone text's 2 bounds) for a constant."""
_MOST = 1 << 20
_SETTINGS = {
    "cpp.dynamic_threads": True,
    "aot_inductor.package_constants_in_so": False,
    "always_keep_tensor_constants": True,  # else the values of small ones are part of the code
    # Nothing else is compiled in that process which could use them.
    "aot_inductor.precompile_headers": False,
    "cpp_cache_precompile_headers": False,
    "compile_threads": 1,
}


def artefact_key(fingerprint: str, precision: Precision) -> str:
    """The name of the artefact of a checkpoint: 64 hexadecimal digits.

    It changes with all that changes the code: the checkpoint, the precision, the versions of what
    writes the code, and this machine's processor, whose every instruction the code may use.
    """
    parts = (
        _own_code(),
        fingerprint,
        precision.value,
        __version__,
        torch.__version__,
        transformers.__version__,
        platform.system(),
        platform.machine(),
        torch.backends.cpu.get_cpu_capability(),
        *_processor_flags(),
    )
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


@cache
def _own_code() -> str:
    """A hash of this package's own code: what is exported, and how, depends on all of it."""
    digest = hashlib.sha256()
    engine = Path(__file__).parent.parent
    for path in sorted((*engine.rglob("*.py"), *engine.rglob("*.cpp"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def check_compiler() -> str:
    """What the C++ compiler says of itself, in a line.

    Raises CompileError when there is none: before any long work.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        command = [get_cpp_compiler(), "--version"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return said.partition("\n")[0]
    except (InvalidCxxCompiler, OSError, subprocess.CalledProcessError):
        name = os.environ.get("CXX", "g++")
        raise CompileError(
            f"there is no C++ compiler ({name}); install one, or bring a cache that "
            "`classwire compile` has filled on the same kind of machine"
        ) from None


def compile_model(model: PackedModel, folder: Path) -> None:
    """Compile the forward pass of a model on the CPU, and write what CompiledModel loads.

    Takes from 20 seconds to a minute. Raises CompileError, and OSError when a file cannot be
    written. Changes the environment for a while: for a process that does nothing else.
    """
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.utils import fresh_cache

    check_compiler()
    package = folder / "package.pt2"
    try:
        # Silent: what torch warns of here is about torch's own code.
        with (
            _start_runner(folder) as runner,
            warnings.catch_warnings(),
            fresh_cache(dir=str(folder)),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            exported = _export(model)
            aoti_compile_and_package(
                exported, package_path=str(package), inductor_configs=_SETTINGS
            )
            _, complaints = runner.communicate()
            if runner.returncode:
                raise RuntimeError(complaints.decode(errors="replace"))
    except OSError:
        raise
    except Exception as error:  # of export, Inductor or the compiler, each with their own
        raise CompileError(f"cannot be compiled: {_reason(error)}") from error
    with zipfile.ZipFile(package) as archive:
        for name in archive.namelist():
            if name.endswith(".wrapper.so"):
                (folder / LIBRARY).write_bytes(archive.read(name))
            elif name.endswith(".wrapper.json"):
                (folder / OPERATORS).write_bytes(archive.read(name))
    package.unlink()


class CompiledModel:
    """The forward pass of a packed model as compiled code, which reads that model's own weights.

    Is called as PackedModel.forward is, by up to `lanes` threads at once; more wait for each other.
    Uses as many threads as torch is set to, and Python's lock only where an operator of ours does.
    `artefact` holds what `compile_model` wrote for this model: its code is run, so it must come
    from a folder that nobody else writes to. Raises CompileError when it cannot be loaded or is of
    another model.
    """

    def __init__(self, artefact: Path, model: PackedModel, lanes: int) -> None:
        self._model = model  # keeps the weights, which the library only points to
        weights = _weights(model)
        try:
            torch.ops.load_library(artefact / RUNNER)
            namespace = (artefact / NAMESPACE).read_text(encoding="ascii")
            operators: Any = getattr(torch.ops, namespace)
            runner: int = operators.open(str(artefact / LIBRARY), lanes)
            weakref.finalize(self, operators.close, runner)
            names = operators.weight_names(runner)
            operators.set_weights(runner, names, [weights[name].detach() for name in names])
        except (OSError, RuntimeError, KeyError) as error:
            raise CompileError(f"{artefact}: cannot be loaded: {_reason(error)}") from error
        self._run = partial(operators.run.default, runner)

    def __call__(
        self,
        ids: torch.Tensor,
        token_type_ids: torch.Tensor,
        position_ids: torch.Tensor,
        bounds: torch.Tensor,
    ) -> torch.Tensor:
        """Logits of the texts, (texts, labels); see PackedModel.forward."""
        if ids.shape[1] < _LEAST_TOKENS:
            logits: torch.Tensor = self._model(ids, token_type_ids, position_ids, bounds)
            return logits
        torch.get_num_threads()  # OpenMP learns the number in each thread that asks torch for it
        texts = len(bounds) - 1
        if texts < _LEAST_BOUNDS - 1:
            bounds = torch.cat((bounds, bounds[-1:]))  # an empty text beside the lone one
        logits = self._run([ids, token_type_ids, position_ids, bounds])
        return logits[:texts]


def _start_runner(folder: Path) -> "subprocess.Popen[bytes]":
    """Start compiling RUNNER, which takes ten seconds, beside the model."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    # Operators of two artefacts may live in one process, so their names must differ.
    namespace = f"classwire_{uuid.uuid4().hex}"
    (folder / NAMESPACE).write_text(namespace, encoding="ascii")
    torch_folder = Path(torch.__file__).parent
    headers = torch_folder / "include"
    return subprocess.Popen(
        [
            *(get_cpp_compiler(), "-std=c++20", "-O1", "-shared", "-fPIC"),
            f"-DCLASSWIRE_NAMESPACE={namespace}",
            *(f"-I{headers}", f"-I{headers / 'torch/csrc/api/include'}"),
            *(str(_RUNNER_SOURCE), "-o", str(folder / RUNNER)),
            *(f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _export(model: PackedModel) -> torch.export.ExportedProgram:
    bounds = torch.tensor([0, 3, 7, 12])
    ids = torch.ones(1, 12, dtype=torch.int64)
    positions = torch.cat([torch.arange(n) for n in bounds.diff().tolist()])[None]
    tokens = {1: torch.export.Dim("tokens", min=_LEAST_TOKENS, max=_MOST)}
    edges = {0: torch.export.Dim("bounds", min=_LEAST_BOUNDS, max=_MOST)}
    exported = torch.export.export(
        model,
        (ids, torch.zeros_like(ids), positions + model.first_position, bounds),
        dynamic_shapes=(tokens, tokens, tokens, edges),
    )
    if others := exported.constants.keys() - _weights(model).keys():
        raise ValueError(f"it holds constants ({', '.join(sorted(others))}) beside its weights")
    return exported


def _weights(model: PackedModel) -> dict[str, torch.Tensor]:
    """All that the library may read, by the names that torch.export gives."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def _processor_flags() -> tuple[str, ...]:
    """Model and instruction sets of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return (platform.processor(),)
    wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part")
    first = lines[: lines.index("")] if "" in lines else lines
    return tuple(sorted(line for line in first if line.split("\t")[0].rstrip(": ") in wanted))


def _reason(error: Exception) -> str:
    """The line of an error that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "No space left" in line or "error:" in line]
    return (telling or lines or [type(error).__name__])[0]
