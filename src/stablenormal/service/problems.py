"""What the service says when it cannot do what it was asked: RFC 9457 problems, one line each."""

from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"


class ProblemError(Exception):
    """An answer other than the one asked for.

    Args:
        status: HTTP status.
        detail: one line: what is wrong, what to do.
        headers: of the answer.
    """

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


def problem_response(problem: ProblemError) -> JSONResponse:
    """The problem as an answer."""
    content = {"title": title(problem.status), "status": problem.status, "detail": problem.detail}
    return JSONResponse(content, problem.status, problem.headers, MEDIA_TYPE)


def title(status: int) -> str:
    """What HTTP calls a status."""
    return HTTPStatus(status).phrase


def busy(seconds: int) -> ProblemError:
    """Too much is waiting."""
    return ProblemError(
        429, f"too many requests are waiting; come again in {seconds} s", {"Retry-After": str(seconds)}
    )


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems for the description of the interface."""
    schema = {
        "type": "object",
        "required": ["title", "status", "detail"],
        "properties": {
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "one line: what is wrong, what to do"},
        },
    }
    return {
        status: {
            "description": f"{title(status)}: {_WHEN[status]}",
            "content": {
                MEDIA_TYPE: {
                    "schema": schema,
                    "example": {"title": title(status), "status": status, "detail": _WHEN[status]},
                }
            },
            **({"headers": {"Retry-After": {"schema": {"type": "integer"}}}} if status in (429, 503) else {}),
        }
        for status in statuses
    }


_WHEN = {
    400: "the body is not what its Content-Type says, or nothing is in it",
    401: "a bearer token is needed, or this one is wrong",
    406: "none of the kinds in Accept can be given",
    408: "the request did not arrive in time",
    413: "the request, what is in the archive, or the photograph is too large",
    415: "the body is of a kind that is not taken",
    422: "a parameter or the photograph cannot be used",
    429: "too many requests are waiting",
    503: "the model is being loaded, or the service ends",
    504: "the answer took too long",
}
