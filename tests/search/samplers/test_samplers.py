"""The samplers: each proposes what can run, none what it was told not to, and the default learns."""

import itertools
from collections import Counter

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from threadpoolctl import threadpool_info, threadpool_limits

from tricksearch.records.pareto import hypervolume
from tricksearch.search.samplers.base import Outcome
from tricksearch.search.samplers.gaussian_process import GaussianProcess
from tricksearch.search.samplers.registry import SAMPLERS, make_sampler
from tricksearch.search.space.layout import Layout, Parameter

LAYOUT = Layout(
    (
        *(Parameter(f"trick{at}", CategoricalDistribution(["off", "on"])) for at in range(6)),
        Parameter("mix", CategoricalDistribution(["off", "a", "b"])),
        *(Parameter(f"trick{at}.strength", FloatDistribution(0.0, 1.0), ((f"trick{at}", "on"),)) for at in range(3)),
        Parameter("mix.size", IntDistribution(1, 8), (("mix", "b"),)),
    )
)
GOOD, CHEAP = {"trick0": 3.0, "trick1": 2.0, "mix": 1.5}, {"trick3": 0.5, "trick4": 0.3}


def truth(setting):
    """Accuracy and latency: some tricks help, each best at a strength of its own; some make it fast."""
    accuracy, latency = 80.0, 2.0
    for name, gain in GOOD.items():
        if setting[name] != "off":
            accuracy += gain * (1 - (setting.get(f"{name}.strength", 0.5) - 0.3) ** 2)
            latency += 0.1
    for name, share in CHEAP.items():
        if setting[name] == "on":
            latency *= 1 - share
            accuracy -= 1.0
    if setting["trick5"] == "on":
        accuracy -= 4.0
    return accuracy, latency


def search(name, trials, seed=0, outcome=None, sampler=None, start=1):
    sampler = sampler or make_sampler(name, LAYOUT, (True, False), seed=seed, startup=8)
    told, seen = [], set()
    for number in range(start, start + trials):
        setting = next(each for each in sampler.ask(number) if LAYOUT.key(each) not in seen)
        seen.add(LAYOUT.key(setting))
        sampler.take(setting)
        told.append(outcome(setting) if outcome else Outcome(setting, truth(setting)))
        sampler.tell(told[-1])
    return told


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "gp"])
def test_every_sampler_finds_settings_that_can_run_and_repeats_its_stream(name):
    one, other = (search(name, 30, seed=5) for _ in range(2))
    assert [each.setting for each in one] == [each.setting for each in other]
    for each in one:
        np.testing.assert_equal(LAYOUT.setting(LAYOUT.row(each.setting)), each.setting)
    assert [each.setting for each in search(name, 30, seed=6)] != [each.setting for each in one]


