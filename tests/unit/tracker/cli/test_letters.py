"""`tracker dead-letters` and `tracker parked`: what is shown, what is asked, what is done."""

import json
from pathlib import Path

import pytest

from tests.unit.tracker.cli.runs import P0, follow, history, one_line, run
from tracker import settings
from tracker.events import MAX_COUNT, Batch, Event, ObservationsInserted, Undecodable, pack
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.letters import Letters, Wanted

GOOD = b"\x06i-1\x0e"
"""What this release decodes as 7 of i-1; the letter was made by one that could not."""

BAD = Undecodable("not a record", b"\x00\xff")


@pytest.fixture(autouse=True)
def topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.env_name("import_observations_inserted_topic"), "counts")


@pytest.fixture
def letters(ledger: Ledger) -> Letters:
    return Letters(ledger.client, ledger.prefix)


def apply(ledger: Ledger, *events: Event, start: int = 0) -> None:
    payload, records = pack("counts", start, list(enumerate(events, start)), lambda event: event)
    end = start + len(events)
    ledger.apply(Batch(ledger.state(()).id or "", "counts", 0, "e", start, end, "counts", records, payload))


def ids(letters: Letters) -> list[str]:
    return [letter.id for letter in letters.find(Wanted(), 0.0)]


def park(ledger: Ledger, name: str = "i-9") -> None:
    start = ledger.positions([P0]).next[P0][1]
    apply(ledger, ObservationsInserted(name, 5), start=start)
    turn = ledger.take(name)
    ledger.park(ledger.seen(turn, Instance(name, "submitted", "job-1", 10, 0, "t0")), "refused", "400: it says no")


# -- looking ------------------------------------------------------------------------------------------------------


def test_the_list_shows_what_where_and_why(ledger: Ledger) -> None:
    assert run("dead-letters", "list").stdout == "no dead letter\n"
    apply(ledger, BAD, BAD)
    shown = run("dead-letters", "list", "--limit", "1").stdout
    assert "counts:0 at 0" in shown
    assert "not a record" in shown
    assert "1 more" in shown
    assert run("dead-letters", "list", "--what", "counts").stdout == "no dead letter is like that\n"
    assert len(json.loads(run("dead-letters", "list", "--older-than", "0s", "--json").stdout)["items"]) in {0, 2}


def test_a_letter_is_shown_with_its_bytes_and_what_they_mean_now(ledger: Ledger, letters: Letters, tmp_path: Path) -> None:
    apply(ledger, Undecodable("an older release could not", GOOD), BAD, Undecodable("no value", b""))
    good, bad, empty = ids(letters)
    file = tmp_path / "raw"
    shown = run("dead-letters", "show", good, "--raw", str(file)).stdout
    assert "06 69 2d 31 0e" in shown
    assert ".i-1." in shown
    assert "counts 7 for i-1" in shown
    assert file.read_bytes() == GOOD
    assert "still undecodable" in run("dead-letters", "show", bad).stdout
    assert "no value" in run("dead-letters", "show", empty).stdout
    assert json.loads(run("dead-letters", "show", good, "--json").stdout)["offset"] == 0


def test_a_long_record_is_shown_in_part(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, Undecodable("long", b"x" * 300))
    assert "44 more bytes" in run("dead-letters", "show", ids(letters)[0]).stdout


