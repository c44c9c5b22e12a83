"""Teachers: trained once for a study, kept in a file, frozen, and the same for whoever asks."""

import json
import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError

from tricksearch.contract import InputError, discover
from tricksearch.trial.training.teacher import recipe_of

COUNTED = """
def weights(self, weights, bench):
    with open(HERE / "trainings.txt", "a") as log:
        log.write("one ")
    return weights
"""
DROPOUT = """
def model(self, net, bench):
    net.pool = torch.nn.Sequential(net.pool, torch.nn.Dropout(0.5))
    return net
"""
TAUGHT = """
def loss(self, loss, bench):
    teacher = bench.teacher({"tricks": {"dropout": {}}}, 2.0)
    return lambda logits, batch: loss(logits, batch) + (logits - teacher(batch.images)).square().mean()
"""
SPEC = {"tricks": {"counted": {}}}
IMAGES = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def counted(tricks, tiny_recipe):
    """A recipe, and how often the trick of its teacher has seen a training."""
    folder = tricks(counted=COUNTED)
    log = folder / "trainings.txt"
    return tiny_recipe(plugins=[str(folder)]), lambda: len(log.read_text().split()) if log.exists() else 0


def file_of(tmp_path):
    (file,) = (tmp_path / "cache" / "train").glob("*/weights.pt")
    return file


def test_a_teacher_is_trained_once_and_the_same_from_its_file(make_bench, counted, tmp_path):
    recipe, trainings = counted
    first = make_bench(recipe, seed=0).teacher(SPEC, 1.0)
    assert trainings() == 1
    written = file_of(tmp_path).read_bytes()
    second = make_bench(recipe, seed=5).teacher(SPEC, 1.0)
    assert trainings() == 1
    assert file_of(tmp_path).read_bytes() == written
    logits = first(IMAGES)
    assert torch.equal(logits, second(IMAGES))
    assert (logits.dtype, logits.shape) == (torch.float32, (5, 10))
    for teacher in (first, second):
        assert not any(module.training for module in teacher.net.modules())
        assert not any(weight.requires_grad for weight in teacher.parameters())
        assert not teacher(IMAGES.clone().requires_grad_()).requires_grad
    left = sorted(file.name for file in (tmp_path / "cache").iterdir())
    assert left == ["locks", "train"], "no scratch folder and no half-written file"


def test_another_length_is_another_teacher(make_bench, counted):
    recipe, trainings = counted
    make_bench(recipe).teacher(SPEC, 1.0)
    make_bench(recipe).teacher(SPEC, 2.0)
    assert trainings() == 2
    make_bench(recipe.model_copy(update={"latency": recipe.latency.model_copy(update={"seconds": 9.0})})).teacher(
        SPEC, 2.0
    )
    assert trainings() == 2, "how the student is timed does not concern its teacher"


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "other net", "a part of it"])
def test_a_damaged_file_is_replaced(make_bench, counted, tmp_path, damage):
    recipe, trainings = counted
    good = make_bench(recipe).teacher(SPEC, 1.0)(IMAGES)
    file = file_of(tmp_path)
    whole = file.read_bytes()
    if damage == "other net":
        torch.save({"weight": torch.zeros(3)}, file)
    elif damage == "a part of it":
        state = {name: torch.zeros_like(value) for name, value in torch.load(file).items()}
        state.popitem()
        torch.save(state, file)
    else:
        file.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"no net"}[damage])
    again = make_bench(recipe).teacher(SPEC, 1.0)(IMAGES)
    assert trainings() == 2
    assert torch.equal(again, good)
    assert torch.equal(make_bench(recipe).teacher(SPEC, 1.0)(IMAGES), good)
    assert trainings() == 2


def test_a_student_s_draws_are_the_same_whether_its_teacher_was_trained_or_read(
    trained, same, tiny_recipe, tricks, tmp_path
):
    folder = str(tricks(dropout=DROPOUT, taught=TAUGHT))
    recipe = tiny_recipe(plugins=[folder], tricks={"dropout": {}, "taught": {}})
    first = trained(recipe)
    assert file_of(tmp_path).exists()
    assert same(first, trained(recipe))
    assert not same(first, trained(tiny_recipe(plugins=[folder], tricks={"dropout": {}})))


def test_the_time_of_a_teacher_is_counted(make_bench, counted):
    recipe, _ = counted
    bench = make_bench(recipe)
    bench.teacher(SPEC, 1.0)
    first = bench.teacher_seconds
    assert first > 0
    bench.teacher(SPEC, 1.0)
    assert bench.teacher_seconds > first


