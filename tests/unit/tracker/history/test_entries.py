"""A sentence for each kind of entry."""

import re
from pathlib import Path

import pytest

from tracker.history.entries import FIELDS, SENTENCES, as_json, read_entry

SCRIPTS = Path(__file__).resolve().parents[4] / "tracker" / "scripts"

TOLD = [
    ({"w": "registered", "f": "record"}, "registered by a record"),
    ({"w": "registered", "f": "listing"}, "found in the listing of submitted instances"),
    ({"w": "registered", "f": "hand", "u": "ann@host"}, "registered by hand by ann@host"),
    ({"w": "total", "n": "1500"}, "the total is known: 1,500"),
    ({"w": "total", "n": "1500", "b": "1200"}, "the total has changed from 1,200 to 1,500"),
    ({"w": "first", "n": "500"}, "the first count has come: 500"),
    ({"w": "pushed", "n": "500", "a": "1500"}, "500 sent, the Dataset API has 1,500 now"),
    ({"w": "pushed", "n": "5", "a": "6", "k": "read back"}, "5 sent, the Dataset API has 6 now; no answer had come, it was read back"),
    ({"w": "completed", "c": "1500", "l": "1795537989870"}, "completed, 1,500 counted, 0.13 s after the last count"),
    ({"w": "completed"}, "completed"),
    ({"w": "failed", "s": "error"}, "failed: the Dataset API says error"),
    ({"w": "ended", "s": "published"}, "ended: the Dataset API says published"),
    ({"w": "job_completed"}, "the job is completed"),
    ({"w": "job_failed", "s": "failed"}, "the job is set to failed: an instance of it has failed"),
    ({"w": "job_parked", "y": "no such job"}, "the job is parked: no such job"),
    ({"w": "birth", "g": "2-ab", "b": "1-cd", "y": "an old copy"}, "ledger 2-ab was born in place of 1-cd: an old copy"),
    ({"w": "birth", "g": "1-cd"}, "ledger 1-cd was born"),
    ({"w": "verified", "g": "1-cd"}, "ledger 1-cd is in use again after a restart of Redis"),
    ({"w": "void", "g": "1-cd", "u": "bob@host", "y": "why"}, "ledger 1-cd was given up by bob@host: why"),
    ({"w": "loss", "p": "t:0", "b": "5", "a": "9", "y": "why"}, "Kafka deleted offsets 5 to 8 of t:0 before they were read: why"),
    ({"w": "epoch", "p": "t:0", "e": "e2", "b": "e1", "a": "0"}, "t:0 begins at offset 0 as epoch e2, in place of e1"),
    ({"w": "parked", "k": "foreign", "y": "somebody else counts"}, "parked as foreign: somebody else counts"),
    ({"w": "unparked", "f": "hand", "u": "bob@host"}, "no longer parked: taken up again by bob@host"),
    ({"w": "unparked", "f": "listing"}, "no longer parked: the Dataset API knows it"),
    ({"w": "by_hand", "n": "5", "k": "ticket-1"}, "5 added by hand with key ticket-1"),
    ({"w": "buried", "n": "5", "d": "7-0", "y": "it is published"}, "5 became dead letter 7-0: it is published"),
    ({"w": "buried", "p": "t:0", "a": "3", "d": "7-0"}, "the record at offset 3 of t:0 became dead letter 7-0"),
    ({"w": "buried", "n": "5", "d": "7-0", "u": "ann@host"}, "5 became dead letter 7-0 by ann@host"),
    ({"w": "retried", "u": "ann@host", "y": "mended"}, "to be tried again by ann@host: mended"),
    ({"w": "given_up", "u": "ann@host"}, "given up by ann@host"),
    ({"w": "replayed", "d": "7-0", "n": "5", "u": "ann@host", "y": "mended"}, "dead letter 7-0 replayed by ann@host, 5 counted: mended"),
    ({"w": "dropped", "d": "7-0", "u": "ann@host"}, "dead letter 7-0 dropped by ann@host"),
    ({"w": "paused", "k": "pushes", "u": "ann@host", "y": "an upgrade"}, "pushes paused by ann@host: an upgrade"),
    ({"w": "resumed", "k": "bridge", "u": "ann@host"}, "bridge resumed by ann@host"),
    ({"w": "forced", "s": "failed", "u": "ann@host", "y": "why"}, "to be set to failed by force by ann@host: why"),
    ({"w": "of tomorrow", "n": "5", "zz": "1"}, "of tomorrow, count 5, zz 1"),
]


@pytest.mark.parametrize("raw, sentence", TOLD)
def test_it_is_told_in_a_sentence(raw: dict[str, str], sentence: str) -> None:
    assert read_entry("1795537990000-0", raw).sentence == sentence


def test_every_kind_has_its_sentence_here() -> None:
    assert {raw["w"] for raw, _ in TOLD} - {"of tomorrow"} == set(SENTENCES)


def test_the_scripts_write_only_what_can_be_told() -> None:
    """Words and fields as they stand in the scripts; those that are put together there are named here."""
    text = "\n".join(path.read_text("utf-8") for path in SCRIPTS.glob("*.lua"))
    calls = re.findall(r"\baudit\((.*)", text)
    words = {found[1] for call in calls if (found := re.match(r"'(\w+)',", call))}
    put_together = {"completed", "failed", "ended", "job_completed", "job_failed", "retried", "given_up", "unparked", "paused", "resumed"}
    assert words | put_together == set(SENTENCES)
    fields = {name for call in calls for name in re.findall(r", '(\w)', ", call)}
    assert fields <= FIELDS.keys()


def test_for_programs_numbers_are_numbers_and_names_are_long() -> None:
    told = as_json(read_entry("1795537990123-7", {"w": "pushed", "i": "i-1", "j": "job-1", "n": "5", "a": "12"}))
    assert told == {
        "id": "1795537990123-7",
        "at": "2026-11-24T16:33:10.123Z",
        "at_s": 1795537990.123,
        "what": "pushed",
        "instance_id": "i-1",
        "job_id": "job-1",
        "text": "5 sent, the Dataset API has 12 now",
        "details": {"count": 5, "after": 12},
    }


def test_entries_of_one_id_and_other_content_are_told_apart() -> None:
    one, other = (read_entry("5-0", {"w": "registered", "i": name}) for name in ("i-1", "i-2"))
    assert one.digest != other.digest
    assert one.digest == read_entry("5-0", {"w": "registered", "i": "i-1"}).digest
