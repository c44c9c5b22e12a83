"""Discovery: built-ins, folders, entry points; and each way of breaking the contract is one clear error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tricksearch_plugins

from tricksearch.contract import STAGE_OF_HOOK, InputError, broken_contract, defaults, discover, source_file

BUILT_IN = sorted(file.stem for file in Path(tricksearch_plugins.__file__).parent.glob("[!_]*.py"))


def test_the_built_ins_are_the_files_of_their_folder():
    found = discover()
    assert list(found) == BUILT_IN
    for name, trick in found.items():
        assert source_file(trick).stem == name


def test_a_file_in_a_folder_is_found_by_its_stem(put, folder):
    put("scale")
    put("_helper", "raise RuntimeError('files that begin with _ are no plugins')\n")
    found = discover([folder])
    assert list(found) == sorted([*BUILT_IN, "scale"])
    assert defaults(found["scale"]) == {"factor": 1.0}
    assert broken_contract(found["scale"]) is None


def test_a_folder_named_twice_is_found_once(put, folder):
    put("scale")
    assert discover([folder, str(folder) + "/"])["scale"] is discover([folder])["scale"]


def test_an_edited_file_is_read_again(put, folder, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    put("scale")
    first = discover([folder])["scale"]
    file = folder / "scale.py"
    file.write_text(file.read_text().replace("= 1.0", "= 1.5"))
    assert defaults(discover([folder])["scale"]) == {"factor": 1.5}
    assert defaults(first) == {"factor": 1.0}


def test_two_tricks_of_one_name_name_both_files(put, folder):
    mine = put("cosine")
    with pytest.raises(InputError, match="two tricks are named 'cosine'") as caught:
        discover([folder])
    assert str(mine) in str(caught.value)
    assert str(source_file(discover()["cosine"])) in str(caught.value)
    assert caught.value.remedy


def test_a_folder_that_is_not_there_or_empty(tmp_path, folder):
    with pytest.raises(
        InputError, match=r"^plugins: '.*nowhere' is not a folder\. Name a folder that holds \.py files"
    ):
        discover([tmp_path / "nowhere"])
    with pytest.raises(InputError, match=r"^plugins: '.*own_tricks' holds no \.py file\. Put one file"):
        discover([folder])


HOOK = "    def loss(self, loss, bench):\n        return loss\n"
DECORATOR = "\n@dataclass(frozen=True)\n"
CLASS = f"{DECORATOR}class Example(Trick):\n"
LATE = "from __future__ import annotations\n"
CARD_WITHOUT_COST = '"""Scale the loss.\n\nPaper: none.\nUse when: ever.\nAvoid when: never.\n"""\n'

BROKEN = {
    "no dataclass": (f"class Example(Trick):\n{HOOK}", {}, "Example must be a @dataclass(frozen=True)"),
    "not frozen": (f"@dataclass\nclass Example(Trick):\n{HOOK}", {}, "Example must be a @dataclass(frozen=True)"),
    "no hook": (
        f"{CLASS}    a: Annotated[int, Int(1, 2)] = 1\n",
        {},
        "Example overrides none of the hooks data, model",
    ),
    "no domain": (
        f"{CLASS}    a: float = 1.0\n{HOOK}",
        {},
        "'a' needs exactly one domain, as in Annotated[float, Float(",
    ),
    "two domains": (f"{CLASS}    a: Annotated[int, Int(1, 2), Int(1, 3)] = 1\n{HOOK}", {}, "exactly one domain"),
    "default outside": (
        f"{CLASS}    a: Annotated[float, Float(0.0, 1.0)] = 2.0\n{HOOK}",
        {},
        "the default of 'a' is outside its own domain: must be 0 to 1, got 2.0",
    ),
    "condition on nothing": (
        f'{CLASS}    a: Annotated[int, Int(1, 2, when={{"b": "x"}})] = 1\n'
        f'    b: Annotated[str, Choice("x", "y")] = "x"\n{HOOK}',
        {},
        "'a' depends on 'b', which must be an unconditional Choice before it with 'x'",
    ),
    "condition on no option": (
        f'{CLASS}    b: Annotated[str, Choice("x", "y")] = "x"\n'
        f'    a: Annotated[int, Int(1, 2, when={{"b": "z"}})] = 1\n{HOOK}',
        {},
        "'a' depends on 'b', which must be an unconditional Choice before it with 'z'",
    ),
    "condition on a condition": (
        f'{CLASS}    c: Annotated[str, Choice("x", "y")] = "x"\n'
        f'    b: Annotated[str, Choice("x", "y", when={{"c": "x"}})] = "x"\n'
        f'    a: Annotated[int, Int(1, 2, when={{"b": "x"}})] = 1\n{HOOK}',
        {},
        "'a' depends on 'b', which must be an unconditional Choice",
    ),
    "no default": (f"{CLASS}    a: Annotated[float, Float(0.0, 1.0)]\n{HOOK}", {}, "'a' needs a default"),
    "no card": (f"{CLASS}{HOOK}", {"card": ""}, "the module's docstring, the trick's card, is missing"),
    "no cost": (f"{CLASS}{HOOK}", {"card": CARD_WITHOUT_COST}, "has no line 'Cost: ...'"),
    "hook without bench": (
        f"{CLASS}    def loss(self, loss):\n        return loss\n",
        {},
        "the hook 'loss' must take (self, loss, bench), it takes (self, loss)",
    ),
    "hook with more": (
        f"{CLASS}    def loss(self, loss, bench, other):\n        return loss\n",
        {},
        "the hook 'loss' must take (self, loss, bench), it takes (self, loss, bench, other)",
    ),
    "hook with keywords": (
        f"{CLASS}    def loss(self, loss, *, bench):\n        return loss\n",
        {},
        "the hook 'loss' must take (self, loss, bench), it takes (self, loss, *, bench)",
    ),
    "hook is a value": (f"{CLASS}    loss = 0.5\n", {}, "the hook 'loss' must take (self, loss, bench), it is 0.5"),
    "needs something for unavailable": (
        f"{CLASS}{HOOK}    def unavailable(self):\n        return None\n",
        {},
        "'unavailable' must be a @classmethod",
    ),
    "reserved name": (
        f"{CLASS}    use: Annotated[int, Int(1, 2)] = 1\n{HOOK}",
        {},
        "a hyperparameter must not be named 'use'",
    ),
    "hook's name": (
        f"{CLASS}    loss: Annotated[float, Float(0.0, 1.0)] = 0.5\n",
        {},
        "a hyperparameter must not be named 'loss'",
    ),
    "annotated tag": (f"{CLASS}    claims: str = 'mix'\n{HOOK}", {}, "'claims' is a tag, not a hyperparameter"),
    "after is a string": (f"{CLASS}    after = 'mix'\n{HOOK}", {}, "'after' a tuple of tags"),
    "after holds no tags": (f"{CLASS}    after = (1,)\n{HOOK}", {}, "'after' a tuple of tags"),
    "claims a tuple": (f"{CLASS}    claims = ('mix',)\n{HOOK}", {}, "'claims' is a tag (a string)"),
    "two tricks": (f"{CLASS}{HOOK}{DECORATOR}class Other(Trick):\n{HOOK}", {}, "this one defines 2 (Example, Other)"),
    "no trick": ("x = 1\n", {}, "exactly one Trick, this one defines 0 (none)"),
    "module not there": ("import no_such_package\n", {}, "ModuleNotFoundError: No module named 'no_such_package'"),
    "syntax": ("def (:\n", {}, "SyntaxError: invalid syntax"),
    "name error": (f"{CLASS}    a: Annotated[float, Flot(0.0, 1.0)] = 0.5\n{HOOK}", {}, "name 'Flot' is not defined"),
    "late name error": (
        f"{CLASS}    a: Annotated[float, Flot(0.0, 1.0)] = 0.5\n{HOOK}",
        {"imports": LATE},
        "name 'Flot' is not defined",
    ),
    "late domain error": (
        f"{CLASS}    a: Annotated[float, Float(1.0, 0.0)] = 0.5\n{HOOK}",
        {"imports": LATE},
        "the lower end must not be above the upper end, got [1.0, 0.0]",
    ),
    "late attribute error": (
        f"{CLASS}    a: Annotated[float, Float.of(1.0)] = 0.5\n{HOOK}",
        {"imports": LATE},
        "has no attribute 'of'",
    ),
    "domain error": (
        f"{CLASS}    a: Annotated[float, Float(1.0, 0.0)] = 0.5\n{HOOK}",
        {},
        "the lower end must not be above the upper end, got [1.0, 0.0]",
    ),
    "exits": ("import sys\nsys.exit(0)\n", {}, "does not import: SystemExit: 0"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_contract_is_one_clear_error(case, put, folder, source):
    body, parts, message = BROKEN[case]
    if "imports" in parts:
        plain = source("", card="")
        parts = {"imports": parts["imports"] + plain}
    file = put("example", body, **parts)
    with pytest.raises(InputError) as caught:
        discover([folder])
    text = str(caught.value)
    print(text)
    assert message in text
    assert text.startswith(str(file)), "the place comes first"
    assert "\n" not in text
    assert len(text) < 500


def test_an_error_at_import_names_the_line(put, folder):
    file = put("example", "x = 1\nraise ValueError('not today')\n")
    line = file.read_text().splitlines().index("raise ValueError('not today')") + 1
    rule = rf"example\.py: the plugin does not import: ValueError: not today \(line {line}\)\. Mend the file"
    with pytest.raises(InputError, match=rule):
        discover([folder])


@pytest.mark.parametrize("hook", STAGE_OF_HOOK)
def test_every_hook_s_signature_is_checked(hook, put, folder):
    put("example", f"{CLASS}    def {hook}(self):\n        pass\n")
    with pytest.raises(InputError, match=rf"the hook '{hook}' must take \(self, \w+, bench\), it takes \(self\)"):
        discover([folder])


SHOW = """
import json
from tricksearch.contract import InputError, discover, source_file
try:
    print(json.dumps({name: str(source_file(trick)) for name, trick in discover().items()}))
