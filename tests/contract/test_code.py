"""The hash of a code: words do not count, every other line does."""

import ast
import hashlib
import textwrap

import pytest

from tricksearch.contract import discover, has_source, source_file, source_hash
from tricksearch.contract.code import Import, code_hash, imports
from tricksearch.contract.earlier import EARLIER

TEXT = '''
"""Card."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tricksearch import NotApplicable, Trick

if TYPE_CHECKING:
    from torch import nn


class TooNarrow(Exception):
    """What is raised."""


@dataclass(frozen=True)
class Own(Trick):
    """A trick."""

    rate: float = 0.5  # of what

    def compress(self, net: nn.Module, bench: object) -> nn.Module:
        """Halve it."""
        width = self.width(net)
        if width < 2:
            raise TooNarrow(f"only {width} channels")
        if not net:
            raise NotApplicable("there is no net: " + str(net)) from None
        assert width, "no width"
        kind = "plain" if width < 8 else "wide"
        return self.halved(net, kind, ["a", "b"])
'''
WORDS = [
    ("only {width} channels", "no more than {width} channels, which is {self.rate} too few"),
    ('f"only {width} channels"', '"too narrow: %d" % width'),
    ('"there is no net: " + str(net)', '"no net: " + str(self.rate) + "!"'),
    ('"there is no net: " + str(net)', "f'no net, {net}'"),
    ("no width", "without a width"),
    ("Halve it.", "Halves the net.\n\n        >>> 1 + 1\n        2\n        "),
    ('"""A trick."""', "'''Another\n    text.'''"),
    ('"""A trick."""\n', ""),
    ("Card.", "The card: with 'quotes'."),
    ("# of what", "# a share"),
    ("  # of what", ""),
    ("from torch import nn", "from torch import Tensor, nn"),
    ("self.width(net)", "(\n            self.width( net )\n        )"),
    ('["a", "b"]', "['a', 'b',]"),
    ("0.5", "5e-1"),
    ('    """What is raised."""', '    """Another."""\n    "and a line that does nothing"'),
]
CODE = [
    ("0.5", "0.25"),
    ('"wide"', '"broad"'),
    ("width < 8", "width <= 8"),
    ("width < 2", "width < 3"),
    ("raise TooNarrow", "raise ValueError"),
    ("raise TooNarrow", "TooNarrow"),
    (" from None", ""),
    ("assert width", "assert net"),
    ("from dataclasses import dataclass", "from attrs import frozen as dataclass"),
    ("net: nn.Module", "net: object"),
    ("frozen=True", "frozen=False"),
    ('["a", "b"]', '["b", "a"]'),
    ("class Own", "class Other"),
    ('"plain" if width < 8 else "wide"', '"wide"'),
    ("self.halved(net, kind", "self.halved(net, None"),
    ("if TYPE_CHECKING:", "if True:"),
    ("\n\n\nclass TooNarrow", "\nelse:\n    nn = None\n\n\nclass TooNarrow"),
]


def edited(old, new):
    assert TEXT.count(old) >= 1
    return TEXT.replace(old, new, 1)


@pytest.mark.parametrize(("old", "new"), WORDS)
def test_words_do_not_count(old, new):
    assert edited(old, new) != TEXT
    assert code_hash(edited(old, new)) == code_hash(TEXT)


