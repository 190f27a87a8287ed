"""Every error as one JSON shape, and its HTTP status, decided here and nowhere else."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from nas import errors
from nas.errors import BadInput, NasError
from nas.search_spaces.base import Model
from nas.validation import problems_of

STATUS: dict[type[NasError], int] = {
    errors.Unauthorised: 401,
    errors.BadInput: 422,
    errors.Infeasible: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.ExportRefused: 409,
    errors.StoreError: 503,
    errors.Unavailable: 503,
    NasError: 500,
}


class ProblemBody(Model):
    """One thing wrong with one field."""

    path: str
    message: str
    given: Any = None
    accepted: str | None = None


class ErrorDetail(Model):
    """What went wrong."""

    code: str
    message: str
    problems: tuple[ProblemBody, ...] = ()


class ErrorBody(Model):
    """The body of every answer that is not a success."""

    error: ErrorDetail


RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorBody, "description": text}
    for code, text in {
        401: "The token is missing or wrong",
        404: "There is no such study, trial, part or page",
        409: "The state of things does not allow this",
        422: "The request cannot be understood; `problems` names each field",
        500: "A mistake of the service",
        503: "A device, file or worker is not there",
    }.items()
}


def install(app: FastAPI) -> None:
    """Registers the handlers."""
    app.add_exception_handler(NasError, _nas_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _mistake)


def answer(error: NasError, status: int | None = None) -> JSONResponse:
    """An error as a response."""
    code = status or next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    body = ErrorBody.model_validate({"error": _plain(error.as_dict())})
    return JSONResponse(body.model_dump(mode="json"), status_code=code)


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    """What was given may be anything; what JSON cannot hold is written out."""
    import json

    plain: dict[str, Any] = json.loads(json.dumps(body, default=repr))
    return plain


async def _nas_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, NasError)
    return answer(error)


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = problems_of(error.errors(), error.body)
    text = "; ".join(str(problem) for problem in problems)
    return answer(BadInput(text, problems))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = errors.NotFound if error.status_code == 404 else BadInput
    path = request.url.path
    text = {
        404: f"there is nothing at {path}; /docs lists what there is",
        405: f"{request.method} is not possible at {path}; /docs lists what is",
    }.get(error.status_code, str(error.detail))
    return answer(kind(text), error.status_code)


async def _mistake(request: Request, error: Exception) -> JSONResponse:
    logging.getLogger("nas.api").exception("%s %s", request.method, request.url.path)
    return answer(NasError(f"the service made a mistake ({type(error).__name__}); see its log"))
