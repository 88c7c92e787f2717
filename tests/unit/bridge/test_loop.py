"""The loop among stand-ins, with a clock of its own."""

import pytest
from structlog.testing import capture_logs

from bridge.starting import parse_metadata
from tests.unit.bridge.fakes import COUNTS, REGISTRATIONS, World, consumer, registered, running
from tracker.events import Partition

C0, C1, R0 = Partition(COUNTS, 0), Partition(COUNTS, 1), Partition(REGISTRATIONS, 0)


# -- the journey of a record --


def test_records_are_published_applied_and_committed_with_the_ledgers_stamp() -> None:
    world = World()
    for number in range(7):
        world.produce(f"i-{number % 2}", 10, partition=number % 2)
    bridge = world.bridge()
    world.settle(bridge)
    assert world.ledger.api == world.produced
    offset, metadata = world.kafka.commits[C0]
    assert offset == 4
    stamp = parse_metadata(metadata)
    assert stamp
    assert stamp.number == world.ledger.number


def test_a_batch_starts_where_the_one_before_ended_and_closes_holes() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    log = world.kafka.logs[C0]
    for _ in range(5):
        world.produce("a")
        log.end += 2  # transaction markers
    world.run(bridge)
    sent = [batch for batch in world.publisher.sent if batch.topic == COUNTS]
    assert [batch.start for batch in sent[1:]] == [batch.end for batch in sent[:-1]]
    assert sent[0].start == 0
    assert world.next() == log.end == 15


def test_a_stretch_without_records_is_published_so_that_next_gets_past_it() -> None:
    world = World(counts_partitions=1)
    world.kafka.logs[C0].end = 4
    bridge = world.bridge()
    world.settle(bridge)
    assert world.next() == 4
    assert world.ledger.parts[C0, "counts-1"].horizon is None
    assert world.kafka.commits[C0][0] == 4
    (batch,) = world.publisher.sent
    assert (batch.start, batch.end, batch.records, batch.checksum) == (0, 4, 0, "")


def test_registrations_travel_the_same_way() -> None:
    world = World()
    bridge = running(world)
    world.kafka.logs[R0].append(registered("a", "job"))
    world.run(bridge)
    assert world.ledger.jobs == {"a": "job"}


def test_what_cannot_be_decoded_becomes_a_dead_letter_and_holds_up_nothing() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    world.kafka.logs[C0].append(b"\xff")
    world.kafka.logs[C0].append(None)
    world.produce("a", 3)
    world.settle(bridge)
    assert world.ledger.api == {"a": 3}
    assert [offset for _, offset, _ in world.ledger.dead] == [0, 1]


def test_a_batch_too_large_for_one_message_is_cut_between_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.loop.MAX_PAYLOAD", 200)
    world = World(counts_partitions=1)
    bridge = running(world)
    consumer(bridge).poll_records = 10
    for _ in range(9):
        world.kafka.logs[C0].append(b"\xff" * 60)
        world.kafka.logs[C0].end += 1
    world.produce("a", 3)
    world.settle(bridge)
    sent = world.publisher.sent
    assert len(sent) > 3
    assert [batch.start for batch in sent[1:]] == [batch.end for batch in sent[:-1]]
    assert all(len(batch.payload) < 200 or batch.records == 1 for batch in sent)
    assert len(world.ledger.dead) == 9
    assert world.ledger.api == {"a": 3}


def test_two_groups_are_two_members() -> None:
    world = World()
    bridge = world.bridge(separate=True)
    world.produce("a", 2)
    world.kafka.logs[R0].append(registered("a", "job"))  # before the birth: it starts at the newest
    world.run(bridge, 5)
    world.kafka.logs[R0].append(registered("b", "job"))
    world.settle(bridge)
    assert world.ledger.api == {"a": 2}
    assert world.ledger.jobs == {"b": "job"}
    assert {C0, C1, R0} == world.kafka.commits.keys()


# -- committing --


def test_nothing_is_committed_before_the_horizon_is_passed() -> None:
    world = World(counts_partitions=1)
    for _ in range(9):
        world.produce("a")
    bridge = world.bridge()
    for _ in range(6):
        bridge.step()
    world.ledger.apply(world.publisher.queue.pop(0))
    world.clock.wait(1)
    bridge.step()
    assert world.next() == 3
    assert C0 not in world.kafka.commits
    world.settle(bridge)
    assert world.kafka.commits[C0][0] == 9


