"""A study file: what it may leave out, what each form of it means, and the error for each mistake."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from tricksearch.contract import InputError, discover
from tricksearch.store.run import write_resolved
from tricksearch.study.store_url import namespace, without_password
from tricksearch.study.study import Study, load_study

CARD = (
    '"""{name}: a trick of the tests.\n\nPaper: none\nUse when: testing.\nAvoid when: not testing.\nCost: none.\n"""\n'
)
CODE = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Annotated, Any
from tricksearch import Choice, Float, Int, Net, Trick


@dataclass(frozen=True)
class Some(Trick):
    {body}

    def loss(self, loss, bench):
        return loss
"""
TRICKS = {
    "blend": 'claims = "tests.mix"; alpha: Annotated[float, Float(0, 1)] = 0.4',
    "patch": 'claims = "tests.mix"; alpha: Annotated[float, Float(0.1, 1.0, search=False)] = 1.0',
    "squeeze": 'reduction: Annotated[int, Int(2, 32, log=True)] = 16; kind: Annotated[str, Choice("a", "b")] = "a"',
    "teach": 'teacher: Annotated[Any, Net()] = ""',
    "rare": "unavailable = classmethod(lambda cls: 'it needs a device of the tests')",
    "first": 'claims = "tests.one"; after = ("tests.two",)',
    "second": 'claims = "tests.two"; after = ("tests.one",)',
}


@pytest.fixture
def write(tmp_path):
    """Writes files beside a folder with the tricks above; gives the last one's path."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, body in TRICKS.items():
        (folder / f"{name}.py").write_text(CARD.format(name=name) + CODE.format(body=body.replace("; ", "\n    ")))

    def files(text: str, name: str = "study.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text.replace("PLUGINS", "plugins: [mine]"))
        return path

    return files


def test_a_study_can_be_one_line(write):
    study = load_study(write("data: digits\n", "short.yaml"))
    assert study.name == "short"
    assert study.data.name == "digits"
    assert study.objectives == ("accuracy", "latency_ms")
    available = {name for name, trick in discover().items() if trick.unavailable() is None}
    assert set(study.tricks) == available
    assert {use.use for use in study.tricks.values()} == {"search"}


@pytest.mark.parametrize(
    ("text", "batches"),
    [
        ("", ()),
        ("objectives: [accuracy, throughput]\n", (8, 32)),
        ("constraints: [throughput >= 0.9 * baseline]\n", (8, 32)),
        ("objectives: [accuracy, throughput]\nlatency: {batches: [4]}\n", (4,)),
        ("latency: {batches: [4]}\n", (4,)),
    ],
)
def test_throughput_is_taken_at_larger_batches_where_it_is_asked_for(write, text, batches):
    study = load_study(write(f"data: digits\n{text}"))
    assert study.base_recipe().latency.batches == study.recipe({"mixup": {}}).latency.batches == batches


def test_the_latency_settings_of_an_earlier_version_are_refused_in_a_study(write):
    with pytest.raises(InputError, match="blocks"):
        load_study(write("data: digits\nlatency: {blocks: 5}\n"))


def test_each_form_of_a_trick(write):
    tricks = load_study(
        write("""\
PLUGINS
tricks:
  blend:
  patch: {alpha: [0.2, 0.5]}
  squeeze: {use: always, reduction: 8}
  teach: never
""")
    ).tricks
    assert tricks["blend"].model_dump() == {"use": "search", "alpha": [0.0, 1.0]}
    assert tricks["patch"].model_dump() == {"use": "search", "alpha": [0.2, 0.5]}
    assert tricks["squeeze"].model_dump() == {"use": "always", "reduction": 8, "kind": ["a", "b"]}
    assert tricks["teach"].model_dump() == {"use": "never"}


def test_a_list_and_a_bare_use_are_the_same_as_their_mappings(write):
    listed = load_study(write("PLUGINS\ntricks: [blend, patch]\n"))
    mapped = load_study(write("PLUGINS\ntricks: {blend: search, patch: {use: search}}\n"))
    assert listed == mapped
    assert listed.tricks["patch"].fields == {"alpha": 1.0}  # its author does not have it searched


def test_the_resolved_form_is_a_study_of_its_own(write, tmp_path):
    text = """\
