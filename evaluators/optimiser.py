"""AdamW (arXiv 1711.05101) for a training that lasts seconds.

The update is torch's own fused one. What is left out is ``torch.optim.Optimizer`` around it, whose
first instance in a process imports torch's compiler: two seconds for each worker that starts.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

BETAS = (0.9, 0.95)
EPS = 1e-8


class AdamW:
    """Matrices decay; vectors (norms, biases, gates) do not."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, weight_decay: float) -> None:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        matrices = [parameter for parameter in trained if parameter.ndim >= 2]
        vectors = [parameter for parameter in trained if parameter.ndim < 2]
        groups = ((matrices, weight_decay), (vectors, 0.0))
        self.groups = [_Group(found, decay) for found, decay in groups if found]

    @torch.no_grad()
    def step(self, rate: float | Tensor) -> None:
        """One update at a learning rate, which is read on the device where it is a tensor there. A
        parameter without a gradient stays as it is."""
        for group in self.groups:
            group.step(rate)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for group in self.groups:
            for parameter in group.parameters:
                parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """What it remembers from step to step, by name: the tensors themselves, not copies."""
        return {
            f"{index}.{name}": tensor
            for index, group in enumerate(self.groups)
            for name, tensor in group.state().items()
        }


class _Group:
    """Parameters that decay alike, with their moments."""

    def __init__(self, parameters: list[nn.Parameter], weight_decay: float) -> None:
        self.parameters = parameters
        self.weight_decay = weight_decay
        self._first = [torch.zeros_like(p) for p in parameters]
        self._second = [torch.zeros_like(p) for p in parameters]
        self._steps = [torch.zeros((), device=p.device) for p in parameters]

    def state(self) -> dict[str, Tensor]:
        """See `AdamW.state`."""
        kept = {"first": self._first, "second": self._second, "steps": self._steps}
        return {
            f"{name}.{index}": tensor
            for name, tensors in kept.items()
            for index, tensor in enumerate(tensors)
        }

    def step(self, rate: float | Tensor) -> None:
        ready = [index for index, p in enumerate(self.parameters) if p.grad is not None]
        if not ready:
            return
        gradients = [self.parameters[index].grad for index in ready]

        def of(tensors: list[Tensor]) -> list[Tensor]:
            return [tensors[index] for index in ready]

        adamw(
            [self.parameters[index] for index in ready],
            [gradient for gradient in gradients if gradient is not None],
            of(self._first),
            of(self._second),
            [],
            of(self._steps),
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=rate,
            weight_decay=self.weight_decay,
            eps=EPS,
            maximize=False,
        )
