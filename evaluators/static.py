"""What is known about a candidate before anything is built: closed form, torch-free, exact."""

from nas.evaluators.metrics import metrics_of
from nas.record import Measurement
from nas.search_spaces.architecture import Architecture
from nas.study import Target

PEAK = "peak_activation_bytes"
"""The one static metric that walks the graph, which takes milliseconds instead of microseconds."""
_UNITS = {metric.name: metric.unit for metric in metrics_of((), (), Target()).values()}


def static_measurements(architecture: Architecture, target: Target) -> tuple[Measurement, ...]:
    """Everything but the peak of activations, at the target's longest context and dtype.

    Cache and state are those of one sequence.
    """
    values = static_values(architecture, target)
    return tuple(_measurement(metric, value) for metric, value in values.items())


def static_values(architecture: Architecture, target: Target) -> dict[str, int]:
    """The same as plain numbers by metric, for whoever asks of thousands of candidates."""
    cost = architecture.cost(target.longest)
    values: dict[str, int] = {
        "params": cost.params,
        "body_params": architecture.body_params,
        "active_params": cost.active_params,
        "flops_per_token": cost.flops,
    }
    if architecture.family == "causal_lm":
        values |= {
            "decode_flops": cost.decode_flops,
            "kv_cache_bytes_per_token": cost.cache_values_per_token * target.value_bytes,
            "kv_cache_bytes": cost.cache_values * target.value_bytes,
            "state_bytes": cost.state_values * target.value_bytes,
        }
    return values


def peak_measurement(architecture: Architecture, target: Target) -> Measurement:
    """Peak activations of a forward pass over the target's batch and longest context."""
    from nas.graph import peak_activation_bytes  # networkx: only where it is asked for

    peak = peak_activation_bytes(
        architecture, batch=target.batch, tokens=target.longest, value_bytes=target.value_bytes
    )
    return _measurement(PEAK, peak)


def _measurement(metric: str, value: int) -> Measurement:
    return Measurement(metric=metric, value=value, unit=_UNITS[metric], stage="static")