@pytest.mark.parametrize(("old", "new"), CODE)
def test_a_line_of_code_counts(old, new):
    assert code_hash(edited(old, new)) != code_hash(TEXT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("raise InputError('a')", "raise InputError('b', place='c', remedy=f'{d}')"),
        ("raise errors.InputError('a', remedy='b')", "raise errors.InputError('a', remedy=hint(x))"),
        ("return [InputError('a'), 1]", "return [InputError('b'), 1]"),
        ("raise InputError('a' if x else 'b')", "raise InputError('a' if y else 'c')"),
        ("raise InputError(', '.join(names))", "raise InputError(' and '.join(names))"),
        ("raise _Own('a')", "raise _Own('b')"),
        ("raise OwnError(code='a')", "raise OwnError(code='b')"),
        ("error = ValueError('a')", "error = ValueError('b')"),
        ("error = errors.NotApplicable('a')", "error = errors.NotApplicable(f'{b}')"),
    ],
)
def test_the_texts_of_errors_do_not_count(one, other):
    assert code_hash(one) == code_hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("raise InputError(why(x))", "raise InputError(why(y))"),  # whatever else it does
        ("raise KeyError('a')", "raise KeyError('b')"),  # a handler may read the key
        ("raise self.refused('a')", "raise self.refused('b')"),
        ("raise Stopped(3)", "raise Stopped(4)"),
        ("raise InputError('a')", "raise InputError('a', 'b')"),
        ("raise InputError('a', code=1)", "raise InputError('a', code=2)"),
        ("print('a')", "print('b')"),
        ("Own('a')", "Own('b')"),
        ("f = RootMeanSquaredError(normalization='mean')", "f = RootMeanSquaredError(normalization='range')"),
        ("f = metrics.MeanError('l1')", "f = metrics.MeanError('l2')"),
        ("f = NoException(place='a')", "f = NoException(place='b')"),
        ("raise OwnError('a', place=1)", "raise OwnError('a', place=2)"),
        ("e = ValueError('a', remedy=1)", "e = ValueError('a', remedy=2)"),
        ("x = 1", "x = 1.0"),
        ("x = None", "x = 'None'"),
        ("f(a, *b)", "f(a, b)"),
        ("def f(a, b=1): ...", "def f(a, *, b=1): ..."),
        ("x[1:]", "x[:1]"),
        ("{**a, 'b': 1}", "{a: 1, 'b': 1}"),
    ],
)
def test_what_is_no_text_of_an_error_counts(one, other):
    assert code_hash(one) != code_hash(other)


def test_the_hash_is_the_same_in_every_version_of_python():
    """Else another interpreter would find every trick changed: `ast.dump` writes other texts in 3.12 and 3.13."""
    assert code_hash(TEXT) == "code:e0a402fcb81bc26b"


def test_every_import_is_seen_and_those_for_type_checkers_are_not():
    text = """
    import os, torch.nn
    from tricksearch.toolkit import quantize as q
    if typing.TYPE_CHECKING:
        import rich
    else:
        import attrs
    class A:
        async def f(self):
            with x:
                try:
                    from . import near
                except ImportError:
                    from ..far import away
                else:
                    import yaml
            return [lambda: 1 for _ in ()]
        match x:
            case 1:
                import late
    """
    assert set(imports(ast.parse(textwrap.dedent(text)))) == {
        Import("os"),
        Import("torch.nn"),
        Import("tricksearch.toolkit", "quantize"),
        Import("attrs"),
        Import("", "near", 1),
        Import("far", "away", 2),
        Import("yaml"),
        Import("late"),
    }


def test_an_earlier_text_of_a_built_in_trick_stands_for_its_code_today():
    """Where this fails, a built-in trick has changed: contract/earlier.py says what becomes of its line."""
    today = {source_hash(trick) for trick in discover().values()}
    assert len(EARLIER) >= 17
    assert set(EARLIER.values()) <= today


def test_a_trick_has_the_source_of_a_mark_by_its_code_or_by_its_whole_text():
    trick = discover()["cosine"]
    text = source_file(trick).read_text()
    earlier = next(mark for mark, code in EARLIER.items() if code == source_hash(trick))
    assert has_source(trick, source_hash(trick))
    assert has_source(trick, earlier)
    assert has_source(trick, hashlib.sha256(text.encode()).hexdigest()[:16])
    assert not has_source(trick, hashlib.sha256(f"{text}\n# more".encode()).hexdigest()[:16])
    assert not has_source(trick, code_hash(f"{text}\nx = 1"))
    assert not any(has_source(trick, mark) for mark, code in EARLIER.items() if code != source_hash(trick))
