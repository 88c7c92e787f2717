"""The schedules have teeth: with a rule switched off they end wrong. `make mutants` does it for every rule, and longer."""

from collections.abc import Iterator

import pytest
import structlog

from tests.simulation.__main__ import quiet
from tests.simulation.mutants import MUTANTS, hunt, mutant
from tests.simulation.world import World
from tests.source_mutants import MUTANTS as SOURCE_MUTANTS
from tests.source_mutants import ROOT, mutated

SOON_FOUND = (
    "commit at publish time",
    "no If-Match",
    "no quarantine",
    "no horizon",
    "no seek at a birth",
    "ledger ids without order",
    "no verification after a reconnect",
    "no second publishing",
    "no sweep",
    "a Redis client that tries again by itself",
)
"""Those that show within some tens of schedules."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = structlog.get_config()
    quiet(for_good=False)
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("name", SOON_FOUND)
def test_a_rule_that_is_switched_off_is_missed(name: str) -> None:
    assert hunt(name, first=0, seeds=300, enough=1)[1] is not None


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_follows_the_code(name: str) -> None:
    """Its words stand in the source, and nothing is left of it afterwards."""
    with mutant(name):
        pass
    with mutant(name):
        pass
    assert World(0).run().wrong == []


@pytest.mark.parametrize("name", SOURCE_MUTANTS)
def test_every_mutant_of_the_source_follows_the_code(name: str) -> None:
    """Its words stand there once, so that make mutants changes what it says; each of its tests is there."""
    change = SOURCE_MUTANTS[name]
    text = (ROOT / change.file).read_text()
    assert mutated(text, change) != text
    assert all((ROOT / test).exists() for test in change.tests)
