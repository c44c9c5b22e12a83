"""`tricksearch run` in the folder of a run whose trick was edited."""

import json
import sqlite3
import subprocess
import sys

import pytest

from tricksearch.store.run import StoredRun

STUDY = {
    "trial": "simulated",
    "simulation": {"measures": {"accuracy": {"base": 80, "sd": 1}, "latency_ms": {"base": 1, "sd": 9}}},
    "phases": ["screen", "search", "ablate", "confirm"],
    "screen": {"runs": 8},
    "search": {"trials": 8, "startup": 2, "reproducible": True},
    "ablate": {"seeds": 2},
    "confirm": {"seeds": 2},
}


@pytest.fixture
def command(tmp_path, make_study):
    """Run a study of simulated trials, as a shell would; returns exit code, output and errors."""
    make_study(**STUDY)
    start = [sys.executable, "-c", "from tricksearch.cli import main; main()", "run", "study.yaml", "--local"]

    def run(*options):
        done = subprocess.run(
            [*start, "--out", "run", *options], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        return done.returncode, " ".join(done.stdout.split()), " ".join(done.stderr.split())

    return run


def records(tmp_path):
    with StoredRun.open(tmp_path / "run") as run:
        return run.records(), run.store.records_set_aside()


def marks(found):
    return {(record.phase, record.recipe_key, record.seed) for record in found}


def test_words_do_not_hold_up_a_run(command, tmp_path):
    assert command()[0] == 0
    before, _ = records(tmp_path)
    trick = tmp_path / "own_tricks" / "solo.py"
    trick.write_text(trick.read_text().replace("testing", "all is quiet") + "\n# The end.\n")
    code, out, err = command()
    assert (code, err) == (0, "")
    assert "changed" not in out
    assert records(tmp_path) == (before, [])


def test_code_holds_up_a_run_until_it_is_said_what_becomes_of_the_records(command, tmp_path):
    assert command()[0] == 0
    before, _ = records(tmp_path)
    having = [record for record in before if "solo" in record.tricks]
    trick = tmp_path / "own_tricks" / "solo.py"
    trick.write_text(trick.read_text().replace("1.0 *", "1.5 *"))

    code, _, err = command()
    assert code == 2
    assert f"the code of 'solo' has changed since {len(having)} of the {len(before)} records here were measured" in err
    assert "--changed-tricks: 'set-aside' leaves" in err
    assert records(tmp_path) == (before, [])

    code, out, err = command("--changed-tricks", "set-aside")
    assert (code, err) == (0, "")
    assert f"the code of solo changed, and {len(having)} records with it were set aside" in out
    after, aside = records(tmp_path)
    assert marks(having) <= marks(aside), "they are in the store"
    assert not {record.trial for record in after} & {record.trial for record in aside if record.variant == 0}
    assert [record for record in after if record in having] == []
    designed = {mark for mark in marks(before) if mark[0] == "screen"}
    assert designed == {mark for mark in marks(after) if mark[0] == "screen"}, "the screen ran again what it lacked"
    assert sum(record.phase == "search" and record.variant == 0 for record in after) >= 7
    assert {record.phase for record in after} == {record.phase for record in before}
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"The code of solo changed during the study: {len(having)} records with it were set aside" in page

    code, out, err = command()
    assert (code, err) == (0, "")
    assert records(tmp_path) == (after, aside), "all that the study wants is there"
    with sqlite3.connect(tmp_path / "run" / "store.db") as store:
        rows = store.execute("select record from records where phase = 'set aside'").fetchall()
    assert {json.loads(row)["phase"] for (row,) in rows} <= {"screen", "search", "ablate", "confirm"}


def test_records_that_are_kept_are_told_in_the_report(command, tmp_path):
    assert command()[0] == 0
    before, _ = records(tmp_path)
    trick = tmp_path / "own_tricks" / "solo.py"
    trick.write_text(trick.read_text().replace("lambda logits, batch: 1.0", "lambda logits, given: 1.0").replace(
        "logits, batch)\n", "logits, given)\n"))  # fmt: skip
    code, out, err = command("--changed-tricks", "keep")
    assert (code, err) == (0, "")
    assert "were kept, as if they were of the code as it is now" in out
    assert records(tmp_path) == (before, [])
    assert "takes both codes for one" in (tmp_path / "run" / "report.html").read_text()
    assert command()[0] == 0
