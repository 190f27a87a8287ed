"""Ready-made spaces; validation, cost and drawing without a study."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query

from nas.api.dependencies import ServiceDep
from nas.views import CostView, Graph, Validation

router = APIRouter(tags=["spaces"])
Context = Annotated[int, Query(ge=1, le=10_000_000, description="Tokens")]
Anything = Annotated[
    dict[str, Any], Body(description="An architecture, or a space that leaves nothing to choose")
]


@router.get("/spaces")
def presets(service: ServiceDep) -> tuple[str, ...]:
    """Names of the ready-made spaces."""
    return service.presets()


@router.get("/spaces/{preset}")
def space(preset: str, service: ServiceDep) -> dict[str, Any]:
    """A ready-made space as JSON, to edit and post in a study."""
    return service.space(preset)


@router.post("/validate")
def validate(
    data: Annotated[dict[str, Any], Body(description="A study, a space or an architecture")],
    service: ServiceDep,
) -> Validation:
    """Checks without starting anything."""
    return service.validate(data)


@router.post("/cost")
def cost(
    data: Anything,
    service: ServiceDep,
    context: Context = 1024,
    dtype_bytes: Annotated[int, Query(ge=1, le=8)] = 4,
) -> CostView:
    """Price in closed form."""
    return service.cost(data, context=context, dtype_bytes=dtype_bytes)


@router.post("/graph")
def graph(data: Anything, service: ServiceDep, context: Context = 1024) -> Graph:
    """The architecture as a drawing (SVG)."""
    return service.graph(data, context=context)