except InputError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture
def installed(tmp_path, source):
    """What `discover()` says in a process where a package with these entry points and this module is installed."""

    def run(entries: dict[str, str], module: str = "soft", text: str | None = None):
        site = tmp_path / "site"
        (site / "fake_tricks").mkdir(parents=True)
        (site / "fake_tricks" / "__init__.py").write_text("")
        (site / "fake_tricks" / f"{module}.py").write_text(source() if text is None else text)
        info = site / "fake_tricks-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-tricks\nVersion: 1.0\n")
        points = "".join(f"{name} = {value}\n" for name, value in entries.items())
        (info / "entry_points.txt").write_text(f"[tricksearch.tricks]\n{points}")
        path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, "-c", SHOW],
            check=False,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("value", ["fake_tricks.soft", "fake_tricks.soft:Example"])
def test_an_installed_package_s_trick_is_found(installed, tmp_path, value):
    found = installed({"anything": value})
    assert found["soft"] == str(tmp_path / "site" / "fake_tricks" / "soft.py")
    assert sorted(set(found) - {"soft"}) == BUILT_IN


def test_an_installed_package_cannot_take_a_built_in_s_name(installed, tmp_path):
    text = installed({"x": "fake_tricks.cosine"}, module="cosine")
    assert "two tricks are named 'cosine'" in text
    assert str(tmp_path / "site" / "fake_tricks" / "cosine.py") in text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("fake_tricks.soft:dataclass", "must name a Trick or its module"),
        ("fake_tricks.absent", "ModuleNotFoundError: No module named 'fake_tricks.absent'"),
        ("fake_tricks.soft:Absent", "has no attribute 'Absent'"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_one_clear_error(installed, value, message):
    text = installed({"x": value})
    assert isinstance(text, str), text
    assert message in text
    assert text.startswith(f"entry point x = {value}")
    assert "fake-tricks" in text, "the package to mend or to uninstall"
    assert "plugins" not in text, "the study cannot help here"
