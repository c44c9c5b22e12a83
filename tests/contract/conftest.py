"""Tricks of the tests' own, written as files; test files cannot import this one, so each helper is a fixture."""

from collections.abc import Callable
from pathlib import Path

import pytest

CARD = '''"""{does}

Paper: none, arXiv 0000.00000.
Use when: testing.
Avoid when: not testing.
Cost: none.
"""
'''
IMPORTS = """from dataclasses import dataclass
from typing import Annotated

from tricksearch import Choice, Float, Int, Rates, Trick

"""
TRICK = """
@dataclass(frozen=True)
class Example(Trick):
    factor: Annotated[float, Float(0.5, 2.0)] = 1.0

    def loss(self, loss, bench):
        return lambda logits, batch: self.factor * loss(logits, batch)
"""


@pytest.fixture
def source() -> Callable[..., str]:
    """The text of a plugin: card, imports, and the trick."""

    def text(body: str = TRICK, card: str = CARD.format(does="Scale the loss."), imports: str = IMPORTS) -> str:
        return card + imports + body

    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty plugin folder."""
    made = tmp_path / "own_tricks"
    made.mkdir()
    return made


@pytest.fixture
def put(folder: Path, source: Callable[..., str]) -> Callable[..., Path]:
    """Write a plugin into the folder; returns its file."""

    def write(name: str, body: str | None = None, **parts: str) -> Path:
        file = folder / f"{name}.py"
        file.write_text(source(**parts) if body is None else source(body, **parts))
        return file

    return write
