"""The page's section on verdicts, in a real browser."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import yaml

from tests.believable import EVIL, findings, members, unknown, verdict
from tests.report.conftest import make_records, make_study
from tests.report.test_page import VIEW, _open, _press, _text
from tricksearch.report.page import render, write_report
from tricksearch.verdicts.findings import Findings
from tricksearch.verdicts.table import every_verdict
from tricksearch.verdicts.text import SIMULATED, sections

RECORDS = make_records()
FRONT = [RECORDS[i].id for i in VIEW.front if RECORDS[i].tricks]


def made(**changes) -> Findings:
    """Findings about recipes that the page's records have."""
    found = findings(**changes)
    names = iter([RECORDS[0].id, *FRONT[:4]])
    around = next(each for each in RECORDS if len(each.tricks) >= 3)
    kept = dict(sorted(around.tricks.items())[:2])
    minimal = replace(found.minimal, around=around.id, tricks=tuple(kept), recipe={**around.recipe, "tricks": kept})
    return replace(found, members=tuple(replace(each, record=next(names)) for each in members()), minimal=minimal)


def _shown(browser) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll('#verdict-table tbody tr')].filter((row) => !row.hidden)"
        ".map((row) => row.dataset.comparison)"
    )


def _plots(browser) -> dict[str, dict]:
    plots = browser.execute_script(
        """return [...document.querySelectorAll(".forest")].map((plot) => ({
             measure: plot.dataset.measure, shapes: plot.layout.shapes,
             points: plot.data.flatMap((trace) => trace.x.map((x, k) => [x, trace.error_x.arrayminus[k],
               trace.error_x.array[k], trace.marker.color])),
             height: plot.getBoundingClientRect().height, width: plot.getBoundingClientRect().width }))"""
    )
    return {each["measure"]: each for each in plots}


def test_the_verdicts_are_drawn_told_and_filtered(browser, tmp_path: Path) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    found = made(simulated=True)
    write_report(RECORDS, make_study(), tmp_path / "report.html", found)
    for opened in _open(browser, tmp_path / "report.html"):
        assert _text(opened, "header .simulated") == SIMULATED
        plots = _plots(opened)
        assert list(plots) == ["accuracy", "latency_ms"]
        screen = [each for each in found.verdicts if each.comparison == "screen"]
        for measure, plot in plots.items():
            own = [each for each in screen if each.measure == measure and each.effect is not None]
            drawn = sorted([round(number, 6) for number in point[:3]] for point in plot["points"])
            wanted = sorted([each.effect, each.effect - each.low, each.high - each.effect] for each in own)
            assert drawn == [[round(number, 6) for number in point] for point in wanted]
            assert len({point[3] for point in plot["points"]}) == len({each.says for each in own})
            assert plot["height"] > 100
        band, zero = plots["accuracy"]["shapes"]
        assert [band["x0"], band["x1"], zero["x0"]] == [-0.2, 0.2, 0]
        # A margin of 5 % is as wide on the log scale up as down.
        assert round(plots["latency_ms"]["shapes"][0]["x0"], 2) == -4.76

        assert set(_shown(opened)) == {"screen"}
        assert len(_shown(opened)) == len(screen)
        for value, kinds in (
            ("interaction", {"interaction"}),
            ("", {each.comparison for each in every_verdict(found)}),
        ):
            opened.execute_script(
                "const s = document.getElementById('comparison'); s.value = arguments[0];"
                "s.dispatchEvent(new Event('change'))",
                value,
            )
            assert set(_shown(opened)) == kinds
        assert len(_shown(opened)) == len(every_verdict(found))

        said = _text(opened, "#in-words")
        assert [each for _, group in sections(found) for each in group if each not in said] == []
        steps = opened.execute_script(
            "return [...document.querySelectorAll('.ladder .name')].map((n) => n.textContent)"
        )
        assert steps == [f"+ {name}" for name in found.order]

        copied = yaml.safe_load(_text(opened, "#minimal-yaml"))
        around = next(each for each in RECORDS if each.id == found.minimal.around)
        assert copied["tricks"] == {name: around.tricks[name] for name in found.minimal.tricks}
        _press(opened, "[data-copy=minimal-yaml]")
        WebDriverWait(opened, 60).until(lambda page: _text(page, "[data-copy=minimal-yaml]") == "Copied")

        _press(opened, "#members tbody tr:nth-child(2) button")
        assert _text(opened, "#panel-title") == f"Trial {found.members[1].record}"
        assert "On the front of what was confirmed with a chance of 97 %" in _text(opened, "#panel-notes")
        assert "On the front" not in opened.execute_script(
            "document.querySelector('#table tbody tr:nth-child(8)').click();"
            "return document.getElementById('panel-notes').textContent"
        )
        wide = "return [...document.querySelectorAll('.forest')].map((p) => p._fullLayout.width <= p.clientWidth)"
        assert opened.execute_script(wide) == [True, True]
        opened.execute_script("document.getElementById('verdicts').style.width = '600px'")
        WebDriverWait(opened, 60).until(lambda page, wide=wide: page.execute_script(wide) == [True, True])
        bounded = {each.trick for each in found.verdicts if each.comparison == "ladder" and each.low is None}
        assert len(bounded) == 1
        free = "return document.querySelector('.forest').data.filter((t) => !t.error_x).flatMap((t) => t.x)"
        assert opened.execute_script(free) == [0.11]


