"""The card: read from the module's docstring, and each line of it needed."""

import pytest

from tricksearch.contract import Card, card, discover, source_file

FULL = '''"""Scale the loss: multiply it
by a factor.

Paper: Doe et al. 2020,
  arXiv 2001.00001, section 3.
Use when: the loss is
    small.
Avoid when: it is: large.
Cost: none.

More to say, which is not on the card: nothing.
"""
'''


def test_a_card_is_read_whole(put, folder):
    put("scale", card=FULL)
    assert card(discover([folder])["scale"]) == Card(
        name="scale",
        does="Scale the loss: multiply it by a factor.",
        paper="Doe et al. 2020, arXiv 2001.00001, section 3.",
        use_when="the loss is small.",
        avoid_when="it is: large.",
        cost="none.",
    )
    assert source_file(discover([folder])["scale"]) == folder / "scale.py"


@pytest.mark.parametrize("name", discover())
def test_the_built_in_cards_are_full_sentences(name):
    each = card(discover()[name])
    assert each.name == name
    for line in (each.does, each.paper, each.use_when, each.avoid_when, each.cost):
        assert line.endswith(".")
        assert "  " not in line
        assert len(line) < 300
