"""A file with many mistakes is told of all of them at once, each with its place."""

import pytest

from tricksearch.contract import InputError
from tricksearch.study.recipe_file import load_recipe
from tricksearch.study.study import load_study

STUDY = """\
data: {root: x.npz, trains: 3}
net: resnet18.a1_in1k
train: {epochs: 0, lr: -1}
tricks:
  mixup: {alpha: 99, alfa: 1}
  cutmixx:
  focal: {gamma: 99}
objectives: [accuracy, latency]
search:
  trails: 3
  first: [[mixup, nope], [neither]]
trial: simulated
"""
PLACES = [
    (1, "data.root"),
    (1, "data.trains"),
    (1, "simulation"),
    (2, "net.name"),
    (3, "train.epochs"),
    (3, "train.lr"),
    (5, "tricks.mixup.alfa"),
    (5, "tricks.mixup.alpha"),
    (6, "tricks.cutmixx"),
    (7, "tricks.focal.gamma"),
    (8, "objectives"),
    (10, "search.trails"),
    (11, "search.first.neither"),
    (11, "search.first.nope"),
]


@pytest.fixture
def places_of(tmp_path):
    """The places of all problems of a file with this text, in their order, as `load` tells them."""

    def places(load, text):
        path = tmp_path / "file.yaml"
        path.write_text(text)
        with pytest.raises(InputError) as caught:
            load(path)
        return [problem.place.removeprefix(f"{path}, ") for problem in caught.value.all]

    return places


def test_all_problems_of_a_study_are_told_at_once(places_of):
    places = places_of(load_study, STUDY)
    assert sorted(places) == sorted(f"line {line}, key {key}" for line, key in PLACES)
    lines = [int(place.split()[1].rstrip(",")) for place in places]
    assert lines == sorted(lines)


def test_what_is_left_of_a_file_makes_no_problem_of_its_own(places_of):
    text = "train: {epochs: none}\nsearch: {stopping: {rule: nondominated, min_epochs: 30}}\ntricks: [mixup]\n"
    assert places_of(load_study, text) == ["line 1, key train.epochs"]


def test_all_problems_of_a_recipe_are_told_at_once(places_of):
    text = "data: digitz\ntrain: {epochs: 0}\nseed: -1\ntricks: {mixup: {alpha: 9}, nope: {}, focal: {gama: 1}}\n"
    assert places_of(load_recipe, text) == [
        "line 1, key data.name",
        "line 2, key train.epochs",
        "line 3, key seed",
        "line 4, key tricks.mixup.alpha",
        "line 4, key tricks.nope",
        "line 4, key tricks.focal.gama",
    ]
