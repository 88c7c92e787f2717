"""Fifty schedules of everything going wrong end with every count and every state right; `make simulate` runs more."""

import pytest

from tests.simulation.world import World


@pytest.mark.parametrize("block", range(5))
def test_schedules_end_right(block: int) -> None:
    """Ten seeds to a test, so that a failing one names a few."""
    wrong = {seed: found for seed in range(block * 10, block * 10 + 10) if (found := World(seed).run().wrong)}
    assert wrong == {}, "replay one with: python -m tests.simulation --first SEED --seeds 1"


def test_a_schedule_ends_wrong_where_a_rule_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the quarantine of 2017's unanswered requests the simulator finds wrong counts: it can fail."""
    monkeypatch.setattr("tracker.pushing.Rules.quarantine_s", property(lambda _: 0.0))
    assert any(World(seed).run().wrong for seed in range(20))
