"""Explains in one sentence why a checkpoint cannot be loaded.

The libraries raise their own errors, many of which tell an operator nothing. So this module also
looks at the files. It runs only after a load has failed: nothing here rejects a checkpoint that
loads.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import CheckpointError, telling_line

from .broken_files import problems_in

_NEEDED_PACKAGE = re.compile(r"requires the (.+?) library but it was not found")


def explain(
    error: Exception, name: str, place: str, options: Mapping[str, Any], config: ServerConfig
) -> CheckpointError:
    """The error that an operator gets when loading fails; its text is one line.

    `name` is the checkpoint as errors name it, `place` the folder or hub id that was read, with
    these options of transformers.
    """
    if isinstance(error, CheckpointError):
        return error
    found = chain(_in_place(error, place, options, config), _in_exception(error, config))
    return CheckpointError(f"{name}: {next(found, '') or telling_line(error)}")


def _in_place(
    error: Exception, place: str, options: Mapping[str, Any], config: ServerConfig
) -> Iterator[str]:
    if Path(place).is_dir():
        yield from problems_in(Path(place), error, config)
        return
    from huggingface_hub import try_to_load_from_cache

    yield from _on_hub(error, place, config)
    where = {key: options[key] for key in ("revision", "cache_dir")}
    if isinstance(path := try_to_load_from_cache(place, "config.json", **where), str):
        yield from problems_in(Path(path).parent, error, config)


def check_weights(report: Mapping[str, Any], model: Any, name: str) -> None:
    """Raise CheckpointError, which begins with `name`, if the weights are not those of the model.

    `report` is what transformers reports of their loading.
    """
    if problem := next(_unfit(report, model), ""):
        raise CheckpointError(f"{name}: {problem}")


def _unfit(report: Mapping[str, Any], model: Any) -> Iterator[str]:
    labels, missing = model.config.num_labels, set(report["missing_keys"])
    for name, stored, expected in sorted(report["mismatched_keys"]):
        if stored[1:] == expected[1:] and expected[0] == labels:
            yield (
                f"its weights have {stored[0]} labels ({name}), and its config.json has {labels}; "
                "correct id2label there"
            )
        yield (
            f"its weights do not fit its config.json: {name} is {_shape(stored)} in the weights "
            f"and {_shape(expected)} by the config"
        )
    body = {name for name in model.state_dict() if name.startswith(f"{model.base_model_prefix}.")}
    unknown = sorted(report["unexpected_keys"])
    if unknown and body and body <= missing:
        yield (
            f"its weights ({unknown[0]}, …) are not those of {type(model).__name__}, "
            "which its config.json names"
        )
    if missing:
        names = ", ".join(sorted(missing)[:3]) + (", …" if len(missing) > 3 else "")
        yield (
            f"weights are missing ({names}); "
            "it has no trained sequence-classification head or is incomplete"
        )


def _shape(sizes: Any) -> str:
    return "x".join(map(str, sizes)) or "one number"


def _on_hub(error: Exception, place: str, config: ServerConfig) -> Iterator[str]:
    """Yield why a hub id could not be read. It may be the mistyped path of a folder."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    for each in _causes(error):
        if isinstance(each, GatedRepoError):
            yield "the hub gives it only to some accounts: ask for access there, and set HF_TOKEN"
        elif isinstance(each, RevisionNotFoundError):
            yield "the hub has no such revision of it"
        elif isinstance(each, RepositoryNotFoundError):
            yield "no such folder, and no such model on the hub; a private one needs HF_TOKEN"
        elif isinstance(each, LocalEntryNotFoundError):
            missing = "no such folder, and the hub's cache does not have it"
            if config.offline or constants.HF_HUB_OFFLINE:
                yield (
                    f"{missing}; the server is offline: run hf download {place} where there is "
                    "a network, or name a folder"
                )
            yield f"{missing}, and {constants.ENDPOINT} cannot be reached"


def _in_exception(error: Exception, config: ServerConfig) -> Iterator[str]:
    """Yield what an exception says of a checkpoint, wherever its files are."""
    if "trust_remote_code" in str(error) and not config.trust_remote_code:
        yield "it has its own Python code, which runs only with --trust-remote-code"
    for each in _causes(error):
        if isinstance(each, PermissionError):
            yield f"{each.filename or 'a file'} cannot be read: the server lacks the permission"
        elif isinstance(each, ImportError) and (package := _NEEDED_PACKAGE.search(str(each))):
            yield f"it needs the package {package[1].strip()}, which is not installed"
        elif isinstance(each, MemoryError):
            yield "its weights do not fit into memory"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
