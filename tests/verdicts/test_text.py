"""What is text of verdicts: the same as their numbers, in words."""

import csv
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.believable import findings, mean, members, unknown, verdict
from tricksearch.records.measures import MEASURES
from tricksearch.report.tables import write_csv
from tricksearch.verdicts.findings import Findings, Gap, Mean, Minimal
from tricksearch.verdicts.table import COLUMNS, rows
from tricksearch.verdicts.text import sections
from tricksearch.verdicts.verdict import MOST
from tricksearch.verdicts.words import amount, verdict_word


def sentences(**changes) -> dict[str, list[str]]:
    """By heading, of findings that hold nothing but the changes."""
    return dict(sections(Findings(**changes)))


@pytest.mark.parametrize(
    ("given_verdict", "sentence"),
    [
        (verdict(), "label_smoothing helps: +0.42 points [0.18, 0.66], n = 48."),
        (verdict(says="hurts"), "label_smoothing hurts: -0.42 points [-0.66, -0.18], n = 48."),
        (
            verdict(says="equivalent"),
            "label_smoothing is equivalent to leaving it out: +0.02 points [-0.10, 0.14], margin 0.20 points, n = 48.",
        ),
        (
            verdict(says="undecided"),
            "label_smoothing is undecided: +0.11 points [-0.20, 0.42], n = 48; about 96 more runs would show a "
            "difference as large as the margin of 0.20 points.",
        ),
        (verdict("int8", "latency_ms"), "int8 helps on latency: -27.0 % [-28.9, -25.1], x 0.73, n = 48."),
        (verdict("se", "latency_ms", "hurts"), "se hurts on latency: +12.0 % [10.1, 13.9], n = 48."),
        (unknown("se", "it was never on. Add runs"), "se is undecided: no effect can be given, n = 48. Why: "
                                                     "it was never on. Add runs."),
        (
            verdict(says="undecided", n=2, low=None, high=None, more=None, why="one run an arm"),
            "label_smoothing is undecided: +0.11 points (no interval), n = 2. Why: one run an arm.",
        ),
        (verdict("se", comparison="leave_one_out"), "se in the recipe helps: +0.42 points [0.18, 0.66], n = 48."),
    ],
)  # fmt: skip
def test_a_verdict_reads_so(given_verdict, sentence):
    assert list(sentences(verdicts=(given_verdict,)).values()) == [[sentence]]


def test_a_trick_has_one_sentence_over_its_measures():
    own = (
        verdict(),
        verdict(measure="latency_ms", says="equivalent", effect=0.3),
        verdict(measure="train_seconds", says="hurts", n=40),
        verdict(measure="f1", says="equivalent"),
    )
    assert sentences(verdicts=own)["Screen"] == [
        "label_smoothing helps: +0.42 points [0.18, 0.66], n = 48; costs no latency (+0.3 % [-0.7, 1.3]); "
        "raises training time: +12.0 % [10.1, 13.9], n = 40; leaves macro F1 as it is (+0.02 points [-0.94, 0.98])."
    ]


def test_the_ladder_says_what_each_step_stands_on():
    steps = tuple(verdict(name, comparison="ladder") for name in ("cosine", "se"))
    first, second, third = sentences(verdicts=steps, order=("cosine", "se"))["Ladder"]
    assert first.endswith(": cosine, then se.")
    assert second.startswith("cosine on top of the baseline helps")
    assert third.startswith("se on top of cosine helps")


def test_pairs_that_interact_are_named_and_the_others_counted():
    text = " ".join(dict(sections(findings()))["Interactions"])
    assert "cosine + label_smoothing: synergy, together they gain more than the sum" in text
    assert "cosine + mixup: redundancy, together they gain less than the sum" in text
    assert "Other pairs, on accuracy: 1 equivalent to the sum, 1 undecided." in text
    assert "mixup + se" not in text


def test_a_minimal_recipe_holds_or_does_not():
    whole = findings().minimal
    holds = sentences(minimal=whole)["Minimal recipe"]
    assert holds[0] == "The minimal recipe is cosine + int8, which is record 17.1 without label_smoothing."
    assert holds[1].startswith("It holds: ")
    assert "Accuracy equivalent: +0.02 points [-0.10, 0.14], n = 10; latency equivalent: +0.0 %" in holds[1]
    not_run = Minimal("3", {}, ("a",), ("b",), (), False, "its runs failed")
    assert sentences(minimal=not_run)["Minimal recipe"][1] == "It is not shown to hold: its runs failed."
    assert "None of its tricks can go" in sentences(minimal=Minimal("3", {}, ("a",), (), (), True))["Minimal recipe"][0]
    assert "is no trick at all" in sentences(minimal=Minimal("3", {}, (), ("a",), (), True))["Minimal recipe"][0]


