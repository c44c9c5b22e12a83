"""YAML with lines, settings with errors that a person can act on, and recipe files."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tricksearch.contract import InputError, build, defaults, discover
from tricksearch.records.recipe import Recipe
from tricksearch.records.settings import NetSettings, TrainSettings
from tricksearch.study.document import validate
from tricksearch.study.recipe_file import load_recipe
from tricksearch.study.yaml_file import read_yaml


@pytest.fixture
def write(tmp_path):
    def file(text: str | bytes, name: str = "file.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return file


def test_every_value_knows_its_line(write):
    document = read_yaml(write("# a comment\na: 1\nb:\n  c: [x,\n    y]\n  d:\n  - e: 2\n"))
    assert document.data == {"a": 1, "b": {"c": ["x", "y"], "d": [{"e": 2}]}}
    assert document.lines == {
        (): 2,
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "c", 0): 4,
        ("b", "c", 1): 5,
        ("b", "d"): 6,
        ("b", "d", 0): 7,
        ("b", "d", 0, "e"): 7,
    }
    assert document.place(("b", "d", 0, "missing")).endswith("file.yaml, line 7, key b.d.missing")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-4", 0.0005),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-3", -3),
        ("010", 10),
        ("0x1F", 31),
        ("6_000", 6000),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'12'", "12"),
        ("12:30", "12:30"),
        ("2026-01-31", "2026-01-31"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        ("[&x {a: 1}, *x]", [{"a": 1}, {"a": 1}]),
        ("{<<: {a: 1, b: 2}, b: 3}", {"a": 1, "b": 3}),
    ],
)
def test_plain_words_and_numbers(write, text, value):
    read = read_yaml(write(f"key: {text}\n")).data["key"]
    assert read == value
    assert type(read) is type(value)


BMP = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]))  # JSON writes others as two escapes
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | BMP,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcyno01_.", min_size=1), inner, max_size=3),
    max_leaves=12,
)


@given(data=st.dictionaries(st.text("abcyno01_.", min_size=1), plain, min_size=1, max_size=4))
def test_json_is_read_as_it_is(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("json") / "file.yaml"
    path.write_text(json.dumps(data), encoding="utf-8")
    assert read_yaml(path).data == data


@pytest.mark.parametrize(
    ("text", "line", "rule", "remedy"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' is given twice, on lines 1 and 3", "keep one"),
        ("b:\n  c: 1\n  d: 2\n  c: 1\n", 4, "the key 'c' is given twice, on lines 2 and 4", "keep one"),
        ("a:\n\tb: 1\n", 2, "not valid YAML", "indent with spaces"),
        ("a: b: c\n", 1, "not valid YAML", "put quotes around"),
        ("a: [1, 2\nb: 3\n", 2, "not valid YAML", "look for a missing colon, quote or bracket"),
        ("a: 1\n---\nb: 2\n", 2, "not valid YAML", "take out the line '---'"),
        ("a: !!python/object:os.system x\n", 1, "not valid YAML", "take the tag"),
        ("a: !!set {b}\n", 1, "only text, numbers", "take the tag"),
        ("a: 1\nb: !!int abc\n", 2, "'abc' cannot be read as YAML's type 'int'", "take its tag"),
        ("a: !!int [1]\n", 1, "this list or mapping cannot be read as YAML's type 'int'", "take its tag"),
        ("a: 1\nb: [!!bool maybe]\n", 2, "'maybe' cannot be read as YAML's type 'bool'", "take its tag"),
        ("a: !!float ''\n", 1, "'' cannot be read as YAML's type 'float'", "take its tag"),
        ("a: !!timestamp soon\n", 1, "'soon' cannot be read as YAML's type 'timestamp'", "take its tag"),
        ("a: 1\nb:\n  c: " + "7" * 5000, 3, "7... cannot be read as YAML's type 'int'", "shorten it"),
        ("a: 0x" + "f" * 5000, 1, "f... cannot be read as YAML's type 'int'", "shorten it"),
        ("a: 1\n? [b]\n: 2\n", 2, "a key must be one word", "quotes"),
        ("- a\n- b\n", 1, 'the top level must be a mapping of keys, got ["a", "b"]', "write 'key: value' lines"),
        ("just words\n", 1, "got 'just words'", "write 'key: value' lines"),
        ("a: &x\n  b: *x\n", 2, "an alias stands for itself", "instead of using aliases"),
        ("a: *nowhere\n", 1, "found undefined alias", ""),
        (
            "a: &b\n"
            + "".join(
                f"  k{i}: &c{i} [{'*c' + str(i - 1) + ', ' if i else ''}"
                + f"{', '.join(['*c' + str(i - 1)] * 9) if i else 1}]\n"
                for i in range(9)
            ),
            None,
            "over 100000 values",
            "aliases",
        ),
    ],
)
def test_bad_yaml(write, text, line, rule, remedy):
    path = write(text)
    with pytest.raises(InputError) as error:
        read_yaml(path)
    assert error.value.place.startswith(str(path) + (f", line {line}" if line else ", line "))
    assert rule in error.value.rule
    assert remedy in error.value.remedy


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "the file is empty"),
        (b"# only a comment\n", "the file is empty"),
        (b"a: \xff\n", "not UTF-8 text: byte 3 is 0xff"),
        (b"a: \x00\n", "not valid YAML"),
        (b"[" * 5000, "nested too deeply"),
    ],
)
def test_files_that_are_no_text(write, data, rule):
    path = write(data)
    with pytest.raises(InputError) as error:
        read_yaml(path)
    assert error.value.place == str(path)
    assert rule in error.value.rule


def test_a_byte_order_mark_is_no_part_of_the_first_key(write):
    assert read_yaml(write(b"\xef\xbb\xbfa: 1\n")).data == {"a": 1}


def test_a_missing_file_names_the_nearest(write, tmp_path):
    write("a: 1", "digits.yaml")
    with pytest.raises(InputError, match="there is no such file") as error:
        read_yaml(tmp_path / "digit.yaml")
    assert error.value.remedy == f"did you mean '{tmp_path / 'digits.yaml'}'?"
    with pytest.raises(InputError, match="this is a folder"):
        read_yaml(tmp_path)


def test_all_problems_of_the_file_are_told_by_their_lines(write):
    document = read_yaml(write("train:\n  momentum: 2\n  epoch: 3\n  epochs: 0\n"))
    with pytest.raises(InputError) as error:
        validate(document, TrainSettings, ("train",))
    assert [(problem.place.split(", ", 1)[1], problem.rule) for problem in error.value.all] == [
        ("line 2, key train.momentum", "must be below 1, got 2"),
        ("line 3, key train.epoch", "'epoch' is not a key here"),
        ("line 4, key train.epochs", "must be at least 1, got 0"),
    ]
    assert str(error.value).splitlines()[0] == "3 problems."


def test_validate_gives_the_model(write):
    document = read_yaml(write("train: {epochs: 3, milestones: [0.5]}\n"))
    assert validate(document, TrainSettings, ("train",)) == TrainSettings(epochs=3, milestones=(0.5,))
    assert validate(document, NetSettings, ("net",)) == NetSettings()


def test_a_recipe_gets_every_value_and_its_seed(write):
    name = next(name for name, trick in discover().items() if defaults(trick) and trick.unavailable() is None)
    path = write(f"net: resnet_small\ntrain: {{epochs: 2}}\ntricks:\n  {name}:\nseed: 7\n")
    recipe, seed = load_recipe(path)
    assert seed == 7
    assert recipe.train.epochs == 2
    assert recipe.tricks == {name: defaults(discover()[name])}


def test_the_yaml_of_a_recipe_is_that_recipe(write):
    registry = discover()
    claims: dict[str, str] = {}
    for name, trick in registry.items():
        if trick.unavailable() is None:
            claims.setdefault(trick.claims or name, name)
    tricks = {name: defaults(registry[name]) for name in claims.values()}
    recipe = Recipe(train=TrainSettings(epochs=3, lr=1e-05), tricks=tricks)
    read, seed = load_recipe(write(recipe.to_yaml("two\nlines")))
    assert (read, seed) == (recipe, 0)
    assert read.key == recipe.key
    assert yaml.safe_load(read.to_yaml()) == yaml.safe_load(recipe.to_yaml())


@pytest.mark.parametrize(
    ("text", "line", "key", "rule", "remedy"),
    [
        ("tricks: {none_such: {}}", 1, "tricks.none_such", "there is no trick 'none_such'", "known: "),
        ("tricks:\n  NAME:\n    zzz: 1", 3, "tricks.NAME.zzz", "'zzz' is not a hyperparameter of 'NAME'", "known: "),
        ("tricks:\n  NAME:\n    FIELD: [1]", 3, "tricks.NAME.FIELD", "a number is needed, not [1]", ""),
        ("tricks:\n  ONE: {}\n  OTHER: {}", 1, "tricks", "and only one of a recipe may", "keep one of them"),
        ("tricks: [NAME]", 1, "tricks", "must be a mapping of keys", ""),
        ("data: {root: x}", 1, "data.root", "there is a 'root' and no 'name'", "add 'name: image_folder'"),
        ("net: resnet18.a1_in1k", 1, "net.name", "'a1_in1k' in 'resnet18.a1_in1k' names trained", "write 'resnet18'"),
        ("trick: {}", 1, "trick", "'trick' is not a key here", "did you mean 'tricks'?"),
        ("seed: -1", 1, "seed", "must be at least 0, got -1", ""),
        ("data: digitz", 1, "data.name", "digitz", "did you mean 'digits'?"),
        ("plugins: [none]", 1, "plugins", "there is no plugins folder 'none'", "relative to this file"),
    ],
)
def test_an_error_in_a_recipe_gives_its_place(write, text, line, key, rule, remedy):
    registry = discover()
    name, field = next(
        (name, field)
        for name, trick in registry.items()
        for field, default in defaults(trick).items()
        if isinstance(default, float) and trick.unavailable() is None
    )
    claims: dict[str, list[str]] = {}
    for each, trick in registry.items():
        claims.setdefault(trick.claims, []).append(each)
    one, other = next(names for claim, names in claims.items() if claim and len(names) > 1)[:2]

    def named(words: str) -> str:
        for word, value in {"NAME": name, "FIELD": field, "ONE": one, "OTHER": other}.items():
            words = words.replace(word, value)
        return words

    path = write(named(text) + "\n")
    with pytest.raises(InputError) as error:
        load_recipe(path)
    assert error.value.place == f"{path}, line {line}, key {named(key)}"
    assert named(rule) in error.value.rule
    assert remedy in error.value.remedy


def test_a_trick_that_a_recipe_leaves_at_its_defaults_can_be_built(write):
    for name, trick in discover().items():
        if trick.unavailable() is None:
            recipe, _ = load_recipe(write(f"tricks:\n  {name}: {{}}\n"))
            assert recipe.build_tricks(discover()) == [build(trick, {})]
