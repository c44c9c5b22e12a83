"""What `check` finds before anything trains: all of it at once."""

import numpy as np
import pytest

from tests.cli.shell import tricksearch
from tricksearch.contract import InputError
from tricksearch.search.check import check_study

PLUGIN = '''"""{name}: cannot act.

Paper: none
Use when: testing.
Avoid when: not testing.
Cost: none.
"""
from dataclasses import dataclass
from tricksearch import NotApplicable, Trick


@dataclass(frozen=True)
class Cannot(Trick):
    """Acts on nothing."""

    def model(self, net, bench):
        raise NotApplicable("there is nothing of {name} in it")
'''


def test_all_that_cannot_work_is_told_at_once(make_study, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "own_tricks" / f"{name}.py").write_text(PLUGIN.format(name=name))
    study = make_study(
        tricks=["one", "two", "left"],
        train={"device": "cuda:99"},
        search={"first": [["solo"]], "learn_from": ["nowhere"]},
    )
    with pytest.raises(InputError) as caught:
        check_study(study)
    assert [problem.place for problem in caught.value.all] == [
        "train.device",
        "search.first",
        str(tmp_path / "nowhere"),
        "tricks.one",
        "tricks.two",
    ]


def test_data_that_cannot_be_read_hide_no_other_problem(make_study):
    study = make_study(data={"name": "npz", "root": "nowhere.npz"}, search={"first": [[]], "learn_from": ["nowhere"]})
    with pytest.raises(InputError) as caught:
        check_study(study)
    assert [problem.place.rsplit("/", 1)[-1] for problem in caught.value.all] == ["nowhere", "nowhere.npz"]


def test_check_says_how_the_data_were_read(tmp_path):
    images, labels = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8), np.arange(60) % 3
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, x_valid=images[:9], y_valid=labels[:9], ids=labels)
    study = tmp_path / "study.yaml"
    study.write_text("data: {name: npz, root: own.npz}\ntrain: {augment: flip_crop}\ntricks: [mixup]\n")
    done = tricksearch("check", study, cwd=tmp_path, columns=200)
    assert (done.returncode, done.stderr) == (0, "")
    for line in (
        "data: npz, 3 classes; 51 training, 9 validation and 9 test images of 1 x 8 x 8",
        "data: not read: 1 array (ids)",
        "data: held out of own.npz: x_train: 0.15 for test",
        "data: the validation split is own.npz: x_valid",
        "data: training images are mirrored left to right at random, and shifted by up to an eighth of each side "
        "(train.augment: flip_crop; else none, crop)",
    ):
        assert line in done.stdout.splitlines()


def test_check_prints_each_problem_as_a_paragraph(tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text("data: {root: x}\ntrain: {epochs: 0}\n")
    done = tricksearch("check", "study.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: 2 problems.\n- study.yaml, line 1, key data.root: there is a 'root'")
    assert "\n- study.yaml, line 2, key train.epochs: must be at least 1, got 0.\n" in done.stderr
