"""The examples of the documentation: tricks train, studies and recipes load, and marked Python runs."""

import doctest
import inspect
import re

import numpy as np
import pytest
from PIL import Image

from tests.docs.pages import PAGES, blocks, named_files, trick_of
from tricksearch.contract import discover
from tricksearch.search.check import check_study
from tricksearch.study.recipe_file import load_recipe
from tricksearch.study.study import load_study
from tricksearch.trial.job import Job
from tricksearch.trial.run import run_trial

OWN = "confidence_penalty"  # the trick of the page on writing one
RUNNING = [page for page in PAGES if blocks(page, "python", marked=True)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, in which a reader has done what the pages say before."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_tricks").mkdir()
    (tmp_path / "my_tricks" / f"{OWN}.py").write_text(trick_of("docs/writing-a-trick.md"))
    return tmp_path


@pytest.mark.parametrize("page", ["README.md", "docs/writing-a-trick.md"])
def test_the_example_of_a_trick_trains(page, tmp_path):
    text = trick_of(page)
    name = "example_of_" + re.search(r"class (\w+)", text)[1].lower()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / f"{name}.py").write_text(text)
    trick = discover([tmp_path / "own"])[name]
    failed, _ = doctest.testmod(inspect.getmodule(trick))
    assert not failed
    (tmp_path / "recipe.yaml").write_text(
        f"data: {{name: digits, train_images: 100, validation_images: 50}}\nplugins: [own]\n"
        f"net: {{name: resnet_small, widths: [8]}}\ntrain: {{epochs: 1}}\ntricks: {{{name}: }}\n"
    )
    recipe, seed = load_recipe(tmp_path / "recipe.yaml")
    plain = recipe.model_copy(update={"tricks": {}})
    records = [run_trial(Job.of(form, seed, cache=tmp_path), reraise=(Exception,))[0] for form in (recipe, plain)]
    assert all(record.finished for record in records)
    assert records[0].tricks.keys() == {name}


@pytest.mark.parametrize(
    "block",
    [pytest.param(text, id=f"{page}-{at}") for page in PAGES for at, text in enumerate(blocks(page, "yaml"))
     if page != "docs/cluster.md"],
)  # fmt: skip
def test_a_block_of_yaml_is_a_study_or_a_recipe(block, folder):
    (folder / "shown.yaml").write_text(block)
    if block.startswith("# recipe.yaml"):
        load_recipe(folder / "shown.yaml")
    else:
        load_study(folder / "shown.yaml")


@pytest.mark.parametrize("page", PAGES)
def test_a_block_of_python_compiles(page):
    for block in blocks(page, "python"):
        compile(block, page, "exec")


@pytest.mark.parametrize("page", RUNNING)
def test_marked_python_runs_and_the_studies_beside_it_are_right(page, folder, capsys):
    for name, text in named_files(page).items():
        (folder / name).write_text(text)
    names = {}
    for block in blocks(page, "python", marked=True):
        exec(compile(block, page, "exec"), names)
    assert sorted(RUNNING) == ["docs/python.md", "docs/your-images.md"]
    if page == "docs/python.md":
        assert len(names["table"]) == len(names["run"].records()) >= 24
        assert "0 without a result" in capsys.readouterr().out
        assert "Plotly.newPlot" in (folder / "front.html").read_text()
    else:
        check_study(load_study(folder / "arrays.yaml"))


def test_the_study_for_ones_own_images_is_six_lines_and_fits_such_a_folder(folder):
    text = next(block for block in blocks("README.md", "yaml") if "image_folder" in block)
    assert len(text.splitlines()) == 6
    assert text in PAGES["docs/your-images.md"]
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    for at, image in enumerate(pixels):
        place = folder / "photos" / ("cat" if at % 2 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{at}.jpg")
    (folder / "photos.yaml").write_text(text)
    study = load_study(folder / "photos.yaml")
    assert study.name == "photos"
    assert set(check_study(study)) >= set(study.tricks)


def test_the_table_of_records_is_read_as_the_page_says(folder, capsys):
    import tricksearch

    (folder / "small.yaml").write_text(named_files("docs/python.md")["small.yaml"])
    tricksearch.run("small.yaml", out="runs/digits", local=True)
    block = next(block for block in blocks("docs/run-folder.md", "python") if "read_parquet" in block)
    exec(compile(block, "run-folder", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 6