PLUGINS
data: {name: digits, validation: 0.5}
net: {name: resnet_small, widths: [8, 16]}
tricks:
  blend: {alpha: [0.1, 0.5]}
  squeeze: {use: always, kind: [b]}
  teach: {teacher: ["", {net: {name: resnet_small}, train: {epochs: 2}}]}
  patch: never
  rare:
"""
    study = load_study(write(text))
    plain = study.model_dump(mode="json")
    assert json.loads(json.dumps(plain)) == plain
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "study.resolved.yaml").write_text(yaml.safe_dump(plain | {"versions": {}, "hardware": {"cpu": "x"}}))
    again = load_study(elsewhere / "study.resolved.yaml")
    assert again.model_dump(mode="json", exclude={"left_out"}) == study.model_dump(mode="json", exclude={"left_out"})
    assert again.difference(plain) is None
    assert Study.model_validate(plain) == study


def test_plugins_are_relative_to_the_file_and_become_absolute(write, tmp_path):
    study = load_study(write("PLUGINS\ntricks: [blend]\n"))
    assert study.plugins == (str(tmp_path / "mine"),)
    assert study.base_recipe().plugins == study.plugins


def test_what_this_machine_cannot_run_is_left_out_with_its_reason(write):
    study = load_study(write("PLUGINS\ntricks: [blend, rare]\n"))
    assert set(study.tricks) == {"blend"}
    assert study.left_out == {"rare": "it needs a device of the tests"}


def test_the_baseline_has_no_trick_even_where_one_is_forced(write):
    study = load_study(write("PLUGINS\ntrain: {epochs: 3}\ntricks: {blend: always}\n"))
    assert study.base_recipe().tricks == {}
    assert study.base_recipe().train.epochs == 3


def test_a_net_can_be_a_file_of_its_own(write):
    write(
        "net: {name: resnet_small, widths: [16]}\ntrain: {epochs: 5}\ntricks: {squeeze: {reduction: 4}}\n", "big.yaml"
    )
    study = load_study(write("PLUGINS\ntricks: {teach: {teacher: big.yaml}}\n"))
    assert study.tricks["teach"].fields["teacher"] == {
        "net": {"name": "resnet_small", "widths": [16]},
        "train": {"epochs": 5},
        "tricks": {"squeeze": {"reduction": 4, "kind": "a"}},
    }


def test_yaml_words_and_numbers_are_what_they_look_like(write):
    text = (
        "PLUGINS\ntricks: [blend]\ntrain: {channels_last: yes, weight_decay: 5e-4, epochs: 010}\ndata: {download: no}\n"
    )
    study = load_study(write(text))
    assert (study.train.channels_last, study.train.weight_decay, study.train.epochs) == ("yes", 0.0005, 10)
    assert study.data.download is False


def test_an_empty_section_is_the_default(write):
    assert load_study(write("PLUGINS\ntrain:\nsearch:\ntricks: [blend]\n")).train.epochs == 20


def test_what_changes_no_record_is_no_difference(write):
    text = "PLUGINS\ntricks: [blend]\n"
    study = load_study(write(text))
    free = "name: other\nsearch: {trials: 99, workers: 3, sampler: random, startup: 2}\nstore: postgresql://u@h/d\n"
    more = load_study(write("PLUGINS\ntricks: {patch: always}\n" + free))
    assert more.difference(study.model_dump(mode="json")) is None
    assert study.model_copy(update={"plugins": ()}).difference(study.model_dump(mode="json")) is None


def test_a_setting_that_is_new_has_had_its_default(write):
    study = load_study(write("PLUGINS\ntricks: [blend]\n"))
    stored = study.model_dump(mode="json")
    del stored["store"], stored["search"]["seed"], stored["constraints"]
    assert study.difference(stored) is None
    other = load_study(write("PLUGINS\ntricks: [blend]\nsearch: {seed: 3}\n"))
    assert other.difference(stored) == "search.seed is 0 there and 3 here"


SECRET = "hunter2/%40"


def test_a_password_is_used_and_never_shown(write, tmp_path):
    study = load_study(write(f"store: 'postgresql://me:{SECRET}@db.example:5433/tricks?sslpassword={SECRET}'\n"))
    assert make_url(study.store).password == "hunter2/@"
    again = study.model_copy(update={"name": "other"})
    write_resolved(tmp_path, study)
    for text in (
        repr(again),
        str(again),
        study.model_dump_json(),
        str(study.model_dump()),
        (tmp_path / "study.resolved.yaml").read_text(),
    ):
        assert "hunter2" not in text
        assert "psycopg://me@db.example:5433/tricks" in text or "Study(" in text or text.startswith("name=")
    assert load_study(write(yaml.safe_dump(study.model_dump(mode="json")))).store == without_password(study.store)


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("[postgresql://me:hunter2@h/d]", "the URL of a PostgreSQL database"),
        ("{url: postgresql://me:hunter2@h/d}", "the URL of a PostgreSQL database"),
        ("postgresql://me:hunter2@h:port/d", "not one that can be read"),
        ("postgresql.me:hunter2", "not one that can be read"),
        ("mysql://me:hunter2@h/d", "this is one of 'mysql'"),
        ("postgresql+asyncpg://me:hunter2@h/d", "this is one of"),
        ("postgresql://me:hunter2@x@h/d", "more than one '@'"),
    ],
)
def test_an_error_about_a_store_holds_no_password(write, url, rule):
    with pytest.raises(InputError, match=rule) as told:
        load_study(write(f"store: {url}\n"))
    assert "hunter2" not in str(told.value)
    assert ", key store" in told.value.place


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100).filter(
        lambda text: len(text.encode()) <= 100
    )
)
def test_a_namespace_is_a_name_that_postgresql_keeps(name):
    assert len(namespace(name).encode()) <= 63
    assert namespace(name) != namespace(name + "x")
    assert namespace(name).startswith("tricksearch_")


@pytest.mark.parametrize(
    ("there", "here", "words"),
    [
        ("train: {epochs: 12}", "train: {epochs: 20}", "train.epochs is 12 there and 20 here"),
        ("search: {seed: 1}", "search: {seed: 2}", "search.seed is 1 there and 2 here"),
        ("objectives: [f1, params]", "", 'objectives is ["f1", "params"] there and ["accuracy", "latency_ms"] here'),
        ("net: {widths: [8]}", "net: {widths: [16]}", "net.widths is [8] there and [16] here"),
        ("data: {name: digits, train_images: 9}", "", "data.train_images is 9 there and null here"),
        ("latency: {threads: 2}", "", "latency.threads is 2 there and 1 here"),
        ("constraints: [params <= 9]", "", 'constraints is ["params <= 9"] there and [] here'),
    ],
)
def test_a_difference_is_told_in_words(write, there, here, words):
    def load(text):
        return load_study(write(f"PLUGINS\n{text}\n" + ("" if "tricks" in text else "tricks: [blend]\n")))

    stored, study = load(there).model_dump(mode="json"), load(here)
    assert study.difference(stored) == words


BAD = [
    # file, line, key, and words of the rule and the remedy
    ("dta: digits", 1, "dta", "'dta' is not a key here", "did you mean 'data'?"),
    ("data: digits\ntrain:\n  epoch: 3", 3, "train.epoch", "'epoch' is not a key here", "did you mean 'epochs'?"),
    ("data: {name: digits, rot: x}", 1, "data.rot", "not a key here", "did you mean 'root'?"),
    ("net: {stem: tiny}", 1, "net.stem", "must be 'standard' or 'small', got 'tiny'", ""),
    ("net: {widths: [8, 4]}", 1, "net.widths", "must be at least 8, got 4", ""),
    ("search:\n  sampler: tpee", 2, "search.sampler", "got 'tpee'", "did you mean 'tpe'?"),
    ("search: {trails: 9}", 1, "search.trails", "not a key here", "did you mean 'trials'?"),
    ("latency: {thread: 2}", 1, "latency.thread", "not a key here", "did you mean 'threads'?"),
    ("data: digit", 1, "data.name", "digit", "did you mean 'digits'?"),
    ("net: resnet188", 1, "net.name", "there is no net 'resnet188'", "did you mean 'resnet18"),
    ("\nnet: {name: resnet18, blocks: 2}", 2, "net.blocks", "'blocks' belongs to the net", ""),
    ("objectives: [accuracy, latency]", 1, "objectives", "there is no metric 'latency'", "did you mean 'latency_ms'?"),
    ("objectives: [accuracy]", 1, "objectives", "two or more different objectives", "choose from accuracy"),
    ("objectives: [f1, f1]", 1, "objectives", "two or more different objectives", "choose from accuracy"),
    ("train: {epochs: 0}", 1, "train.epochs", "must be at least 1, got 0", ""),
    ("train: {epochs: many}", 1, "train.epochs", "must be a whole number, got 'many'", ""),
    ("train: 12", 1, "train", "must be a mapping of keys, got 12", ""),
    ("data: {root: mine}", 1, "data.root", "there is a 'root' and no 'name'", "add 'name: image_folder'"),
    ("data: {root: mine.npz}", 1, "data.root", "without a name the data are 'digits'", "add 'name: npz'"),
    ("data: {name: digits, root: mine}", 1, "data.root", "'digits' comes with scikit-learn and has no root", "leave"),
    ("net: resnet18.a1_in1k", 1, "net.name", "names trained weights", "write 'resnet18'"),
    ("net: {name: resnet18, widths: [8]}", 1, "net.widths", "belongs to the net", "leave 'widths' out"),
    ("trial: simulated", 1, "simulation", "'simulation' and 'trial: simulated' go together", "write both"),
    (
        "trial: simulated\nsimulation: {effects: {}}",
        2,
        "simulation.effects",
        "not a key here",
        "known: failures, measures",
    ),
    (
        "trial: simulated\nsimulation: {measures: {accuracy: {base: 9, pars: {}}}}",
        2,
        "simulation.measures.accuracy.pars",
        "not a key here",
        "did you mean 'pairs'?",
    ),
    ("search: {stopping: {band: 2, etta: 3}}", 1, "search.stopping.etta", "not a key here", "did you mean 'eta'?"),
    (
        "PLUGINS\ntricks: {teach: {teacher: resnet18.a1_in1k}}",
        2,
        "tricks.teach.teacher",
        "trained weights",
        "'resnet18'",
    ),
    ("name: a/b", 1, "name", "usable as the name of a folder, got 'a/b'", "use letters"),
    ("plugins: mine", 1, "plugins", "must be a list, got 'mine'", ""),
    ("plugins: [yours]", 1, "plugins", "there is no plugins folder 'yours'", "relative to this file"),
    ("PLUGINS\ntricks: [blond]", 2, "tricks", "there is no trick 'blond'", "did you mean 'blend'?"),
    ("PLUGINS\ntricks:\n  blend:\n  pach:", 4, "tricks.pach", "there is no trick 'pach'", "did you mean 'patch'?"),
    ("tricks: []", 1, "tricks", "the list of tricks is empty", "leave 'tricks' out to search all"),
    ("tricks:", 1, "tricks", "the list of tricks is empty", "leave 'tricks' out"),
    ("tricks: blend", 1, "tricks", "must be a list of names or a mapping, got 'blend'", "write 'tricks: [NAME]'"),
    ("PLUGINS\ntricks: [blend, blend]", 2, "tricks", "'blend' is named twice", "keep one"),
    ("tricks:\n- blend: {alpha: 1}", 2, "tricks", 'holds names, got {"blend"', "without the dashes"),
    (
        "PLUGINS\ntricks: {blend: on}",
        2,
        "tricks.blend",
        "a trick takes search, always, never",
        "leave the value out to search",
    ),
    ("PLUGINS\ntricks: {blend: 0.2}", 2, "tricks.blend", "hyperparameters, got 0.2", ""),
    ("PLUGINS\ntricks: {blend: {use: alway}}", 2, "tricks.blend.use", "got 'alway'", "did you mean 'always'?"),
    ("PLUGINS\ntricks: {blend: {alfa: 1}}", 2, "tricks.blend.alfa", "not a hyperparameter of 'blend'", "'alpha'?"),
    ("PLUGINS\ntricks:\n  blend:\n    alpha: 1.5", 4, "tricks.blend.alpha", "must be 0 to 1, got 1.5", ""),
    (
        "PLUGINS\ntricks: {blend: {alpha: [0.5, 0.1]}}",
        2,
        "tricks.blend.alpha",
        "must not be above the upper",
        "swap the two",
    ),
    ("PLUGINS\ntricks: {blend: {alpha: [0.5]}}", 2, "tricks.blend.alpha", "two ends [low, high] are needed", ""),
    (
        "PLUGINS\ntricks: {squeeze: {kind: [a, c]}}",
        2,
        "tricks.squeeze.kind",
        "must be one of a, b, got 'c'",
        "",
    ),
    ("PLUGINS\ntricks: {squeeze: {kind: []}}", 2, "tricks.squeeze.kind", "must not be empty", ""),
    ("PLUGINS\ntricks: {squeeze: {reduction: 2.5}}", 2, "tricks.squeeze.reduction", "a whole number", ""),
    (
        "PLUGINS\ntricks:\n  blend: always\n  patch: always",
        4,
        "tricks.patch",
        "'blend' (line 3) and 'patch' are both",
        "force one",
    ),
    ("PLUGINS\ntricks: {blend: never, patch: never}", 2, "tricks", "no trick is left to search", "name the tricks"),
    ("PLUGINS\ntricks: [rare]", 2, "tricks", "no trick is left to search, this machine cannot run rare: it needs", ""),
    (
        "PLUGINS\ntricks: {rare: always}",
        2,
        "tricks.rare",
        "is forced, and this machine cannot run it: it needs",
        "'never'",
    ),
    ("PLUGINS\ntricks: [first, second]", 2, "tricks", "order them in a circle", "'never'"),
    ("PLUGINS\ntricks: {teach: {teacher: resnet180}}", 2, "tricks.teach.teacher", "no net 'resnet180'", "did you mean"),
    (
        "PLUGINS\ntricks: {teach: {teacher: big.yaml}}",
        2,
        "tricks.teach.teacher",
        "there is no file",
        "relative to this one",
    ),
    ("PLUGINS\ntricks: {teach: {teacher: {nett: x}}}", 2, "tricks.teach.teacher.nett", "not a key here", "'net'?"),
    (
        "PLUGINS\ntricks: {teach: {teacher: {train: {epochs: 0}}}}",
        2,
        "tricks.teach.teacher.train.epochs",
        "at least 1",
        "",
    ),
    (
        "PLUGINS\ntricks: {teach: {teacher: {tricks: {blend: {alpha: 7}}}}}",
        2,
        "tricks.teach.teacher.tricks.blend.alpha",
        "got 7",
        "",
    ),
]


@pytest.mark.parametrize(("text", "line", "key", "rule", "remedy"), BAD, ids=[text for text, *_ in BAD])
def test_an_error_gives_file_line_key_rule_and_remedy(write, text, line, key, rule, remedy):
    path = write(text + "\n")
    with pytest.raises(InputError) as error:
        load_study(path)
    assert error.value.place == f"{path}, line {line}, key {key}"
    assert rule in error.value.rule
    assert remedy in error.value.remedy


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("import nothing_of_this_name", "the plugin does not import: ModuleNotFoundError"),
        ("class Broken(", "the plugin does not import: SyntaxError"),
        ("x = 1", "a plugin file defines exactly one Trick, this one defines 0"),
        (CODE.format(body="alpha: float = 0.1"), "breaks the contract: field 'alpha' needs exactly one domain"),
    ],
)
def test_a_broken_plugin_is_named_with_its_file(write, tmp_path, code, rule):
    (tmp_path / "mine" / "broken.py").write_text(CARD.format(name="broken") + code)
    with pytest.raises(InputError) as error:
        load_study(write("PLUGINS\ntricks: [blend]\n"))
    assert error.value.place == str(tmp_path / "mine" / "broken.py")
    assert rule in error.value.rule


def test_a_plugins_folder_without_plugins(write, tmp_path):
    (tmp_path / "none").mkdir()
    path = write("data: digits\nplugins: [none]\n")
    with pytest.raises(InputError, match=r"holds no \.py file") as error:
        load_study(path)
    assert error.value.place == f"{path}, line 2, key plugins"


@pytest.mark.parametrize("file", sorted(Path(__file__).parents[2].glob("studies/*.yaml")), ids=lambda file: file.stem)
def test_the_studies_that_ship_load(file):
    study = load_study(file)
    assert study.name == file.stem
    assert len(study.tricks) >= 7
    assert set(study.tricks) <= set(discover())
