"""Looking at the evidence, verifying and giving birth, with other bridges about."""

import pytest

from bridge.starting import Stamp, format_metadata
from bridge.verifying import Policy, Verifier
from tests.unit.bridge.fakes import COUNTS, GROUP, REGISTRATIONS, FakeCluster, FakeLedger, World
from tracker.errors import LedgerUnavailable, Transient
from tracker.events import Partition
from tracker.ledger_state import LedgerState

C0 = Partition(COUNTS, 0)


def verifier(world: World, ledger: FakeLedger | None = None, cluster: FakeCluster | None = None) -> Verifier:
    policy = Policy(COUNTS, REGISTRATIONS, {COUNTS: GROUP, REGISTRATIONS: GROUP}, world.oldest, 15.0)
    return Verifier(
        ledger or world.ledger, cluster or FakeCluster(world.kafka), policy, waiting=world.publisher.queue_length, clock=world.clock
    )


def look_until_trusted(looking: Verifier, seen: Stamp | None = None) -> tuple[str, int]:
    for times in range(1, 6):
        if ledger := looking.look(seen):
            return ledger, times
    raise AssertionError("never trusted")


def test_the_first_ledger_is_born_in_one_step_and_trusted_in_the_next() -> None:
    world = World()
    world.produce("a", 5)
    assert look_until_trusted(verifier(world)) == ("1-r1", 2)
    assert world.ledger.births == ["there is no ledger"]
    assert world.ledger.parts[C0, "counts-1"].horizon == 1


def test_a_ledger_of_before_a_restart_of_redis_is_verified() -> None:
    world = World()
    look_until_trusted(verifier(world))
    world.ledger.verified = False
    assert look_until_trusted(verifier(world)) == ("1-r1", 1)
    assert world.ledger.verified


def test_a_ledger_in_force_is_closed_before_the_horizons_are_read() -> None:
    """Between the look and the birth, workers go on under the old ledger; a horizon read before its end would be too low."""
    world = World()
    looking = verifier(world)
    look_until_trusted(looking)
    world.ledger.parts[C0, "counts-1"].extend(0, 0, "")
    world.kafka.commits[C0] = (1, "")
    world.produce("a")
    assert looking.look(None) is None
    assert world.ledger.id == "2-r2"
    assert not world.ledger.parts
    world.produce("a")
    assert look_until_trusted(looking) == ("3-r3", 2)
    assert world.ledger.parts[C0, "counts-1"].horizon == 2


def test_a_birth_that_another_bridge_has_forestalled_is_looked_at_again() -> None:
    world = World()
    other = verifier(world)

    class Late(FakeCluster):
        def bounds(self, partitions: object) -> dict[Partition, tuple[int, int]]:
            found = super().bounds(partitions)  # type: ignore[arg-type]
            look_until_trusted(other)
            return found

    looking = verifier(world, cluster=Late(world.kafka))
    assert looking.look(None) is None
    assert world.ledger.births == ["there is no ledger"]
    assert looking.look(None) == "1-r1"


def test_a_commit_made_by_another_bridge_meanwhile_is_no_loss_of_writes() -> None:
    """The commits are read before the ledger's state: a newer commit in between is not seen, an older one is harmless."""
    world = World()
    look_until_trusted(verifier(world))

    class Busy(FakeLedger):
        pass

    reads = []

    class Cluster(FakeCluster):
        def commits(self, group: str, partitions: object) -> dict[Partition, tuple[int, str]]:
            found = super().commits(group, partitions)  # type: ignore[arg-type]
            reads.append("commits")
            world.ledger.version += 10
            world.kafka.commits[C0] = (0, format_metadata("1-r1", world.ledger.version))
            return found

    assert verifier(world, cluster=Cluster(world.kafka)).look(None) == "1-r1"
    assert len(world.ledger.births) == 1


def test_records_that_come_and_are_applied_meanwhile_are_no_truncation() -> None:
    """The ends are read after the ledger's state, so that they lie at or above what it had applied."""
    world = World()
    look_until_trusted(verifier(world))

    class Busy(FakeCluster):
        def bounds(self, partitions: object) -> dict[Partition, tuple[int, int]]:
            world.produce("a")
            part = world.ledger.parts[C0, "counts-1"]
            part.extend(part.next, part.next + 1, "")
            return super().bounds(partitions)  # type: ignore[arg-type]

    assert verifier(world, cluster=Busy(world.kafka)).look(None) == "1-r1"


def test_a_topic_that_changes_meanwhile_is_looked_at_again() -> None:
    world = World()

    class Changing(FakeCluster):
        def bounds(self, partitions: object) -> dict[Partition, tuple[int, int]]:
            found = super().bounds(partitions)  # type: ignore[arg-type]
            world.kafka.ids[COUNTS] = "another"
            return found

    with pytest.raises(Transient, match="changed"):
        verifier(world, cluster=Changing(world.kafka)).look(None)
    assert world.ledger.id is None


def test_nothing_is_born_before_the_counts_topic_is_there() -> None:
    world = World()
    world.kafka.delete(COUNTS)
    with pytest.raises(Transient, match="counts does not exist yet"):
        verifier(world).look(None)
    assert world.ledger.id is None


def test_a_missing_registrations_topic_stops_nothing_and_starts_when_it_appears() -> None:
    world = World()
    world.kafka.delete(REGISTRATIONS)
    look_until_trusted(verifier(world))
    world.kafka.create(REGISTRATIONS, 1)
    assert look_until_trusted(verifier(world)) == ("1-r1", 1)
    assert Partition(REGISTRATIONS, 0) in world.ledger.epochs


def test_redis_away_is_said_to_the_caller() -> None:
    world = World()
    world.ledger.down = True
    with pytest.raises(LedgerUnavailable):
        verifier(world).look(None)


def test_a_ledger_replaced_between_state_and_verification_is_looked_at_again() -> None:
    world = World()
    look_until_trusted(verifier(world))

    class Replaced(FakeLedger):
        def verify(self, examined: LedgerState) -> bool:
            return False

        def state(self, topics: object) -> LedgerState:
            return world.ledger.state(topics)  # type: ignore[arg-type]

    assert verifier(world, Replaced(world.clock)).look(None) is None