THREADS = """
def data(self, images, bench):
    SEEN.append(("data", torch.get_num_threads()))
    return images

def loss(self, loss, bench):
    SEEN.append(("loss", torch.get_num_threads()))
    return loss
"""


def test_a_training_has_the_threads_of_its_own_recipe(make_bench, tricks, tiny_recipe, seen):
    recipe = tiny_recipe(plugins=[str(tricks(counts=THREADS))], tricks={"counts": {}}, train={"threads": 2})
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        bench = make_bench(recipe)
        bench.teacher({"train": {"threads": 3}, "tricks": {"counts": {}}}, 1.0)
        bench.train(bench.build_net())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    counts = seen(discover(recipe.plugins), "counts")
    assert counts == [("data", 2), ("data", 3), ("loss", 3), ("loss", 2)]


EPOCHS = 60.0  # long enough that both would be at it at once
ASK = """
import json, sys
from pathlib import Path
import torch
from tricksearch.contract import discover
from tricksearch.trial.cache import Cache
from tricksearch.trial.data import load_data
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.records.recipe import Recipe
from tricksearch.trial.context import JobContext
from tricksearch.trial.stages import Stages
torch.set_num_threads(1)
recipe, place = Recipe.model_validate_json(sys.argv[1]), Path(sys.argv[2])
folder = place / sys.argv[3]
folder.mkdir()
machine = Machine(place)
with machine.shared():
    context = JobContext(discover(recipe.plugins), load_data(recipe.data), Cache(place / "cache"), machine, None)
    stages = Stages(recipe, 0, context, folder)
    bench = stages.bench
    bench.build_net()
    print("ready", flush=True)
    sys.stdin.readline()
    teacher = bench.teacher({"tricks": {"counted": {}}}, 60.0)
print(json.dumps(teacher(torch.ones(2, 1, 8, 8) / 2).tolist()))
"""


def test_two_processes_at_one_moment_share_one_training(make_bench, counted, tmp_path):
    recipe, trainings = counted
    bench = make_bench(recipe)
    bench.build_net()
    other = subprocess.Popen(
        [sys.executable, "-c", ASK, recipe.model_dump_json(), str(tmp_path), "other"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        with bench.machine.shared():
            mine = bench.teacher(SPEC, EPOCHS)
        answer = json.loads(other.communicate(timeout=600)[0])
    finally:
        other.kill()
    assert trainings() == 1
    assert answer == mine(torch.ones(2, 1, 8, 8) / 2).tolist()


def test_the_recipe_of_a_teacher(tiny_recipe):
    student = tiny_recipe(tricks={"mixup": {}}, train={"epochs": 10})
    own = recipe_of("", 1.5, student)
    assert own == student.model_copy(update={"tricks": {}, "train": own.train})
    assert own.train.epochs == 15
    assert recipe_of("", 0.01, student).train.epochs == 1
    assert recipe_of("resnet18", 1.0, student).net.name == "resnet18"
    full = recipe_of({"net": {"widths": [16]}, "train": {"epochs": 4, "lr": 0.2}, "tricks": {"se": {}}}, 0.5, student)
    assert full.net.widths == (16,)
    assert (full.train.epochs, full.train.lr, full.train.batch_size) == (2, 0.2, 16)
    assert full.tricks == {"se": {}}
    small = student.model_copy(update={"net": student.net.model_validate({"name": "resnet18", "stem": "small"})})
    assert recipe_of("resnet34", 1.0, small).net.stem == "small"
    assert recipe_of("resnet_small", 1.0, small).net.stem == "standard"


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ({"train": {"epoch": 3}}, r"train.epoch"),
        ({"net": {"width": [8]}}, r"width"),
        ({"trick": {}}, r"no key 'trick'\. Did you mean 'tricks'"),
        ({"data": {}}, r"no key 'data'"),
    ],
)
def test_a_mapping_that_is_no_part_of_a_recipe_is_refused(spec, wrong, tiny_recipe):
    with pytest.raises((ValidationError, InputError), match=wrong):
        recipe_of(spec, 1.0, tiny_recipe())


def test_the_built_in_tricks_share_the_study_s_teacher(make_bench, tiny_recipe, tmp_path):
    """Whatever asks for a teacher by default gets the one of the study: one file, however many trials."""
    askers = [name for name, trick in discover().items() if hasattr(trick, "teacher")]
    assert askers
    for name in askers:
        for seed in (0, 1):
            bench = make_bench(tiny_recipe(tricks={name: {}}), seed=seed)
            bench.train(bench.build_net())
    assert file_of(tmp_path).exists()
