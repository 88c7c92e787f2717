"""
What is known of an instance, what is awaited, and what to do next, in plain sentences; and whether two books agree. Pure.

The two books are the ledger and the Dataset API, which has just been asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tracker.findings import age_in_words, in_number, paused
from tracker.instance import DONE, FAILED, Instance
from tracker.stuck import last_progress_s
from tracker.views import DeadLetter, InstanceView, LedgerView


@dataclass(frozen=True, slots=True)
class Told:
    """
    All that an explanation is made of.

    `view` is None for an instance that the ledger does not know, `instance` where the API did not tell: `no_answer` says
    why in a sentence then, and `unknown` whether it knows no such instance. `letters` are its dead letters, `now_s` is Redis' clock.
    """

    instance_id: str
    view: InstanceView | None
    instance: Instance | None
    no_answer: str
    ledger: LedgerView
    letters: Sequence[DeadLetter]
    now_s: float
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether ledger and API agree on an instance, what they say, and what would mend it ("" for nothing to mend)."""

    agree: bool
    sentences: tuple[str, ...]
    remedy: str = ""


def explain(told: Told) -> list[str]:
    """Say everything, one sentence an entry: what is known, what is awaited, what to do."""
    return [*_known(told), *_awaited(told), *_next(told)]


def _known(told: Told) -> list[str]:
    view, instance = told.view, told.instance
    said = []
    if view is None:
        said.append(f"{told.instance_id} is not known here: no record has named it and no listing has had it.")
    else:
        of = f" of job {view.job_id}" if view.job_id else ""
        said.append(f"{told.instance_id}{of} is {view.state} as far as the tracker knows.")
        if view.counted or view.by_hand:
            by_hand = f" By hand, {view.by_hand:,} have ever been added." if view.by_hand else ""
            said.append(f"This ledger has counted {in_number(view.counted, 'observation')} of it.{by_hand}")
        since_s = max((moment for moment in (last_progress_s(view), view.parked_since_s) if moment is not None), default=None)
        if since_s is not None and view.ended_s is None:
            said.append(f"The last thing that happened to it was {age_in_words(told.now_s - since_s)} ago.")
    if instance is not None:
        total = "no total yet" if instance.total_observations is None else f"a total of {instance.total_observations:,}"
        said.append(
            f"The Dataset API says: {instance.state}, {in_number(instance.inserted_observations, 'observation')} inserted, {total}."
        )
        over = instance.inserted_observations - (instance.total_observations or instance.inserted_observations)
        if over > 0:
            said.append(f"That is {over:,} more than the total.")
    else:
        said.append(told.no_answer)
    if view is not None and view.ended_s is not None:
        said.append(f"How it ended, and who decided that if a person did, is told by tracker history --instance {view.id}.")
    if told.letters:
        count = sum(letter.count or 0 for letter in told.letters)
        waits = "waits" if len(told.letters) == 1 else "wait"
        letters = f"{in_number(len(told.letters), 'dead letter')} of it {waits} for a decision"
        said.append(f"{letters}, {in_number(count, 'observation')} in all.")
    return said


def _awaited(told: Told) -> list[str]:
    view, instance = told.view, told.instance
    if view is None or view.ended_s is not None:
        return []
    if view.parked_since_s is not None:
        held = view.owed + (view.aside or 0)
        kept = f" The {in_number(held, 'observation')} counted for it and not confirmed wait meanwhile." if held else ""
        return [f"It is parked ({view.parked_kind}) since {age_in_words(told.now_s - view.parked_since_s)}: {view.reason}.{kept}"]
    said = []
    if view.aside:
        said.append(f"{view.aside:,} observations read again at the ledger's birth are to be compared with the Dataset API.")
    if view.intent is not None:
        said.append(f"A PUT of {view.intent.delta:,} was sent {age_in_words(view.intent.age_s)} ago; what came of it is not known yet.")
    if view.owed:
        among = ", those of this PUT among them" if view.intent is not None else ""
        said.append(f"{in_number(view.owed, 'observation')} are owed and wait to be pushed{among}.")
    total = instance.total_observations if instance is not None else view.total
    inserted = instance.inserted_observations if instance is not None else view.inserted
    if not total:
        # The ledger keeps a total of 0 as none: only the API's own answer tells the two apart.
        what = "The total" if instance is not None and instance.total_observations is None else "A total above 0"
        said.append(f"{what} is awaited; the dimension extractor tells it to the Dataset API.")
    elif inserted + view.owed < total:
        said.append(f"{in_number(total - inserted - view.owed, 'observation')} are awaited from Kafka.")
    tasks = ", ".join(instance.open_tasks) if instance is not None else view.open_tasks
    if tasks:
        said.append(f"It is not completed before these are done: {tasks}.")
    if view.reason:
        again = f", the next try is in {max(0.0, view.next_try_s - told.now_s):.0f} s" if view.next_try_s else ""
        said.append(f"The last try failed: {view.reason.rstrip('.')}{again}.")
    return said


