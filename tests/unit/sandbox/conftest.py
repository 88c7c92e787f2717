"""Stand-ins spoken to without a socket."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from sandbox.control import StandIn
from sandbox.dataset_api import DatasetApi
from sandbox.import_api import DatasetInstances, ImportApi
from sandbox.serving import Generation

DATASET = {"id": "cpi", "href": "http://dataset/datasets/cpi"}
JOB = {"id": "j-1", "href": "http://import/jobs/j-1"}


class InProcess(httpx.BaseTransport):
    """Calls an ASGI application from a test that is not async, one call at a time."""

    def __init__(self, app: ASGIApp) -> None:
        self._transport = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._call(request))

    async def _call(self, request: httpx.Request) -> httpx.Response:
        response = await self._transport.handle_async_request(request)
        return httpx.Response(response.status_code, headers=response.headers, content=await response.aread())


def client(app: ASGIApp) -> httpx.Client:
    return httpx.Client(base_url="http://stand-in", transport=InProcess(app))


@pytest.fixture
def dataset() -> Callable[..., httpx.Client]:
    """Make a client of a Dataset API that has the given instances: submitted, with links, unless they say otherwise."""

    def make(generation: Generation = "today", *instances: dict[str, Any], token: str | None = None) -> httpx.Client:
        api = DatasetApi(generation, token)
        api.load({"instances": [{"links": {"job": JOB, "dataset": DATASET}, "state": "submitted"} | given for given in instances]})
        return client(StandIn(api))

    return make


@pytest.fixture
def imports() -> Callable[..., httpx.Client]:
    """Make a client of an Import API that has the given jobs; `dataset_api` is the application it creates instances at."""

    def make(
        generation: Generation = "today",
        *jobs: dict[str, Any],
        token: str | None = None,
        dataset_api: ASGIApp | None = None,
    ) -> httpx.Client:
        instances = DatasetInstances("http://dataset", transport=httpx.ASGITransport(dataset_api)) if dataset_api else None
        api = ImportApi(generation, token, instances)
        api.load({"jobs": list(jobs)})
        return client(StandIn(api))

    return make
