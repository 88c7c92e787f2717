"""When a ledger is trusted, when it is born anew, and where its partitions start."""

from dataclasses import replace

import pytest

from bridge.starting import (
    Bounds,
    Commit,
    Evidence,
    Loss,
    Stamp,
    format_metadata,
    judge,
    parse_metadata,
    plan_birth,
    plan_starts,
    seal,
)
from tracker.events import Partition
from tracker.ledger_state import LedgerState, PartitionStart, PartitionState

C0, C1, R0 = Partition("counts", 0), Partition("counts", 1), Partition("registrations", 0)


def part(partition: Partition, position: int, *, epoch: str = "e", checksum: str = "", horizon: int | None = None) -> PartitionState:
    return PartitionState(partition, epoch, position, checksum, horizon)


def ledger(*parts: PartitionState, number: int = 3, version: int = 50) -> LedgerState:
    return LedgerState(f"{number}-ab", number, version, verified=True, partitions={each.partition: each for each in parts})


def ours(offset: int, version: int = 40, number: int = 3) -> Commit:
    return Commit(offset, format_metadata(f"{number}-ab", version))


SOUND = Evidence(
    counts_topic="counts",
    commits={C0: ours(90), C1: ours(100), R0: ours(5)},
    state=ledger(part(C0, 100, checksum="aa"), part(C1, 100), part(R0, 5)),
    topic_ids={"counts": "e", "registrations": "e"},
    bounds={C0: Bounds(0, 120), C1: Bounds(0, 100), R0: Bounds(0, 5)},
    checksums={C0: "aa"},
)


def with_state(*parts: PartitionState, **changes: object) -> Evidence:
    return replace(SOUND, state=ledger(*parts), **changes)  # type: ignore[arg-type]


# -- commit metadata --


def test_metadata_is_read_as_it_was_written() -> None:
    assert format_metadata("12-a1b2", 34) == "import-tracker:1:12-a1b2:34"
    assert parse_metadata("import-tracker:1:12-a1b2:34") == Stamp(12, 34)


def test_metadata_of_a_newer_bridge_is_still_ours() -> None:
    assert parse_metadata("import-tracker:2:12-a1b2:34:more") == Stamp(12, 34)


@pytest.mark.parametrize(
    "text", ["", "sarama", "import-tracker:1:x-a:3", "import-tracker:1:1-a:x", "import-tracker:1:1-a", "import-tracker:1:1:5", "\x00"]
)
def test_other_metadata_is_somebody_elses(text: str) -> None:
    assert parse_metadata(text) is None


# -- judging --


def test_a_ledger_that_nothing_speaks_against_is_trusted() -> None:
    assert judge(SOUND) is None


def test_no_ledger_means_a_birth() -> None:
    assert judge(replace(SOUND, state=LedgerState(None, 0, 0, verified=False))) == "there is no ledger"


@pytest.mark.parametrize("commit", [ours(5, version=51), ours(5, version=1, number=4)])
def test_a_ledger_behind_any_commit_has_lost_writes(commit: Commit) -> None:
    reason = judge(replace(SOUND, commits={**SOUND.commits, R0: commit}))
    assert reason is not None
    assert "lost writes" in reason
    assert "registrations:0" in reason


def test_a_ledger_behind_what_this_bridge_has_seen_has_lost_writes() -> None:
    assert judge(replace(SOUND, seen=Stamp(3, 50))) is None
    assert "lost writes" in str(judge(replace(SOUND, seen=Stamp(3, 51))))


def test_commits_of_older_ledgers_say_nothing() -> None:
    assert judge(replace(SOUND, commits={C0: ours(115, version=10**6, number=2)})) is None


def test_a_person_may_have_the_ledger_born_anew() -> None:
    void = replace(SOUND, state=replace(SOUND.state, void="an operator said so"))
    assert judge(void) == "an operator said so"
    assert seal(void, "an operator said so") is None  # it refuses every change already


def test_a_ledger_without_partitions_was_not_finished() -> None:
    assert "not finished" in str(judge(with_state()))


def test_somebody_elses_commit_above_what_is_applied_means_a_birth() -> None:
    assert "somebody else has consumed counts:0 up to 101" in str(judge(replace(SOUND, commits={C0: Commit(101, "")})))