@pytest.mark.parametrize("arguments, code, said", [(("1-1",), 1, "there is no such dead letter"), (("abc",), 2, "expected an id like")])
def test_a_letter_that_is_not_there_is_said(ledger: Ledger, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run("dead-letters", "show", *arguments)
    assert (result.exit_code, said in one_line(result)) == (code, True)


# -- replaying ----------------------------------------------------------------------------------------------------


def test_a_replay_says_what_it_will_do_asks_and_does_it_once(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, Undecodable("an older release could not", GOOD))
    (letter,) = ids(letters)
    refused = run("dead-letters", "replay", letter, answer="n\n")
    assert (refused.exit_code, ids(letters)) == (1, [letter])
    assert f"{letter}: counts 7 for i-1" in refused.stdout
    assert run("dead-letters", "replay", letter, "--yes", "--by", "ann", "--reason", "mended").exit_code == 0
    assert ledger.take("i-1").owed == 7
    (entry,) = history(ledger, "replayed")
    assert (entry["u"], entry["y"], entry["d"]) == ("ann", "mended", letter)
    assert run("dead-letters", "replay", letter, "--yes").exit_code == 1


def test_what_cannot_be_decoded_now_either_stays_and_can_be_given_a_meaning(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    (letter,) = ids(letters)
    result = run("dead-letters", "replay", "--all", "--yes")
    assert result.exit_code == 1
    assert "still undecodable" in one_line(result)
    assert run("dead-letters", "replay", letter, "--as", "i-1", "500", "--yes").exit_code == 0
    assert (ledger.take("i-1").owed, ids(letters)) == (500, [])


def test_what_has_perhaps_been_counted_needs_to_be_asked_for(ledger: Ledger, letters: Letters) -> None:
    ledger.client.xadd(f"{ledger.prefix}dead", {"what": "counts", "instance": "i-1", "count": "5", "perhaps": "0", "reason": "of before"})
    result = run("dead-letters", "replay", "--all", "--yes")
    assert result.exit_code == 1
    assert "perhaps counted already" in one_line(result)
    assert run("dead-letters", "replay", "--instance", "i-1", "--yes", "--perhaps-counted").exit_code == 0
    assert ids(letters) == []


@pytest.mark.parametrize("arguments", [("--all",), ("--what", "counts")])
@pytest.mark.parametrize("command", ["replay", "drop"])
@pytest.mark.usefixtures("ledger")
def test_where_there_is_nothing_to_decide_it_is_said(command: str, arguments: tuple[str, ...]) -> None:
    result = run("dead-letters", command, *arguments, "--yes")
    assert (result.exit_code, result.stdout) == (0, "no dead letter is like that\n")


def test_nothing_replayed_is_an_empty_list_in_json(ledger: Ledger) -> None:
    assert json.loads(run("dead-letters", "replay", "--all", "--yes", "--json").stdout) == {"items": []}
    assert ledger.followed() == set()


@pytest.mark.parametrize("count", ["-5", str(MAX_COUNT + 1)])
def test_a_meaning_that_cannot_be_is_refused_before_anything_is_said(ledger: Ledger, letters: Letters, count: str) -> None:
    apply(ledger, BAD)
    (letter,) = ids(letters)
    result = run("dead-letters", "replay", letter, "--as", "i-1", count, "--yes")
    assert (result.exit_code, result.stdout) == (2, "")
    assert one_line(result) == f"count {count}: expected a whole number from 0 to {MAX_COUNT}"


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_parked_ones_that_are_not_named_are_asked_for_in_words_that_there_are(ledger: Ledger, command: str) -> None:
    park(ledger)
    result = run("parked", command, "--yes")
    assert result.exit_code == 2
    assert one_line(result) == "name what is meant in one way: by ids, by options such as --kind, or all of it with --all"


def test_many_are_told_of_together_and_written_as_json_each(ledger: Ledger) -> None:
    apply(ledger, *[Undecodable("an older release could not", GOOD)] * 21)
    result = run("dead-letters", "replay", "--saying", "older", "--yes", "--json")
    assert "21 dead letters will be replayed: 147 observations of 1 instances" in result.stderr
    assert {item["outcome"] for item in json.loads(result.stdout)["items"]} == {"replayed"}
    assert ledger.take("i-1").owed == 147


def test_the_counts_of_a_parked_instance_wait_and_the_replay_says_so(ledger: Ledger) -> None:
    apply(ledger, Undecodable("an older release could not", b"\x06i-9\x0e"))
    park(ledger)
    assert "tracker parked retry" in run("dead-letters", "replay", "--all", "--yes").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--all", "--what", "counts"),
        ("1-1", "--all"),
        ("--all", "--as", "i-1", "5"),
        ("--older-than", "soon"),
        ("--all", "--as", "", "5"),
    ],
)
def test_a_replay_of_nothing_or_in_two_ways_is_a_mistake(ledger: Ledger, arguments: tuple[str, ...]) -> None:
    apply(ledger, BAD, BAD)
    assert run("dead-letters", "replay", *arguments, "--yes").exit_code == 2


def test_a_drop_says_what_is_lost_asks_and_keeps_who(ledger: Ledger, letters: Letters) -> None:
    apply(ledger, BAD)
    refused = run("dead-letters", "drop", "--all", answer="n\n")
    assert (refused.exit_code, len(ids(letters))) == (1, 1)
    assert "1 dead letter will be dropped, never to be counted" in refused.stdout
    assert run("dead-letters", "drop", "--what", "undecodable", "--yes", "--by", "ann").stdout.endswith("1 dead letter dropped\n")
    assert [entry["u"] for entry in history(ledger, "dropped")] == ["ann"]
    assert run("dead-letters", "drop", "--all", "--yes").stdout == "no dead letter is like that\n"


