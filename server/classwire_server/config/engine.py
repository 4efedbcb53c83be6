"""The settings of the engine that runs the models."""

from dataclasses import dataclass

from .setting import setting

PRECISIONS = ("float32", "bfloat16", "float16", "int8", "auto")


@dataclass(frozen=True)
class EngineSettings:
    """On which devices, in which precision and in which batches a model runs."""

    device: str = setting(
        "auto",
        "Device of the models: auto, cpu, cuda, cuda:N or mps. Several devices, separated by "
        "commas, share the work; each holds a copy of every model.",
    )
    precision: str = setting(
        "float32",
        "Precision of the forward pass: float32, bfloat16, float16, int8 or auto. auto takes the "
        "fastest one for this kind of processor within --min-label-agreement and "
        "--max-score-difference. Name one where servers have different processors.",
        choices=PRECISIONS,
    )
    calibration: str = setting(
        "",
        "File of texts, one per line, on which --precision auto compares precisions. Default: "
        "texts that come with Classwire.",
    )
    min_label_agreement: float = setting(
        0.99,
        "For --precision auto: minimum share of calibration texts that keep their float32 label.",
    )
    max_score_difference: float = setting(
        0.03, "For --precision auto: maximum difference of any score from float32."
    )
    deterministic: bool = setting(
        False,
        "Run each text in its own forward pass, so that its scores are bit-identical whatever "
        "other texts are queued. Slower.",
    )
    compile: bool = setting(
        False,
        "Compile each model in the background, then switch to the compiled one. The result is kept "
        "in --compile-cache.",
    )
    compile_cache: str = setting(
        "",
        "Folder of compiled models, and of what earlier starts have measured. Default: classwire "
        "in the user's cache folder.",
    )
    cuda_graphs: bool = setting(
        True,
        "On a CUDA device, launch the kernels of a small batch together, as a CUDA graph, where "
        "the scores stay as close to float32.",
    )
    lanes: int = setting(
        0, "Batches that run in parallel on the CPU. 0: one per core, at most four."
    )
    threads: int = setting(0, "Threads per lane. 0: the cores divided by the number of lanes.")
    batch_tokens: int = setting(
        0, "Maximum tokens in a batch; a longer text runs alone. 0: measured at start."
    )
    worker_timeout_s: float = setting(
        60.0,
        "Maximum time for a batch, in seconds. After it, the server kills the worker process of "
        "the model and starts another.",
    )
