"""The loop when its window is full, when neighbours are away, and when it ends; among stand-ins, with a clock of its own."""

import json
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from tests.unit.bridge.fakes import COUNTS, REGISTRATIONS, World, consumer, running
from tracker.events import Partition

C0, C1, R0 = Partition(COUNTS, 0), Partition(COUNTS, 1), Partition(REGISTRATIONS, 0)


# -- the window, and publishing again --


def test_polling_goes_on_while_a_full_window_holds_the_partitions() -> None:
    world = World(counts_partitions=1)
    bridge = world.bridge(window_records=6)
    world.run(bridge, 8)
    for _ in range(30):
        world.produce("a")
    for _ in range(20):
        bridge.step()
    assert sum(batch.records for batch in world.publisher.queue) == 6
    assert C0 not in consumer(bridge).flowing
    world.settle(bridge)
    assert world.ledger.api == {"a": 30}


def test_a_lost_task_is_published_again_and_counts_once() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(9):
        world.produce("a")
    for _ in range(6):
        bridge.step()
    lost = world.publisher.queue.pop(0)
    world.apply_all()
    world.clock.wait(5)
    bridge.step()
    assert world.publisher.queue == [lost]
    world.settle(bridge)
    assert world.ledger.api == {"a": 9}


def test_nothing_is_published_again_while_the_queue_holds_all_windows() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(9):
        world.produce("a")
    for _ in range(6):
        bridge.step()
    for _ in range(400):
        world.clock.wait(10)
        bridge.step()
    assert len(world.publisher.queue) == 3


def test_other_living_bridges_windows_leave_room_in_the_queue() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    world.produce("a")
    for _ in range(4):
        bridge.step()
    lost = world.publisher.queue.pop()
    world.publisher.queue = [lost] * 5  # what others have on its way
    world.clock.wait(5)
    bridge.step()
    assert len(world.publisher.queue) == 5
    world.ledger.beats["other"] = {"window_batches": 5}
    world.clock.wait(5)
    bridge.step()
    assert len(world.publisher.queue) == 6


def test_a_batch_published_three_times_is_named_in_the_heartbeat() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    world.produce("a")
    for _ in range(60):
        bridge.step()
        world.publisher.queue.clear()
        world.clock.wait(1)
    (shown,) = world.ledger.beats["b"]["republished"]
    assert (shown["partition"], shown["start"], shown["end"]) == ("counts:0", 0, 1)
    assert shown["attempts"] >= 3
    assert "not applied" in shown["error"]


# -- neighbours that are away --


def test_without_room_for_letters_the_bridge_says_so_once_and_publishes_again_at_once_when_there_is_room() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    world.ledger.letters_full = True
    world.produce("a")
    with capture_logs() as logs:
        for _ in range(20):
            bridge.step()
            world.publisher.queue.clear()  # refused
            world.clock.wait(0.1)
        assert "tracker dead-letters list" in world.ledger.beats["b"]["error"]
        world.ledger.letters_full = False
        for _ in range(10):
            bridge.step()
            world.clock.wait(0.1)
    said = [entry["event"] for entry in logs]
    assert [event for event in said if event.startswith("dead_letters")] == ["dead_letters_full", "dead_letters_have_room"]
    world.settle(bridge)
    world.clock.wait(5)
    bridge.step()
    assert (world.ledger.api, world.ledger.beats["b"]["error"]) == ({"a": 1}, None)


def test_a_paused_bridge_reads_nothing_keeps_its_partitions_and_goes_on_when_it_is_resumed() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    world.ledger.paused = True
    world.clock.wait(1)
    for _ in range(5):
        bridge.step()
    world.produce("a")
    for _ in range(20):
        bridge.step()
        world.clock.wait(0.1)
    assert world.publisher.queue == []
    assert C0 not in consumer(bridge).flowing
    world.ledger.paused = False
    world.settle(bridge)
    assert world.ledger.api == {"a": 1}


def away(world: World, what: str) -> None:
    """Take a neighbour away: Kafka, all of Redis, or only the broker that the tasks go to."""
    world.kafka.down = what == "kafka"
    world.ledger.down = what == "redis"
    world.publisher.down = what in {"redis", "broker"}


