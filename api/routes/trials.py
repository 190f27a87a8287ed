"""Trials of a study."""

from typing import Annotated

from fastapi import APIRouter, Query

from nas.api.dependencies import ServiceDep, parse_limit
from nas.record import TrialState
from nas.store.base import TrialQuery
from nas.views import TrialPage, TrialView

router = APIRouter(tags=["trials"])


@router.get("/studies/{name}/trials")
def list_trials(
    name: str,
    service: ServiceDep,
    state: Annotated[list[TrialState], Query(description="Only these states")] = [],  # noqa: B006
    limit: Annotated[list[str], Query(description="metric:min:max, one bound may be empty")] = [],  # noqa: B006
    sort: Annotated[str, Query(description="number, seconds, started, or a metric")] = "number",
    descending: bool = False,
    offset: Annotated[int, Query(ge=0)] = 0,
    count: Annotated[int, Query(ge=0, le=1000)] = 100,
) -> TrialPage:
    """A page of trials, filtered and sorted."""
    limits = [parse_limit(text, f"limit.{index}") for index, text in enumerate(limit)]
    query = TrialQuery(
        states=tuple(state),
        limits=tuple((found.metric, found.min, found.max) for found in limits),
        sort=sort,
        descending=descending,
        offset=offset,
        count=count,
    )
    return service.trials(name, query)


@router.get("/studies/{name}/trials/{number}")
def show_trial(name: str, number: int, service: ServiceDep) -> TrialView:
    """One trial with its architecture, learning curves and environment."""
    return service.trial(name, number)
