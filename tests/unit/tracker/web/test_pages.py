"""What the pages show, and that nothing in them can be more than text."""

import re
from html import unescape
from urllib.parse import quote

import fakeredis
import pytest

from tests.unit.tracker.broken_redis import away
from tests.unit.tracker.web_client import Client, Looks, make_web, new_ledger, started
from tracker.findings import Finding
from tracker.health import BEAT
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.web import statics

HOSTILE = ("<script>alert(1)</script>", "a\"'b&amp;", "ünï-\u202eöd\u4e2d\U0001f600", "a/b?c#d%2Fe f", "..x", "x" * 300, "{{ 7 * 7 }}")


@pytest.fixture
def ledger() -> Ledger:
    return new_ledger()


@pytest.fixture
def client(ledger: Ledger) -> Client:
    return started(make_web(ledger))


def follow(ledger: Ledger, name: str, job: str = "j-1", *, total: int | None = 10, inserted: int = 4, state: str = "submitted") -> None:
    ledger.follow("submitted", [Instance(name, state, job, total, inserted)])


def text_of(page: str) -> str:
    """What a person reads: tags gone, white space made one."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def shown_ids(page: str) -> list[str]:
    return [unescape(name) for name in re.findall(r'<th role="rowheader"[^>]*><a [^>]*>([^<]*)</a>', page)]


def test_the_first_page_shows_jobs_and_their_instances_with_progress(ledger: Ledger, client: Client) -> None:
    follow(ledger, "i-1", total=12_000, inserted=3_000)
    follow(ledger, "i-2", total=8_000, inserted=7_999)
    page = client.get("/").text
    assert '<progress class="bar go" max="12000" value="3000" aria-label="i-1">25 %</progress>' in page
    assert '<progress class="bar go" max="20000" value="10999" aria-label="j-1">' in page
    assert "3,000 / 12,000" in text_of(page)
    assert "99.9 %" in text_of(page)
    assert "importing 2 instances of 1 job" in text_of(page)
    assert "the curve begins now" in page


def test_an_empty_system_says_what_will_show_up(client: Client) -> None:
    assert "Nothing is being imported" in client.get("/").text


def test_no_end_in_sight_is_said_by_its_cause(ledger: Ledger, client: Client) -> None:
    follow(ledger, "i-1", total=None)
    assert "no end in sight: no total is known" in text_of(client.get("/").text)


def test_a_list_of_one_page_says_only_how_many_there_are(ledger: Ledger, client: Client) -> None:
    follow(ledger, "i-1")
    ledger.park(ledger.take("i-1"), "refused", "400")
    for page in (client.get("/parked").text, client.get("/?list=instances").text):
        assert "1 to 1" not in text_of(page)
        assert re.search(r"\b1 (parked )?instance\b", text_of(page))


def test_no_dead_letters_are_said_once(ledger: Ledger, client: Client) -> None:
    page = text_of(client.get("/letters").text)
    assert "kept until somebody decides about it. There are none." in page
    assert "newest first" not in page
    ledger.client.xadd(f"{ledger.prefix}dead", {"at": 1000, "what": "counts", "reason": "short", "i": "i-1", "n": 5})
    assert "decides about it. 1 dead letter, the newest first." in text_of(client.get("/letters").text)


def test_without_a_total_there_is_no_percentage(ledger: Ledger, client: Client) -> None:
    follow(ledger, "i-1", total=None)
    page = client.get("/").text
    assert "<progress" not in page
    assert "no total yet" in page


@pytest.mark.parametrize("name", HOSTILE)
def test_an_id_may_hold_anything(ledger: Ledger, client: Client, name: str) -> None:
    ledger.register(name, name)
    for path in ("/", "/?list=instances", f"/?q={quote(name[:100])}", f"/job/{quote(name, safe='')}", f"/instance/{quote(name, safe='')}"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert "<script>alert" not in answer.text
        assert name in unescape(answer.text), path
    links = re.findall(r'href="(/(?:job|instance)/[^"]*)"', client.get("/").text)
    assert {client.get(unescape(link)).status_code for link in links} == {200}


def test_a_command_line_can_be_pasted_whatever_the_id(ledger: Ledger, client: Client) -> None:
    ledger.register("a b; rm -rf '$HOME'", None)
    page = client.get("/instance/" + quote("a b; rm -rf '$HOME'", safe="")).text
    assert """tracker show 'a b; rm -rf '"'"'$HOME'"'"''""" in unescape(page)


def test_pages_hold_no_inline_script_or_style_and_nothing_of_other_hosts(ledger: Ledger, client: Client) -> None:
    follow(ledger, "i-1")
    ledger.client.xadd(f"{ledger.prefix}dead", {"at": 1000, "what": "undecodable", "offset": 3, "topic": "t", "partition": 0})
    for path in ("/", "/job/j-1", "/instance/i-1", "/letters", "/parked", "/parts", "/events", "/instance/none", "/?state=bogus"):
        page = client.get(path).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=\"/static/)", page), path
        assert not re.search(r"(?:src|href|action)=\"(?!/|\?)", page.replace('href="#main"', "")), path


# -- finding ------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(ledger: Ledger) -> Ledger:
    for number in range(120):
        follow(ledger, f"i-{number:03}", f"j-{number // 2:03}", inserted=number % 10)
    return ledger


def test_lists_come_in_pages_and_the_url_says_which(many: Ledger, client: Client) -> None:
    first = client.get("/?list=instances&sort=name").text
    assert shown_ids(first) == [f"i-{number:03}" for number in range(50)]
    assert 'href="?sort=name&amp;list=instances&amp;offset=50"' in first
    last = client.get("/?list=instances&sort=name&offset=100").text
    assert shown_ids(last) == [f"i-{number:03}" for number in range(100, 120)]
    assert 'rel="next"' not in last
    assert "101 to 120 of 120 instances" in text_of(last)
    assert "1 to 20 of 60 jobs" in text_of(client.get("/").text)


def test_an_offset_past_the_end_shows_the_last_page(many: Ledger, client: Client) -> None:
    assert "101 to 120" in text_of(client.get("/?list=instances&offset=5000").text)


def test_search_takes_parts_of_instance_and_job_in_any_case(many: Ledger, client: Client) -> None:
    assert shown_ids(client.get("/?list=instances&q=I-01&sort=name").text) == [f"i-01{number}" for number in range(10)]
    assert shown_ids(client.get("/?q=j-007&sort=name").text) == ["i-014", "i-015"]
    assert "Nothing here is like that" in client.get("/?q=nowhere").text


def test_states_filter_and_the_form_says_what_is_in_force(many: Ledger, client: Client) -> None:
    ledger = many
    ledger.finish(ledger.seen(ledger.take("i-007"), Instance("i-007", "submitted", "j-003", 10, 10)), "completed")
    page = client.get("/?state=completed&q=i-").text
    assert shown_ids(page) == ["i-007"]
    assert "<option selected>completed</option>" in page
    assert 'name="q" value="i-"' in page
    assert len(shown_ids(client.get("/?list=instances&state=importing").text)) == 50


@pytest.mark.parametrize(
    "path, words",
    [
        ("/?state=bogus", "state='bogus': expected one of importing"),
        ("/?sort=bogus", "sort='bogus': expected one of attention"),
        ("/?list=bogus", "list='bogus': expected one of jobs"),
        ("/?offset=-1", "offset='-1': expected a whole number"),
        ("/?ofset=1", "'ofset': no such parameter, expected list, q, state"),
        (f"/?q={'x' * 201}", "q: expected at most 200 characters, not 201"),
        ("/letters?before=x", "before='x': expected the id of a dead letter, such as 1795537990400-0"),
        ("/letters?before=0", "before='0': expected the id of a dead letter"),
        ("/letters?before=0-0", "before='0-0': expected the id of a dead letter"),
        (f"/letters?before={'9' * 30}", f"before='{'9' * 30}': expected the id of a dead letter"),
        (f"/letters?before=1-{2**64}", f"before='1-{2**64}': expected the id of a dead letter"),
        ("/instance/i?x=1", "'x': no such parameter, expected none"),
    ],
)
def test_a_wrong_parameter_is_a_page_that_names_it(client: Client, path: str, words: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 400
    assert words in unescape(answer.text)


def test_a_job_page_shows_all_its_instances_in_pages(ledger: Ledger, client: Client) -> None:
    for number in range(60):
        follow(ledger, f"i-{number:02}", "big")
    assert "55 more instances" in client.get("/").text
    page = client.get("/job/big?sort=name").text
    assert len(shown_ids(page)) == 50
    assert shown_ids(client.get("/job/big?sort=name&offset=50").text) == [f"i-{number}" for number in range(50, 60)]


# -- what waits for a person --------------------------------------------------------------------------------------


def test_what_is_not_known_says_what_to_check(client: Client) -> None:
    for path, words in (("/instance/none", "No such instance is known"), ("/job/none", "No such job is known")):
        answer = client.get(path)
        assert answer.status_code == 404
        assert words in answer.text
        assert "Is the id right?" in answer.text


def test_dead_letters_come_in_pages_with_a_command_each(ledger: Ledger, client: Client) -> None:
    for number in range(60):
        ledger.client.xadd(
            f"{ledger.prefix}dead",
            {"at": 1000, "what": "undecodable", "offset": number, "partition": 0, "topic": "t", "reason": "short"},
            id=f"1000-{number + 1}",
        )
    page = client.get("/letters").text
    assert "tracker dead-letters replay 1000-60 --as INSTANCE COUNT" in page
    assert page.count('class="card letter"') == 50
    older = client.get("/letters?before=1000-11").text
    assert older.count('class="card letter"') == 10
    assert "1000-11<" not in older


def test_parked_instances_come_first_and_on_a_page_of_their_own(ledger: Ledger, client: Client) -> None:
    follow(ledger, "fine", "j-1")
    ledger.register("odd", "j-2")
    turn = ledger.take("odd")
    ledger.park(turn, "refused", "400: it says no")
    assert shown_ids(client.get("/").text)[0] == "odd"
    page = client.get("/parked").text
    assert "400: it says no" in page
    assert "tracker parked retry odd" in page
    assert shown_ids(client.get(f"/?state={quote('needs a person')}").text) == ["odd"]


def test_what_stands_still_comes_before_what_moves(ledger: Ledger, client: Client) -> None:
    for name in ("a", "still", "z"):
        follow(ledger, name, f"j-{name}")
    ledger.client.hset(f"{ledger.prefix}i:still", mapping={"stk": 4102444800000, "first": 1000})
    ledger.client.zadd(f"{ledger.prefix}stuck", {"still": 1000})
    page = client.get("/").text
    assert shown_ids(page)[0] == "still"
    assert "1 stuck" in text_of(page)
    assert shown_ids(client.get("/?state=stuck").text) == ["still"]


def test_parts_that_are_not_well_say_so_on_the_first_page(ledger: Ledger) -> None:
    looks = Looks()
    looks.found[BEAT] = Finding("CRITICAL", "no Beat is alive")
    client = started(make_web(ledger, looks))
    assert "no Beat is alive" in client.get("/").text
    assert "no Beat is alive" in client.get("/parts").text


@pytest.mark.parametrize("path", ["/", "/job/j", "/instance/i", "/letters", "/parked", "/events", "/parts"])
def test_without_redis_a_page_says_so(path: str) -> None:
    answer = started(make_web(Ledger(away(), "p:"))).get(path)
    assert answer.status_code == 503
    assert "Redis does not answer" in answer.text


def test_a_page_heals_when_redis_is_back() -> None:
    server = fakeredis.FakeServer()
    server.connected = False
    client = started(make_web(Ledger(fakeredis.FakeRedis(server=server, decode_responses=True), "p:")))
    assert client.get("/").status_code == 503
    server.connected = True
    assert client.get("/").status_code == 200


# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, kind", [("page.css", "text/css"), ("live.js", "text/javascript"), ("icon.svg", "image/svg+xml")])
def test_a_browser_that_has_a_file_is_told_that_it_is_the_same(client: Client, name: str, kind: str) -> None:
    first = client.get(f"/static/{name}")
    assert first.headers["content-type"].startswith(kind)
    again = client.get(f"/static/{name}", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"/static/{name}", headers={"If-None-Match": '"other"'}).content == statics.load()[name].body


# -- what has happened --------------------------------------------------------------------------------------------


def test_an_instance_a_job_and_all_tell_what_has_happened_newest_first(ledger: Ledger, client: Client) -> None:
    follow(ledger, "i-1")
    follow(ledger, "i-2")
    page = text_of(client.get("/instance/i-1").text)
    assert "What has happened" in page
    ledger.finish(ledger.seen(ledger.take("i-1"), Instance("i-1", "submitted", "j-1", 10, 10)), "completed")
    told = text_of(client.get("/instance/i-1").text).partition("What has happened")[2]
    assert "completed" in told, "what is new is added to what was found before"
    assert told.index("completed") < told.index("total")
    assert "i-1 completed" in text_of(client.get("/job/j-1").text)
    assert "i-1 completed" in text_of(client.get("/events").text)
    other = text_of(client.get("/instance/i-2").text).partition("What has happened")[2].partition("At the command line")[0]
    assert "completed" not in other


def test_a_page_that_stays_open_does_not_walk_through_the_history_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    web = make_web(ledger)
    client = started(web)
    follow(ledger, "i-1")
    client.get("/instance/i-1")

    def walks(_: object) -> None:
        raise AssertionError("it walks")

    monkeypatch.setattr(web.pages._timelines._history, "newest", walks)
    follow(ledger, "i-2")
    assert client.get("/instance/i-1").status_code == 200
