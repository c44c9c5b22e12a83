"""The phases of a study: what they run, how they go on, what they find. Measures are simulated."""

import random
from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.search.observer import Listener
from tricksearch.contract import InputError
from tricksearch.records.averages import shown
from tricksearch.records.constraints import not_in_force
from tricksearch.report.headline import details
from tricksearch.report.view import make_view
from tricksearch.search.loop import Loop
from tricksearch.search.phases.findings import findings_of
from tricksearch.search.phases.phase import mark_of
from tricksearch.search.phases.screen import Screen
from tricksearch.search.space.space import Space
from tricksearch.store.store import Store
from tricksearch.trial.simulated import simulate

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
        return Loop(study, registry_of(study), store, tmp_path, Listener()), store

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
        loop.finish(simulate(job))
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
    assert study.goals.front(records) == study.goals.front(kept)


@settings(max_examples=12)
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
        runs.append(set(marks))
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
        records = simulate(job)
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


def test_what_is_counted_is_decided_without_an_interval(make_simulated, make_loop, registry_of, tmp_path):
    effects = planted(sd=0.02, left=4.0)
    effects["measures"]["macs"] = {"base": 1e9, "effects": {"solo": -40.0}}
    keys = {"objectives": ["accuracy", "macs"], "screen": {"runs": 64}, "tricks": ["left", "solo"]}
    study = make_simulated(["screen", "ablate"], effects, **keys)
    recipe = tmp_path / "whole.yaml"
    recipe.write_text(study.recipe({"left": {"factor": 1.5}, "solo": {"kind": "a"}}).to_yaml())
    study = study.model_copy(update={"ablate": study.ablate.model_copy(update={"around": str(recipe)})})
    loop, store = make_loop(study)
    play(loop)
    found = findings_of(study, store)
    runs = sum(record.phase == "screen" for record in store.records())
    assert runs < sum(laid_out(study, registry_of).design.sizes), "it does not wait for noise that never comes"
    told = {each.trick: each for each in found.verdicts if (each.comparison, each.measure) == ("screen", "macs")}
    assert (told["solo"].says, told["solo"].low, told["solo"].n) == ("helps", None, runs)
    assert told["solo"].effect == pytest.approx(-40.0)
    assert (told["left"].says, told["left"].effect) == ("equivalent", pytest.approx(0.0))
    assert found.minimal is None, "no trick can be spared"
    assert [each.says for each in found.verdicts if (each.comparison, each.measure) == ("leave_one_out", "macs")] == [
        "equivalent",
        "helps",
    ]


def test_where_nothing_was_decided_the_runs_of_the_whole_screen_are_told(make_simulated, make_loop):
    study = make_simulated(["screen"], planted(sd=3.0, left=0.1), screen={"runs": 16})
    loop, store = make_loop(study)
    play(loop)
    found = findings_of(study, store)
    (note,) = [each for each in found.notes if "could be decided" in each]
    own = [each for each in found.verdicts if (each.comparison, each.measure) == ("screen", "accuracy")]
    assert min(each.n for each in own) < 16, "rivals share their runs"
    assert f"with 16 runs: a screen of {16 + max(each.more for each in own):,} or more" in note


def test_an_ablation_that_the_study_no_longer_asks_for_is_no_longer_told(make_simulated, make_loop, tmp_path):
    study = make_simulated(["search", "ablate"], planted(sd=0.01, left=-5.0, right=-5.0, solo=-5.0))
    recipe = tmp_path / "whole.yaml"
    recipe.write_text(study.recipe({"left": {"factor": 1.5}}).to_yaml())
    around = study.model_copy(update={"ablate": study.ablate.model_copy(update={"around": str(recipe)})})
    loop, store = make_loop(around)
    play(loop)
    assert {each.comparison for each in findings_of(around, store).verdicts} >= {"leave_one_out", "add_one_in"}
    store.close()
    best = study.model_copy(update={"ablate": study.ablate.model_copy(update={"around": "best"})})
    loop, store = make_loop(best)
    play(loop)
    found = findings_of(best, store)
    assert found.verdicts == ()
    assert "Nothing was ablated" in " ".join(found.notes)


