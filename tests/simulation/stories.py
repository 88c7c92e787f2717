"""
What a schedule is about, beside the faults of its neighbours: each story is one thing that may happen to an installation.

A story leaves out what the documentation says cannot be made good. So where records are lost to retention, or a topic
with ids is made anew in the middle of an import, Redis keeps what it has: a birth needs the records.
"""

import random
from collections.abc import Callable
from typing import Any

from bridge.starting import Stamp
from tests.simulation.world import World
from tests.unit.bridge.fakes import COUNTS, counted
from tracker.events import Partition

Story = Callable[[World], None]


def everyday(world: World) -> None:
    """Records come in; counts are added by hand now and then."""
    names = world.add_jobs()
    if world.chance.random() < 0.2:
        for number in range(world.chance.randint(1, 2)):
            name, count = world.chance.choice(names), world.chance.randint(1, 9)
            world.apis.hand[name] += count
            world.at_some_time(add_by_hand, world, name, count, f"key-{number}")
    if world.chance.random() < 0.2:
        world.at_some_time(restart, world)
    world.produce(names)
    world.storm()


def births(world: World) -> None:
    """Redis is lost, or an older copy is put back, or a person asks for a new ledger; perhaps another tracker was here before."""
    names = world.add_jobs()
    if world.chance.random() < 0.3:
        take_over(world, names)
    world.bridges.watching = True
    for _ in range(world.chance.choice([1, 1, 2, 3])):
        world.at_some_time(world.chance.choice([lose, lose, put_back, put_back, void, restart]), world)
    world.apis.imports_away = world.chance.random() < 0.1
    world.produce(names)
    world.storm()
    if world.apis.imports_away:
        lose_what_tells_of_jobs(world)


def by_hand(world: World) -> None:
    """Counts are added by hand, also to what is completed, and a person asks for a new ledger meanwhile."""
    names = world.add_jobs()
    begin_well(world)
    for number in range(world.chance.randint(1, 4)):
        name, count = world.chance.choice(names), world.chance.randint(1, 9)
        if world.chance.random() < 0.4:
            world.apis.hand[name] += count
            world.at_some_time(add_by_hand, world, name, count, f"key-{number}")
        else:
            world.at_some_time(add_on_top, world, name, count, f"key-{number}")
    for _ in range(world.chance.choice([1, 1, 2, 3])):
        world.at_some_time(void, world)
    world.produce(names)
    world.storm()


def published(world: World) -> None:
    """An instance is published before all of it is counted: the rest is kept as a dead letter."""
    names = world.add_jobs()
    begin_well(world)  # a birth takes what is published for complete
    world.produce(names)
    name = world.chance.choice(names)
    world.at_some_time(publish, world, name)
    world.storm()


def overtaken(world: World) -> None:
    """Kafka deletes records before they are read: they are written down as lost."""
    names = world.add_jobs()
    begin_well(world)  # what was deleted before the first ledger is nobody's loss
    world.produce(names)
    for _ in range(world.chance.choice([1, 2])):
        world.at_some_time(delete_records, world)
    if world.chance.random() < 0.3:
        world.at_some_time(restart, world)
    world.storm()


def made_anew(world: World) -> None:
    """The topic is deleted and made anew; with topic ids in the middle of imports, without for new ones."""
    names = world.add_jobs()
    world.produce(names, last=not world.with_ids)
    world.storm()
    world.settle(world.miscounted)
    world.around.tell("the topic is made anew")
    partitions = sum(partition.topic == COUNTS for partition in world.kafka.logs)
    world.kafka.delete(COUNTS)
    world.garbage.clear()
    world.loop.run_until(world.loop.now + world.chance.choice([0.0, 0.5, 3.0]))
    world.kafka.create(COUNTS, world.chance.randint(1, partitions), with_id=world.with_ids)
    world.loop.run_until(world.loop.now + 1.0)
    if not world.with_ids:
        # Refilled beyond `next` before the bridge has looked, a topic is known by the record at `next - 1` only, and that may be a hole.
        deadline = world.loop.now + 120.0
        while not all(following <= world.kafka.logs[p].end for p, following in counted_up_to(world).items()) and world.loop.now < deadline:
            world.loop.run_until(world.loop.now + 1.0)
        names = world.add_jobs("n")
    world.produce(names)
    world.storm()


