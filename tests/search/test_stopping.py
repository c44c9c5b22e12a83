"""The rule of early stopping, on made-up reports: what it must never do, and that it remembers nothing but them."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tricksearch.contract import InputError
from tricksearch.search.stopping import Stopping, ahead_of
from tricksearch.study.settings import StoppingSettings

EPOCHS = 18
RUNG = 2
OBJECTIVES = ("accuracy", "latency_ms")
# Few values, so that equal ones are met.
points = st.tuples(st.integers(0, 12).map(float), st.integers(1, 9).map(lambda tenths: tenths / 10))
rungs = st.lists(points, min_size=2, max_size=25)
rules = st.builds(
    StoppingSettings,
    rule=st.sampled_from(["nondominated", "accuracy_in_band"]),
    eta=st.integers(2, 4),
    min_epochs=st.just(RUNG),
    min_rivals=st.integers(1, 5),
)


def measures(point):
    return {"accuracy": point[0]} | ({} if point[1] is None else {"latency_ms": point[1]})


def reports(rung, start=1):
    return [(trial, RUNG, measures(point)) for trial, point in enumerate(rung, start)]


def stopping(rule, told=()):
    return Stopping(rule, OBJECTIVES, EPOCHS, told)


def dominated(point, others):
    return any(a >= point[0] and b <= point[1] and (a, b) != point for a, b in others)


@given(rules, rungs, st.randoms(use_true_random=False))
def test_the_order_in_which_the_others_came_does_not_matter(rule, rung, random):
    *others, last = reports(rung)
    mixed = random.sample(others, len(others))
    assert stopping(rule, others).report(*last) == stopping(rule, mixed).report(*last)


@given(rules, rungs, st.data())
def test_a_restart_at_any_moment_changes_no_answer(rule, rung, data):
    told = reports(rung)
    cut = data.draw(st.integers(0, len(told)))
    through = stopping(rule)
    answers = [through.report(*each) for each in told]
    again = stopping(rule, told[:cut])
    assert [again.report(*each) for each in told[cut:]] == answers[cut:]


@given(rules.filter(lambda rule: rule.rule == "nondominated"), rungs)
def test_what_no_other_dominates_is_never_stopped(rule, rung):
    *others, last = reports(rung)
    stopped = stopping(rule, others).report(*last) is not None
    if stopped:
        assert dominated(rung[-1], rung[:-1])
        assert len(others) >= rule.min_rivals


@given(rules, rungs)
def test_the_baseline_is_never_stopped_and_the_most_accurate_neither(rule, rung):
    others = reports(rung)
    assert stopping(rule, others).report(0, RUNG, {"accuracy": -1.0, "latency_ms": 100.0}) is None
    assert stopping(rule, others).report(99, RUNG, {"accuracy": 13.0, "latency_ms": 0.5}) is None


@given(rules.filter(lambda rule: rule.rule == "nondominated"), rungs)
def test_one_that_all_others_dominate_is_stopped_where_there_are_enough(rule, rung):
    answer = stopping(rule, reports(rung)).report(99, RUNG, {"accuracy": -1.0, "latency_ms": 1.0})
    enough = len(rung) >= rule.min_rivals and len(rung) >= math.ceil((len(rung) + 1) / rule.eta)
    assert (answer is not None) == enough
    if answer:
        assert f"it is behind {len(rung)} of the {len(rung)} others" in answer


@given(rungs)
def test_ranks_go_layer_by_layer_and_no_two_behind_the_front_are_equal(rung):
    numbered = dict(enumerate(rung))
    ranks = {trial: ahead_of(trial, numbered, (True, False)) for trial in numbered}
    ahead = [rank for rank in ranks.values() if rank]
    assert sorted(ahead) == list(range(len(rung) - len(ahead), len(rung)))
    for trial, point in numbered.items():
        assert all(ranks[other] <= ranks[trial] for other in numbered if dominated(point, [numbered[other]]))


def test_the_front_goes_on_however_wide_it_is():
    rule = StoppingSettings(min_rivals=1)
    told = reports([(float(step), step / 10) for step in range(1, 10)])
    assert stopping(rule, told).report(99, RUNG, {"accuracy": 4.5, "latency_ms": 0.45}) is None
    reason = stopping(rule, told).report(99, RUNG, {"accuracy": 4.0, "latency_ms": 0.45})
    assert reason == (
        "stopped after epoch 2 of 18: with 4.00 % and 0.450 ms it is behind 9 of the 9 others that came so far"
    )


def test_within_a_layer_what_stands_far_from_the_others_comes_first():
    layers = {1: (100.0, 0.1), 2: (90.0, 1.0), 3: (89.0, 0.9), 4: (80.0, 0.2), 5: (60.0, 0.11)}
    order = sorted(layers, key=lambda trial: ahead_of(trial, layers, (True, False)))
    assert order == [1, 2, 5, 4, 3]  # the most accurate, the other end, the middle, and last what is beside the first


def test_without_a_foreseen_latency_accuracy_alone_decides_among_all():
    rule = StoppingSettings(min_rivals=3)
    told = reports([(50.0, 0.1), (60.0, 0.5), (70.0, None)])
    answer = stopping(rule, told).report(9, RUNG, {"accuracy": 55.0})
    assert answer is not None
    assert "with 55.00 % it is behind 2 of the 3 others" in answer
    assert stopping(rule, told).report(9, RUNG, {"accuracy": 65.0}) is None
    # The two that have a latency are too few to say anything of one that has it.
    assert stopping(rule, told).report(9, RUNG, {"accuracy": 1.0, "latency_ms": 5.0}) is None


def test_in_a_band_only_rivals_of_similar_latency_count():
    rule = StoppingSettings(rule="accuracy_in_band", min_rivals=3, band=1.2)
    told = reports([(90.0, 1.0), (80.0, 1.1), (70.0, 1.19), (99.0, 0.8), (99.0, 1.3)])
    assert stopping(rule, told).report(9, RUNG, {"accuracy": 85.0, "latency_ms": 1.0}) is None
    answer = stopping(rule, told).report(9, RUNG, {"accuracy": 75.0, "latency_ms": 1.0})
    assert answer is not None
    assert "it is behind 2 of the 3 others of similar cost" in answer
    assert stopping(rule, told).report(9, RUNG, {"accuracy": 1.0, "latency_ms": 0.5}) is None


def test_in_a_band_every_cost_must_be_similar():
    rule = StoppingSettings(rule="accuracy_in_band", min_epochs=RUNG, min_rivals=2, band=1.2)
    three = (*OBJECTIVES, "params")
    poor = {"accuracy": 1.0, "latency_ms": 1.0, "params": 100.0}
    near = [(trial, RUNG, {"accuracy": 9.0, "latency_ms": 1.1, "params": 110.0}) for trial in (1, 2)]
    large = [(trial, RUNG, measures | {"params": 1000.0}) for trial, _, measures in near]
    assert Stopping(rule, three, EPOCHS, near).report(9, RUNG, poor) is not None
    assert Stopping(rule, three, EPOCHS, large).report(9, RUNG, poor) is None


def test_a_second_report_replaces_the_first_and_other_epochs_do_not_count():
    rule = StoppingSettings(min_rivals=2, rule="nondominated")
    told = [(1, RUNG, {"accuracy": 9.0, "latency_ms": 1.0}), *reports([(9.0, 1.0), (9.0, 1.0)], start=2)]
    poor = {"accuracy": 5.0, "latency_ms": 1.0}
    assert stopping(rule, told).report(9, RUNG, poor) is not None
    assert stopping(rule, told).report(9, 3, poor) is None  # no rung
    assert stopping(rule, told).report(9, 6, poor) is None  # a rung that nobody else has come to
    again = [*told, *((trial, RUNG, {"accuracy": 1.0, "latency_ms": 1.0}) for trial in (1, 2, 3))]
    assert stopping(rule, again).report(9, RUNG, poor) is None


@settings(max_examples=200)
@given(st.integers(1, 400), st.integers(2, 10), st.none() | st.integers(1, 50))
def test_rungs_lie_eta_apart_and_before_the_end(epochs, eta, first):
    found = StoppingSettings(eta=eta, min_epochs=first).rungs(epochs)
    assert all(0 < epoch < epochs for epoch in found)
    assert all(later == eta * earlier for earlier, later in itertools.pairwise(found))
    assert not found or found[-1] * eta >= epochs
    assert StoppingSettings(rule="none", eta=eta).rungs(epochs) == ()


def test_how_a_study_asks_for_it(make_study):
    assert make_study().search.stopping.rule == "none"
    assert make_study(search={"stopping": "none"}).search.stopping.rungs(50) == ()
    assert make_study(search={"stopping": "accuracy_in_band"}).search.stopping.rule == "accuracy_in_band"
    asked = make_study(search={"stopping": {"eta": 4}})
    assert (asked.search.stopping.rule, asked.search.stopping.eta) == ("nondominated", 4)
    assert make_study().difference(asked.model_dump(mode="json")) is None


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"search": {"stopping": "asha"}}, r"got 'asha'"),
        ({"search": {"stopping": {"eta": 1}}}, "must be at least 2, got 1"),
        ({"search": {"stopping": {"et": 3}}}, "Did you mean 'eta'"),
        ({"search": {"stopping": "nondominated"}, "objectives": ["latency_ms", "params"]}, "Add accuracy or f1"),
        ({"search": {"stopping": "nondominated"}, "train": {"epochs": 1}}, "of 1 epochs none is as late as 1"),
        ({"search": {"stopping": {"min_epochs": 20}}, "train": {"epochs": 20}}, "none is as late as 20"),
    ],
)
def test_what_cannot_be_asked_for(make_study, keys, words):
    with pytest.raises(InputError, match=words) as error:
        make_study(**keys)
    assert "study.yaml, line" in str(error.value)
