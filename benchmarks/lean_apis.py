"""
Both APIs in one small server that costs little, so that it does not bound what is measured.

    python -m benchmarks.lean_apis PORT      answers `listening` on stdout when it does

It keeps the rules that a tracker leans on: an ETag that changes with every change of an instance, 409 for another
`If-Match`, 404 in the API's own words, states, totals and jobs. No tokens and no faults: those are the sandbox's. Every answer can
be held back for a while, as an API a few milliseconds away would.

    GET /instances[?state=&offset=&limit=]   GET PUT /instances/{id}   PUT /instances/{id}/inserted_observations/{n}
    GET /jobs[?state=&offset=&limit=]        GET PUT /jobs/{id}

    POST /bench/seed      {"instances": [[id, job, total], …]}; adds or replaces, also the jobs
    POST /bench/delay     {"seconds": 0.005}
    POST /bench/watch     {"sum": n}: waits until the inserted counts add up to n or more
    POST /bench/completed {"job": id}: waits until the job is completed; both answer {"at": seconds since 1970}
    GET  /bench/counts    {id: inserted, …}
    GET  /bench/log       [[when, call], …], the last 1,000
    GET  /bench/stats     {"calls": …, "by": {"PUT inserted": …, …}, "sum": …}
"""

import asyncio
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote


class Apis:
    """What is stored, and the answer to each call."""

    def __init__(self) -> None:
        self.instances: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.calls: Counter[str] = Counter()
        self.completed_at: dict[str, float] = {}
        self.log: deque[tuple[float, str]] = deque(maxlen=1000)
        self.sum = 0
        self.delay_s = 0.0
        self.waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def answer(self, method: str, path: str, if_match: str | None, body: bytes) -> tuple[int, str | None, bytes]:  # noqa: PLR0911 - one for each route
        """Apply one call; returns status, ETag, body."""
        path, _, query = path.partition("?")
        self.log.append((time.time(), f"{method} {path}"))
        match path.split("/")[1:]:
            case ["instances", name, "inserted_observations", count] if method == "PUT":
                self.calls["PUT inserted"] += 1
                return self._change(unquote(name), if_match, inserted=int(count))
            case ["instances", name] if method == "PUT":
                self.calls["PUT state"] += 1
                return self._change(unquote(name), if_match, state=json.loads(body)["state"])
            case ["instances", name]:
                self.calls["GET instance"] += 1
                instance = self.instances.get(unquote(name))
                return (200, str(instance["etag"]), _shown(instance)) if instance else (404, None, b"instance not found")
            case ["instances"]:
                self.calls["GET instances"] += 1
                return 200, None, self._page([i for i in self.instances.values() if i["state"] == "submitted"], query, _shown)
            case ["jobs", name] if method == "PUT":
                self.calls["PUT job"] += 1
                return self._change_job(unquote(name), json.loads(body)["state"])
            case ["jobs", name]:
                self.calls["GET job"] += 1
                job = self.jobs.get(unquote(name))
                return (200, None, _shown_job(job)) if job else (404, None, b"job not found")
            case ["jobs"]:
                self.calls["GET jobs"] += 1
                return 200, None, self._page([j for j in self.jobs.values() if j["state"] == "submitted"], query, _shown_job)
            case ["health"]:
                return 200, None, b'{"status": "OK"}'
        return 404, None, b"404 page not found"

    def _change(self, name: str, if_match: str | None, *, inserted: int = 0, state: str | None = None) -> tuple[int, str | None, bytes]:
        instance = self.instances.get(name)
        if instance is None:
            return 404, None, b"instance not found"
        if if_match not in {None, "", "*", str(instance["etag"])}:
            return 409, None, b"instance does not match the expected eTag"
        if state is not None and (instance["state"], state) != ("submitted", "completed"):
            return 403, None, b"unable to update resource, expected resource to have a state of submitted"
        instance["etag"] += 1
        instance["inserted"] += inserted
        instance["state"] = state or instance["state"]
        self.sum += inserted
        self._wake()
        return 200, str(instance["etag"]), b""

    def _change_job(self, name: str, state: str) -> tuple[int, str | None, bytes]:
        job = self.jobs.get(name)
        if job is None:
            return 404, None, b"job not found"
        job["state"] = state
        if state == "completed":
            self.completed_at.setdefault(name, time.time())
        self._wake()
        return 200, None, b""

    @staticmethod
    def _page(found: list[dict[str, Any]], query: str, show: Any) -> bytes:  # noqa: ANN401
        asked = parse_qs(query)
        offset, limit = int(asked.get("offset", ["0"])[0]), int(asked.get("limit", ["20"])[0])
        some = [show(each) for each in found[offset : offset + limit]]
        head = f'"count": {len(some)}, "offset": {offset}, "limit": {limit}, "total_count": {len(found)}'
        return b'{"items": [' + b",".join(some) + b"], " + head.encode() + b"}"

    def _wake(self) -> None:
        for each in list(self.waiting):
            holds, future = each
            if holds():
                self.waiting.remove(each)
                if not future.done():
                    future.set_result(None)

    async def _wait(self, holds: Callable[[], bool]) -> None:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((holds, future))
        self._wake()
        await future

    async def bench(self, path: str, body: bytes) -> bytes:
        """Answer a call of the benchmark's own."""
        given = json.loads(body) if body else {}
        match path:
            case "/bench/seed":
                for name, job, total in given["instances"]:
                    self.instances[name] = {"id": name, "job": job, "total": total, "inserted": 0, "state": "submitted", "etag": 1}
                    if job:
                        self.jobs.setdefault(job, {"id": job, "state": "submitted", "instances": []})["instances"].append(name)
            case "/bench/delay":
                self.delay_s = given["seconds"]
            case "/bench/watch":
                await self._wait(lambda: bool(self.sum >= given["sum"]))
                return json.dumps({"at": time.time()}).encode()
            case "/bench/completed":
                await self._wait(lambda: given["job"] in self.completed_at)
                return json.dumps({"at": self.completed_at[given["job"]]}).encode()
            case "/bench/counts":
                return json.dumps({name: instance["inserted"] for name, instance in self.instances.items()}).encode()
            case "/bench/log":
                return json.dumps(list(self.log)).encode()
            case "/bench/stats":
                stats = {"calls": self.calls.total(), "by": self.calls, "sum": self.sum}
                return json.dumps(stats).encode()
        return b"{}"