def test_the_default_leaves_the_other_cores_to_the_trials(monkeypatch):
    asked, real = [], GaussianProcess.predict

    def predict(model, points):
        asked.append({each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"})
        return real(model, points)

    monkeypatch.setattr(GaussianProcess, "predict", predict)
    with threadpool_limits(2, user_api="blas"):
        search("auto", 14)
        after = {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}
    assert asked
    assert set().union(*asked) == {1}
    assert 1 not in after, "what else runs in this process has its threads again"


def test_the_gaussian_process_of_optuna_is_there_too():
    assert len(search("gp", 11)) == 11


def reached(told):
    points = [each.values for each in told if each.values is not None]
    return hypervolume(points, (True, False), (75.0, 3.0))


def test_the_default_finds_more_than_random_search_with_twice_the_trials():
    seeds = range(4)
    guided = sum(reached(search("auto", 40, seed)) for seed in seeds)
    assert guided > sum(reached(search("random", 80, seed)) for seed in seeds)


@pytest.mark.parametrize("name", ["auto", "local", "tpe", "nsga2"])
def test_a_constraint_is_learnt(name):
    """What trick0 gives is out of bounds: later proposals keep away from it."""

    def outcome(setting):
        accuracy, latency = truth(setting)
        return Outcome(setting, (accuracy, latency), (1.0 if setting["trick0"] == "on" else -1.0,))

    late = search(name, 60, outcome=outcome)[30:]
    assert sum(each.setting["trick0"] == "on" for each in late) <= 10


def test_what_gives_no_values_is_avoided():
    def outcome(setting):
        return Outcome(setting, None if setting["trick1"] == "on" else truth(setting))

    late = search("auto", 50, outcome=outcome)[25:]
    assert sum(each.setting["trick1"] == "on" for each in late) <= 8


def test_what_is_being_tried_is_not_proposed_again():
    sampler = make_sampler("auto", LAYOUT, (True, False), startup=4)
    search("auto", 12, sampler=sampler)
    keys = []
    for number in range(13, 33):
        setting = next(sampler.ask(number))
        sampler.take(setting)
        keys.append(LAYOUT.key(setting))
    assert len(set(keys)) >= 18, "a blind draw may repeat one"


def test_an_earlier_study_on_another_scale_tells_where_to_look():
    def late(known, seed):
        sampler = make_sampler("auto", LAYOUT, (True, False), seed=seed, startup=0)
        for each in known:
            sampler.tell(Outcome(each.setting, (each.values[0] / 10, each.values[1] * 50), study=1, comparable=False))
        return reached(search("auto", 12, sampler=sampler))

    earlier = search("random", 60, seed=9)
    assert sum(late(earlier, seed) for seed in range(5)) > sum(late([], seed) for seed in range(5))


@pytest.mark.parametrize("name", ["auto", "tpe"])
def test_a_mean_that_is_told_later_takes_the_place_of_the_first_run(name):
    sampler = make_sampler(name, LAYOUT, (True, False), startup=2)
    told = search(name, 6, sampler=sampler)
    asked = next(sampler.ask(7))
    sampler.take(asked)
    sampler.tell(Outcome(told[2].setting, (10.0, 9.0)))
    sampler.tell(Outcome(asked, (20.0, 8.0)))
    if name == "auto":
        values = [each.values for each in sampler.outcomes]
    else:
        trials = [each for each in sampler._study.trials if each.state == TrialState.COMPLETE]
        values = [tuple(each.values) for each in trials]
    assert len(values) == 7
    assert (values[2], values[6]) == ((10.0, 9.0), (20.0, 8.0))


def test_a_grid_covers_a_finite_space_and_ends():
    layout = Layout(LAYOUT.parameters[:4])
    sampler = make_sampler("grid", layout, (True, False))
    assert len({layout.key(each) for each in sampler.ask(3)}) == 16
    firsts = [layout.key(next(sampler.ask(number))) for number in range(16)]
    assert len(set(firsts)) == 16


def test_quasi_random_points_cover_the_space_evenly():
    sampler = make_sampler("qmc", LAYOUT, (True, False), seed=3)
    settings = [next(sampler.ask(number)) for number in range(64)]
    for at, option in itertools.product(range(6), ("off", "on")):
        assert 28 <= sum(each[f"trick{at}"] == option for each in settings) <= 36


def test_a_space_without_parameters_can_be_asked():
    for name in ("auto", "random", "qmc", "grid", "local", "tpe"):
        assert next(make_sampler(name, Layout(()), (True, False), startup=0).ask(1)) == {}


@pytest.mark.parametrize("name", ["tpe", "nsga2", "nsga3"])
def test_by_how_much_a_rejected_recipe_breaks_a_limit_is_learnt(name):
    """What trick0 gives is rejected before it is trained: it has margins and no values."""

    def outcome(setting):
        over = 1.0 if setting["trick0"] == "on" else -1.0
        return Outcome(setting, None if over > 0 else truth(setting), (over,))

    late = search(name, 70, outcome=outcome)[35:]
    assert sum(each.setting["trick0"] == "on" for each in late) <= 10


@pytest.mark.parametrize("name", ["nsga2", "nsga3"])
def test_a_resumed_genetic_search_goes_on_from_what_it_knew(name):
    """What it proposes next comes from the best of what was told, as in a search that was not cut off."""

    def proposed(known, seed):
        sampler = make_sampler(name, LAYOUT, (True, False), seed=seed, startup=0, known=len(known))
        for each in known:
            sampler.tell(each)
        return np.mean([truth(each.setting)[0] for each in search(name, 20, sampler=sampler, start=100)])

    random = [proposed([], seed) for seed in range(4)]
    known = search("random", 60, seed=9)
    assert np.mean([proposed(known, seed) for seed in range(4)]) > np.mean(random) + 1.0


def test_generations_are_counted_over_what_was_added_and_what_was_asked_for():
    sampler = make_sampler("nsga2", LAYOUT, (True, False), startup=0)
    for each in search("random", 45, seed=3):  # as variants, a screen, or an interrupted search
        sampler.tell(each)
    search("nsga2", 20, sampler=sampler, start=100)
    mean = Outcome(sampler_settings(sampler)[7], (10.0, 9.0))
    sampler.tell(mean)  # which replaces what was told of it
    key = sampler._study.sampler._get_generation_key()
    counts = Counter(each.system_attrs.get(key) for each in sampler._study.trials if each.state == TrialState.COMPLETE)
    assert counts == {0: 20, 1: 20, 2: 20, 3: 5}


def sampler_settings(sampler):
    return [each.params for each in sampler._study.trials]
