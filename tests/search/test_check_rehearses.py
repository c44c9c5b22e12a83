"""A check lets tricks act on the untrained net, so that what cannot be is known before anything trains."""

from __future__ import annotations

import pytest

from tricksearch.contract import InputError
from tricksearch.search.check import check_study
from tricksearch.study.study import load_study

REFUSES = '''"""refuses: nothing.

Paper: none
Use when: testing.
Avoid when: not testing.
Cost: none.
"""
from dataclasses import dataclass
from tricksearch import NotApplicable, Trick


@dataclass(frozen=True)
class Refuses(Trick):
    """Finds nothing."""

    def {hook}(self, thing, bench):
        raise {error}("too narrow")
'''


@pytest.fixture
def study(tmp_path):
    def make(hook, error, use="search"):
        folder = tmp_path / "own"
        folder.mkdir()
        (folder / "refuses.py").write_text(REFUSES.format(hook=hook, error=error))
        path = tmp_path / "study.yaml"
        path.write_text(
            f"plugins: ['{folder}']\ndata: {{name: digits, train_images: 40, validation_images: 60}}\n"
            f"net: {{widths: [8], blocks: 1}}\ntricks: {{cosine: search, refuses: {use}}}\n"
        )
        return load_study(path)

    return make


@pytest.mark.parametrize("hook", ["compress", "deploy"])
def test_a_trick_that_cannot_act_on_the_net_is_refused_before_training(hook, study):
    with pytest.raises(InputError, match=r"tricks.refuses: 'refuses' cannot act on the net .*too narrow") as refused:
        check_study(study(hook, "NotApplicable"))
    assert "take 'refuses' out" in str(refused.value).lower()


def test_other_errors_are_left_to_the_trials(study):
    check_study(study("deploy", "ValueError"))


def test_what_is_never_used_is_not_rehearsed(study):
    check_study(study("compress", "NotApplicable", use="never"))