def test_runs_that_nobody_makes_are_not_counted():
    text = sentences(verdicts=(verdict(says="undecided", more=MOST),))["Screen"][0]
    assert "no feasible number of runs" in text
    assert f"{MOST:,}" not in text


def test_the_gap_is_called_luck_only_where_its_interval_is_above_zero():
    gap = findings().gap
    shown = sentences(gap=gap, members=members())["The front, and how sure it is"]
    assert (
        "Of 2 confirmed recipes of the front, 1 is on the front of what was confirmed with a chance of 90 % or more, "
        "by fresh seeds and within the margins; in doubt: record 17.1." in shown
    )
    assert (
        "The search showed 78.60 %, fresh seeds give 78.00 % (mean of 2 confirmed recipes): 0.60 points [0.10, 1.10] "
        "of it was luck, n = 2." in shown
    )
    assert "On fresh seeds, validation minus test is +0.50 points [0.20, 0.80], mean of 2 confirmed recipes." in shown
    unsure = " ".join(
        sentences(gap=Gap(Mean(0.1, -0.2, 0.4, 2), mean(0.5), 2, 78.1, 78.0))["The front, and how sure it is"]
    )
    assert "not shown to be luck" in unsure
    single = " ".join(
        sentences(gap=Gap(Mean(0.1, None, None, 1), Mean(0.5, None, None, 1), 1, 78.1, 78.0))[
            "The front, and how sure it is"
        ]
    )
    assert "cannot be told" in single
    assert "of it was luck" not in unsure + single


def test_simulated_findings_are_marked_in_the_table():
    assert sections(Findings()) == []
    assert {row["simulated"] for row in rows(findings())} == {False}
    assert {row["simulated"] for row in rows(findings(simulated=True))} == {True}


NUMBERS = st.one_of(st.none(), st.floats(-1e4, 1e4))


@given(
    says=st.sampled_from(["helps", "hurts", "equivalent", "undecided"]),
    measure=st.sampled_from(list(MEASURES)),
    comparison=st.sampled_from(
        ["screen", "leave_one_out", "add_one_in", "ladder", "interaction", "minimal", "fidelity"]
    ),
    effect=NUMBERS,
    low=NUMBERS,
    high=NUMBERS,
    more=st.one_of(st.none(), st.integers(0, 10**6)),
    n=st.integers(0, 10**6),
)
def test_whatever_the_numbers_the_sentence_stands(says, measure, comparison, effect, low, high, more, n):
    one = verdict("t", measure, says, comparison=comparison, effect=effect, low=low, high=high, more=more, n=n)
    ((_, (text,)),) = sections(Findings(verdicts=(one,)))
    assert text.endswith(".")
    assert not re.search(r"None|nan|-0\.00? |-0\.0+[\],]", text)
    if comparison == "interaction" and says in ("equivalent", "undecided"):
        return  # these pairs are counted
    assert f"n = {n}" in text
    assert ("[" in text) == (None not in (effect, low, high))  # an interval only where there is one


def test_numbers_are_told_with_their_unit():
    assert amount(-0.001, "accuracy") == "+0.00 points"
    assert amount(27.04, "train_seconds") == "+27.0 %"


def test_a_pair_is_synergy_or_redundancy():
    says = {each.trick: verdict_word(each) for each in findings().verdicts if each.comparison == "interaction"}
    assert list(says.values()) == ["redundancy", "synergy", "undecided", "adds up"]
    assert verdict_word(verdict()) == "helps"


def test_every_verdict_is_one_row_of_the_table(tmp_path):
    found = findings()
    table = rows(found)
    assert all(tuple(row) == COLUMNS for row in table)
    assert len(table) == len(found.verdicts) + len(found.minimal.verdicts) + 2 * len(found.shifts)
    # A verdict that stands both among all and in the minimal recipe's or a shift's own is one row.
    again = findings(verdicts=(*found.verdicts, *found.minimal.verdicts, found.shifts[0].short))
    assert rows(again) == table
    write_csv(found, tmp_path / "verdicts.csv")
    with (tmp_path / "verdicts.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    ladder = [row["trick"] for row in table if row["comparison"] == "ladder"]
    assert ladder == ["cosine", "label_smoothing", "int8", "int8"]  # in the order of the steps, not of the screen
    # As a screen gives them: measure by measure.
    by_measure = findings(verdicts=tuple(sorted(found.verdicts, key=lambda each: (each.measure, each.trick))))
    groups = [(row["comparison"], row["trick"]) for row in rows(by_measure)]
    assert len(set(groups)) == sum(one != two for one, two in zip(groups, [None, *groups], strict=False))  # together
    assert [row["trick"] for row in read] == [row["trick"] for row in table]
    assert [row["effect"] for row in read] == ["" if row["effect"] is None else str(row["effect"]) for row in table]
    assert [each.name for each in tmp_path.iterdir()] == ["verdicts.csv"]
