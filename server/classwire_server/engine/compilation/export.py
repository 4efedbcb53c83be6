"""Ahead-of-time compilation of a packed model: one library of native code, without its weights.

`torch.export` records the forward pass for any number of tokens and texts, and AOTInductor
translates it to C++, which needs no Python between two operators. Classwire's own operators are in
C++ there too, in the library that runs the model.
"""

import ctypes
import hashlib
import subprocess
import uuid
import warnings
import weakref
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from classwire_server.checkpoint.loading import Checkpoint
from classwire_server.engine import Precision
from classwire_server.engine.forward.int8 import Int8Linear
from classwire_server.engine.forward.packed import PackedModel
from classwire_server.engine.forward.preemption import PREEMPTION
from classwire_server.engine.forward.prepacked import PrepackedLinear
from classwire_server.errors import CompileError, telling_line

from .compiler import check_compiler
from .environment import processor, source_digest, versions

LIBRARY = "model.so"
OPERATORS = "model.json"
"""The operators that the library calls. Torch expects it next to the library."""
RUNNER = "runner.so"
"""Runs the library, and has Classwire's operators, which the library calls."""
NAMESPACE = "namespace"
"""Contains the namespace of the runner's operators."""

_ENGINE_FOLDER = Path(__file__).parent.parent
_RUNNER_SOURCE = Path(__file__).with_name("compiled_runner.cpp")

_LEAST_TOKENS, _LEAST_BOUNDS = 2, 3
"""torch.export treats a dimension of 1 (or the 2 bounds of a lone text) as a constant."""
_MOST = 1 << 20
_SETTINGS = {
    "cpp.dynamic_threads": True,
    "aot_inductor.package_constants_in_so": False,
    "always_keep_tensor_constants": True,  # else small ones become part of the code
    # The process compiles nothing else that could use precompiled headers.
    "aot_inductor.precompile_headers": False,
    "cpp_cache_precompile_headers": False,
    "compile_threads": 1,
}


def artefact_key(
    checkpoint: Checkpoint, precision: Precision, engine_folder: Path = _ENGINE_FOLDER
) -> str:
    """The name of the artefact of a checkpoint: 64 hexadecimal digits.

    It changes with everything that the native code depends on: the checkpoint, the precision, the
    versions of Classwire, torch and transformers, the sources in `engine_folder`, and this
    machine's processor, whose every instruction the code may use.
    """
    parts = (
        source_digest(engine_folder),
        checkpoint.fingerprint,
        *sorted(checkpoint.input_names),
        precision.value,
        *versions(),
        *processor(),
    )
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def compile_model(model: PackedModel, folder: Path) -> None:
    """Compile the forward pass of a model on the CPU, and write the files for CompiledModel.

    Takes from 20 seconds to a minute. Raises CompileError, and OSError when a file cannot be
    written. Changes environment variables meanwhile, so the process must do nothing else.
    """
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.utils import fresh_cache

    check_compiler()
    package = folder / "package.pt2"
    # One process may hold the operators of two artefacts, so their names must differ.
    namespace = f"classwire_{uuid.uuid4().hex}"
    (folder / NAMESPACE).write_text(namespace, encoding="ascii")
    try:
        # Torch's warnings here are about its own code.
        with (
            _start_runner(folder, namespace) as runner,
            warnings.catch_warnings(),
            fresh_cache(dir=str(folder)),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            exported = _export(model)
            aoti_compile_and_package(
                exported, package_path=str(package), inductor_configs=_SETTINGS
            )
            _, errors = runner.communicate()
            if runner.returncode:
                raise RuntimeError(errors.decode(errors="replace"))
    except OSError:
        raise
    except Exception as error:  # export, Inductor and the compiler have many types of their own
        raise CompileError(f"cannot be compiled: {_reason(error)}") from error
    with zipfile.ZipFile(package) as archive:
        for name in archive.namelist():
            if name.endswith(".wrapper.so"):
                (folder / LIBRARY).write_bytes(archive.read(name))
            elif name.endswith(".wrapper.json"):
                operators = archive.read(name).decode()
                operators = operators.replace('"classwire::', f'"{namespace}::')
                (folder / OPERATORS).write_text(operators, encoding="utf-8")
    package.unlink()


class CompiledModel:
    """The compiled forward pass of a packed model, which reads that model's own weights.

    Call it like PackedModel.forward, from any thread: up to `lanes` calls run at once, more wait.
    It uses as many threads as torch is set to, and takes the GIL only to pause for an urgent pass.
    `artefact` is the folder that `compile_model` wrote for this model. Its code is run, so no other
    user may write to it. Raises CompileError when it cannot be loaded or belongs to another model.
    """

    def __init__(self, artefact: Path, model: PackedModel, lanes: int) -> None:
        self._model = model  # keeps the weights alive, to which the library only points
        self._preemption = PREEMPTION
        # Kept too: the library has its address.
        self._preemption_point = ctypes.CFUNCTYPE(None)(PREEMPTION.preemption_point)
        weights = _weights(model)
        try:
            torch.ops.load_library(artefact / RUNNER)
            namespace = (artefact / NAMESPACE).read_text(encoding="ascii")
            operators: Any = getattr(torch.ops, namespace)
            runner: int = operators.open(
                str(artefact / LIBRARY),
                lanes,
                PREEMPTION.urgent_address,
                ctypes.cast(self._preemption_point, ctypes.c_void_p).value,
            )
            weakref.finalize(self, operators.close, runner)
            names = operators.weight_names(runner)
            operators.set_weights(runner, names, [weights[name].detach() for name in names])
            for layer in model.modules():
                if isinstance(layer, Int8Linear | PrepackedLinear):
                    operators.add_packed(runner, layer.weights.digest, layer.weights.tensors)
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
            return logits  # (texts, labels)
        torch.get_num_threads()  # sets OpenMP's number of threads on this thread
        texts = len(bounds) - 1
        if texts < _LEAST_BOUNDS - 1:
            bounds = torch.cat((bounds, bounds[-1:]))  # (3,): adds an empty text to the lone one
        inputs = [ids, token_type_ids, position_ids, bounds]
        logits = self._run(inputs, self._preemption.is_yielding)
        return logits[:texts]  # (texts, labels)


def _start_runner(folder: Path, namespace: str) -> "subprocess.Popen[bytes]":
    """Start compiling RUNNER, which takes ten seconds, in parallel with the model."""
    from torch._inductor.cpp_builder import get_cpp_compiler

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
        raise ValueError(f"it has constants that are not weights: {', '.join(sorted(others))}")
    return exported


def _weights(model: PackedModel) -> dict[str, torch.Tensor]:
    """All tensors that the library may read, by their names in torch.export."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def _reason(error: Exception) -> str:
    """The most informative line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    informative = [line for line in lines if "No space left" in line or "error:" in line]
    return informative[0] if informative else telling_line(error)
