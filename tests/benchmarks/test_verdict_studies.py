from __future__ import annotations

import pytest

from benchmarks.verdict_studies import SETTINGS, Setting, simulate, summary


def test_a_study_is_the_same_again_and_another_is_not() -> None:
    setting = SETTINGS[0]
    assert [simulate(setting, seed) for seed in range(5)] == [simulate(setting, seed) for seed in range(5)]
    assert len({simulate(setting, seed) for seed in range(20)}) > 1


def test_what_is_large_is_seen_before_the_runs_are_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.verdict_studies.SD", 0.02)
    study = simulate(Setting("quiet", planted=5, sd_on=0.02), seed=1)
    assert (study.wrong, study.seen, study.cleared, study.runs) == (False, 5, 5, 24)


def test_the_rows_give_their_number_and_their_error() -> None:
    setting = SETTINGS[0]
    rows = summary(setting, [simulate(setting, seed) for seed in range(10)])
    assert all(row.n == "10 studies" for row in rows[:5])
    assert "±" in rows[0].ours
    assert rows[-1].peer == "286"
