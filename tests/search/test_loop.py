"""The loop: several seeds, budgets, batches, recipes to try first, earlier runs. Nothing is trained here."""

import random
from dataclasses import replace

import pytest
import yaml

from tests.search.observer import Listener
from tricksearch.contract import InputError
from tricksearch.records.averages import by_recipe
from tricksearch.records.hardware import hardware
from tricksearch.records.recipe import Recipe
from tricksearch.search.check import check_study
from tricksearch.search.loop import Loop
from tricksearch.store.store import Store
from tricksearch.study.study import load_study


@pytest.fixture
def make_loop(tmp_path, registry_of):
    stores = []

    def make(study, name="store.db", workers=2):
        store = Store.at(tmp_path / name)
        stores.append(store)
        return Loop(study, registry_of(study), store, tmp_path, Listener(), workers), store

    yield make
    for store in stores:
        store.close()


def measured(job):
    """What the trial of a job would give: the same for the same recipe and seed."""
    noise = random.Random(f"{Recipe.model_validate(job.recipe).key}:{job.seed}")
    left = job.recipe["tricks"].get("left", {}).get("factor", 0.0)
    return 80 + 5 * left - 3 * ("solo" in job.recipe["tricks"]) + noise.gauss(0, 0.5), 1 + left


def record_of(job, make_record, **others):
    record = make_record(job.trial, Recipe.model_validate(job.recipe), *measured(job), phase=job.phase, **others)
    return type(record)(**(vars(record) | {"seed": job.seed}))


def play(loop, make_record, at_a_time=1, order=None, count=1000, **others):
    """Run the loop's jobs, some at a time, which end in an order of their own; returns them."""
    running, jobs = [], []
    while len(jobs) < count:
        while len(running) < at_a_time and (job := loop.next()) is not None:
            running.append(job)
            jobs.append(job)
        if not running:
            break
        job = running.pop(order.randrange(len(running)) if order else 0)
        loop.finish([record_of(job, make_record, **others)])
    return jobs


def test_every_recipe_runs_with_each_seed_and_its_mean_is_told(make_study, make_loop, make_record):
    study = make_study(search={"seeds": 3, "seed": 5, "trials": 24, "startup": 4})
    loop, store = make_loop(study)
    play(loop, make_record, at_a_time=2)
    groups = by_recipe(store.records())
    assert sorted({run.seed for runs in groups.values() for run in runs}) == [5, 6, 7]
    assert sum(len(runs) == 3 for runs in groups.values()) >= 7
    assert {len(runs) for runs in groups.values()} <= {1, 2, 3}
    told = {tuple(sorted(each.setting.items())): each.values for each in loop._phase._proposer._sampler.outcomes}
    for runs in groups.values():
        setting = loop._space.parameters(runs[0].tricks)
        values = told.get(tuple(sorted(setting.items())))
        mean = sum(run.accuracy for run in runs) / len(runs)
        assert (values is None) if len(runs) < 3 else values[0] == pytest.approx(mean)


def test_seeds_go_on_where_a_run_was_cut_off(make_study, make_loop, make_record):
    study = make_study(search={"seeds": 2, "trials": 20, "startup": 4})
    play(make_loop(study)[0], make_record, count=7)
    loop, store = make_loop(study)
    play(loop, make_record)
    records = store.records()
    assert [record.trial for record in records] == list(range(20))
    assert len({(Recipe.model_validate(each.recipe).key, each.seed) for each in records}) == 20
    assert {len(runs) for runs in by_recipe(records).values()} == {2}


def test_adaptive_seeds_leave_most_trials_to_new_recipes(make_study, make_loop, make_record):
    study = make_study(search={"seeds": "adaptive", "trials": 40, "startup": 6})
    loop, store = make_loop(study)
    play(loop, make_record, at_a_time=2)
    groups = by_recipe(store.records())
    runs = sorted((len(each) for each in groups.values()), reverse=True)
    assert runs[0] > 1
    assert len(groups) >= 26
    plain = next(each for each in groups.values() if each[0].phase == "baseline")
    assert 3 <= len(plain) <= 5


@pytest.mark.parametrize(
    ("limit", "said", "trials"),
    [({"epochs": 25}, "epochs", 3), ({"stall": 4}, "has not moved", None), ({"hours": 1e-9}, "hours", 0)],
)
def test_a_budget_ends_the_search_and_says_so(make_study, make_loop, make_record, limit, said, trials):
    study = make_study(tricks=["right", "solo"], search={"trials": 60, "startup": 4} | limit)  # nine recipes
    loop, _ = make_loop(study)
    jobs = play(loop, make_record, spent_epochs=10.0)
    assert said in loop._observer.why
    assert loop.over
    assert len(jobs) < 9
    assert trials is None or len(jobs) == trials
    again, _ = make_loop(study)
    assert play(again, make_record) == [], "what was spent before counts"


