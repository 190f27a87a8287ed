"""Two studies side by side."""

from typing import Annotated

from fastapi import APIRouter, Query

from nas.api.dependencies import ServiceDep
from nas.views import Comparison

router = APIRouter(tags=["front"])


@router.get("/studies/{name}/comparisons/{other}")
def compare(
    name: str,
    other: str,
    service: ServiceDep,
    metric: Annotated[list[str], Query(description="That both have; none: the objectives")] = [],  # noqa: B006
) -> Comparison:
    """Two studies at equal training tokens, FLOPs, trials and seconds."""
    return service.compare(name, other, metrics=metric)
