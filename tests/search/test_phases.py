"""The phases of a study: what they run, how they go on, what they find. Measures are simulated."""

import random

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.search.ear import Ear
from tricksearch.contract import InputError
from tricksearch.search.job import simulated
from tricksearch.search.loop import Loop
from tricksearch.search.outputs import front_of
from tricksearch.search.phases.findings import findings_of
from tricksearch.search.phases.phase import mark_of
from tricksearch.search.phases.screen import Screen
from tricksearch.search.space import Space
from tricksearch.search.store import Store

ALL = ["screen", "search", "ablate", "confirm"]
NOISE = {"latency_ms": {"base": 1.0, "sd": 0.5}, "train_seconds": {"base": 10.0, "sd": 1.0}}


def planted(sd=0.1, optimism=0.0, **effects):
    accuracy = {"base": 76.0, "sd": sd, "effects": effects}
    return {"measures": {"accuracy": accuracy, **NOISE}, "optimism": optimism}


@pytest.fixture
def make_simulated(make_study):
    def make(only=ALL, effects=None, **keys):
        given = {"screen": {"runs": 16}, "search": {"trials": 12, "startup": 4}, "ablate": {"seeds": 3}}
        simulation = effects if effects is not None else planted(left=1.0, solo=0.8)
        given |= {"trial": "simulated", "simulation": simulation, "phases": list(only)}
        return make_study(**(given | keys))

    return make


@pytest.fixture
def make_loop(tmp_path, registry_of):
    stores = []

    def make(study, name="store.db"):
        store = Store.at(tmp_path / name)
        stores.append(store)
        return Loop(study, registry_of(study), store, tmp_path, Ear()), store

    yield make
    for store in stores:
        store.close()


def play(loop, at_a_time=1, order=None, count=10_000):
    """Run the loop's jobs, some at a time, which end in an order of their own."""
    running, done = [], 0
    while done < count:
        while len(running) < at_a_time and (job := loop.next()) is not None:
            running.append(job)
        if not running:
            break
        job = running.pop(order.randrange(len(running)) if order else 0)
        loop.finish(simulated(job))
        done += 1
    return done


def verdict_on(findings, comparison, trick, measure="accuracy"):
    return next(
        each
        for each in findings.verdicts
        if (each.comparison, each.trick, each.measure) == (comparison, trick, measure)
    )


def test_a_study_runs_all_of_its_phases_and_finds_what_was_planted(make_simulated, make_loop):
    study = make_simulated(confirm={"seeds": 3}, effects=planted(left=1.0, solo=0.8, optimism=0.5))
    loop, store = make_loop(study)
    play(loop, at_a_time=2)
    assert loop.over
    records = store.records()
    assert [name for name in dict.fromkeys(record.phase for record in records) if name != "baseline"] == ALL
    assert [record.trial for record in records if record.variant == 0] == list(range(len({r.trial for r in records})))
    designed = [mark_of(record) for record in records if record.phase not in ("baseline", "search")]
    assert len({seed for _, _, seed in designed}) == len(designed), "seeds are drawn afresh"
    assert {record.phase for record in records if record.test_accuracy is not None} == {"confirm"}
    findings = findings_of(study, store)
    assert findings.simulated
    assert verdict_on(findings, "screen", "left").says == "helps"
    assert verdict_on(findings, "screen", "solo").says == "helps"
    assert verdict_on(findings, "screen", "right").says != "helps"
    assert verdict_on(findings, "screen", "right", "latency_ms").says == "equivalent"
    for comparison in ("leave_one_out", "add_one_in", "ladder"):
        assert verdict_on(findings, comparison, "solo").effect == pytest.approx(0.8, abs=0.35)
    assert findings.gap.split.low < 0.5 < findings.gap.split.high
    assert {member.role for member in findings.members} >= {"baseline", "front"}
    assert all(member.test is not None for member in findings.members)
    assert findings.members[0].tricks == ()


def test_what_was_confirmed_never_moves_the_front(make_simulated, make_loop):
    study = make_simulated()
    loop, store = make_loop(study)
    play(loop)
    records = store.records()
    kept = [record for record in records if record.phase != "confirm"]
    assert len(kept) < len(records)
    assert front_of(records, study) == front_of(kept, study)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 40), max_size=4), order=st.integers(0, 100))
def test_a_study_that_is_cut_off_anywhere_runs_the_same_designs(make_simulated, make_loop, tmp_path, cuts, order):
    recipe = tmp_path / "whole.yaml"
    study = make_simulated(("screen", "ablate", "confirm"), screen={"runs": 24, "short_epochs": 3})
    tricks = {"left": {"factor": 1.5}, "solo": {"kind": "a"}}
    recipe.write_text(study.recipe(tricks).to_yaml())
    study = study.model_copy(update={"ablate": study.ablate.model_copy(update={"around": str(recipe)})})
    runs = []
    for name, cut in (("whole", []), ("cut", cuts)):
        path = f"{name}-{order}-{'-'.join(map(str, cuts))}.db"
        (tmp_path / path).unlink(missing_ok=True)
        for count in [*cut, 10_000]:
            loop, store = make_loop(study, path)
            play(loop, 3, random.Random(order), count)
        records = store.records()
        marks = [mark_of(record) for record in records]
        assert len(set(marks)) == len(marks)
        runs.append({mark: record.accuracy for mark, record in zip(marks, records, strict=True)}.keys())
    assert runs[0] == runs[1]