def test_a_reproducible_search_is_the_same_whatever_ends_first(make_study, make_loop, make_record):
    study = make_study(search={"trials": 25, "startup": 4, "reproducible": True})
    sequences = []
    for run in range(3):
        loop, _ = make_loop(study, f"{run}.db", workers=3)
        sequences.append(play(loop, make_record, at_a_time=3, order=random.Random(run)))
    recipes = [{job.trial: job.recipe["tricks"] for job in jobs} for jobs in sequences]
    assert recipes[0] == recipes[1] == recipes[2]
    assert len(recipes[0]) == 25


@pytest.mark.parametrize("cut", [1, 4, 8, 14])
def test_a_reproducible_search_that_was_cut_off_goes_on_as_if_it_had_not_been(make_study, make_loop, make_record, cut):
    study = make_study(search={"trials": 20, "startup": 4, "reproducible": True})
    whole, _ = make_loop(study, "whole.db", workers=3)
    expected = {job.trial: job.recipe["tricks"] for job in play(whole, make_record, at_a_time=3)}
    play(make_loop(study, "cut.db", workers=3)[0], make_record, 3, random.Random(cut), count=cut)
    rest, store = make_loop(study, "cut.db", workers=5)  # the batch stays what it was
    play(rest, make_record, at_a_time=3)
    assert {record.trial: record.tricks for record in store.records()} == expected


def test_without_batches_the_order_of_arrival_decides(make_study, make_loop, make_record):
    """What the test above would not see if the recipes hung on nothing."""
    study = make_study(search={"trials": 25, "startup": 4})
    found = []
    for run in range(2):
        loop, _ = make_loop(study, f"{run}.db")
        jobs = play(loop, make_record, at_a_time=3, order=random.Random(run))
        found.append({job.trial: job.recipe["tricks"] for job in jobs})
    assert found[0] != found[1]


def test_recipes_to_try_first_come_behind_the_baseline(make_study, make_loop, make_record, tmp_path):
    (tmp_path / "best.yaml").write_text(
        yaml.safe_dump({"plugins": [str(tmp_path / "own_tricks")], "tricks": {"solo": {"kind": "b"}}})
    )
    first = [{"left": {"factor": 1.5}}, ["right", "solo"], "best.yaml"]
    study = make_study(search={"first": first, "trials": 6})
    loop, store = make_loop(study)
    play(loop, make_record)
    tricks = [record.tricks for record in store.records()]
    assert tricks[:4] == [
        {},
        {"left": {"factor": 1.5}},
        {"right": {"kind": "a"}, "solo": {"kind": "a"}},
        {"solo": {"kind": "b"}},
    ]
    resolved = tmp_path / "again.yaml"
    resolved.write_text(yaml.safe_dump(study.model_dump(mode="json")))
    assert load_study(resolved).search.first == study.search.first


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ([5], "a mapping of tricks"),
        (["nowhere.yaml"], "nowhere.yaml"),
        ([{"lefd": {}}], "lefd"),
        ([{"left": {"factor": 9}}], "9"),
        ([{"left": {}, "right": {}}], "side"),
    ],
)
def test_a_recipe_that_cannot_be_tried_first_is_refused_when_the_study_is_read(make_study, first, said):
    with pytest.raises(InputError) as refused:
        make_study(search={"first": first})
    assert said in str(refused.value)


def test_a_first_recipe_outside_the_space_and_an_earlier_run_that_is_not_there_are_refused(make_study, tmp_path):
    with pytest.raises(InputError, match="recipe 1 of those to try first"):
        check_study(make_study(tricks=["right"], search={"first": [{"solo": {}}]}))
    with pytest.raises(InputError, match=r"store\.db"):
        check_study(make_study(search={"learn_from": ["nowhere"]}))
    with pytest.raises(InputError, match="not reproducible"):
        check_study(make_study(search={"reproducible": True, "stopping": "nondominated"}, train={"epochs": 20}))


