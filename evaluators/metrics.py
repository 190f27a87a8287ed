"""Every metric that a study can name, in one table."""

from collections.abc import Sequence

from nas.evaluators.base import Metric
from nas.evaluators.tasks.base import Task
from nas.search_spaces.architecture import Family

_STATIC = (
    ("params", "count", "parameters, embeddings included"),
    ("active_params", "count", "parameters less the experts and heads that a token skips"),
    ("flops_per_token", "flops", "forward FLOPs per token at the longest context"),
    ("decode_flops", "flops", "FLOPs of one decoding step at the longest context"),
    ("kv_cache_bytes_per_token", "bytes", "growth of the KV cache with each token"),
    ("kv_cache_bytes", "bytes", "KV cache of one sequence at the longest context"),
    ("state_bytes", "bytes", "recurrent state of one sequence"),
    ("peak_activation_bytes", "bytes", "peak activations of a forward pass, by liveness"),
)
_TRAIN_STEP = (
    "train_step.latency_ms",
    "time of forward, backward and optimiser step at `context` tokens",
)
_LATENCY = {
    "causal_lm": (
        ("prefill.latency_ms", "time to read `context` tokens, cache and state kept"),
        ("decode.latency_ms", "time of one decoding step that sees `context` tokens"),
        _TRAIN_STEP,
    ),
    "encoder": (("forward.latency_ms", "time to read `context` tokens at once"), _TRAIN_STEP),
}
_OF_DECODING = ("decode_flops", "kv_cache_bytes_per_token", "kv_cache_bytes", "state_bytes")


def metrics_of(
    tasks: Sequence[Task], contexts: Sequence[int], family: Family = "causal_lm"
) -> dict[str, Metric]:
    """By name. A latency is measured at each context (``decode.latency_ms@256``); without a suffix
    it is that of the longest. An encoder does not decode, so it has no metrics of decoding."""
    found = [
        Metric(name, unit, "minimize", "static", text)
        for name, unit, text in _STATIC
        if family == "causal_lm" or name not in _OF_DECODING
    ]
    for name, text in _LATENCY[family]:
        found.append(Metric(name, "ms", "minimize", "latency", f"{text}; longest context"))
        for context in contexts:
            at = f"{name}@{context}"
            found.append(Metric(at, "ms", "minimize", "latency", f"{text}; context {context}"))
    for task in tasks:
        found.extend(task.metrics)
    return {metric.name: metric for metric in found}
