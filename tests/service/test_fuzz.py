"""Requests made up from the service's own description: no answer may be unforeseen, or undescribed."""

from typing import Any

import pytest

from stablenormal.service.settings import Limits

from .conftest import Service

schemathesis = pytest.importorskip("schemathesis")

EACH = 12
"""Requests for each path."""


@pytest.fixture(scope="module")
def fuzzed(pipeline: Any) -> Any:
    from stablenormal.service.settings import Tokens

    from .conftest import running

    limits = Limits(max_mb=1, max_megapixels=1, upload_timeout_s=5)
    with running(pipeline, limits, Tokens([])) as service:
        yield service


@pytest.mark.parametrize("path", ["/v1/normals", "/v1/batch", "/healthz", "/readyz", "/metrics"])
def test_made_up_requests_get_answers_that_are_described(fuzzed: Service, path: str) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis import GenerationMode

    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{fuzzed.port}/openapi.json")
    (operation,) = (one.ok() for one in schema.get_all_operations() if one.ok().path == path)
    statuses: list[int] = []

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EACH,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def fuzz(case: Any) -> None:
            response = case.call()
            statuses.append(response.status_code)
            assert response.status_code < 500, response.text
            described = {int(status) for status in operation.definition.raw["responses"]}
            assert response.status_code in described, (response.status_code, response.text)

        try:
            fuzz()
        except Exception as error:
            if "Unsatisfiable" not in type(error).__name__:  # nothing can be wrong about a path without input
                raise
    assert len(statuses) >= (EACH if path.startswith("/v1") else 1)
    assert fuzzed.ask("GET", "/readyz").status == 200
