"""What routes ask for by type."""

import secrets
from typing import Annotated

from fastapi import Depends, Request

from nas.errors import BadInput, Unauthorised
from nas.service import Service
from nas.study import Limit


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]


def check_token(request: Request) -> None:
    """Raises Unauthorised when a token is set and the request does not carry it."""
    expected = request.app.state.service.settings.token
    if expected is None or request.url.path == "/health":
        return
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not secrets.compare_digest(given.encode(), expected.get_secret_value().encode()):
        raise Unauthorised("this server wants a token: send `Authorization: Bearer TOKEN`")


def parse_limit(text: str, path: str) -> Limit:
    """``metric:min:max`` with either bound empty. Raises BadInput."""
    metric, _, bounds = text.partition(":")
    low, _, high = bounds.partition(":")
    try:
        lowest, highest = float(low) if low else None, float(high) if high else None
        return Limit(metric=metric, min=lowest, max=highest)
    except ValueError:
        raise BadInput.at(
            path,
            "not a limit",
            given=text,
            accepted="metric:min:max, where one bound may be empty, such as params::2000000",
        ) from None
