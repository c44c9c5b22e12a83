"""What is shown of verdicts, and of the runs that they need."""

import io
import re
import sys
from types import ModuleType

import pytest
import yaml
from rich.console import Console

from tests.believable import LONG, findings
from tests.cli.shell import tricksearch
from tests.cli.test_cli import STUDY, assert_bad_input
from tricksearch.cli.formats import duration
from tricksearch.cli.plan import pooled
from tricksearch.cli.verdicts import show, verdicts_command
from tricksearch.contract import InputError
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record
from tricksearch.store import facts
from tricksearch.store.store import Store
from tricksearch.study.study import load_study
from tricksearch.verdicts.designs import choose
from tricksearch.verdicts.findings import Findings
from tricksearch.verdicts.planning import least_power, one_at_a_time, runs_needed


def printed(found: Findings, width: int = 80) -> str:
    out = io.StringIO()
    show(Console(file=out, width=width, highlight=False), found)
    return out.getvalue()


def test_everything_fits_80_columns_and_no_number_is_cut():
    text = printed(findings(simulated=True))
    assert text.splitlines()[0].strip() == "Simulated: nothing was trained."
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    whole = "".join(text.split())
    for each in (
        "+0.42 points [0.18, 0.66] 48",
        "-27.0 % [-28.9, -25.1] 48",
        LONG,
        "95.20 (5)",
        "97 %",
        "in doubt",
        "synergy",
        "2 more, not shown to interact",
    ):
        assert "".join(each.split()) in whole, each
    assert "label_smoothing helps: +0.42 points [0.18, 0.66], n = 48; costs no latency" in " ".join(text.split())


def test_nothing_found_prints_nothing():
    assert printed(Findings()) == ""
    assert "Simulated" not in printed(findings())


def test_markup_in_a_name_stays_text():
    found = findings(verdicts=tuple(each for each in findings().verdicts[:1]), notes=("[bold]not bold[/] [/nothing]",))
    assert "[bold]not bold[/] [/nothing]" in printed(found)


@pytest.fixture
def run_folder(tmp_path):
    """A run folder whose records are made up."""

    def make(records=(), **keys):
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(STUDY | keys))
        folder = tmp_path / "run"
        folder.mkdir()
        store = Store.at(folder / "store.db")
        store.put_fact(facts.STUDY, load_study(path).model_dump(mode="json"))
        for each in records:
            store.add([each])
        store.close()
        return folder

    return make


def record(trial, accuracy, seed=0, tricks=None, **changes) -> Record:
    recipe = Recipe(tricks=tricks or {}).model_dump(mode="json")
    values = {"trial": trial, "phase": "search", "status": "finished", "reason": "", "seed": seed, "recipe": recipe}
    return Record.from_json(values | {"accuracy": accuracy, "wall_seconds": 30.0} | changes)


@pytest.mark.parametrize(
    ("phases", "said"), [(["search"], "add 'phases: ["), (["screen", "search"], "too few of their")]
)
def test_a_run_without_verdicts_says_what_to_add(run_folder, monkeypatch, capsys, phases, said):
    module = ModuleType("tricksearch.search.phases.findings")
    module.findings_of = lambda study, store: Findings()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    folder = run_folder(phases=phases)
    verdicts_command(folder)
    shown = " ".join(capsys.readouterr().out.split())
    assert said in shown
    assert not (folder / "verdicts.csv").exists()
    module.findings_of = lambda study, store: findings()
    verdicts_command(folder)
    assert said not in capsys.readouterr().out
    table = (folder / "verdicts.csv").read_text()
    assert table.startswith("comparison,trick,measure,verdict,effect")
    assert "label_smoothing" in table
    module.findings_of = lambda study, store: Findings(notes=("The screen cannot be told.",))
    verdicts_command(folder)
    assert (folder / "verdicts.csv").read_text() == table


def test_the_noise_is_pooled_over_recipes_and_no_training_counts_twice(tmp_path):
    other = {"se": {"reduction": 8}}
    records = [
        *(record(at, value, seed=at) for at, value in enumerate((94.0, 95.0))),
        *(record(at, value, seed=at, tricks=other) for at, value in enumerate((90.0, 92.0, 94.0), start=5)),
        record(9, 10.0, tricks={"se": {"reduction": 4}}),  # ran once
        *(record(at, 70.0 + 9 * at, seed=at, tricks={"se": {"reduction": 2}}, variant=1) for at in range(2)),
        record(10, None, seed=77, status="failed"),
    ]
    noise = pooled(records, tmp_path)
    assert noise.sd == pytest.approx(((0.5 + 8.0) / 3) ** 0.5)
    assert "2 recipes" in noise.source
    assert "3 degrees of freedom" in noise.source
    with pytest.raises(InputError, match="no recipe of this run finished with two seeds"):
        pooled(records[:1], tmp_path)
    with pytest.raises(InputError, match="same accuracy"):
        pooled([record(at, 94.0, seed=at) for at in range(2)], tmp_path)


def test_a_plan_says_how_many_runs_are_needed(run_folder, tmp_path):
    tricks = ["label_smoothing", "se", "mixup", "cutmix", "pruning"]
    margin = {"margins": {"accuracy": 0.5}}
    records = [record(at, 94.0 + at % 2, seed=at) for at in range(10)]
    folder = run_folder(records, tricks=tricks, verdicts=margin, phases=["search"])
    study = tmp_path / "study.yaml"
    done = tricksearch("plan", study, "--like", folder, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.replace(str(folder), "").splitlines())) <= 80
    said = " ".join(done.stdout.split())
    assert "0.527 points over seeds, from 1 recipe with 10 seeds" in said
    sd = pooled(records, folder).sd
    needed, time = re.search(r"(\d+) runs are needed \(about (.*?) one after another\)", said).groups()
    assert runs_needed(sd, 0.5, 5) <= int(needed) < 2 * runs_needed(sd, 0.5, 5)
    assert time == duration(30 * int(needed))
    factors = [("cutmix", "mixup"), ("label_smoothing",), ("pruning",), ("se",)]
    powers = [least_power(choose(factors, runs), sd, 0.5) for runs in (int(needed), int(needed) - 1)]
    assert powers[0] >= 0.8 > powers[1]
    assert f"{needed} {100 * powers[0]:.0f} % {time}" in said
    assert f"one trick at a time, each against the plain baseline, {one_at_a_time(sd, 0.5, 5)}:" in said
    assert "margin) among 5 tricks" in said
    assert "cutmix or mixup" in said
    assert "add 'phases: [screen" in said

    assert_bad_input(tricksearch("plan", study, cwd=tmp_path), "is not known", "--sd", "--like")
    hopeless = tricksearch("plan", study, "--sd", "80", cwd=tmp_path)
    assert_bad_input(hopeless, "even 20,000 runs are too few", "verdicts.margins")