def test_a_rewound_group_changes_nothing() -> None:
    assert judge(replace(SOUND, commits={C0: Commit(0, ""), C1: Commit(100, "other")})) is None


def test_whoever_consumes_the_registrations_does_no_harm() -> None:
    assert judge(replace(SOUND, commits={R0: Commit(10, "")}, bounds={**SOUND.bounds, R0: Bounds(0, 20)})) is None


def test_before_the_horizon_the_commit_of_who_was_there_before_is_not_heeded() -> None:
    before = with_state(part(C0, 10, horizon=110), part(C1, 100), part(R0, 5), checksums={})
    assert judge(replace(before, commits={C0: Commit(110, "")})) is None
    assert "somebody else" in str(judge(replace(before, commits={C0: Commit(111, "")})))
    assert judge(replace(before, commits={C0: Commit(5000, "")})) is None  # above the end: from before a truncation


def test_somebody_elses_commit_on_a_partition_new_to_the_ledger_means_a_birth() -> None:
    added = with_state(part(C0, 100), part(R0, 5), checksums={})
    assert judge(replace(added, commits={})) is None
    assert "somebody else" in str(judge(replace(added, commits={C1: Commit(30, "")})))


def test_an_end_below_what_is_applied_is_a_truncation() -> None:
    assert "truncated" in str(judge(replace(SOUND, bounds={**SOUND.bounds, C0: Bounds(0, 99)})))
    assert "truncated" in str(judge(replace(SOUND, bounds={**SOUND.bounds, R0: Bounds(0, 4)})))


def test_an_end_below_the_horizon_is_a_truncation() -> None:
    assert "truncated" in str(judge(with_state(part(C0, 10, horizon=121), part(C1, 100), part(R0, 5), checksums={})))


def test_another_record_than_was_applied_is_a_truncation() -> None:
    assert "another record at 99" in str(judge(replace(SOUND, checksums={C0: "bb"})))


def test_no_record_there_proves_nothing() -> None:
    assert judge(replace(SOUND, checksums={})) is None
    assert judge(replace(SOUND, checksums={C1: "bb"})) is None  # the ledger has noted none


def test_a_topic_made_anew_is_an_epoch_and_no_birth() -> None:
    anew = replace(SOUND, topic_ids={"counts": "e2", "registrations": "e"}, bounds={**SOUND.bounds, C0: Bounds(0, 3)}, commits={})
    assert judge(anew) is None
    assert "somebody else" in str(judge(replace(anew, commits={C0: Commit(2, "")})))


@pytest.mark.parametrize("known, found", [("", "e2"), ("e", "")])
def test_without_an_id_on_both_sides_the_offsets_decide(known: str, found: str) -> None:
    parts = (part(C0, 100, epoch=known), part(C1, 100, epoch=known), part(R0, 5, epoch=known))
    evidence = with_state(*parts, topic_ids={"counts": found, "registrations": found}, checksums={})
    assert judge(evidence) is None
    assert plan_starts(evidence) == ([], [])
    assert "truncated" in str(judge(replace(evidence, bounds={**SOUND.bounds, C0: Bounds(0, 3)})))


def test_a_horizon_whose_partition_is_gone_would_never_be_passed() -> None:
    gone = with_state(part(C0, 100), part(C1, 10, horizon=100), part(R0, 5), checksums={})
    assert "is gone" in str(judge(replace(gone, bounds={C0: Bounds(0, 120), R0: Bounds(0, 5)}, commits={})))


# -- births --


def birth_of(evidence: Evidence, *, oldest: bool = True) -> dict[Partition, PartitionStart]:
    birth = plan_birth(evidence, "why", oldest=oldest, registrations_topic="registrations", wait_s=15.0)
    return {start.partition: start for start in birth.starts}


def test_counts_start_at_their_oldest_record_with_the_end_as_horizon() -> None:
    starts = birth_of(replace(SOUND, bounds={**SOUND.bounds, C0: Bounds(7, 120)}))
    assert starts[C0] == PartitionStart(C0, "e", 7, 120)
    assert starts[C1] == PartitionStart(C1, "e", 0, 100)


