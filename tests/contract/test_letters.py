"""Dead letters over the in-memory fake and real servers: whatever is repeated, crashes or is read again counts once."""

import base64
from typing import Any

import pytest

from tests.contract.batches import P0, TOPIC, batch, counts, owed, position, stream, take_settled
from tracker.errors import BadInput, LettersFull
from tracker.events import Event, InputFileAvailable, ObservationsInserted, Undecodable
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.ledger_state import PartitionStart
from tracker.letters import Letters, Meaning, Replayed, Wanted
from tracker.stream_ids import LARGEST
from tracker.views import DeadLetter

BAD = Undecodable("not a record", b"\x00\xff")


@pytest.fixture
def letters(ledger: Ledger) -> Letters:
    return Letters(ledger.client, ledger.prefix)


def all_letters(letters: Letters) -> list[DeadLetter]:
    return list(letters.find(Wanted(), 0.0))


def only(letters: Letters) -> DeadLetter:
    (letter,) = all_letters(letters)
    return letter


def replay(letters: Letters, instance: str = "i-1", count: int | None = 7, *, perhaps_counted: bool = False) -> Replayed:
    letter = only(letters)
    return letters.replay(letter, Meaning(instance, count), who="ann", why="a test", perhaps_counted=perhaps_counted)


def apply(ledger: Ledger, *events: Event, start: int = 0) -> None:
    ledger.apply(batch(ledger, start, start + len(events), list(enumerate(events, start))))


def bear(ledger: Ledger, *, end: int, epoch: str = "e1") -> None:
    """The next ledger, whose horizon is the end of the partition."""
    state = ledger.state([TOPIC])
    ledger.birth(state.id, state.number + 1, [PartitionStart(P0, epoch, 0, end)], settle_s=0, reason="a test")


def settled(ledger: Ledger, instance_id: str, inserted: int) -> int:
    """What an instance owes once a GET has shown its inserted count."""
    turn = take_settled(ledger, instance_id, inserted=inserted, total=1000)
    ledger.release(turn)
    return turn.owed


def give_up_by_hand(ledger: Ledger, count: int, state: str = "") -> None:
    """Counts by hand become a dead letter: of an instance that the API does not know, or refuses in this state."""
    ledger.add_by_hand("i-1", count, "key-1")
    turn = ledger.take("i-1", force=True)
    if state:
        turn = ledger.seen(turn, Instance("i-1", state, None, 1000, 0, "t0"))
    ledger.park(turn, "refused", "400")
    assert (ledger.bury_parked("i-1", "given up", 0) or 0) >= count


@pytest.mark.parametrize("state, births", [("", 1), ("", 2), ("failed", 1)])
def test_counts_by_hand_that_were_given_up_count_once_when_replayed_after_a_birth(
    ledger: Ledger, letters: Letters, state: str, births: int
) -> None:
    """No record of theirs is read again, and the birth keeps their sum: what the API lacks of it is owed."""
    give_up_by_hand(ledger, 40, state)
    for _ in range(births):
        bear(ledger, end=0)
    assert replay(letters).outcome == "replayed"
    assert "i-1" in ledger.due(10, 10, 10).push
    turn = ledger.seen(ledger.take("i-1", force=True), Instance("i-1", state or "submitted", None, 1000, 0, "t0"))
    assert (turn.owed, turn.aside, letters.number()) == (40, None, 0)


def test_of_counts_by_hand_that_were_given_up_only_what_the_api_lacks_is_owed(ledger: Ledger, letters: Letters) -> None:
    give_up_by_hand(ledger, 40)
    bear(ledger, end=0)
    replay(letters)
    assert settled(ledger, "i-1", 15) == 25


def test_a_letter_of_more_than_what_came_by_hand_asks_first_after_a_birth(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, ObservationsInserted("i-1", 5))
    give_up_by_hand(ledger, 40)
    bear(ledger, end=1)
    assert replay(letters).outcome == "perhaps counted"


# -- undecodable records ------------------------------------------------------------------------------------------


