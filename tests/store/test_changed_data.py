"""A run folder and its data: files may be copied and touched; what is read from them may not change."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.cli.shell import tricksearch
from tricksearch.contract import InputError, discover
from tricksearch.store.facts import DATA, HISTORY
from tricksearch.store.folder import open_study
from tricksearch.trial.data import load_data
from tricksearch.trial.job import Job
from tricksearch.trial.run import run_trial


def paint(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)).save(path, "BMP")


@pytest.fixture
def images(tmp_path):
    root = tmp_path / "images"
    for kind in "ab":
        for number in range(8):
            paint(root / kind / f"{number}.bmp", ord(kind) + number)
    return root


@pytest.fixture
def ran(tmp_path, make_study, make_record, images):
    """A study over the images, whose run has one record; and a function that opens its store as a run does."""
    study = make_study(data={"name": "image_folder", "root": str(images)}, tricks=["left"])
    folder = tmp_path / "run"
    folder.mkdir()

    def opened():
        return open_study(folder, study, discover(study.plugins), data=load_data(study.data))[0]

    store = opened()
    store.add([make_record(0, study.base_recipe(), phase="baseline", validation_images=2)])
    store.close()
    return study, opened


def test_the_same_files_go_on_wherever_they_came_from(ran, images):
    _, opened = ran
    opened().close()
    for path in images.glob("*/*.bmp"):
        os.utime(path, (1, 1))
    opened().close()
    shutil.copytree(images, images.with_name("copy"))
    shutil.rmtree(images)
    images.with_name("copy").rename(images)
    opened().close()


def another_image(images):
    paint(images / "a" / "8.bmp", 99)
    return r"1 file new \(a/8.bmp\); 1[13] train images|1 file new \(a/8.bmp\); 3 validation images in place of 2"


def one_fewer(images):
    (images / "b" / "3.bmp").unlink()
    return r"1 file gone \(b/3.bmp\)"


def another_content_of_the_same_size(images):
    path = images / "a" / "0.bmp"
    about = path.stat()
    paint(path, 99)
    assert path.stat().st_size == about.st_size
    for other in images.glob("*/*.bmp"):
        os.utime(other, (1, 1))  # times alone say nothing
    return r": 1 file changed \(a/0.bmp\)"


def another_label(images):
    (images / "a" / "5.bmp").rename(images / "b" / "x.bmp")
    return r"1 file new \(b/x.bmp\); 1 file gone \(a/5.bmp\)"


def another_folder(images):
    shutil.rmtree(images)
    for kind in "xy":
        for number in range(9):
            paint(images / kind / f"{number}.bmp", 50 + number)
    return r"18 files new \(x/0.bmp, x/1.bmp, x/2.bmp and 15 more\); 16 files gone .*3 test images in place of 2"


@pytest.mark.parametrize(
    "change", [another_image, one_fewer, another_content_of_the_same_size, another_label, another_folder]
)
def test_other_data_are_refused_and_what_differs_is_told(ran, images, change):
    _, opened = ran
    words = change(images)
    with pytest.raises(InputError, match=rf"the 1 record here was measured on.*({words})") as caught:
        opened()
    assert "give --out another folder, or put the data back" in caught.value.remedy


def test_files_that_are_read_otherwise_than_before_are_refused(ran):
    _, opened = ran
    store = opened()
    mark = store.fact(DATA)
    store.put_fact(DATA, mark | {"digest": "0" * 32})  # as another version of a decoder would have made it
    store.close()
    with pytest.raises(InputError, match="its files are what they were, and this version"):
        opened()


def test_of_an_earlier_version_s_run_the_number_of_images_is_compared(ran, images):
    _, opened = ran
    store = opened()
    store.put_fact(DATA, None)
    store.close()
    opened().close()
    store = opened()
    assert "kept no fingerprint of their data" in store.fact(HISTORY)[-1]["difference"][-1]
    store.put_fact(DATA, None)
    store.close()
    for kind in "ab":
        for number in range(8, 20):
            paint(images / kind / f"{number}.bmp", number)
    with pytest.raises(InputError, match="6 validation images in place of 2"):
        opened()


def test_a_worker_that_reads_other_data_ends_the_run(ran, images, tmp_path):
    study, opened = ran
    store = opened()
    digest = store.fact(DATA)["digest"]
    store.close()
    paint(images / "a" / "0.bmp", 99)
    with pytest.raises(InputError, match="the data have changed since the run was started"):
        run_trial(Job.of(study.base_recipe(), cache=tmp_path / "cache", data=digest))


def test_the_command_line_refuses_other_data_at_each_step(tmp_path, images):
    (tmp_path / "study.yaml").write_text(
        "data: {name: image_folder, root: images}\nnet: {widths: [8]}\ntrain: {epochs: 1, batch_size: 4}\n"
        "latency: {seconds: 0.1, precision: 0.5, block_seconds: 0.001}\ntricks: [mixup]\nsearch: {trials: 1}\n"
    )
    run = ("run", "study.yaml", "--local", "--quiet")
    assert tricksearch(*run, cwd=tmp_path).returncode == 0
    assert tricksearch("export", "runs/study", "--pick", "0", cwd=tmp_path).returncode == 0
    for kind in "ab":
        for number in range(8, 20):
            paint(images / kind / f"{number}.bmp", number)
    for command in (
        (*run, "--trials", "2"),
        ("export", "runs/study", "--pick", "0", "--to", "again"),
        ("verify", "runs/study/export/0"),
    ):
        done = tricksearch(*command, cwd=tmp_path)
        assert done.returncode == 2, done
        assert "images in place of 2" in " ".join(done.stderr.split())
    assert not (tmp_path / "again").exists()