def test_an_earlier_run_is_learnt_from_as_far_as_it_fits(make_study, make_loop, make_record, tmp_path):
    before = make_study(tricks=["left", "solo"], search={"trials": 15, "startup": 4})
    (tmp_path / "old").mkdir()
    loop, store = make_loop(before, "old/store.db")
    play(loop, make_record, hardware=hardware())
    fitting = sum("left" not in each.tricks for each in store.records())
    now = make_study(tricks=["right", "solo"], search={"learn_from": ["old"]})  # one added, one removed
    told = make_loop(now)[0]._phase._proposer._sampler.outcomes
    assert len(told) == fitting > 0
    assert {each.study for each in told} == {1}
    assert all(each.comparable for each in told)
    elsewhere = make_study(tricks=["left", "solo"], search={"trials": 5, "startup": 4, "seed": 1})
    (tmp_path / "far").mkdir()
    play(make_loop(elsewhere, "far/store.db")[0], make_record, hardware={"cpu": "another one"})
    far = make_study(tricks=["right", "solo"], search={"learn_from": ["far"]})
    assert not any(each.comparable for each in make_loop(far, "near.db")[0]._phase._proposer._sampler.outcomes)
    loop = make_loop(far, "worker.db")[0]
    loop.finish([record_of(loop.next(), make_record, hardware={"cpu": "another one", "gpus": ["A100"]})])
    told = [each for each in loop._phase._proposer._sampler.outcomes if each.study]
    assert told
    assert all(each.comparable for each in told), "its trials run where the earlier ones ran"
    longer = make_study(tricks=["right", "solo"], search={"learn_from": ["old"]}, train={"epochs": 77})
    assert not any(each.comparable for each in make_loop(longer, "longer.db")[0]._phase._proposer._sampler.outcomes)


def test_a_baseline_that_was_lost_with_its_worker_comes_first_again(make_study, make_loop, make_record):
    study = make_study(search={"seeds": 2, "trials": 12, "startup": 4})
    loop, _ = make_loop(study)
    baseline, other = loop.next(), loop.next()
    loop.finish([record_of(other, make_record)])
    again, _ = make_loop(study)
    assert (again.next().phase, baseline.trial) == ("baseline", 0)


def test_variants_of_another_seed_are_not_tried_again(make_study, make_loop, make_record):
    """A replicate that is stopped or lost leaves nothing free: its variants were measured with the first seed."""
    fixed = {"mode": "static", "per_channel": True, "method": "minmax"}
    study = make_study(tricks={"int8": fixed, "solo": None}, search={"seeds": 2, "trials": 12, "startup": 2})
    loop, store = make_loop(study)
    for _ in range(40):
        job = loop.next()
        if job is None:
            break
        if job.seed != study.search.seed:
            loop.finish([record_of(job, make_record, status="stopped")])
            continue
        variants = [
            record_of(replace(job, recipe=job.recipe | {"tricks": tricks}), make_record, variant=at)
            for at, tricks in enumerate(job.variants, start=1)
        ]
        loop.finish([record_of(job, make_record), *variants])
    assert loop.over
    assert any(each.variant for each in store.records())
    assert any(each.status == "stopped" for each in store.records())


@pytest.mark.parametrize("at_a_time", [1, 4])
def test_seeds_and_batches_go_together_also_after_a_kill(make_study, make_loop, make_record, at_a_time):
    study = make_study(search={"trials": 20, "startup": 4, "seeds": 3, "reproducible": True})
    whole, first = make_loop(study, "whole.db", workers=4)
    play(whole, make_record, at_a_time)
    assert len(first.records()) == 20
    play(make_loop(study, "cut.db", workers=4)[0], make_record, 4, random.Random(0), count=9)
    rest, store = make_loop(study, "cut.db", workers=4)
    play(rest, make_record, at_a_time)
    found, expected = ({each.trial: (each.tricks, each.seed) for each in kept.records()} for kept in (store, first))
    assert found == expected


def test_batches_that_are_wanted_only_now_wait_for_nothing(make_study, make_loop, make_record):
    plain = make_study(search={"trials": 24, "startup": 4})
    loop, _ = make_loop(plain)
    running = [loop.next() for _ in range(7)]
    for job in running[1:]:
        loop.finish([record_of(job, make_record)])
    again, store = make_loop(make_study(search={"trials": 24, "startup": 4, "reproducible": True}), workers=4)
    play(again, make_record, at_a_time=4)
    assert [record.trial for record in store.records()] == list(range(24))


@pytest.mark.parametrize("at_a_time", [1, 4])
def test_a_space_that_is_used_up_still_gets_every_seed(make_study, make_loop, make_record, at_a_time):
    study = make_study(tricks=["right", "solo"], search={"seeds": 3, "trials": 60, "startup": 4})
    loop, store = make_loop(study)
    play(loop, make_record, at_a_time)
    assert [len(runs) for runs in by_recipe(store.records()).values()] == [3] * 9
    assert loop.over


def test_what_a_lost_trial_told_is_forgotten(make_study, make_loop, make_record):
    study = make_study(search={"trials": 12, "startup": 4})
    loop, store = make_loop(study)
    kept, _ = loop.next(), loop.next()
    for trial in (0, 1):
        store.report(trial, 3, {"accuracy": 99.0})
    loop.finish([record_of(kept, make_record)])
    assert [trial for trial, _, _ in make_loop(study)[1].reports()] == [0]
