"""The space of a study as it changes, and the study derived again from its log."""

from typing import Annotated, Any

from fastapi import APIRouter, Body

from nas.api.dependencies import ServiceDep
from nas.views import ReplayView, SpaceVersionView

router = APIRouter(tags=["studies"])


@router.put("/studies/{name}/space")
def change_space(
    name: str,
    data: Annotated[
        dict[str, Any],
        Body(
            description="A whole space, or `{preset: NAME}` with the fields to replace.",
            openapi_examples={"deeper": {"value": {"preset": "hybrid_ratio", "depth": 6}}},
        ),
    ],
    service: ServiceDep,
) -> SpaceVersionView:
    """Gives a study that is not running another space, and says which trials it does not hold."""
    return service.change_space(name, data)


@router.get("/studies/{name}/space/versions")
def space_versions(name: str, service: ServiceDep) -> tuple[SpaceVersionView, ...]:
    """All versions of a study's space, oldest first."""
    return service.space_versions(name)


@router.post("/studies/{name}/replay")
def replay(name: str, service: ServiceDep) -> ReplayView:
    """Derives every proposal again from the log; trains and measures nothing."""
    return service.replay(name)
