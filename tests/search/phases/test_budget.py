"""When a search ends, and which training it runs again."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tricksearch.records.averages import by_recipe
from tricksearch.records.record import Record
from tricksearch.search.phases.budget import SearchBudget
from tricksearch.search.phases.budget import stalled as stalled_groups
from tricksearch.search.phases.replicates import BASELINE_RUNS, MOST_RUNS, next_replicate, seed_noise
from tricksearch.study.study import Study


def study(**search):
    return Study(name="tests", search=search)


def record(trial, accuracy=90.0, latency=1.0, seed=0, name=None, **others):
    status = others.pop("status", "finished")
    measured = {"accuracy": accuracy, "latency_ms": latency} if status == "finished" else {}
    tricks = {} if trial == 0 and name is None else {name or f"trick{trial}": {}}
    recipe = study().recipe(tricks if name != "plain" else {}).model_dump(mode="json")
    phase = "baseline" if not tricks or name == "plain" else "search"
    return Record(trial, phase, status, "", seed, recipe, measured, **others)


def stalled(asked, records, trials):
    return stalled_groups(asked, by_recipe(records), [record.trial for record in records][-trials:], trials)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"epochs": 30}, "30 epochs"),
        ({"epochs": 31}, None),
        ({"hours": 0.5}, "0.50 hours"),
        ({"hours": 0.6}, None),
        ({"gpu_hours": 1}, "1.00 GPU-hours"),
        ({"gpu_hours": 1, "gpus": 0.5}, None),
        ({"gpu_hours": 0.5, "gpus": 0.5}, "0.50 GPU-hours"),
        ({"stall": 1}, "has not moved for 1 trials"),
        ({}, None),
    ],
)
def test_a_budget_that_is_used_up_ends_the_search(search, said):
    used = {"spent_epochs": 15.0, "wall_seconds": 1800.0, "hardware": {"gpus": ["H200"]}}
    found = SearchBudget(study(**search), [record(0, **used), record(1, **used)], seconds=1800).used_up()
    assert (found is None) == (said is None)
    assert said is None or said in found


def test_hours_on_a_machine_without_a_gpu_are_no_gpu_hours():
    records = [record(0, wall_seconds=1e9, hardware={"gpus": []})]
    assert SearchBudget(study(gpu_hours=0.1), records).used_up() is None


def test_a_search_stalls_when_nothing_better_was_found_for_so_many_trials():
    records = [record(0, 90, 1.0), record(1, 80, 2.0), record(2, 92, 1.5), record(3, 85, 1.9), record(4, 84, 1.8)]
    assert stalled(study(), records, 2)
    assert not stalled(study(), records, 3), "trial 2 moved the hypervolume"
    assert not stalled(study(), records, 5), "there were not so many trials"


def test_infeasible_points_and_failures_move_nothing():
    bound = Study(name="tests", constraints=("latency_ms <= 1.2",))
    records = [record(0, 90, 1.0), record(1, 95, 1.5), record(2, status="failed"), record(3, 80, 1.2)]
    assert stalled(bound, records, 3)
    assert not stalled(study(), records, 3)


def play(search, truth, trials, noise=0.5, seed=0):
    """A loop without an engine: new recipes and replicates in turn, each with noise."""
    random_, records, recipes = random.Random(seed), [], 0
    for trial in range(trials):
        again = next_replicate(study(**search), by_recipe(records), {})
        if again is None:
            name, run = ("plain" if recipes == 0 else f"trick{recipes}"), 0
            recipes += 1
        else:
            name, run = (next(iter(again.lead.tricks)) if again.lead.tricks else "plain"), again.seed
        accuracy, latency = truth(name)
        records.append(record(trial, accuracy + random_.gauss(0, noise), latency, run, name))
    return records


@given(seeds=st.integers(1, 4), trials=st.integers(1, 25))
def test_every_recipe_runs_with_as_many_seeds_as_asked_before_the_next_one(seeds, trials):
    records = play({"seeds": seeds, "seed": 7}, lambda name: (90.0, 1.0), trials)
    groups = list(by_recipe(records).values())
    assert [len(group) for group in groups[:-1]] == [seeds] * (len(groups) - 1)
    assert all(len({run.seed for run in group}) == len(group) for group in groups)
    assert len(groups) == -(-trials // seeds)


def test_runs_in_flight_are_not_handed_out_again():
    records = [record(0, name="plain", seed=0)]
    key = next(iter(by_recipe(records)))
    asked = study(seeds=3)
    assert next_replicate(asked, by_recipe(records), {}).seed == 1
    assert next_replicate(asked, by_recipe(records), {key: {1}}).seed == 2
    assert next_replicate(asked, by_recipe(records), {key: {1, 2}}) is None


def test_what_failed_is_not_run_again():
    assert next_replicate(study(seeds=3), by_recipe([record(0, status="diverged")]), {}) is None


def test_variants_are_measured_again_with_the_training_that_they_came_from():
    variant = record(0, 89.0, 0.5, name="quantized", variant=1)
    again = next_replicate(study(seeds=2), by_recipe([record(0, name="plain"), variant]), {})
    assert (again.lead.trial, again.lead.variant, again.variants) == (0, 0, ({"quantized": {}},))


def test_adaptive_seeds_go_to_the_baseline_and_to_what_may_be_on_the_front():
    def truth(name):  # two rivals at the head, the others far behind
        return {"plain": (90.0, 1.0), "trick1": (93.0, 1.0), "trick2": (93.1, 1.0)}.get(name, (80.0, 2.0))

    records = play({"seeds": "adaptive"}, truth, 60)
    runs = {next(iter(group[0].tricks), "plain"): len(group) for group in by_recipe(records).values()}
    assert runs["plain"] == BASELINE_RUNS
    assert max(runs.values()) <= MOST_RUNS
    assert min(runs["trick1"], runs["trick2"]) >= 2, "both were in doubt after one run"
    assert all(count == 1 for name, count in runs.items() if name not in ("plain", "trick1", "trick2"))


def test_the_noise_over_seeds_is_pooled_over_the_better_half_of_the_recipes():
    groups = [[record(0, 100.0), record(0, 102.0)], [record(1, 50.0), record(1, 51.0)], [record(2, 70.0)]]
    share = (2 / 101**2 + 0.5 / 50.5**2) / 2
    assert seed_noise("accuracy", groups) == pytest.approx(share**0.5)
    assert seed_noise("accuracy", [[record(0)]]) == 0
    collapsing = [[record(4, 95.0), record(4, 95.1), record(4, 95.2)], [record(5, 42.0), record(5, 58.0)]]
    assert 95 * seed_noise("accuracy", collapsing) == pytest.approx(0.1, rel=0.01), "points"


def test_useless_recipes_hide_no_gain_of_the_front():
    """Without any of them, +0.2 points at a member of the front count as moved; with one at 10 % they still do."""
    close = [record(0, 96.0, 1.0), record(1, 95.8, 0.8), record(2, 96.3, 1.3), record(3, 96.5, 1.3)]
    asked = study(stall=1)
    assert not stalled(asked, close, 1)
    useless = record(9, 10.0, 0.05)
    assert not stalled(asked, [*close[:3], useless, close[3]], 1)
    slow = record(9, 96.1, 400.0)
    assert not stalled(asked, [*close[:3], slow, close[3]], 1)
    assert stalled(asked, [*close, useless], 1), "and move nothing themselves"


def test_a_baseline_that_was_tried_again_is_run_with_more_seeds():
    tries = [record(0, status="failed"), record(1, name="plain"), record(2)]
    asked = study(seeds=2)
    groups = SearchBudget(asked, tries).groups
    assert next_replicate(asked, groups, {}).lead.trial == 1