def test_commits_never_lie_above_what_is_applied() -> None:
    world = World()
    bridge = running(world)
    for _ in range(9):
        world.produce("a")
    for _ in range(30):
        bridge.step()
    assert world.publisher.queue
    assert world.kafka.commits[C0][0] == world.next() == 0


def test_a_version_that_moved_alone_is_committed_too() -> None:
    world = World()
    bridge = running(world)
    world.ledger.version += 5
    world.clock.wait(1)
    bridge.step()
    stamp = parse_metadata(world.kafka.commits[C0][1])
    assert stamp
    assert stamp.version == world.ledger.version


def test_commits_are_sent_a_few_times_a_second_at_most() -> None:
    world = World()
    bridge = running(world)
    sent = []
    member = consumer(bridge)
    real = member.commit
    member.commit = lambda commits: (sent.append(world.clock.now), real(commits))[1]  # type: ignore[method-assign, func-returns-value]
    for _ in range(100):
        world.produce("a")
        world.run(bridge, 1)
        world.clock.wait(0.01)
    assert len(sent) <= 6


def test_a_commit_that_failed_is_sent_again() -> None:
    world = World()
    bridge = running(world)
    world.kafka.commits.clear()
    consumer(bridge).commit_error = "the group is rebalancing"
    world.clock.wait(1)
    bridge.step()
    assert C0 in world.kafka.commits


# -- new partitions: rejoins, positions that went back, other ledgers and epochs --


def test_a_rejoin_seeks_to_the_ledger_and_never_to_the_commit() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(5):
        world.produce("a")
    world.run(bridge)
    world.kafka.commits[C0] = (2, world.kafka.commits[C0][1])
    world.kafka.rebalance()
    world.produce("a")
    world.settle(bridge)
    assert world.publisher.sent[-1].start == 5
    assert world.ledger.api == {"a": 6}


def test_without_workers_rejoining_again_and_again_adds_no_copies_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.loop.MAX_WAITING", 5)
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(6):
        world.produce("a")
        bridge.step()
    waiting = len(world.publisher.queue)
    assert waiting > 5
    for _ in range(20):
        world.kafka.rebalance()
        for _ in range(5):
            bridge.step()
    assert len(world.publisher.queue) == waiting
    world.settle(bridge)
    assert world.ledger.api == {"a": 6}


def test_records_polled_with_the_rejoin_are_thrown_away() -> None:
    """A member that slept past its session has its partitions back and their records from the commit, in one poll."""
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(3):
        world.produce("a")
    world.run(bridge)
    member = consumer(bridge)
    real = member.poll

    def slept(timeout_s: float) -> object:
        real(timeout_s)
        member.positions[C0] = 0
        member.flowing = {C0}
        return real(timeout_s)

    world.kafka.rebalance()
    before = len(world.publisher.sent)
    member.poll = slept  # type: ignore[method-assign, assignment]
    bridge.step()
    del member.poll
    assert len(world.publisher.sent) == before
    world.settle(bridge)
    assert world.ledger.api == {"a": 3}


def test_a_first_record_below_what_was_polled_before_is_read_again_from_the_ledger() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(6):
        world.produce("a")
    world.run(bridge)
    consumer(bridge).positions[C0] = 1
    with capture_logs() as logs:
        world.run(bridge)
    assert "position_went_back" in [entry["event"] for entry in logs]
    assert all(batch.start != 1 for batch in world.publisher.sent)
    assert world.next() == 6


def test_another_ledger_makes_every_partition_new() -> None:
    world = World()
    bridge = running(world)
    for number in range(6):
        world.produce("a", 2, partition=number % 2)
    world.run(bridge)
    world.ledger.push()
    world.ledger.id = None  # Redis lost everything
    world.ledger.number = world.ledger.version = 0
    world.ledger.verified = False
    world.settle(bridge)
    assert world.ledger.number == 2
    assert world.ledger.api == world.produced


def test_a_ledger_that_went_back_in_time_is_noticed_without_any_commit() -> None:
    world = World()
    bridge = running(world)
    world.ledger.version += 100
    world.run(bridge, 5)
    world.kafka.commits.clear()
    world.ledger.version -= 100
    world.settle(bridge)
    assert "what this bridge has seen" in world.ledger.births[1]


def test_an_epoch_begun_by_another_bridge_makes_the_partition_new() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(4):
        world.produce("a")
    world.run(bridge)
    world.kafka.delete(COUNTS)
    world.kafka.create(COUNTS, 1)
    world.kafka.members[0].pending = None  # the group has not noticed yet
    other = world.bridge("other")
    world.kafka.members.remove(consumer(other))
    assert other._verifier.look(None)
    assert world.ledger.epochs[C0] == "counts-3"
    for _ in range(6):
        world.produce("a")
    world.settle(bridge)
    assert world.ledger.api == {"a": 10}