def test_a_narrow_window_needs_no_scrolling_to_the_side(browser, tmp_path: Path) -> None:
    write_report(RECORDS, make_study(), tmp_path / "report.html", made())
    size = browser.get_window_size()
    browser.set_window_size(420, 900)
    try:
        for opened in _open(browser, tmp_path / "report.html"):
            assert opened.execute_script("return [document.documentElement.scrollWidth <= innerWidth, innerWidth]") == [
                True,
                420,
            ]
    finally:
        browser.set_window_size(size["width"], size["height"])


def test_markup_in_a_verdict_stays_text(browser, tmp_path: Path) -> None:
    evil = (verdict(EVIL), verdict(EVIL, comparison="ladder"), unknown(f"<b>{EVIL}", EVIL))
    found = made(verdicts=evil, order=(EVIL,), design=EVIL, confounders=(EVIL,), notes=(EVIL,))
    minimal = replace(found.minimal, why=f"{EVIL}\nbroken: true", holds=False)
    fronts = tuple(replace(each, tricks=(EVIL,)) for each in found.members)
    write_report(RECORDS, make_study(), tmp_path / "report.html", replace(found, minimal=minimal, members=fronts))
    for opened in _open(browser, tmp_path / "report.html"):
        assert EVIL in _text(opened, "#verdict-table")
        assert EVIL in _text(opened, ".ladder")
        assert EVIL in _text(opened, "#members")
        assert "broken" not in yaml.safe_load(_text(opened, "#minimal-yaml"))
        labels = opened.execute_script(
            "return [...document.querySelectorAll('.forest .ytick')].map((n) => n.textContent)"
        )
        assert labels[0].startswith("</script><script>window.br")
        assert opened.execute_script("return window.broken") is None
        assert opened.execute_script("return document.querySelectorAll('img').length") == 0


def test_a_page_without_findings_has_no_section() -> None:
    for found in (None, Findings()):
        page = render(RECORDS[:3], make_study(), found)
        assert 'id="verdicts"' not in page
        assert SIMULATED not in page


def test_a_part_that_is_empty_is_not_shown() -> None:
    page = render(RECORDS[:3], make_study(), Findings(verdicts=(verdict(),)))
    assert 'id="verdict-table"' in page
    for absent in ('class="ladder"', 'id="members"', 'id="minimal-yaml"'):
        assert absent not in page
    data = page.split('id="verdicts-data">')[1].split("</script>")[0]
    assert [each["trick"] for each in json.loads(data)["verdicts"]] == ["label_smoothing"]
