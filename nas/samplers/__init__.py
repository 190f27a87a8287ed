"""Who proposes candidates. The libraries are imported only by the studies that use them."""

from collections.abc import Sequence

from nas.samplers.base import Knowledge, MemberT, Sampler, Space
from nas.samplers.uniform import UniformSampler
from nas.study import DriverSpec, Objective

__all__ = ["Knowledge", "Sampler", "Space", "make_sampler"]


def make_sampler(
    driver: DriverSpec,
    space: Space[MemberT],
    objectives: Sequence[Objective],
    seed: int,
    budget_trials: int,
    *,
    constrained: bool = True,
    knowledge: Knowledge[MemberT] | None = None,
) -> Sampler[MemberT]:
    """The sampler that a study names. Every sampler takes several objectives.

    `constrained` says whether the study has limits; without any, no violations are modelled.
    `knowledge` is what ``nas.surrogate`` needs; the others have no use for it.
    """
    if driver.library == "uniform":
        return UniformSampler(space, seed=seed)
    assert driver.sampler is not None  # DriverSpec fills the default in
    if driver.library == "nas":
        from nas.samplers.surrogate.sampler import SurrogateSampler

        assert knowledge is not None
        return SurrogateSampler(space, objectives=objectives, seed=seed, knowledge=knowledge)
    if driver.library == "nevergrad":
        from nas.samplers.nevergrad import NevergradSampler

        return NevergradSampler(
            space,
            sampler=driver.sampler,
            objectives=objectives,
            seed=seed,
            budget_trials=budget_trials,
            workers=driver.workers,
        )
    from nas.samplers.optuna import OptunaSampler

    return OptunaSampler(
        space,
        sampler=driver.sampler,
        objectives=objectives,
        seed=seed,
        budget_trials=budget_trials,
        constrained=constrained,
    )
