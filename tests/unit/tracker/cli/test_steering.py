"""`explain`, `reconcile`, `complete`, `fail`, `pause`, `resume`, `recover`."""

import asyncio
import json
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.tracker.cli.runs import PREFIX, follow, history, one_line, run
from tests.unit.tracker.model_apis import ModelDatasetApi, ModelImportApi, Stored
from tracker.cli.deciding import ask
from tracker.completing import Advancing
from tracker.errors import Transient
from tracker.instance import Job
from tracker.ledger import Ledger
from tracker.pushing import Rules
from tracker.steering import Steering


@pytest.fixture
def api(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> ModelDatasetApi:
    """A Dataset API that the commands find, with one instance that lacks 3."""
    api = ModelDatasetApi(instances={"i-1": Stored(total=10, inserted=7)})
    import_api = ModelImportApi(jobs={"job-1": Job("job-1", "submitted", ("i-1",))})
    rules = Rules(timeout_s=0.0, max_request_age_s=0.0, backoff_s=0.0, jitter=lambda: 0.0)

    def start(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    rooms = SimpleNamespace(
        run=start,
        dataset_api=api,
        advancing=Advancing(ledger, api, import_api, rules, lambda: 0.0),
        steering=Steering(ledger.client, ledger.prefix),
    )
    monkeypatch.setattr("tracker.cli.steering.make_rooms", lambda _settings: rooms)
    return api


@pytest.mark.usefixtures("api")
def test_an_instance_is_explained(ledger: Ledger) -> None:
    follow(ledger, "i-1")
    shown = run("explain", "i-1").stdout
    assert "The Dataset API says: submitted, 7 observations inserted, a total of 10." in shown
    assert shown.splitlines()[-1] == "To do: nothing, it goes on by itself."
    assert (
        json.loads(run("explain", "i-2", "--json").stdout)["sentences"][-1]
        == "To do: nothing, if the id is mistyped; else create it at the Dataset API, then tracker register i-2."
    )


def test_books_that_do_not_agree_are_only_said_unless_they_are_to_be_mended(ledger: Ledger, api: ModelDatasetApi) -> None:
    follow(ledger, "i-1")
    result = run("reconcile", "i-1")
    assert (result.exit_code, one_line(result)) == (1, "i-1: they do not agree; --fix would look again")
    assert "3 more than the tracker saw last" in result.stdout
    assert run("reconcile", "i-1", "--fix", answer="n\n").exit_code == 1
    assert "PUT" not in "".join(api.calls)
    assert run("reconcile", "i-1", "--fix", "--yes").exit_code == 0
    assert "They agree." in run("reconcile", "i-1").stdout


@pytest.mark.usefixtures("api")
def test_what_is_parked_or_forgotten_is_taken_up(ledger: Ledger) -> None:
    assert run("reconcile", "i-1", "--fix", "--yes").exit_code == 0
    assert ledger.followed() == {"i-1"}
    ledger.park(ledger.take("i-1", force=True), "refused", "400")
    assert run("reconcile", "i-1", "--fix", "--yes", "--by", "ann", "--reason", "mended").exit_code == 0
    assert [entry["u"] for entry in history(ledger, "unparked")] == ["ann"]


def test_an_api_that_does_not_answer_agrees_with_nobody(ledger: Ledger, api: ModelDatasetApi) -> None:
    follow(ledger, "i-1")
    api.get_fate = lambda: "lost"
    result = run("reconcile", "i-1", "--fix", "--yes")
    assert (result.exit_code, one_line(result)) == (1, "i-1: it cannot be told whether they agree")
    explained = run("explain", "i-1")
    assert "The Dataset API at http://localhost:22000 (DATASET_API_ADDR) could not be asked: " in explained.stdout
    assert (explained.exit_code, one_line(explained)) == (1, "i-1: the Dataset API has not told what it knows")
    assert len(json.loads(run("explain", "i-1", "--json").stdout)["sentences"]) > 1


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("command", ["explain", "show"])
def test_a_job_is_no_instance(ledger: Ledger, command: str) -> None:
    follow(ledger, "i-1", "i-2")
    result = run(command, "job-1")
    assert (result.exit_code, one_line(result)) == (2, "job-1 is a job, not an instance; of it: i-1, i-2")


@pytest.mark.usefixtures("api")
def test_without_a_ledger_it_is_not_redis_that_does_not_answer(ledger: Ledger) -> None:
    ledger.client.delete(f"{PREFIX}ledger")
    result = run("pause", "bridge", "--reason", "x", "--yes")
    assert (result.exit_code, one_line(result)) == (1, "no ledger yet: there is nothing to pause")


@pytest.mark.usefixtures("api")
def test_an_api_that_knows_no_such_instance_has_answered() -> None:
    assert "The Dataset API knows no such instance." in run("explain", "i-2").stdout


@pytest.mark.usefixtures("api")
def test_mending_and_only_saying_do_not_go_together() -> None:
    assert run("reconcile", "i-1", "--fix", "--dry-run", "--yes").exit_code == 2


@pytest.mark.parametrize("command, state", [(("complete", "i-1", "--force"), "completed"), (("fail", "i-1"), "failed")])
def test_an_instance_is_ended_by_force_with_a_reason(ledger: Ledger, api: ModelDatasetApi, command: tuple[str, ...], state: str) -> None:
    follow(ledger, "i-1")
    ledger.add_by_hand("i-1", 2, "key")
    assert run(*command, "--yes").exit_code == 2
    refused = run(*command, "--reason", "why", answer="n\n")
    assert refused.exit_code == 1
    assert f"i-1, now submitted, will be set to {state}. The 2 observations that it owes become a dead letter." in refused.stdout
    assert api.instances["i-1"].state == "submitted"
    assert run(*command, "--reason", "why", "--yes", "--by", "ann").stdout.endswith(f"i-1: {state}\n")
    assert api.instances["i-1"].state == state
    assert [entry["u"] for entry in history(ledger, "forced")] == ["ann"]
    repeated = run(*command, "--reason", "why", "--yes")
    assert (repeated.exit_code, one_line(repeated)) == (1, f"i-1 had ended already: it is {state} and stays so")
    assert "will be set" not in repeated.stdout
    api.instances["i-1"].state = "published"
    again = run(*command, "--reason", "why", "--yes")
    assert (again.exit_code, one_line(again)) == (1, "i-1 had ended already: it is published and stays so")
    assert "will be set" not in again.stdout


@pytest.mark.parametrize("command", [("complete", "i-9", "--force"), ("fail", "i-9")])
def test_what_the_api_does_not_know_has_no_state_to_be_set(ledger: Ledger, api: ModelDatasetApi, command: tuple[str, ...]) -> None:
    follow(ledger, "i-9")
    refused = run(*command, "--reason", "why", "--yes")
    told = "i-9: the Dataset API knows no such instance, so there is no state to set"
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert one_line(refused) == f"{told}. It is parked soon: tracker parked drop i-9 gives it up then"
    assert api.calls == ["GET i-9"]
    ledger.park(ledger.take("i-9", force=True), "unknown", "404")
    assert one_line(run(*command, "--reason", "why", "--yes")) == f"{told}. To give it up: tracker parked drop i-9"


@pytest.mark.parametrize("command, state", [(("complete", "i-1", "--force"), "completed"), (("fail", "i-1"), "failed")])
def test_an_end_that_only_the_api_knows_is_noted(ledger: Ledger, api: ModelDatasetApi, command: tuple[str, ...], state: str) -> None:
    follow(ledger, "i-1")
    api.instances["i-1"].state = state
    ended = run(*command, "--reason", "why", "--yes")
    assert f"i-1 is {state} at the Dataset API already; that will be noted here." in ended.stdout
    assert ended.exit_code == 0
    assert not [call for call in api.calls if call.startswith("PUT")]


@pytest.mark.usefixtures("api")
def test_what_is_not_followed_is_not_ended_and_completing_needs_force() -> None:
    assert "is not followed" in one_line(run("fail", "i-2", "--reason", "why", "--yes"))
    assert "--force is needed" in one_line(run("complete", "i-1", "--reason", "why", "--yes"))


@pytest.mark.parametrize("what", ["pushes", "bridge"])
def test_pausing_says_what_it_does_asks_and_is_shown_until_it_is_resumed(ledger: Ledger, what: str) -> None:
    assert run("pause", what, "--yes").exit_code == 2
    assert run("pause", what, "--reason", "an upgrade", answer="n\n").exit_code == 1
    assert f"{what}: paused; to go on: tracker resume {what}" in run("pause", what, "--reason", "an upgrade", "--by", "ann", "--yes").stdout
    assert "paused already" in run("pause", what, "--reason", "an upgrade", "--yes").stdout
    shown = json.loads(run("status", "--json").stdout)
    said = shown["checks"]["Ledger" if what == "pushes" else "Bridge"]
    if what == "pushes":
        assert (said["status"], "paused by ann 0 s ago (an upgrade)" in said["message"]) == ("WARNING", True)
    assert shown["figures"]["ledger"]["paused"][what]["by"] == "ann"
    assert f"{what}: resumed" in run("resume", what, "--yes").stdout
    assert f"{what}: not paused" in run("resume", what, "--yes").stdout
    assert json.loads(run("status", "--json").stdout)["figures"]["ledger"]["paused"] == {}


# -- recovering --


def test_recover_makes_the_ledger_void(ledger: Ledger) -> None:
    result = run("recover", "--yes", "--reason", "restored a backup")
    assert result.exit_code == 0
    assert ledger.state(()).void == "a person asked for it: restored a backup"


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_recover_asks_first_and_does_nothing_without_a_yes(ledger: Ledger, answer: str) -> None:
    result = run("recover", answer=answer)
    assert result.exit_code == 1
    assert "NONE is alive" in result.stdout
    assert "Imports that have ended may not be shown here any more" in result.stdout
    assert ("nobody to ask here" in result.stderr) == (answer == "")
    assert ledger.state(()).void == ""


def test_recover_goes_on_after_a_yes(ledger: Ledger) -> None:
    ledger.beat("bridge", "b", {}, 60)
    result = run("recover", answer="y\n")
    assert result.exit_code == 0
    assert "(1 alive)" in result.stdout
    assert ledger.state(()).void


def test_recover_gives_up_the_ledger_that_it_has_named_and_no_other(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it asks, somebody else has done so, and the next one is born."""

    def answer(*_: object, **__: object) -> None:
        ledger.birth(ledger.state(()).id, 2, [], settle_s=0, reason="test")

    monkeypatch.setattr("tracker.cli.steering.ask", answer)
    result = run("recover")
    assert result.exit_code == 1
    assert one_line(result) == f"nothing was done: ledger {ledger.state(()).id} is in force now"
    assert ledger.state(()).verified


def test_recover_of_a_void_ledger_leaves_it_as_it_is(ledger: Ledger) -> None:
    ledger.void("somebody else asked for it")
    result = run("recover")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "is void already (somebody else asked for it)" in result.stdout
    assert ledger.state(()).void == "somebody else asked for it"


def test_nobody_can_be_asked_where_there_is_no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.cli.deciding.sys.stdin", None)
    with pytest.raises(Transient, match="there is nobody to ask here"):
        ask("Something is done.", yes=False)


def test_recover_without_a_ledger_says_that_there_is_none(ledger: Ledger) -> None:
    ledger.client.delete(f"{PREFIX}ledger")
    result = run("recover", "--yes")
    assert result.exit_code == 1
    assert one_line(result).startswith("there is no ledger")