def _shown(instance: dict[str, Any]) -> bytes:
    shown: dict[str, Any] = {"id": instance["id"], "state": instance["state"]}
    shown["links"] = {"job": {"id": instance["job"], "href": f"/jobs/{instance['job']}"} if instance["job"] else None}
    if instance["total"] is not None:
        shown["total_observations"] = instance["total"]
    shown["import_tasks"] = {"import_observations": {"total_inserted_observations": instance["inserted"], "state": "submitted"}}
    return json.dumps(shown).encode()


def _shown_job(job: dict[str, Any]) -> bytes:
    links = {"instances": [{"id": name, "href": f"/instances/{name}"} for name in job["instances"]]}
    return json.dumps({"id": job["id"], "state": job["state"], "links": links}).encode()


class Protocol(asyncio.Protocol):
    """HTTP/1.1 as far as httpx speaks it: keep-alive, bodies with a length."""

    def __init__(self, apis: Apis) -> None:
        self._apis = apis
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is wholly there."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            first, _, rest = self._buffer[:end].partition(b"\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in rest.split(b"\r\n"))}
            length = int(headers.get(b"content-length", b"0"))
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            method, path, _ = first.decode("latin-1").split(" ", 2)
            if path.startswith("/bench/"):
                task = asyncio.get_running_loop().create_task(self._bench(path, body))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                continue
            match = headers.get(b"if-match")
            given = method, path, match.decode("latin-1") if match is not None else None, body
            if self._apis.delay_s:
                asyncio.get_running_loop().call_later(self._apis.delay_s, self._answer, *given)
            else:
                self._answer(*given)

    async def _bench(self, path: str, body: bytes) -> None:
        self._write(200, None, await self._apis.bench(path, body))

    def _answer(self, method: str, path: str, if_match: str | None, body: bytes) -> None:
        self._write(*self._apis.answer(method, path, if_match, body))

    def _write(self, status: int, etag: str | None, body: bytes) -> None:
        tag = f"ETag: {etag}\r\n" if etag else ""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\n{tag}\r\n".encode() + body)


async def main(port: int) -> None:
    """Serve until killed."""
    apis = Apis()
    server = await asyncio.get_running_loop().create_server(lambda: Protocol(apis), "127.0.0.1", port, backlog=1000)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