def _next(told: Told) -> list[str]:
    """The first of these that holds."""
    view, ledger, name = told.view, told.ledger, told.instance_id
    parked = view is not None and view.parked_since_s is not None
    stuck = view.stuck if view is not None else ""
    empty = told.instance is not None and told.instance.state == "submitted" and told.instance.total_observations == 0
    unsettled = view is not None and (view.owed or view.aside or view.intent)
    cases: tuple[tuple[object, str], ...] = (
        (
            not (ledger.verified and ledger.id),
            "the ledger is not in use. A bridge that reaches Kafka and Redis puts it into use; see tracker health",
        ),
        ("pushes" in ledger.paused, f"the pushes are {paused(ledger, 'pushes', told.now_s, 'nothing is pushed or completed')}"),
        (not ledger.ready, "nothing. The ledger has just been born; it goes on by itself when all of Kafka is read again"),
        (
            told.instance is None and not told.unknown,
            f"mend what keeps the Dataset API from answering, then tracker explain {name} again",
        ),
        (view is None and told.unknown, f"nothing, if the id is mistyped; else create it at the Dataset API, then tracker register {name}"),
        (view is None, f"if it should be followed, tracker register {name}"),
        (
            parked and view is not None and view.parked_kind == "unknown",
            f"create it at the Dataset API, then tracker parked retry {name}; for a mistyped id, tracker parked drop {name}",
        ),
        (parked, f"mend the cause at the Dataset API, then tracker parked retry {name}; to give it up, tracker parked drop {name}"),
        (told.letters, f"decide about its dead letters: tracker dead-letters list --instance {name}"),
        (view is not None and view.ended_s is not None, "nothing, it has ended"),
        (
            told.unknown,
            f"create it at the Dataset API, then it goes on by itself; a mistyped id is parked soon, then tracker parked drop {name}",
        ),
        (stuck, f"it is stuck: {stuck}. Should nothing more come: tracker complete {name} --force, or tracker fail {name}"),
        (empty and not unsettled, f"nothing, unless the total stays 0: then tracker complete {name} --force, or tracker fail {name}"),
    )
    return [f"To do: {next((text for holds, text in cases if holds), 'nothing, it goes on by itself')}."]


def compare(told: Told) -> Comparison:
    """Lay the two books side by side. Never guesses a count: what it cannot tell it says."""
    view, instance = told.view, told.instance
    if instance is None:
        return Comparison(agree=False, sentences=(told.no_answer,))
    api = f"The Dataset API has {instance.inserted_observations:,} inserted, state {instance.state}"
    if view is None:
        remedy = "follow it" if instance.state == "submitted" else ""
        return Comparison(not remedy, (f"{api}.", "The ledger does not know it."), remedy)
    more = instance.inserted_observations - view.inserted
    open_since_birth, unanswered = view.aside is not None, view.intent is not None
    over = instance.inserted_observations - (instance.total_observations or instance.inserted_observations)
    cases: tuple[tuple[object, str, str], ...] = (
        (view.parked_since_s is not None, f"It is parked ({view.parked_kind}): {view.reason}.", "try what is parked again"),
        (
            open_since_birth,
            f"{view.aside or 0:,} from before the ledger's birth are not compared with the Dataset API yet.",
            "settle what a birth left open",
        ),
        (unanswered, "A PUT of counts has had no answer: the API's count may hold it or not.", "read back what has had no answer"),
        (
            more and not open_since_birth and not unanswered,
            f"The API has {abs(more):,} {'more' if more > 0 else 'fewer'} than the tracker saw last, by another or since its last look.",
            "look again",
        ),
        (view.owed and not unanswered, "", "push what is owed"),
        (instance.state in DONE | FAILED and view.ended_s is None, "It has ended there, and not here.", "note its end"),
        (over > 0, f"{over:,} more are inserted than the total.", ""),
    )
    found = [(sentence, remedy) for holds, sentence, remedy in cases if holds]
    said = [f"{api}; the ledger has {view.inserted:,} confirmed, {view.owed:,} owed, {view.counted:,} counted by itself."]
    said += [sentence for sentence, _ in found if sentence]
    remedy = ", ".join(remedy for _, remedy in found if remedy)
    return Comparison(not remedy, (*said, *(() if remedy else ("They agree.",))), remedy)