def test_counts_start_at_their_newest_when_asked_for_and_nobody_has_committed() -> None:
    assert birth_of(replace(SOUND, commits={}), oldest=False)[C0] == PartitionStart(C0, "e", 120, 120)
    assert birth_of(replace(SOUND, commits={R0: ours(5)}), oldest=False)[C0].next == 120
    assert birth_of(replace(SOUND, commits={C1: ours(3)}), oldest=False)[C0].next == 0
    assert birth_of(replace(SOUND, commits={C1: Commit(3, "")}), oldest=False)[C0].next == 0


@pytest.mark.parametrize("commit, start", [(None, 9), (Commit(6, ""), 6), (ours(9), 9), (ours(3), 5), (ours(12), 5)])
def test_registrations_start_at_their_commit_else_at_the_newest(commit: Commit | None, start: int) -> None:
    commits = {R0: commit} if commit else {}
    assert birth_of(replace(SOUND, commits=commits, bounds={**SOUND.bounds, R0: Bounds(5, 9)}))[R0] == PartitionStart(R0, "e", start, None)


def test_the_number_is_above_any_in_the_old_ledger_in_a_commit_or_seen() -> None:
    def number(evidence: Evidence) -> int:
        return plan_birth(evidence, "", oldest=True, registrations_topic="registrations", wait_s=15.0).number

    assert number(SOUND) == 4
    assert number(replace(SOUND, commits={C0: ours(1, number=8)})) == 9
    assert number(replace(SOUND, seen=Stamp(11, 1))) == 12
    assert number(replace(SOUND, state=LedgerState(None, 0, 0, verified=False), commits={})) == 1


def test_a_birth_waits_for_older_requests_unless_every_log_is_empty_from_the_start_and_no_ledger_was_here() -> None:
    def settle(*bounds: Bounds, **changes: object) -> float:
        found = dict(zip((C0, C1), bounds, strict=True)) | {R0: Bounds(0, 5)}
        nothing = {"commits": {}, "state": LedgerState(None, 0, 0, verified=False)}
        evidence = replace(SOUND, bounds=found, **nothing | changes)  # type: ignore[arg-type]
        return plan_birth(evidence, "", oldest=True, registrations_topic="registrations", wait_s=15.0).settle_s

    empty = (Bounds(0, 0), Bounds(0, 0))
    assert settle(*empty) == 0
    assert settle(Bounds(0, 1), Bounds(0, 0)) == 15
    assert settle(Bounds(5, 5), Bounds(0, 0)) == 15
    # A ledger that was here may have pushed counts given by hand.
    assert settle(*empty, state=SOUND.state) == 15
    assert settle(*empty, commits={C0: ours(0)}) == 15


def test_a_ledger_in_force_is_closed_before_another_takes_its_place() -> None:
    closing = seal(SOUND, "why")
    assert closing is not None
    assert (closing.expected, closing.number, closing.starts) == ("3-ab", 4, ())
    assert seal(with_state(), "why") is None
    assert seal(replace(SOUND, state=LedgerState(None, 0, 0, verified=False)), "why") is None


# -- partitions of a trusted ledger --


def test_a_partition_added_later_starts_at_its_oldest_without_a_horizon() -> None:
    added = with_state(part(C0, 100), part(R0, 5))
    assert plan_starts(added) == ([PartitionStart(C1, "e", 0, None)], [])


def test_a_topic_made_anew_starts_at_its_oldest_and_counts_in_full() -> None:
    anew = replace(SOUND, topic_ids={"counts": "e2", "registrations": "e"}, bounds={**SOUND.bounds, C0: Bounds(2, 300)})
    assert plan_starts(anew) == ([PartitionStart(C0, "e2", 2, None, "e"), PartitionStart(C1, "e2", 0, None, "e")], [])


def test_what_kafka_deleted_before_it_was_applied_is_a_loss() -> None:
    starts, losses = plan_starts(replace(SOUND, bounds={**SOUND.bounds, C0: Bounds(105, 120), C1: Bounds(100, 100)}))
    assert not starts
    assert losses == [Loss(C0, "e", 100, 105, "counts:0 begins at 105: Kafka deleted 5 offsets before they were read")]