def handed_over(world: World) -> None:
    """We end in good order, another tracker counts on from our commits, and perhaps we come back after it."""
    names = world.add_jobs()
    comes_back = world.chance.random() < 0.7
    world.produce(names, last=not comes_back)
    world.storm()
    if not left_alone(world):
        world.found.append("no bridge has taken over everything")
        return
    # Then the workers stop applying, and it ends with batches on their way.
    for _ in range(world.chance.randint(0, 3)):
        name, count = world.chance.choice(names), world.chance.randint(1, 9)
        world.loop.call_later(world.chance.uniform(0.0, 1.0), world.append, COUNTS, counted(name, count), name, count)
    world.loop.call_later(world.chance.uniform(0.0, 1.0), setattr, world.celery, "applying", False)  # noqa: FBT003 -- setattr has no names
    world.loop.run_until(world.loop.now + 1.0)
    world.around.tell("handed over")
    clean = world.bridges.close_all()  # another may have been started meanwhile, in place of one that was killed
    deadline = world.loop.now + 120.0
    while world.redis.owes() and world.loop.now < deadline:
        world.loop.run_until(world.loop.now + 2.0)
    if not clean and world.redis.owes():
        # Such as in the middle of a birth, whose horizon nobody passes any more: docs/migrating.md has the bridge started again first.
        world.over = True
        return
    count_as_another_tracker(world)
    for name, stored in world.apis.instances.items():
        # It said that not all was applied: then the other may repeat what we have, and never lacks any.
        if stored.inserted < world.apis.published[name] or (clean and stored.inserted > world.apis.published[name]):
            world.found.append(
                f"{name}: {world.apis.published[name]} published, {stored.inserted} counted after handing over, clean: {clean}"
            )
    if not clean:
        world.over = True
        return
    world.celery.applying = True
    world.celery.forget()
    if comes_back:
        world.produce(names)
        world.storm()
    else:
        world.bridges.start()


def left_alone(world: World) -> bool:
    """End bridges until the last one holds everything; whether it came to that within two minutes."""
    deadline = world.loop.now + 120.0
    while not world.bridges.holds_everything():
        if len(world.bridges.runs) > 1:
            world.bridges.close()
        world.loop.run_until(world.loop.now + 1.0)
        if world.loop.now > deadline:
            return False
    return True


STORIES: dict[Story, int] = {everyday: 6, births: 6, published: 1, overtaken: 1, made_anew: 1, handed_over: 1}

BY_HAND_EVERY = 9
"""Of so many seeds one adds by hand over births: told by the seed, not drawn, so that the others stay what they were before."""


def draw(chance: random.Random, seed: int) -> Story:
    """One of them, the usual ones more often."""
    story = chance.choices(list(STORIES), list(STORIES.values()))[0]
    return by_hand if seed % BY_HAND_EVERY == BY_HAND_EVERY - 1 else story


def begin_well(world: World) -> None:
    """The ledger is born before the first record."""
    world.around.faults.calm = True
    world.bridges.start()
    world.loop.run_until(1.0)


# -- what happens in them ---------------------------------------------------------------------------------------------


def add_by_hand(world: World, name: str, count: int, key: str) -> None:
    """A person adds a count, and does so again until it is seen to have arrived."""
    world.apis.published[name] += count
    ask_again(world, name, count, key)


def add_on_top(world: World, name: str, count: int, key: str) -> None:
    """A person adds a count to what is completed; before that it would have been completed too early, which is for a person to know."""
    stored = world.apis.instances[name]
    if stored.state == "completed" and stored.inserted == world.apis.published[name]:
        world.happened["counts on top"] += 1
        add_by_hand(world, name, count, key)
    elif not world.around.faults.calm:
        world.loop.call_later(3.0, add_on_top, world, name, count, key)


def ask_again(world: World, name: str, count: int, key: str) -> None:
    if not world.redis.knows_key(key):
        world.celery.add_by_hand(name, count, key)
        world.loop.call_later(5.0, ask_again, world, name, count, key)


def publish(world: World, name: str) -> None:
    """An editor is quick."""
    if name in world.failing:
        return
    world.open_ends.add(name)
    world.change(name, "state", "published")
    world.apis.instances[name].published_s = world.loop.now


