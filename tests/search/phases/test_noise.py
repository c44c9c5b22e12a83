"""What drifts and what collapses, from a study's runs to its sentences; and the front that a gap is taken over."""

from dataclasses import replace

import pytest

from tests.search.observer import Listener
from tricksearch.search.loop import Loop
from tricksearch.search.phases.ablate import Ablation, Target
from tricksearch.search.phases.confirm import chosen, confirm_plan
from tricksearch.search.phases.findings import findings_of
from tricksearch.search.phases.members import gap_of, members_of
from tricksearch.search.phases.phase import PlannedRun, in_rounds, mark_of
from tricksearch.store.store import Store
from tricksearch.trial.simulated import simulate

WHOLE = {"left": {"factor": 1.5}, "right": {"factor": 1.5}, "solo": {"kind": "a"}}
NOISE = {"latency_ms": {"base": 1.0, "sd": 0.5}, "train_seconds": {"base": 10.0, "sd": 1.0}}


@pytest.fixture
def study_of(make_study, tmp_path):
    def make(phases, sd=0.1, seeds=5, **keys):
        simulation = {"measures": {"accuracy": {"base": 76.0, "sd": sd}, **NOISE}}
        study = make_study(**({"trial": "simulated", "simulation": simulation, "phases": list(phases)} | keys))
        recipe = tmp_path / "whole.yaml"
        recipe.write_text(study.recipe({name: WHOLE[name] for name in ("left", "solo")}).to_yaml())
        ablate = study.ablate.model_copy(update={"around": str(recipe), "seeds": seeds})
        return study.model_copy(update={"ablate": ablate})

    return make


@pytest.fixture
def store_of(tmp_path):
    stores = []

    def make():
        stores.append(Store.at(tmp_path / f"store{len(stores)}.db"))
        return stores[-1]

    yield make
    for opened in stores:
        opened.close()


@pytest.fixture
def play(registry_of, store_of, tmp_path):
    """The findings and the records of a study that ran in a fresh folder."""

    def to_the_end(study, changed=lambda record, place: record):
        store = store_of()
        loop, place = Loop(study, registry_of(study), store, tmp_path, Listener()), 0
        while (job := loop.next()) is not None:
            loop.finish([changed(record, place) for record in simulate(job)])
            place += 1
        return findings_of(study, store), store.records()

    return to_the_end


def ablation(study):
    return Ablation(study, Target("", "", {name: WHOLE[name] for name in ("left", "solo")}, ["solo", "left"], 0))


def slower(record, place):
    """The machine loses 1 % with each run."""
    return replace(record, measures=record.measures | {"latency_ms": record.measures["latency_ms"] * 1.01**place})


