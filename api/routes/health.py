"""Whether the service is well."""

from fastapi import APIRouter

from nas.api.dependencies import ServiceDep
from nas.views import Health

router = APIRouter(tags=["health"])


@router.get("/health")
def health(service: ServiceDep) -> Health:
    """Whether the service is well, and what is running."""
    return service.health()
