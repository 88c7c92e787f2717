"""A little of `make fuzz` with every test run: each target, driven by Hypothesis, which finds the smallest input that breaks one."""

import asyncio
from collections.abc import Callable, Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.valkey import Valkey
from tests.fuzz.mutation import body
from tests.fuzz.targets import DOCUMENTS, TARGETS, Messages, one_line
from tracker.dataset_api import DatasetApi
from tracker.errors import TrackerError

EXAMPLES = {"decoding": 300, "answers": 150, "environment": 300, "dotenv": 300}


def a_little(run: Callable[[Random], None], examples: int) -> None:
    """Run it on so many inputs."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def tried(random: Random) -> None:
        run(random)

    tried()


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_breaks_it(name: str) -> None:
    a_little(TARGETS[name], EXAMPLES[name])


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Messages]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        messages = Messages(valkey.url)
        yield messages
        messages.close()


def test_a_batch_is_applied_or_refused_before_the_first_write(messages: Messages) -> None:
    a_little(messages, 200)


def test_whatever_bytes_come_out_of_the_socket_a_call_ends_in_good_order() -> None:
    """Not even HTTP: cut, doubled and damaged answers, over a real connection."""

    async def ask(random: Random) -> None:
        content = body(DOCUMENTS, random)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        if random.randrange(3) == 0:
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + f"{len(content):x}\r\n".encode()
        raw = bytearray(head + content)
        for _ in range(random.randrange(6)):
            at = random.randrange(len(raw[:200]) or 1)
            raw[at : at + random.randrange(3)] = random.randbytes(random.randrange(4))

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(bytes(raw))
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            api = DatasetApi(
                f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", token=None, service_token=None, timeout_s=2.0, max_calls=1
            )
            try:
                await api.get_instance("i-1")
            except TrackerError as error:
                one_line(error)
            finally:
                await api.aclose()

    a_little(lambda random: asyncio.run(ask(random)), 100)
