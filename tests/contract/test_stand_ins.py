"""What only a real socket shows of the stand-ins: connections that are cut, calls outlived by their effect, outages."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
URL = "/instances/i-1/inserted_observations/5"


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    seed = tmp_path_factory.mktemp("stand-in") / "seed.json"
    seed.write_text('{"instances": [{"id": "i-1", "state": "submitted", "links": {"dataset": {"id": "cpi"}}}]}')
    command = [sys.executable, "-m", "sandbox.dataset_api", "--port", "0", "--seed-file", str(seed)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        yield line.split()[-1]
        process.terminate()
        assert process.wait(10) is not None


@pytest.fixture
def api(base_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base_url, timeout=5) as client:
        yield client
        client.delete("/sandbox/faults")


def count(api: httpx.Client) -> int:
    counted = api.get("/sandbox/counts").json()["i-1"]
    assert isinstance(counted, int)
    return counted


@pytest.mark.parametrize("when, added", [("before", 0), ("after", 5)])
@pytest.mark.parametrize("reset, error", [(False, httpx.RemoteProtocolError), (True, httpx.ReadError)], ids=["closed", "reset"])
def test_a_cut_connection_ends_without_a_byte_of_an_answer(
    api: httpx.Client, when: str, added: int, *, reset: bool, error: type[httpx.HTTPError]
) -> None:
    before = count(api)
    api.post("/sandbox/faults", json={"do": "cut", "when": when, "reset": reset, "times": 1})
    with pytest.raises(error):
        api.put(URL)
    assert count(api) == before + added
    assert api.put(URL).status_code == 200


def test_a_put_to_an_instance_without_a_dataset_link_is_cut(api: httpx.Client) -> None:
    api.post("/sandbox/state", json={"instances": [{"id": "i-2"}]})
    with pytest.raises(httpx.RemoteProtocolError):
        api.put("/instances/i-2/inserted_observations/5")


def test_a_held_put_is_applied_after_its_caller_has_given_up(api: httpx.Client) -> None:
    before = count(api)
    api.post("/sandbox/hold", json={"method": "PUT"})
    with pytest.raises(httpx.ReadTimeout):
        api.put(URL, timeout=0.1)
    assert api.get("/sandbox/held").json()["held"][0]["path"] == URL
    assert count(api) == before
    assert api.post("/sandbox/release").json() == {"released": 1}
    assert api.get("/sandbox/held").json() == {"held": []}
    assert count(api) == before + 5


def test_in_an_outage_connections_are_refused_and_what_is_stored_stays(api: httpx.Client) -> None:
    before = count(api)
    assert api.post("/sandbox/outage", json={"seconds": 0.4}).status_code == 202
    time.sleep(0.1)
    with pytest.raises(httpx.ConnectError):
        api.put(URL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            assert api.put(URL).status_code == 200
            break
        except httpx.ConnectError:
            time.sleep(0.05)
    assert count(api) == before + 5
