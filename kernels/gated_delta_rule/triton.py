"""The gated delta rule as Triton kernels, for a GPU or Triton's interpreter.

The kernels are those of both delta rules.
"""

from torch import Tensor

from nas.kernels.delta_rule.triton import delta_rule
from nas.kernels.gated_delta_rule.chunked import gated_delta_rule as gated_delta_rule_in_torch


def gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``S_t = exp(g_t) (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T``; ``o_t = S_t^T q_t``.

    One step of time is the recurrence itself, in plain torch.
    """
    if q.shape[2] == 1 or not q.numel() or not v.numel():
        return gated_delta_rule_in_torch(q, k, v, log_decay, beta, state)
    return delta_rule(q, k, v, log_decay, beta, state)
