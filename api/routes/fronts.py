"""The Pareto front of a study."""

from typing import Annotated

from fastapi import APIRouter, Query

from nas.api.dependencies import ServiceDep, parse_limit
from nas.views import Front

router = APIRouter(tags=["front"])


@router.get("/studies/{name}/front")
def front(
    name: str,
    service: ServiceDep,
    metric: Annotated[list[str], Query(description="Recorded metrics; none: the objectives")] = [],  # noqa: B006
    limit: Annotated[list[str], Query(description="metric:min:max, one bound may be empty")] = [],  # noqa: B006
) -> Front:
    """Trials that no other trial beats on every metric."""
    limits = [parse_limit(text, f"limit.{index}") for index, text in enumerate(limit)]
    return service.front(name, metrics=metric, limits=limits)