def test_a_screen_stops_when_every_trick_is_decided(make_simulated, make_loop, registry_of):
    study = make_simulated(["screen"], planted(sd=0.01, left=2.0, right=-2.0, solo=2.0), screen={"runs": 64})
    loop, store = make_loop(study)
    play(loop)
    sizes = laid_out(study, registry_of).design.sizes
    runs = sum(record.phase == "screen" for record in store.records())
    assert runs in [sum(sizes[:count]) for count in range(1, len(sizes))], "whole blocks, and not all of them"
    assert {verdict_on(findings_of(study, store), "screen", name).says for name in ("left", "solo")} == {"helps"}
    assert verdict_on(findings_of(study, store), "screen", "right").says == "hurts"


def test_an_arm_of_which_all_runs_failed_gets_no_interval(make_simulated, make_loop):
    study = make_simulated(["screen"])
    loop, store = make_loop(study)
    while (job := loop.next()) is not None:
        records = simulated(job)
        if "solo" in job.recipe["tricks"]:
            records = [type(each)(**(vars(each) | {"status": "failed", "reason": "broke"})) for each in records]
        loop.finish(records)
    findings = findings_of(study, store)
    verdict = verdict_on(findings, "screen", "solo")
    assert verdict.says == "undecided"
    assert (verdict.low, verdict.high) == (None, None)
    assert verdict.why
    assert any("broke" in note for note in findings.notes)
    assert verdict_on(findings, "screen", "left").says == "helps"


def test_the_minimal_recipe_leaves_out_what_does_nothing(make_simulated, make_loop, tmp_path):
    recipe = tmp_path / "whole.yaml"
    study = make_simulated(["ablate"], planted(sd=0.05, left=1.5), verdicts={"margins": {"accuracy": 0.5}})
    recipe.write_text(study.recipe({"left": {"factor": 1.5}, "solo": {"kind": "a"}}).to_yaml())
    study = study.model_copy(update={"ablate": study.ablate.model_copy(update={"around": str(recipe), "seeds": 6})})
    loop, store = make_loop(study)
    play(loop)
    minimal = findings_of(study, store).minimal
    assert (minimal.tricks, minimal.dropped, minimal.holds) == (("left",), ("solo",), True)


def test_short_and_long_screens_show_a_trick_whose_sign_changes(make_simulated, make_loop):
    effects = planted(sd=0.02, left=1.0, right=1.0, solo=1.0) | {"short": {"accuracy": {"solo": -2.0}}}
    study = make_simulated(["screen"], effects, screen={"runs": 24, "short_epochs": 2})
    loop, store = make_loop(study)
    play(loop)
    shifts = {shift.trick: shift.says for shift in findings_of(study, store).shifts}
    assert shifts["solo"] == "sign changes"
    assert shifts["left"] != "sign changes"
    assert all(record.recipe["train"]["epochs"] == 2 for record in store.records() if record.phase == "fidelity")
    assert all(record.phase != "fidelity" for record in front_of(store.records(), study))


def laid_out(study, registry_of):
    return Screen(study, Space.of(study, registry_of(study)))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"screen": {"runs": 4}}, "screen.runs"),
        ({"phases": ["search", "screen"]}, "in that order"),
        ({"phases": []}, "needs a phase"),
        ({"verdicts": {"margins": {"accuracy": 0}}}, "margin of accuracy is 0"),
        ({"verdicts": {"margins": {"acuracy": 1}}}, "accuracy"),
        ({"ablate": {"seeds": 1}}, "ablate.seeds"),
        ({"trial": "train"}, "simulation"),
        ({"simulation": planted(lefft=1.0)}, "left"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(make_simulated, registry_of, keys, said):
    with pytest.raises(InputError) as refused:
        laid_out(make_simulated(**keys), registry_of)
    assert said in str(refused.value)


def test_an_ablation_around_nothing_is_refused_or_said(make_simulated, make_loop):
    study = make_simulated(["ablate"], ablate={"around": "17"})
    with pytest.raises(InputError, match="17"):
        make_loop(study)


def test_the_search_is_told_of_the_screen(make_simulated, make_loop):
    study = make_simulated(["screen", "search"])
    loop, store = make_loop(study)
    play(loop)
    records = store.records()
    searched = {yaml.safe_dump(each.tricks) for each in records if each.phase == "search" and each.variant == 0}
    screened = {yaml.safe_dump(each.tricks) for each in records if each.phase == "screen"}
    assert len(searched) == 11
    assert not searched & screened, "no recipe of the screen is run again"