# -- parked -------------------------------------------------------------------------------------------------------


def park_a_job(ledger: Ledger) -> None:
    ledger.expect_job("job-9")
    ledger.release_job(ledger.take_job("job-9"), "parked", reason="no such job")


def test_what_is_parked_is_listed_and_shown(ledger: Ledger) -> None:
    assert run("parked", "list").stdout == "nothing is parked\n"
    park(ledger)
    park_a_job(ledger)
    shown = run("parked", "list").stdout
    assert all(text in shown for text in ("i-9", "400: it says no", "job-9", "no such job"))
    assert "job-9" not in run("parked", "list", "--kind", "refused").stdout
    assert run("parked", "list", "--saying", "nothing").stdout == "nothing is parked like that\n"
    told = json.loads(run("parked", "list", "--json").stdout)
    assert ([view["id"] for view in told["instances"]], [job["id"] for job in told["jobs"]]) == (["i-9"], ["job-9"])
    assert "400: it says no" in run("parked", "show", "i-9").stdout
    assert "no such job" in run("parked", "show", "job-9").stdout
    assert json.loads(run("parked", "show", "job-9", "--json").stdout)["id"] == "job-9"


def test_what_is_parked_is_retried_when_asked(ledger: Ledger) -> None:
    park(ledger)
    park_a_job(ledger)
    assert run("parked", "retry", "--all", answer="n\n").exit_code == 1
    result = run("parked", "retry", "--all", "--yes")
    assert "1 instance and 1 job will be looked at again, 5 observations not confirmed." in result.stdout
    due = ledger.due(10, 1, 0)
    assert (due.push, due.jobs) == (("i-9",), ("job-9",))
    assert run("parked", "retry", "--all", "--yes").stdout == "nothing is parked like that\n"


def test_what_is_given_up_becomes_a_dead_letter(ledger: Ledger, letters: Letters) -> None:
    park(ledger)
    park_a_job(ledger)
    result = run("parked", "drop", "i-9", "job-9", "--yes", "--by", "ann", "--reason", "a typo")
    assert "i-9: given up, 5 observations are a dead letter" in result.stdout
    assert "job-9: given up" in result.stdout
    (letter,) = letters.find(Wanted(), 0.0)
    assert (letter.instance_id, letter.count, letter.reason) == ("i-9", 5, "given up by ann: a typo")
    follow(ledger, "i-2")
    result = run("parked", "drop", "i-2", "--yes")
    assert (result.exit_code, one_line(result)) == (1, "i-2: is not parked; tracker parked list shows what is")


@pytest.mark.parametrize(
    "count, said",
    [
        (0, ""),
        (1, " The 1 observation that is not confirmed becomes a dead letter."),
        (5, " The 5 observations that are not confirmed become dead letters."),
    ],
)
def test_giving_up_says_what_becomes_of_what_is_owed_where_there_is_any(ledger: Ledger, count: int, said: str) -> None:
    follow(ledger, "i-1")
    if count:
        ledger.add_by_hand("i-1", count, "key")
    ledger.park(ledger.take("i-1", force=True), "refused", "400")
    assert run("parked", "drop", "i-1", "--yes").stdout.splitlines()[0] == f"1 instance will be given up.{said}"


def test_where_nobody_can_answer_the_way_round_is_named(ledger: Ledger) -> None:
    park(ledger)
    result = run("parked", "drop", "i-9")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "tracker: there is nobody to ask here, so nothing was done; --yes goes on without asking"
    assert "Aborted" not in result.output
    assert "Aborted" in run("parked", "drop", "i-9", answer="n\n").output


def test_one_that_a_worker_holds_is_not_given_up(ledger: Ledger) -> None:
    apply(ledger, ObservationsInserted("i-9", 5))
    for _ in range(2):
        turn = ledger.take("i-9", force=True)
        ledger.unknown(turn)
        ledger.release(turn)
    ledger.take("i-9", force=True)
    result = run("parked", "drop", "--instance", "i-9", "--yes")
    assert result.exit_code == 1
    assert "a worker holds it" in one_line(result)