def test_a_replayed_record_is_owed_once_however_often_it_is_replayed(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    letter = only(letters)
    assert replay(letters) == Replayed(letter.id, "replayed", "i-1", 7)
    assert letters.replay(letter, Meaning("i-1", 7), who="ann", why="again").outcome == "gone"
    assert (owed(ledger, "i-1"), letters.number()) == (7, 0)
    assert ledger.due(10, 1, 10).push == ("i-1",)


def test_each_letter_replayed_or_dropped_is_tallied_once(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD, ObservationsInserted("i-1", 5))
    replay(letters)
    apply(ledger, BAD, start=2)
    letters.drop(only(letters).id, who="ann", why="a test")
    tallied = ledger.client.hgetall(f"{ledger.prefix}counters")
    assert (tallied["dead_letters"], tallied["dead_letters:replayed"], tallied["dead_letters:dropped"]) == ("2", "1", "1")


def test_a_letter_tells_where_it_comes_from_and_when(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, ObservationsInserted("i-1", 1), BAD)
    letter = only(letters)
    assert (letter.what, letter.topic, letter.partition, letter.offset, letter.epoch) == ("undecodable", TOPIC, 0, 1, "e1")
    assert (letter.reason, letter.raw, letter.ledger) == ("not a record", base64.b64encode(b"\x00\xff").decode(), 1)
    assert letters.letter(letter.id) == letter
    assert letters.letter("1-1") is None


def test_a_birth_that_reads_a_record_again_makes_no_second_letter(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    before = only(letters)
    bear(ledger, end=1)
    apply(ledger, BAD)
    assert only(letters) == before
    assert position(ledger) == 1


@pytest.mark.parametrize("pushed", [True, False])
def test_a_replay_before_a_birth_counts_once_whether_it_had_been_pushed_or_not(ledger: Ledger, letters: Letters, *, pushed: bool) -> None:
    apply(ledger, ObservationsInserted("i-1", 5), BAD)
    replay(letters)
    bear(ledger, end=2)
    apply(ledger, ObservationsInserted("i-1", 5), BAD)
    assert settled(ledger, "i-1", 12 if pushed else 0) == (0 if pushed else 12)
    assert letters.number() == 0


def test_a_replay_after_a_birth_counts_once(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, ObservationsInserted("i-1", 5), BAD)
    bear(ledger, end=2)
    apply(ledger, ObservationsInserted("i-1", 5), BAD)
    replay(letters)
    assert settled(ledger, "i-1", 5) == 7


def test_a_replayed_record_that_a_newer_release_can_decode_is_not_counted_again_by_a_birth(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    replay(letters)
    bear(ledger, end=1)
    apply(ledger, ObservationsInserted("i-1", 7))
    assert settled(ledger, "i-1", 0) == 7
    assert letters.number() == 0


def test_a_record_read_otherwise_than_it_was_replayed_is_a_letter_again_and_not_counted(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    replay(letters)
    for _ in range(2):
        number = ledger.state([TOPIC]).number
        bear(ledger, end=1)
        apply(ledger, ObservationsInserted("i-2", 9))
        letter = only(letters)
        assert (letter.what, letter.instance_id, letter.count, letter.perhaps, letter.ledger) == ("counts", "i-2", 9, 9, min(2, number + 1))
    assert replay(letters).outcome == "perhaps counted"
    assert replay(letters, perhaps_counted=True).outcome == "replayed"
    assert settled(ledger, "i-2", 0) == 9
    bear(ledger, end=1)
    apply(ledger, ObservationsInserted("i-2", 9))
    assert (settled(ledger, "i-2", 9), letters.number()) == (0, 0)


def test_a_letter_whose_record_a_birth_could_decode_is_not_replayed_unasked(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    bear(ledger, end=1)
    apply(ledger, ObservationsInserted("i-1", 7))
    assert settled(ledger, "i-1", 0) == 7
    refused = replay(letters)
    assert (refused.outcome, owed(ledger, "i-1")) == ("perhaps counted", 7)
    assert "a later reading" in refused.why


def test_an_older_release_that_cannot_decode_it_any_more_finds_the_letter_still_there(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    bear(ledger, end=1)
    apply(ledger, ObservationsInserted("i-1", 7))
    bear(ledger, end=1)
    apply(ledger, BAD)
    assert replay(letters).outcome == "replayed"


def test_a_letter_dropped_after_its_record_was_counted_comes_back_when_no_reading_counts_it(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    bear(ledger, end=1)
    apply(ledger, ObservationsInserted("i-1", 7))
    assert letters.drop(only(letters).id, who="ann", why="counted")
    bear(ledger, end=1)
    apply(ledger, BAD)
    assert replay(letters).why == "an earlier reading could decode it"


def test_a_dropped_record_stays_dropped_over_births(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    letter = only(letters)
    assert letters.drop(letter.id, who="ann", why="a test")
    assert not letters.drop(letter.id, who="ann", why="a test")
    bear(ledger, end=1)
    apply(ledger, BAD)
    assert letters.number() == 0


def test_a_dropped_record_that_can_be_decoded_later_is_asked_about_once_more(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    for _ in range(3):
        letters.drop(only(letters).id, who="ann", why="a test") if letters.number() else None
        bear(ledger, end=1)
        apply(ledger, ObservationsInserted("i-1", 7))
        assert owed(ledger, "i-1") == 0
    assert letters.number() == 0


def test_another_record_at_the_offset_of_a_topic_without_id_is_never_passed_over(ledger: Ledger, letters: Letters) -> None:
    bear(ledger, end=0, epoch="")
    ledger.apply(batch(ledger, 0, 1, [(0, BAD)], epoch=""))
    replay(letters)
    bear(ledger, end=1, epoch="")
    ledger.apply(batch(ledger, 0, 1, [(0, ObservationsInserted("i-1", 7))], epoch=""))
    assert only(letters).perhaps == 7


def test_a_record_beyond_the_end_at_a_birth_is_another_one(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD, BAD)
    for letter in all_letters(letters):
        letters.drop(letter.id, who="ann", why="a test")
    bear(ledger, end=1)
    apply(ledger, BAD, BAD)
    assert only(letters).offset == 1


def test_other_bytes_at_the_same_offset_are_another_letter(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    bear(ledger, end=1)
    apply(ledger, Undecodable("not a record", b"other"))
    assert letters.number() == 2


def test_what_kafka_no_longer_holds_is_forgotten_and_what_it_holds_is_not(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD, BAD, BAD)
    for letter in all_letters(letters):
        letters.drop(letter.id, who="ann", why="a test")
    assert ledger.forget_marks([(P0, "e1", 2)]) == 2
    bear(ledger, end=3)
    apply(ledger, BAD, BAD, BAD)
    assert [letter.offset for letter in all_letters(letters)] == [0, 1]


def test_the_marks_of_an_epoch_that_is_gone_end_with_its_late_batches(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    bear(ledger, end=0, epoch="e2")
    ledger.forget_marks([(P0, "e2", 0)])
    assert ledger.client.ttl(f"{ledger.prefix}marks:{P0}:e1") > 0
    replay(letters)
    assert ledger.client.ttl(f"{ledger.prefix}marks:{P0}:e1") > 0


def test_a_replay_where_the_api_has_more_than_kafka_explains_asks_first(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, ObservationsInserted("i-1", 5), BAD)
    bear(ledger, end=2)
    apply(ledger, ObservationsInserted("i-1", 5), BAD)
    settled(ledger, "i-1", 12)
    assert "Kafka does not explain" in replay(letters).why


def test_a_replayed_registration_follows_the_instance(ledger: Ledger, letters: Letters) -> None:
    apply_registration = batch(ledger, 0, 1, [(0, BAD)], kind="registrations")
    ledger.apply(apply_registration)
    letters.replay(only(letters), Meaning("i-1", None, "job-1"), who="ann", why="a test")
    assert ledger.followed() == {"i-1"}
    bear(ledger, end=1)
    ledger.apply(batch(ledger, 0, 1, [(0, InputFileAvailable("i-1", "job-1", ""))], kind="registrations"))
    assert letters.number() == 0


@pytest.mark.parametrize("meaning", [Meaning("", 1), Meaning("i-1", -1), Meaning("i-1", 2**31)])
def test_a_meaning_that_cannot_be_is_refused_and_the_letter_stays(ledger: Ledger, letters: Letters, meaning: Meaning) -> None:
    apply(ledger, BAD)
    with pytest.raises(BadInput):
        letters.replay(only(letters), meaning, who="ann", why="a test")
    assert letters.number() == 1


# -- owed counts --------------------------------------------------------------------------------------------------


def bury(ledger: Ledger, instance_id: str = "i-1", count: int = 5) -> None:
    """An instance whose owed counts have become a letter."""
    ledger.apply(counts(ledger, position(ledger), (instance_id, count)))
    turn = take_settled(ledger, instance_id)
    ledger.park(turn, "refused", "a test")
    assert ledger.bury_parked(instance_id, "given up", -1.0) == count


def test_replayed_owed_counts_are_owed_again_and_the_instance_is_followed_again(ledger: Ledger, letters: Letters) -> None:
    bury(ledger)
    assert ledger.followed() == set()
    assert replay(letters).outcome == "replayed"
    assert (owed(ledger, "i-1"), ledger.followed(), letters.number()) == (5, {"i-1"}, 0)
    assert ledger.client.hget(f"{ledger.prefix}i:i-1", "counted") == "5"


def test_an_instance_given_up_and_replayed_does_not_expire_with_what_it_owes(ledger: Ledger, letters: Letters) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    ledger.park(take_settled(ledger, "i-1"), "refused", "the API says no")
    ledger.bury_parked("i-1", "parked longer than PARKED_TTL", -1.0)
    assert ledger.client.pttl(f"{ledger.prefix}i:i-1") > 0
    replay(letters)
    assert (owed(ledger, "i-1"), ledger.client.pttl(f"{ledger.prefix}i:i-1")) == (5, -1)


@pytest.mark.parametrize("pushed", [True, False])
def test_replayed_owed_counts_are_read_again_by_a_birth_and_count_once(ledger: Ledger, letters: Letters, *, pushed: bool) -> None:
    bury(ledger)
    replay(letters)
    bear(ledger, end=1)
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    assert settled(ledger, "i-1", 5 if pushed else 0) == (0 if pushed else 5)


def test_owed_counts_of_an_older_ledger_are_not_replayed_unasked(ledger: Ledger, letters: Letters) -> None:
    bury(ledger)
    bear(ledger, end=1)
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    assert "a birth has read its records again" in replay(letters).why
    assert settled(ledger, "i-1", 0) == 5
    assert replay(letters, perhaps_counted=True).outcome == "replayed"
    assert owed(ledger, "i-1") == 10


def test_counts_with_an_unanswered_put_are_not_replayed_unasked(ledger: Ledger, letters: Letters) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.open_intent(take_settled(ledger, "i-1"), 0, "t0")
    ledger.park(turn, "foreign", "a test")
    ledger.bury_parked("i-1", "given up", -1.0)
    assert only(letters).perhaps == 5
    assert "no answer told" in replay(letters).why


def test_counts_of_an_instance_that_has_ended_are_pushed_and_it_stays_ended(ledger: Ledger, letters: Letters) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = take_settled(ledger, "i-1")
    ledger.bury_owed(turn, "published")
    ledger.finish(turn, "published")
    replay(letters)
    assert (ledger.followed(), owed(ledger, "i-1")) == (set(), 5)
    assert ledger.take("i-1").ended


def test_a_replay_for_a_parked_instance_says_so(ledger: Ledger, letters: Letters) -> None:
    bury(ledger)
    ledger.apply(counts(ledger, position(ledger), ("i-1", 1)))
    ledger.park(take_settled(ledger, "i-1"), "refused", "again")
    assert replay(letters).parked


# -- how many there may be ----------------------------------------------------------------------------------------


def test_a_batch_with_a_letter_too_many_is_refused_whole_and_goes_on_after_a_drop(ledger: Ledger, letters: Letters) -> None:
    ledger.dead_letters_max = 1
    apply(ledger, BAD)
    both: list[Event] = [ObservationsInserted("i-1", 1), BAD]
    for _ in range(2):
        with pytest.raises(LettersFull, match="tracker dead-letters list"):
            apply(ledger, *both, start=1)
    assert (position(ledger), owed(ledger, "i-1"), letters.number()) == (1, 0, 1)
    assert ledger.positions([P0]).letters_full
    apply(ledger, ObservationsInserted("i-1", 1), start=1)
    letters.drop(only(letters).id, who="ann", why="a test")
    apply(ledger, *both, start=1)
    assert (position(ledger), owed(ledger, "i-1"), letters.number()) == (3, 1, 1)


def test_a_birth_reads_known_letters_again_though_there_is_no_room(ledger: Ledger) -> None:
    ledger.dead_letters_max = 1
    apply(ledger, BAD)
    bear(ledger, end=1)
    apply(ledger, BAD)
    assert position(ledger) == 1


def test_owed_counts_wait_when_there_is_no_room_for_their_letter(ledger: Ledger, letters: Letters) -> None:
    ledger.dead_letters_max = 1
    apply(ledger, BAD, ObservationsInserted("i-1", 5))
    turn = take_settled(ledger, "i-1")
    with pytest.raises(LettersFull):
        ledger.bury_owed(turn, "published")
    ledger.park(turn, "refused", "a test")
    with pytest.raises(LettersFull):
        ledger.bury_parked("i-1", "given up", -1.0)
    assert owed(ledger, "i-1") == 5
    letters.drop(only(letters).id, who="ann", why="a test")
    assert ledger.bury_parked("i-1", "given up", -1.0) == 5


def test_a_late_letter_of_a_topic_made_anew_needs_room_too_and_counts_by_hand(ledger: Ledger, letters: Letters) -> None:
    bear(ledger, end=2)
    late = counts(ledger, 0, ("i-1", 5))
    ledger.start_partition(ledger.state([TOPIC]).id or "", PartitionStart(P0, "e2", 0, None, "e1"))
    ledger.follow("submitted", [Instance("i-1", "submitted", None, None, 0)])
    ledger.dead_letters_max = 1
    ledger.apply(batch(ledger, 0, 1, [(0, BAD)], epoch="e2"))
    with pytest.raises(LettersFull):
        ledger.apply(late)
    letters.drop(only(letters).id, who="ann", why="a test")
    ledger.apply(late)
    assert replay(letters).outcome == "perhaps counted"
    assert replay(letters, perhaps_counted=True).outcome == "replayed"
    assert ledger.client.hget(f"{ledger.prefix}i:i-1", "hand") == "5"


# -- finding ------------------------------------------------------------------------------------------------------


def test_letters_are_found_by_what_they_are(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    bury(ledger, "i-2")
    undecodable, counted = all_letters(letters)
    now_s = ledger.now_s()
    for wanted, found in (
        (Wanted(topic=TOPIC), [undecodable]),
        (Wanted(topic="another"), []),
        (Wanted(instance="i-2"), [counted]),
        (Wanted(job="job-1"), [counted]),
        (Wanted(what="counts"), [counted]),
        (Wanted(saying="NOT A"), [undecodable]),
        (Wanted(older_than_s=3600), []),
        (Wanted(older_than_s=-1), [undecodable, counted]),
    ):
        assert list(letters.find(wanted, now_s)) == found, wanted


def test_more_letters_than_one_reading_takes_are_all_found(ledger: Ledger, letters: Letters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.letters.CHUNK", 2)
    apply(ledger, *[BAD] * 5)
    starts: list[str] = []
    xrange = ledger.client.xrange

    def noted(name: str, first: str, *rest: Any) -> Any:
        starts.append(first)
        return xrange(name, first, *rest)

    monkeypatch.setattr(ledger.client, "xrange", noted)
    assert [letter.offset for letter in all_letters(letters)] == [0, 1, 2, 3, 4]
    assert len(starts) == 3
    assert not any(start.startswith("(") for start in starts), "servers before Redis 6.2 know no exclusive ranges"


@pytest.mark.parametrize("letter_id", ["", "-", "+", "1", "x-1", "1-2-3", "²-1", "0-0", f"{10**30}-0", f"1-{2**64}"])
def test_what_is_no_id_is_refused(letters: Letters, letter_id: str) -> None:
    with pytest.raises(BadInput, match="expected an id like"):
        letters.letter(letter_id)


def test_the_largest_id_is_one_that_is_not_there(letters: Letters) -> None:
    assert letters.letter(f"{LARGEST}-{LARGEST}") is None


def test_stream_fields_of_before_are_kept(ledger: Ledger) -> None:
    apply(ledger, BAD)
    assert set(stream(ledger, "dead")[0]) == {"at", "g", "what", "topic", "partition", "epoch", "offset", "reason", "raw"}
