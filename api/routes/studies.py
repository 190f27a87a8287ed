"""Studies: create, list, show, stop, resume, delete, and what happens in them."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query
from fastapi.responses import StreamingResponse

from nas.api.dependencies import ServiceDep
from nas.views import Deleted, StudyView

router = APIRouter(tags=["studies"])


@router.post("/studies", status_code=201)
def create_study(
    data: Annotated[
        dict[str, Any],
        Body(
            description="A study; its JSON schema is at /catalogue/study-schema. `space` is a "
            "whole space, or `{preset: NAME}` with the fields to replace.",
            openapi_examples={
                "small": {
                    "value": {
                        "name": "first",
                        "space": {"preset": "hybrid_ratio", "dim": 64},
                        "task": {"kind": "text"},
                        "objectives": [{"metric": "text.loss"}, {"metric": "params"}],
                        "budget": {"trials": 8, "train_tokens": 50000},
                    }
                }
            },
        ),
    ],
    service: ServiceDep,
    idempotency_key: Annotated[
        str | None,
        Header(description="Sent again with the same study, it returns that study."),
    ] = None,
) -> StudyView:
    """Starts a study."""
    return service.create_study(data, key=idempotency_key)


@router.get("/studies")
def list_studies(service: ServiceDep) -> tuple[StudyView, ...]:
    """All studies, newest first."""
    return service.studies()


@router.get("/studies/{name}")
def show_study(name: str, service: ServiceDep) -> StudyView:
    """One study and how far it has come."""
    return service.study(name)


@router.post("/studies/{name}/stop")
def stop_study(name: str, service: ServiceDep) -> StudyView:
    """Starts nothing new; what was under way is taken up again on resume."""
    return service.stop_study(name)


@router.post("/studies/{name}/resume")
def resume_study(name: str, service: ServiceDep) -> StudyView:
    """Goes on where the study stopped."""
    return service.resume_study(name)


@router.delete("/studies/{name}")
def delete_study(name: str, service: ServiceDep) -> Deleted:
    """Removes a study that is not running, with its trials and files."""
    return service.delete_study(name)


@router.get(
    "/studies/{name}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events: `id` is the sequence number, `event` the kind, "
            "`data` an Event as JSON",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
def events(
    name: str,
    service: ServiceDep,
    after: Annotated[int, Query(description="Only events with a higher sequence number")] = -1,
    follow: Annotated[bool, Query(description="Stay connected until the study ends")] = True,
    last_event_id: Annotated[
        int | None, Header(description="Sent by browsers on reconnect")
    ] = None,
) -> StreamingResponse:
    """What happens, as it happens."""
    service.study(name)  # an unknown study is an error before the stream begins
    start = after if last_event_id is None else last_event_id

    def stream() -> Iterator[str]:
        for event in service.events(name, after=start, follow=follow):
            body = event.model_dump_json()
            yield f"id: {event.sequence}\nevent: {event.kind}\ndata: {body}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")
