import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tricksearch.search.phases.proposer import Proposer
from tricksearch.search.space.space import Space


def run(proposer, make_record, count, score):
    """Ask and tell; some trials fail."""
    records = []
    for _ in range(count):
        proposal = proposer.propose()
        if proposal is None:
            break
        status = "failed" if proposal.trial % 7 == 5 else "finished"
        made = {"status": status, "phase": proposal.phase}
        record = make_record(proposal.trial, proposal.recipe, *score(proposal.recipe), **made)
        proposer.tell(record)
        records.append(record)
    return records


def score(recipe):
    left = recipe.tricks.get("left", {}).get("factor", 0.0)
    return 80 + 5 * left - 3 * ("solo" in recipe.tricks), 1 + left


def keys(records):
    from tricksearch.records.recipe import Recipe

    return [Recipe.model_validate(record.recipe).key for record in records]


@pytest.mark.parametrize("sampler", ["auto", "tpe", "random", "nsga2"])
def test_the_baseline_comes_first_and_no_recipe_comes_twice(make_study, registry_of, make_record, sampler):
    study = make_study(search={"sampler": sampler, "startup": 6})
    proposer = Proposer(study, Space.of(study, registry_of(study)))
    first = proposer.propose()
    assert (first.trial, first.phase, first.recipe.tricks) == (0, "baseline", {})
    records = run(proposer, make_record, 40, score)
    assert [record.trial for record in records] == list(range(1, 41))
    assert len(set(keys(records)) | {first.recipe.key}) == 41


def failing(proposer, make_record, tries):
    """The proposals of tries of the baseline, all of which fail."""
    made = []
    for _ in range(tries):
        made.append(proposer.propose())
        assert made[-1].phase == "baseline"
        proposer.baseline_ended("failed")
        proposer.tell(make_record(made[-1].trial, made[-1].recipe, phase="baseline", status="failed"))
    return made


def test_a_baseline_that_failed_is_tried_again(make_study, registry_of, make_record):
    study = make_study(search={"startup": 6})
    space = Space.of(study, registry_of(study))
    proposer = Proposer(study, space)
    failing(proposer, make_record, 1)
    again = proposer.propose()
    assert (again.phase, again.trial, again.seed) == ("baseline", 1, 1)
    assert proposer.propose().phase == "search", "others go on beside it"
    proposer.baseline_ended("finished")
    assert [proposer.propose().phase for _ in range(5)] == ["search"] * 5
    proposer = Proposer(study, space)
    assert [made.trial for made in failing(proposer, make_record, 3)] == [0, 1, 2]
    assert proposer.propose().phase == "search", "three tries are enough"
    stored = [make_record(0, again.recipe, phase="baseline", status="failed")]
    assert Proposer(study, space, stored).propose().phase == "baseline", "a resumed run tries it too"
    stored.append(make_record(1, again.recipe, phase="baseline"))
    assert Proposer(study, space, stored).propose().phase == "search"


def test_variants_of_a_baseline_that_failed_are_variants_of_its_next_try(make_study, registry_of, make_record):
    study = make_study(tricks={"int8": {"mode": "static"}, "solo": None})
    proposer = Proposer(study, Space.of(study, registry_of(study)))
    (first,) = failing(proposer, make_record, 1)
    assert first.variants
    assert proposer.propose().variants == first.variants


def test_the_start_draws_every_option_equally_often(make_study, registry_of):
    study = make_study(search={"startup": 12})
    space = Space.of(study, registry_of(study))
    proposer = Proposer(study, space)
    drawn = [proposer.propose().recipe.tricks for _ in range(13)][1:]
    assert sum("left" in tricks for tricks in drawn) >= 4
    # A recipe that would come twice is drawn anew, so the discrete switches may be off by those few.
    assert 3 <= sum("solo" in tricks for tricks in drawn) <= 9


def test_a_space_that_is_used_up_ends_the_search(make_study, registry_of, make_record):
    study = make_study(tricks=["right", "solo"])
    space = Space.of(study, registry_of(study))
    records = run(Proposer(study, space), make_record, 100, score)
    assert len(records) == space.size() == 9
    assert len(set(keys(records))) == 9


@settings(max_examples=15)
@given(count=st.integers(1, 25), gone=st.sets(st.integers(0, 24)))
def test_a_rebuilt_proposer_repeats_nothing_and_fills_the_gaps(make_study_once, make_record, count, gone):
    study, registry = make_study_once
    space = Space.of(study, registry)
    records = run(Proposer(study, space), make_record, count, score)
    kept = [record for record in records if record.trial not in gone]  # the others were running when it was killed
    resumed = run(Proposer(study, space, kept), make_record, 10, score)
    everything = keys(kept) + keys(resumed)
    assert len(set(everything)) == len(everything)
    numbers = sorted(record.trial for record in kept + resumed)
    assert len(set(numbers)) == len(numbers)
    missing = sorted(set(range(count)) - {record.trial for record in kept})
    assert [record.trial for record in resumed][: len(missing)] == missing[:10]


@pytest.fixture
def make_study_once(make_study, registry_of):
    study = make_study(search={"startup": 4})
    return study, registry_of(study)


def test_the_sampler_learns_from_stored_records(make_study, registry_of, make_record):
    """After 60 records in which `solo` ruins accuracy and costs latency, it is drawn less than half the time."""
    study = make_study(search={"startup": 10, "seed": 3})
    space = Space.of(study, registry_of(study))

    def ruined(recipe):
        return (20.0, 9.0) if "solo" in recipe.tricks else (90.0 + random.Random(recipe.key).random(), 1.0)

    stored = run(Proposer(study, space), make_record, 60, ruined)
    drawn = run(Proposer(study, space, stored), make_record, 30, ruined)
    assert sum("solo" in record.tricks for record in drawn) <= 8


@pytest.mark.parametrize("sampler", ["auto", "local", "tpe"])
def test_what_was_told_is_not_taken_for_running(make_study, registry_of, make_record, sampler):
    """A recipe holds rounded numbers, so what is told is not quite what the sampler proposed."""
    study = make_study(search={"sampler": sampler, "startup": 4})
    proposer = Proposer(study, Space.of(study, registry_of(study)))
    records = run(proposer, make_record, 20, score)
    assert any("left" in record.tricks for record in records)
    made = proposer._sampler
    assert not (made._asked if sampler == "tpe" else made.pending)


def test_a_record_that_claims_to_be_finished_without_numbers_is_refused(make_study, registry_of, make_record):
    study = make_study()
    proposer = Proposer(study, Space.of(study, registry_of(study)))
    proposer.propose()
    proposal = proposer.propose()
    with pytest.raises(ValueError, match="nan"):
        proposer.tell(make_record(proposal.trial, proposal.recipe, float("nan"), 1.0))