def test_what_was_polled_when_the_ledger_came_into_doubt_is_polled_again() -> None:
    """One partition's trouble makes the ledger doubted while another's records are in hand: they must not become a hole."""
    world = World(counts_partitions=2)
    bridge = running(world)
    world.produce("a", 1, partition=0)
    world.produce("a", 2, partition=1)
    member = consumer(bridge)
    real = member.poll

    def poll(timeout_s: float) -> object:
        stretches = real(timeout_s)
        member.astray = {C0}
        return [stretch for stretch in stretches if stretch.partition == C1]

    member.poll = poll  # type: ignore[method-assign, assignment]
    bridge.step()
    del member.poll
    world.settle(bridge)
    assert world.ledger.api == {"a": 3}


def test_a_topic_made_anew_and_filled_beyond_the_old_position_is_not_read_on() -> None:
    """Kafka's fetch goes by name: only a look at the topic's id tells that these are other records."""
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(4):
        world.produce("a")
    world.run(bridge)
    world.kafka.delete(COUNTS)
    world.kafka.create(COUNTS, 1)
    consumer(bridge).pending = None  # neither has the group noticed
    for _ in range(9):
        world.produce("a", 5)
    world.clock.wait(1)
    world.settle(bridge)
    assert world.ledger.api == {"a": 4 + 45}
    assert len(world.ledger.births) == 1


def test_an_added_partition_starts_at_its_oldest_record() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    added = world.kafka.add_partition(COUNTS)
    world.produce("a", 4, partition=1)
    world.settle(bridge)
    assert world.ledger.api == {"a": 4}
    assert world.kafka.commits[added][0] == 1
    assert len(world.ledger.births) == 1


def test_what_retention_deleted_before_it_was_read_is_recorded_and_counting_goes_on() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    world.kafka.down = True
    for _ in range(10):
        world.produce("a")
    world.kafka.logs[C0].delete_below(6)
    world.kafka.down = False
    world.settle(bridge)
    assert world.ledger.losses == [(C0, 0, 6)]
    assert world.ledger.api == {"a": 4}
    assert world.next() == 10


def test_what_retention_deleted_is_not_written_off_while_a_waiting_task_may_hold_it() -> None:
    """No worker for longer than the topic keeps its records, and a bridge restarted meanwhile: the tasks have them still."""
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(6):
        world.produce("a")
    for _ in range(6):
        bridge.step()
    assert len(world.publisher.queue) == 2
    world.kafka.logs[C0].delete_below(5)
    world.kafka.rebalance()
    for _ in range(100):
        bridge.step()
    assert not world.ledger.losses
    world.settle(bridge)
    assert not world.ledger.losses
    assert world.ledger.api == {"a": 6}


def test_a_gap_is_written_off_in_the_end_however_long_the_queue() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(6):
        world.produce("a")
    for _ in range(6):
        bridge.step()
    lost = world.publisher.queue
    world.publisher.queue = [batch for batch in lost if batch.start > 0] * 2
    world.kafka.logs[C0].delete_below(3)
    world.kafka.rebalance()
    until = world.clock.now + 70
    while world.clock.now < until:
        bridge.step()
    assert world.ledger.losses == [(C0, 0, 3)]
    world.settle(bridge)
    assert world.ledger.api == {"a": 3}


def test_somebody_elses_commit_seen_at_a_rejoin_means_a_birth() -> None:
    world = World(counts_partitions=1)
    bridge = running(world)
    for _ in range(4):
        world.produce("a")
    world.ledger.api["a"] = 4  # somebody else has counted these
    world.kafka.commits[C0] = (4, "")
    consumer(bridge).flowing = set()
    world.kafka.rebalance()
    world.produce("a")
    world.settle(bridge)
    assert world.ledger.api == {"a": 5}
    assert len(world.ledger.births) == 3  # the first, the closing, the new


def test_a_truncated_topic_without_an_id_means_a_birth() -> None:
    world = World(counts_partitions=1, with_ids=False)
    bridge = running(world)
    for _ in range(5):
        world.produce("a")
    world.settle(bridge)
    world.kafka.logs[C0].truncate(2)
    world.kafka.rebalance()
    world.settle(bridge)
    assert "truncated" in world.ledger.births[-1]
    assert world.ledger.api == {"a": 5}
