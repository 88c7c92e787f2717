"""Each process does its work under the rules of `docs/acl`, and no others; what it has no business with is refused."""

import re
from collections.abc import Callable, Iterator

import pytest
import redis

from bridge.consumer import Cluster
from sandbox.stack import ROOT
from tests.security.neighbours import KINDS, RULES, Authority, redis_url
from tests.system import System
from tracker.errors import Transient
from tracker.events import Partition
from tracker.kafka_tls import KafkaTls

USERS = {line.split()[1]: line.split() for line in (RULES / "redis.acl").read_text().splitlines()}


@pytest.fixture(scope="module")
def owner(secured: System) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(secured.stack.valkey.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def as_user(secured: System, authority: Authority) -> Iterator[Callable[[str], "redis.Redis"]]:
    """A client with one process' account."""
    made: list[redis.Redis] = []

    def connect(kind: str) -> "redis.Redis":
        url = redis_url(f"tracker-{kind}", f"password-of-{kind}", secured.stack.valkey.port, authority)
        made.append(redis.Redis.from_url(url, decode_responses=True))
        return made[-1]

    yield connect
    for client in made:
        client.close()


def refusals(owner: "redis.Redis") -> list[str]:
    """What Redis has refused to the tracker's users since it was last asked, in words."""
    log = owner.acl_log()
    owner.acl_log_reset()
    found = [f"{entry['username']}: {entry['reason']} {entry['object']} ({entry['context']})" for entry in log]
    return [each for each in found if each.partition(": ")[2] != "command config|get (toplevel)"]  # health asks, and does without


def import_one(system: System, job_id: str) -> None:
    (instance,) = job = system.new_job(job_id)
    system.announce(instance)
    system.count(instance, 2510)
    system.tell_totals(instance)
    system.wait_ended(job)


def test_one_life_of_the_system_needs_no_more_than_the_rules(secured: System, owner: "redis.Redis") -> None:
    """A record is counted and completed; then by hand; Redis restarts and is verified; the ledger is born anew; every process restarts."""
    stack = secured.stack
    refusals(owner)  # tests before this one may have asked for more than they may
    import_one(secured, "by-the-rules")
    (instance,) = by_hand = secured.new_job("by-hand", total=3)
    for words in (
        ["register", instance, "--job", "by-hand"],
        ["add", instance, "3", "--key", "by-hand", "--new"],  # the registration may still be on its way
        ["check", instance],
        ["sync"],
    ):
        done = stack.command(*words)
        assert done.returncode == 0, done.stderr
    secured.expected[instance] = 3
    secured.wait_ended(by_hand)
    del secured.expected[instance]  # the birth below sets it aside: it has ended and has no record, so nobody settles it
    stack.publish(stack.inserted_topic, b"\xff\xff")
    stack.wait_until(lambda: secured.dead_letters(what="undecodable"), what="a dead letter")
    for words in (
        ["dead-letters", "list"],
        ["dead-letters", "drop", "--all", "--by", "a test", "--reason", "a test", "--yes"],
        ["parked", "list"],
    ):
        done = stack.command(*words)
        assert done.returncode == 0, done.stderr
    ledger = secured.ledger()
    assert refusals(owner) == []

    stack.stop("valkey")
    stack.start("valkey")
    import_one(secured, "after-a-restart-of-redis")
    assert secured.ledger() == ledger, "all was kept, and verified"
    for words in (["status"], ["show", instance], ["health"], ["health", "--self", "web"]):
        assert not stack.command(*words).stderr
    assert refusals(owner) == []

    assert stack.command("recover", "--yes").returncode == 0
    import_one(secured, "after-a-birth")
    assert secured.ledger() != ledger
    for name in stack.names():
        stack.stop(name)
        stack.start(name)
    import_one(secured, "after-a-restart-of-everything")
    assert refusals(owner) == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_process_may_do_what_it_has_no_business_with(as_user: Callable[[str], "redis.Redis"], kind: str) -> None:
    client = as_user(kind)
    forbidden = [
        *("FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "CONFIG GET *", "CONFIG SET appendonly no", "SHUTDOWN", "ACL LIST"),
        *("SCRIPT FLUSH", "SAVE", "MONITOR", "CLIENT KILL ID 1", "REPLICAOF NO ONE", "SUBSCRIBE import-tracker:x", "PUBLISH other x"),
        *("SET other 1", "GET other", "MODULE LIST"),
    ]
    for command in forbidden:
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command.split())
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command("EVAL", "return 1", "0")


def test_the_web_process_can_change_nothing_but_its_sign_of_life(as_user: Callable[[str], "redis.Redis"], owner: "redis.Redis") -> None:
    web = as_user("web")
    for write in (
        "SET import-tracker:ledger 1",
        "ZADD import-tracker:owing 0 x",
        "DEL import-tracker:dead",
        "LPUSH import-tracker:tracker.apply x",
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            web.execute_command(*write.split())
    sha = owner.script_load("return redis.call('HSET', KEYS[1] .. 'ledger', 'x', '1')")
    with pytest.raises(redis.exceptions.ResponseError, match=r"can't run this command|ACL failure in script"):
        web.evalsha(sha, 1, "import-tracker:")
    assert not owner.hexists("import-tracker:ledger", "x")


def test_nobody_comes_in_without_an_account(secured: System, authority: Authority) -> None:
    url = redis_url("", "", secured.stack.valkey.port, authority).replace(":@", "")
    with redis.Redis.from_url(url) as client, pytest.raises(redis.exceptions.AuthenticationError):
        client.ping()


def test_the_bridges_certificate_opens_its_topics_and_its_group_alone(secured: System, authority: Authority) -> None:
    own, kafka = authority.identity("tracker-bridge"), secured.stack.kafka
    kafka.create_topic("of-others")
    tls = KafkaTls(on=True, ca_certs=str(authority.file), client_cert=str(own.certificate), client_key=str(own.key), skip_verify=False)
    cluster = Cluster([kafka.tls_address], tls.context)
    try:
        assert cluster.topics([secured.stack.inserted_topic])
        with pytest.raises(Transient, match="not authorized to describe of-others"):
            cluster.topics(["of-others"])
        with pytest.raises(Transient, match="GroupAuthorizationFailed"):
            cluster.commits("group-of-others", [Partition(secured.stack.inserted_topic, 0)])
    finally:
        cluster.close()


def test_a_certificate_without_rules_may_do_nothing(secured: System, authority: Authority) -> None:
    own = authority.identity("passer-by")
    tls = KafkaTls(on=True, ca_certs=str(authority.file), client_cert=str(own.certificate), client_key=str(own.key), skip_verify=False)
    cluster = Cluster([secured.stack.kafka.tls_address], tls.context)
    try:
        with pytest.raises(Transient, match="not authorized to describe import-observations-inserted"):
            cluster.topics([secured.stack.inserted_topic])
    finally:
        cluster.close()


# -- the rules themselves ---------------------------------------------------------------------------------------------


def allowed(kind: str) -> set[str]:
    return {word[1:].upper() for word in USERS[f"tracker-{kind}"] if word.startswith("+")}


def test_every_process_has_a_user_and_no_user_may_do_everything() -> None:
    assert USERS.keys() == {"default", *(f"tracker-{kind}" for kind in KINDS)}
    for name, words in USERS.items():
        assert ("+@all" in words) == (name == "default")
    assert USERS["default"][2] == "off"


def test_who_runs_scripts_may_call_every_command_in_them() -> None:
    called: set[str] = set()
    for script in (ROOT / "tracker" / "scripts").glob("*.lua"):
        called |= set(re.findall(r"redis\.p?call\('([A-Z]+)'", script.read_text("utf-8")))
    assert called
    for kind in ("bridge", "apply", "push", "command"):
        assert called - allowed(kind) == set(), f"docs/acl/redis.acl: tracker-{kind}"
