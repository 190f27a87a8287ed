"""What the search of a study was worth."""

from fastapi import APIRouter

from nas.api.dependencies import ServiceDep
from nas.views import SearchReport

router = APIRouter(tags=["reports"])


@router.get("/studies/{name}/report")
def report(name: str, service: ServiceDep) -> SearchReport:
    """Who proposed what, from how many observations, and whether the sampler beat the control."""
    return service.report(name)
