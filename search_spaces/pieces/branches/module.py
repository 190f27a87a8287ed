"""What mixers made of several others carry from token to token."""

from typing import Any

from torch import nn


class BranchStates:
    """One state for each branch; None for a branch that carries nothing."""

    def __init__(self, branches: nn.ModuleList) -> None:
        carriers: Any = branches
        self.states = [branch.empty_state() for branch in carriers]

    def values_held(self) -> int:
        """Numbers that have to be kept for one sequence."""
        return sum(state.values_held() for state in self.states if state is not None)


def states_of(branches: nn.ModuleList, state: BranchStates | None) -> list[Any]:
    """The state of each branch; None where there is no state at all."""
    return [None] * len(branches) if state is None else state.states
