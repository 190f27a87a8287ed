"""What there is to choose from."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from nas.api.dependencies import ServiceDep
from nas.search_spaces.listing import CatalogueEntry
from nas.search_spaces.papers import PaperEntry, Tier
from nas.study import StudySpec

router = APIRouter(tags=["catalogue"])


@router.get("/catalogue")
def catalogue(
    service: ServiceDep,
    slot: Annotated[str | None, Query(description="Only one slot, such as mixers")] = None,
) -> tuple[CatalogueEntry, ...]:
    """Every part with its fields as a JSON schema, its papers and an example."""
    return service.catalogue(slot)


@router.get("/catalogue/papers")
def papers(
    service: ServiceDep,
    tier: Annotated[Tier | None, Query(description="Only one tier; 1 is wanted first")] = None,
    missing: Annotated[bool, Query(description="Only papers that lack something")] = False,
) -> tuple[PaperEntry, ...]:
    """Every paper with the parts that carry it and what is missing."""
    return service.papers(tier=tier, missing=missing)


@router.get("/catalogue/study-schema")
def study_schema() -> dict[str, Any]:
    """The JSON schema of a whole study, space included."""
    return StudySpec.model_json_schema()