def lose(world: World) -> None:
    """Redis has lost everything, mostly the messages too."""
    if world.around.faults.calm:
        return
    world.happened["Redis lost"] += 1
    world.around.tell("Redis is lost")
    world.redis.lose()
    if world.chance.random() < 0.7:
        world.celery.forget()


def lose_what_tells_of_jobs(world: World) -> None:
    """All instances have ended while no job could be told; then records and Redis are lost, and only the list of jobs knows of them."""

    def left() -> list[str]:
        return world.miscounted() + [name for name, stored in world.apis.instances.items() if stored.state == "submitted"]

    world.settle(left)
    world.loop.run_until(world.loop.now + 2.0)  # until a commit is past all of it
    if not left():
        for log in world.kafka.logs.values():
            if log.end > log.start:
                log.delete_below(log.end)
        world.garbage.clear()
        world.happened["Redis lost"] += 1
        world.redis.lose()
        world.celery.forget()
        world.loop.run_until(world.loop.now + 60.0)
    world.apis.imports_away = False


def put_back(world: World) -> None:
    """An older copy of what Redis held is put back, after a commit has told of what came since."""
    backup, stamp = world.redis.backup(), stamp_of(world)
    world.loop.call_later(world.chance.uniform(1.0, 10.0), put_back_now, world, backup, stamp, 20)


def put_back_now(world: World, backup: Any, stamp: Stamp | None, tries: int) -> None:
    if world.around.faults.calm or stamp is None or tries == 0:
        return
    now = stamp_of(world)
    if now is None or not stamp < world.bridges.told <= now:
        world.loop.call_later(0.5, put_back_now, world, backup, stamp, tries - 1)
        return
    world.happened["Redis put back"] += 1
    world.around.tell(f"Redis is put back from {now} to {stamp}, {world.bridges.told} was told")
    world.redis.put_back(backup)
    if world.chance.random() < 0.5:
        world.bridges.kill_all()
    if world.chance.random() < 0.5:
        world.celery.forget()


def stamp_of(world: World) -> Stamp | None:
    positions = world.redis.ledger.positions([])
    return Stamp(int(positions.ledger.partition("-")[0]), positions.version) if positions.ledger else None


def counted_up_to(world: World) -> dict[Partition, int]:
    """The ledger's `next` of each counts partition that there is."""
    positions = world.redis.ledger.positions(partition for partition in world.kafka.logs if partition.topic == COUNTS)
    return {partition: following for partition, (_, following) in positions.next.items()}


def void(world: World) -> None:
    """A person asks for a new ledger."""
    if stamp_of(world):
        world.happened["ledger void"] += 1
        world.around.tell("void")
        world.redis.ledger.void("a person asked for it")


def restart(world: World) -> None:
    """Redis restarts and has everything."""
    world.happened["Redis restarted"] += 1
    world.around.tell("Redis restarts")
    world.redis.restart()


def take_over(world: World, names: list[str]) -> None:
    """Another tracker was here before: records, commits without metadata, and what is counted up to them."""
    for name in names:
        for _ in range(world.chance.randint(0, 3)):
            count = world.chance.randint(0, 9)
            world.append(COUNTS, counted(name, count), name, count)
    count_as_another_tracker(world, world.chance.choice([1.0, 0.5]))


def count_as_another_tracker(world: World, share: float = 1.0) -> None:
    """Read from the commits, count each record, commit; `share` is how far it gets."""
    for partition, log in world.kafka.logs.items():
        if partition.topic != COUNTS:
            continue
        start, _ = world.kafka.commits.get(partition, (log.start, ""))
        end = start + int((log.end - start) * share)
        for where, epoch, offset, name, count in world.appended:
            if (where, epoch) == (partition, world.kafka.ids[COUNTS]) and start <= offset < end:
                stored = world.apis.instances[name]
                stored.inserted += count
                stored.version += 1
        world.kafka.commits[partition] = (end, "")


def delete_records(world: World) -> None:
    """Retention, or a person who is in need of room."""
    partition = world.chance.choice([p for p in world.kafka.logs if p.topic == COUNTS])
    log = world.kafka.logs[Partition(COUNTS, partition.number)]
    if log.end > log.start:
        log.delete_below(world.chance.randint(log.start + 1, log.end))
        world.happened["records deleted"] += 1
        world.around.tell(f"{partition} begins at {log.start}")
        world.garbage = [(where, at) for where, at in world.garbage if where != str(partition) or at >= log.start]