def test_arms_run_in_rounds_of_one_run_each_in_an_order_that_is_drawn(study_of):
    study = study_of(["ablate"], seeds=4)
    plan = ablation(study).plan([])
    runs = [run.recipe.key for run in plan if run.phase == "ablate"]
    # Whole and baseline have 6 runs each, left and solo 4: in 4 rounds of 4 to 6 runs.
    sizes = {key: runs.count(key) for key in runs}
    assert sorted(sizes.values()) == [4, 4, 6, 6]
    rounds = []
    for number in range(4):
        size = sum(sum(at * 4 // size == number for at in range(size)) for size in sizes.values())
        rounds.append(runs[:size])
        del runs[:size]
    assert all(set(keys) == set(sizes) for keys in rounds), "each arm in each round"
    assert len({tuple(dict.fromkeys(keys)) for keys in rounds}) > 1, "in another order"
    assert [run.mark for run in plan] == [run.mark for run in ablation(study).plan([])]


def test_a_confirmation_runs_in_rounds(study_of, play):
    study = study_of(["search", "ablate", "confirm"], search={"trials": 8, "startup": 4})
    keys = [record.recipe_key for record in play(study)[1] if record.phase == "confirm"]
    recipes = len(set(keys))
    assert recipes > 2
    assert all(len(set(keys[at : at + recipes])) == recipes for at in range(0, len(keys), recipes))


def test_a_larger_arm_has_its_runs_in_every_round(study_of):
    recipe, other = study_of(["ablate"]).recipe({}), study_of(["ablate"]).recipe({"left": {"factor": 1.5}})
    arms = [[PlannedRun("ablate", recipe, at) for at in range(5)], [PlannedRun("ablate", other, at) for at in range(2)]]
    order = [run.recipe.key == recipe.key for run in in_rounds(arms, 0)]
    assert len(order) == 7
    assert sorted((sum(order[:4]), sum(order[4:]))) == [2, 3]


def test_a_machine_that_slows_down_makes_no_verdict_and_is_told(study_of, play):
    told, _ = play(study_of(["ablate"]), slower)
    latency = [each for each in told.verdicts if each.measure == "latency_ms"]
    assert latency
    assert {each.says for each in latency} == {"equivalent"}, "within 5 %, though the phase saw more than 30 %"
    assert max(abs(each.effect) for each in latency) < 1.5
    (note,) = [note for note in told.notes if "drifted" in note]
    assert note.startswith("Latency drifted by +")
    assert "the trend is taken out of the effects" in note
    assert not [note for note in play(study_of(["ablate"]))[0].notes if "drifted" in note]


def test_the_minimal_recipe_is_held_against_runs_of_the_whole_in_the_same_rounds(study_of, play):
    study = study_of(["ablate"], verdicts={"margins": {"accuracy": 0.5}})
    minimal = play(study, slower)[0].minimal
    assert minimal.tricks == ()
    assert [each.says for each in minimal.verdicts] == ["equivalent", "equivalent"]
    assert all(each.n == 4 * study.ablate.seeds for each in minimal.verdicts)


def test_runs_that_collapsed_and_decide_an_interval_are_named(study_of, play):
    def fallen(record, place):
        if record.phase not in ("screen", "ablate") or place % 20 != 7:
            return record
        return replace(record, measures=record.measures | {"accuracy": record.measures["accuracy"] - 20.0})

    study = study_of(["screen", "ablate"], screen={"runs": 32, "sequential": False})
    told, records = play(study, fallen)
    arms = {run.mark for run in ablation(study).plan([])}
    lines = [note for note in told.notes if "collapsed" in note]
    for phase, line in zip(("screen", "ablation"), lines, strict=True):
        stored = "screen" if phase == "screen" else "ablate"
        runs = [run for run in records if run.phase == stored and (stored == "screen" or mark_of(run) in arms)]
        fell = [run.id for run in runs if run.accuracy < 60]
        assert fell
        assert line.startswith(f"{len(fell)} of ")
        assert f"({'record' if len(fell) == 1 else 'records'} {', '.join(fell)})" in line
        assert "-20." in line or "-19." in line
        assert "x as wide" in line
    assert not [note for note in play(study_of(["screen"], screen={"runs": 24}))[0].notes if "collapsed" in note]


def test_what_an_ablation_pushed_off_the_front_stays_in_the_gap(make_study, make_record, store_of):
    study = make_study(phases=["search", "ablate", "confirm"])
    store, plain = store_of(), study.base_recipe()
    lucky, steady = (study.recipe({name: WHOLE[name]}) for name in ("left", "solo"))
    records = [
        make_record(0, plain, 90.0, 3.0, phase="baseline"),
        make_record(1, lucky, 95.0, 2.0, phase="search"),
        make_record(2, steady, 92.0, 1.0, phase="search"),
        make_record(3, lucky, 91.0, 2.0, phase="ablate"),  # its mean is 91.67 with these, behind the steady one
        make_record(4, lucky, 89.0, 2.0, phase="ablate"),
    ]
    assert lucky.key not in {record.recipe_key for record in study.goals.front(records)}
    assert lucky.tricks in chosen(study, store, records)
    wanted = confirm_plan(study, store, records)([])
    fresh = {plain.key: 90.0, lucky.key: 91.0, steady.key: 92.0}
    latency = {plain.key: 3.0, lucky.key: 2.0, steady.key: 1.0}
    for at, run in enumerate(wanted):
        key = run.recipe.key
        shown = make_record(10 + at, run.recipe, fresh[key] + 0.1 * (at % 2), latency[key], phase="confirm")
        records.append(replace(shown, test_accuracy=fresh[key]))
    gap = gap_of(members_of(study, store, records, None), records)
    assert gap.recipes == 2
    assert gap.optimism.value == pytest.approx((4.0 + 0.0) / 2, abs=0.1)