@pytest.mark.parametrize("what", ["kafka", "redis", "broker"])
@pytest.mark.parametrize("since", ["start", "later"])
def test_a_neighbour_that_is_away_is_waited_for_and_said_once(what: str, since: str) -> None:
    world = World()
    bridge = world.bridge() if since == "start" else running(world)
    away(world, what)
    for _ in range(5):
        world.produce("a", 2)
    started = world.clock.now
    with capture_logs() as logs:
        while world.clock.now < started + 120:
            bridge.step()
    said = [entry["event"] for entry in logs if entry["log_level"] != "debug"]
    assert said.count("neighbour_away") == 1
    assert len(said) < 6
    away(world, "none")
    world.settle(bridge)
    assert world.ledger.api == world.produced


def test_waiting_for_a_neighbour_never_spins() -> None:
    world = World()
    bridge = running(world)
    away(world, "redis")
    world.kafka.down = True
    started = world.clock.now
    for _ in range(100):
        bridge.step()
    assert world.clock.now - started > 5


def test_a_server_that_restarted_is_verified_and_nothing_counts_twice() -> None:
    world = World()
    bridge = running(world)
    for _ in range(8):
        world.produce("a")
    bridge.step()
    world.ledger.verified = False
    world.settle(bridge)
    assert len(world.ledger.births) == 1
    assert world.ledger.api == {"a": 8}


def test_a_heartbeat_that_fails_ends_nothing() -> None:
    world = World()
    bridge = running(world)

    def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("beat is broken")

    world.ledger.beat = broken  # type: ignore[method-assign]
    world.produce("a")
    world.clock.wait(3)
    world.settle(bridge)
    assert world.ledger.api == {"a": 1}


def test_the_heartbeat_tells_partitions_with_their_lag_and_the_windows_size() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(4):
        world.produce("a")
    for _ in range(6):
        bridge.step()
    world.clock.wait(3)
    bridge.step()
    info = json.loads(json.dumps(world.ledger.beats["b"]))
    assert info["partitions"]["counts:0"] == {"next": 0, "end": 4, "lag": 4, "placed": True}
    assert (info["window_records"], info["window_batches"]) == (4, 2)
    assert info["error"] is None
    assert info["ledger"] == world.ledger.id


# -- ending --


def test_closing_waits_for_what_is_on_its_way_commits_it_and_leaves_the_group() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(3):
        world.produce("a")
    for _ in range(4):
        bridge.step()
    assert world.publisher.queue
    world.produce("a")  # comes too late to be polled
    real = world.clock.wait

    def waited(seconds: float) -> None:
        real(seconds)
        world.apply_all()

    world.clock.wait = waited  # type: ignore[method-assign]
    assert bridge.close(10.0)
    assert world.kafka.commits[C0][0] == 3
    assert consumer(bridge).closed


def test_closing_ends_in_time_with_whatever_is_applied_by_then() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(6):
        world.produce("a")
    for _ in range(6):
        bridge.step()
    world.ledger.apply(world.publisher.queue.pop(0))
    started = world.clock.now
    assert not bridge.close(10.0)
    assert 10 <= world.clock.now - started < 11
    assert world.kafka.commits[C0][0] == 3


@pytest.mark.parametrize("what", ["kafka", "redis"])
def test_closing_ends_in_time_when_a_neighbour_is_away(what: str) -> None:
    world = World()
    bridge = running(world)
    world.produce("a")
    for _ in range(3):
        bridge.step()
    away(world, what)
    started = world.clock.now
    assert not bridge.close(10.0)
    assert world.clock.now - started < 11


def test_closing_says_so_when_what_is_applied_could_not_be_committed() -> None:
    """Whoever counts on from the commits after a clean end would count again what was applied and not committed."""
    world = World(counts_partitions=1)
    bridge = running(world)
    world.produce("a")
    for _ in range(3):
        bridge.step()
    world.apply_all()
    world.kafka.down = True
    assert not bridge.close(10.0)


def test_closing_before_anything_was_found_ends_at_once() -> None:
    world = World()
    assert world.bridge().close(10.0)


def test_run_ends_when_closing_is_set() -> None:
    world = World()
    bridge = world.bridge()
    real: Callable[[], None] = bridge.step
    turns = []

    def step() -> None:
        real()
        turns.append(1)
        bridge.closing = len(turns) == 3

    bridge.step = step  # type: ignore[method-assign]
    bridge.run()
    assert len(turns) == 3
