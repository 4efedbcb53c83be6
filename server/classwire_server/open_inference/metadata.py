"""Models and their statistics -> the protocol's messages."""

from classwire_server.aggregates import Total
from classwire_server.config.server_config import ServerConfig
from classwire_server.registry.registry import Entry, ModelState, ServedModel
from classwire_server.scheduling.model_statistics import Figures

from . import inference_pb2 as pb
from .response import VERSION
from .tensors import INPUTS, LABEL, LABEL_ID, OUTPUTS, SCORES, TEXT

PLATFORM = "pytorch"
BACKEND = "classwire"

DATA_TYPES = {"BYTES": pb.TYPE_STRING, "FP32": pb.TYPE_FP32, "INT32": pb.TYPE_INT32}
STATES = {
    ModelState.LOADING: "LOADING",
    ModelState.READY: "READY",
    ModelState.FAILED: "UNAVAILABLE",
}


def model_metadata(model: ServedModel) -> pb.ModelMetadataResponse:
    """The tensors of a model."""
    kind = pb.ModelMetadataResponse.TensorMetadata
    return pb.ModelMetadataResponse(
        name=model.checkpoint.name,
        versions=[VERSION],
        platform=PLATFORM,
        inputs=[kind(name=t.name, datatype=t.datatype, shape=[-1, 1]) for t in INPUTS.values()],
        outputs=[
            kind(name=t.name, datatype=t.datatype, shape=[-1, *_dims(model, t.name)])
            for t in OUTPUTS.values()
        ],
    )


def model_config(model: ServedModel, config: ServerConfig) -> pb.ModelConfig:
    """How the server runs a model."""
    device = model.engine.traits.device.partition(":")[0]
    kind = {"cpu": pb.ModelInstanceGroup.KIND_CPU, "cuda": pb.ModelInstanceGroup.KIND_GPU}
    return pb.ModelConfig(
        name=model.checkpoint.name,
        platform=PLATFORM,
        backend=BACKEND,
        max_batch_size=model.limits.max_texts_per_call,
        input=[
            pb.ModelInput(
                name=t.name, data_type=DATA_TYPES[t.datatype], dims=[1], optional=t is not TEXT
            )
            for t in INPUTS.values()
        ],
        output=[
            pb.ModelOutput(name=t.name, data_type=DATA_TYPES[t.datatype], dims=_dims(model, t.name))
            for t in OUTPUTS.values()
        ],
        instance_group=[
            pb.ModelInstanceGroup(
                name=model.checkpoint.name,
                count=model.engine.lanes,
                kind=kind.get(device, pb.ModelInstanceGroup.KIND_AUTO),
            )
        ],
        dynamic_batching=pb.ModelDynamicBatching(
            priority_levels=2,
            default_priority_level=1,
            default_queue_policy=pb.ModelQueuePolicy(
                default_timeout_microseconds=round(config.default_timeout_s * 1e6),
                allow_timeout_override=True,
            ),
        ),
        model_transaction_policy=pb.ModelTransactionPolicy(decoupled=False),
        response_cache=pb.ModelResponseCache(enable=config.cache_mb > 0),
    )


def _dims(model: ServedModel, output: str) -> list[int]:
    """The shape of an output for one text."""
    return {
        SCORES.name: [len(model.checkpoint.labels)],
        LABEL.name: [],
        LABEL_ID.name: [],
    }[output]


def model_statistics(model: ServedModel) -> pb.ModelStatistics:
    """The statistics of a model."""
    figures = model.dispatcher.statistics.read()
    return pb.ModelStatistics(
        name=model.checkpoint.name,
        version=VERSION,
        last_inference=round(figures.last_s * 1e3),
        inference_count=figures.texts,
        execution_count=sum(total.count for total in figures.passes.values()),
        inference_stats=_outcomes(figures),
        batch_stats=[
            pb.InferBatchStatistics(batch_size=texts, compute_infer=_duration(total))
            for texts, total in sorted(figures.passes.items())
        ],
    )


def _outcomes(figures: Figures) -> pb.InferStatistics:
    return pb.InferStatistics(
        success=_duration(figures.success),
        fail=_duration(figures.fail),
        queue=_duration(figures.queue),
        compute_input=_duration(figures.tokenize),
        compute_infer=_duration(figures.inference),
        compute_output=_duration(figures.rest),
        cache_hit=_duration(figures.hit),
    )


def _duration(total: Total) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=total.count, ns=round(total.sum * 1e9))


def model_index(entry: Entry) -> pb.RepositoryIndexResponse.ModelIndex:
    """A model's entry in the repository index."""
    state, reason = entry.state()
    return pb.RepositoryIndexResponse.ModelIndex(
        name=entry.source.name, version=VERSION, state=STATES[state], reason=reason
    )