def test_a_screen_whose_looks_were_switched_off_begins_anew(make_simulated, make_loop, registry_of):
    study = make_simulated(["screen"], planted(sd=3.0), screen={"runs": 32})
    loop, store = make_loop(study)
    play(loop, count=17)
    store.close()
    once = study.model_copy(update={"screen": study.screen.model_copy(update={"sequential": False})})
    loop, store = make_loop(once)
    play(loop)
    assert sum(record.phase == "screen" for record in store.records()) == 16 + 32
    block, alike = (
        laid_out(study.model_copy(update={"screen": study.screen.model_copy(update=keys)}), registry_of).plan([])
        for keys in ({"runs": 8}, {"runs": 8, "sequential": False})
    )
    assert block == alike, "of a single block there is one look either way"
    assert "laid out otherwise" in " ".join(findings_of(once, store).notes)


def test_validation_minus_test_is_a_mean_over_recipes(make_simulated, make_loop):
    study = make_simulated(["search", "confirm"], planted(sd=0.3, optimism=1.0, left=1.0, solo=0.5))
    loop, store = make_loop(study)
    play(loop)
    confirmed = {str(record.tricks) for record in store.records() if record.phase == "confirm" and record.tricks}
    gap = findings_of(study, store).gap
    assert gap.split.n == len(confirmed)
    assert gap.split.value == pytest.approx(1.0, abs=0.5)
    assert gap.optimism.value == pytest.approx(gap.seen - gap.fresh)


def test_short_and_long_screens_show_a_trick_whose_sign_changes(make_simulated, make_loop):
    effects = planted(sd=0.02, left=1.0, right=1.0, solo=1.0) | {"short": {"accuracy": {"solo": -2.0}}}
    study = make_simulated(["screen"], effects, screen={"runs": 24, "short_epochs": 2})
    loop, store = make_loop(study)
    play(loop)
    shifts = {shift.trick: shift.says for shift in findings_of(study, store).shifts}
    assert shifts["solo"] == "sign changes"
    assert shifts["left"] == "same"
    assert all(record.recipe["train"]["epochs"] == 2 for record in store.records() if record.phase == "fidelity")
    assert all(record.phase != "fidelity" for record in study.goals.front(store.records()))


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
        ({"screen": {"short_epochs": 8}, "train": {"epochs": 8}}, "'short_epochs' is 8"),
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


def test_a_search_whose_baseline_fails_tries_it_again_and_its_limits_hold(make_simulated, make_loop):
    """Its first try fails here, as a worker's would; the limit is then relative to the try that finished."""
    study = make_simulated(["search"], constraints=["latency_ms <= 0.5 * baseline"])
    loop, store = make_loop(study)
    first = loop.next()
    (failed,) = simulate(first)[:1]
    loop.finish([replace(failed, status="failed", reason="no luck", measures={})])
    play(loop)
    tries = [record for record in store.records() if record.phase == "baseline"]
    assert [(record.status, record.seed) for record in tries] == [("failed", 0), ("finished", 1)]
    assert not_in_force(study.constraints, store.records()) == ""
    again, _ = make_loop(study)
    assert again.over, "a resumed run wants nothing more of it"


def test_a_baseline_that_never_finishes_is_told(make_simulated, make_loop):
    study = make_simulated(["search"], constraints=["latency_ms <= 0.5 * baseline"])
    loop, store = make_loop(study)
    while (job := loop.next()) is not None:
        records = simulate(job)
        lost = [replace(records[0], status="failed", reason="no luck", measures={})]
        loop.finish(lost if job.phase == "baseline" else records)
    tries = [record.status for record in store.records() if record.phase == "baseline"]
    assert tries == ["failed"] * 3
    view = make_view(shown(store.records()), study.objectives, study.constraints)
    told = " ".join(details(view, study.model_dump(mode="json")))
    assert "Not in force: latency_ms <= 0.5 * baseline. The baseline" in told
    assert "keeps them" not in told
