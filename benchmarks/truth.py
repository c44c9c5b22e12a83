"""A screen, and a plain search with importances, against the truth: a full factorial of five tricks on digits.

    python -m benchmarks truth [--seeds 5]

The truth is the mean effect of each trick over all 32 combinations of the others, each trained with five seeds. The
screen may spend a quarter of the truth's epochs. The search, with TPE, has as many trainings as the screen; of it are
taken what people read off searches: PED-ANOVA and fANOVA importances, and the difference of means with and without.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from benchmarks.support.common import ROOT, Row, hardware_line, print_rows, run_python
from tricksearch.records.record import Record
from tricksearch.search.phases.findings import findings_of
from tricksearch.store.run import StoredRun
from tricksearch.verdicts.findings import Findings
from tricksearch.verdicts.verdict import Verdict

TRICKS = ("cutmix", "focal", "label_smoothing", "onecycle", "se")
SHARE = 0.25  # of the truth's epochs, at most
MEASURES = ("accuracy", "latency_ms")


def main(arguments: list[str]) -> list[Row]:
    """Run the truth, the screen and the search, each as a study of its own."""
    parser = argparse.ArgumentParser(
        prog="truth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each of the 32 combinations")
    asked = parser.parse_args(arguments)
    print(hardware_line())
    runs = 2 ** len(TRICKS) * asked.seeds
    screen = {"sequential": False}
    truth, true_records = _run({"phases": ["screen"], "screen": {**screen, "design": "full", "runs": runs}})
    findings, records = _run(
        {"phases": ["screen"], "screen": {**screen, "runs": int(SHARE * runs)}, "search": {"seed": 1}}
    )
    trials = sum(record.phase == "screen" for record in records)
    search = {"sampler": "tpe", "trials": trials, "startup": 10, "seed": 2}
    _, searched = _run({"phases": ["search"], "search": search})
    spent = sum(record.spent_epochs for record in records) / sum(
        true_record.spent_epochs for true_record in true_records
    )
    rows = [
        Row("truth: the screen's share of its epochs", f"{spent:.3f}", target=f"at most {SHARE}", n=f"{trials}, {runs}")
    ]
    for measure in MEASURES:
        rows += _compared(
            _by_trick(truth, measure), _by_trick(findings, measure), searched, measure, f"{trials}, {runs}"
        )
    print_rows(f"Effects of {', '.join(TRICKS)} on digits; the truth is {runs} trainings, n: screen, truth", rows)
    return rows


def _run(keys: dict[str, Any]) -> tuple[Findings, list[Record]]:
    with tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as scratch:
        study: dict[str, Any] = yaml.safe_load((ROOT / "studies/digits.yaml").read_text())
        path, folder = Path(scratch) / "truth.yaml", Path(scratch) / "run"
        path.write_text(yaml.safe_dump(study | {"tricks": list(TRICKS), "variants": "none"} | keys))
        run_python("-c", "from tricksearch.cli import main; main()", "run", str(path), "--out", str(folder), "--quiet")
        with StoredRun.open(folder) as stored:
            records = stored.records()
            failed = [record for record in records if not record.finished]
            if failed:
                raise RuntimeError(f"{len(failed)} trials failed: {failed[0].reason}")
            return findings_of(stored.study, stored.store), records


def _by_trick(findings: Findings, measure: str) -> dict[str, Verdict]:
    return {
        verdict.trick: verdict
        for verdict in findings.verdicts
        if (verdict.comparison, verdict.measure) == ("screen", measure)
    }


def _compared(
    truth: dict[str, Verdict], estimated: dict[str, Verdict], searched: Sequence[Record], measure: str, n: str
) -> list[Row]:
    for name in TRICKS:
        true, mine = truth[name], estimated[name]
        print(
            f"{measure:>10} {name:>16}: truth {true.effect:+7.2f} [{true.low_alone:+.2f}, {true.high_alone:+.2f}], "
            f"screen {mine.effect:+7.2f} [{mine.low_alone:+.2f}, {mine.high_alone:+.2f}] {mine.says}; "
            f"search {_difference(searched, name, measure):+7.2f}"
        )
    known = {name: float(verdict.effect or 0) for name, verdict in truth.items()}
    sure = [
        name for name, verdict in truth.items() if float(verdict.low_alone or 0) * float(verdict.high_alone or 0) > 0
    ]
    agree = sum(known[name] * float(estimated[name].effect or 0) > 0 for name in sure)
    theirs = sum(known[name] * _difference(searched, name, measure) > 0 for name in sure)
    covered = sum(_covers(estimated[name], truth[name]) for name in TRICKS)
    inside = sum(
        float(estimated[name].low_alone or 0) <= known[name] <= float(estimated[name].high_alone or 0)
        for name in TRICKS
    )
    error = fmean(abs(float(estimated[name].effect or 0) - known[name]) for name in TRICKS)
    other = fmean(abs(_difference(searched, name, measure) - known[name]) for name in TRICKS)
    unit = "points" if measure == "accuracy" else "%"
    rows = [
        Row(f"truth, {measure}: signs that agree, of the {len(sure)} that the truth is sure of", str(agree),
            f"{theirs} (difference of means in a search)", n=n),
        Row(f"truth, {measure}: the truth's estimates within the screen's 95 % intervals",
            f"{inside} of {len(TRICKS)}", n=n),
        Row(f"truth, {measure}: effects that agree, the truth's own error considered",
            f"{covered} of {len(TRICKS)}", n=n),
        Row(f"truth, {measure}: mean error of an effect", f"{error:.2f} {unit}", f"{other:.2f} {unit}", n=n),
    ]  # fmt: skip
    sizes = [abs(known[name]) for name in TRICKS]
    rank = _rank_correlation([abs(float(estimated[name].effect or 0)) for name in TRICKS], sizes)
    for evaluator, values in _importances(searched, measure).items():
        theirs_rank = _rank_correlation([values[name] for name in TRICKS], sizes)
        rows.append(Row(f"truth, {measure}: rank correlation with the sizes of the effects; peer {evaluator}",
                        f"{rank:.2f}", f"{theirs_rank:.2f}", n=n))  # fmt: skip
    return rows


def _covers(mine: Verdict, true: Verdict) -> bool:
    """Whether the difference is within what both are unsure of: the truth has an error as well."""
    if None in (mine.effect, true.effect, mine.high_alone, mine.low_alone, true.high_alone, true.low_alone):
        return False
    half = [(float(verdict.high_alone or 0) - float(verdict.low_alone or 0)) / 2 for verdict in (mine, true)]
    return bool(abs(float(mine.effect or 0) - float(true.effect or 0)) <= (half[0] ** 2 + half[1] ** 2) ** 0.5)


def _difference(records: Sequence[Record], name: str, measure: str) -> float:
    """The difference of means with and without a trick, in points or in percent; 0 where one side is empty."""
    sides = [
        [float(getattr(record, measure)) for record in records if (name in record.tricks) == on] for on in (True, False)
    ]
    if not all(sides):
        return 0.0
    on, off = (fmean(side) for side in sides)
    return on - off if measure == "accuracy" else 100 * (on / off - 1)


def _importances(records: Sequence[Record], measure: str) -> dict[str, dict[str, float]]:
    """Optuna's importances of the tricks' switches, over the trials of the search."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if measure == "accuracy" else "minimize")
    choice = optuna.distributions.CategoricalDistribution(["off", "on"])
    for record in records:
        study.add_trial(
            optuna.trial.create_trial(
                params={name: "on" if name in record.tricks else "off" for name in TRICKS},
                distributions=dict.fromkeys(TRICKS, choice),
                value=float(getattr(record, measure)),
            )
        )
    return {
        "PED-ANOVA": optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        ),
        "fANOVA": optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        ),
    }


def _rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
