"""The page in a real browser: what a reader points at, clicks, sorts and filters."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.report.conftest import FAILURES, make_records, make_study
from tricksearch.contract import InputError
from tricksearch.records.recipe import Recipe
from tricksearch.report import write_report
from tricksearch.report.view import make_view

VIEW = make_view(make_records(), ("accuracy", "latency_ms"))


@pytest.fixture
def opened(browser, page: Path):
    """The page, freshly opened; afterwards it must have logged nothing and asked the network for nothing."""
    yield from _open(browser, page)


def _open(browser, path: Path):
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(path.as_uri())
    yield browser
    messages = [json.loads(each["message"])["message"] for each in browser.get_log("performance")]
    sent = [each["params"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    asked = [each["request"]["url"] for each in sent if each["documentURL"] == path.as_uri()]
    assert browser.get_log("browser") == []
    assert path.as_uri() in asked  # the log does see requests
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def _text(browser, selector: str) -> str:
    return browser.execute_script("return document.querySelector(arguments[0]).textContent", selector)


def _column(browser, title: str) -> list[str]:
    return browser.execute_script(
        """const heads = [...document.querySelectorAll("#table th")];
           const at = heads.findIndex((th) => th.textContent.startsWith(arguments[0]));
           return [...document.querySelectorAll("#table tbody tr")].map((row) => row.children[at].textContent);""",
        title,
    )


def _move_to(browser, record: int, click: bool = False) -> None:
    """Move the real mouse to a record's point, and click there if asked to."""
    from selenium.webdriver.common.action_chains import ActionChains

    chart = browser.find_element("id", "chart")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    x, y = browser.execute_script(
        """const chart = arguments[0], box = chart.getBoundingClientRect(), full = chart._fullLayout;
           const row = JSON.parse(document.getElementById("data").textContent).columns;
           return [full.xaxis._offset + full.xaxis.d2p(row.latency_ms[arguments[1]]) - box.width / 2,
                   full.yaxis._offset + full.yaxis.d2p(row.accuracy[arguments[1]]) - box.height / 2];""",
        chart,
        record,
    )
    # Two moves: the first event after a jump of the pointer only tells the chart where it is.
    chain = ActionChains(browser).move_to_element_with_offset(chart, round(x) + 2, round(y) + 2).pause(0.2)
    chain = chain.move_to_element_with_offset(chart, round(x), round(y)).pause(0.3)
    (chain.click() if click else chain).pause(0.2).perform()


def _press(browser, selector: str) -> None:
    button = browser.find_element("css selector", selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()


def _lonely() -> int:
    """A member of the front that is neither baseline nor knee and whose neighbours are far."""
    others = [i for i in VIEW.front if i not in (VIEW.knee, VIEW.baseline)]
    return others[-1]


def test_the_head_answers(opened) -> None:
    assert _text(opened, "h1") == "No recipe is shown to be both more accurate and faster than the baseline."
    assert "60 trials: 55 finished" in _text(opened, ".details")


def test_hovering_a_point_tells_its_difference_from_the_baseline(opened) -> None:
    i = _lonely()
    record = VIEW.records[i]
    _move_to(opened, i)
    tooltip = opened.find_element("id", "tooltip")
    assert tooltip.is_displayed()
    assert f"Trial {record.trial}" in tooltip.text
    for name in record.tricks:
        assert f"+ {name} " in tooltip.text
    assert f"top-1 accuracy: {record.accuracy:.2f} %" in tooltip.text
    assert "95 % interval" in tooltip.text
    assert f"n = {record.validation_images}" in tooltip.text
    assert f"latency, median: {record.latency_ms:.3f} ms" in tooltip.text
    assert f"latency, p95: {record.value('latency_p95_ms'):.3f} ms" in tooltip.text


def test_clicking_a_point_keeps_it_with_a_recipe_that_runs(opened) -> None:
    i = _lonely()
    record = VIEW.records[i]
    assert _text(opened, "#panel-title") != f"Trial {record.trial}"
    _move_to(opened, i, click=True)
    assert _text(opened, "#panel-title") == f"Trial {record.trial}"
    assert _text(opened, "#panel-marks") == "on the front"
    measures = _text(opened, "#panel-measures")
    assert f"{record.accuracy:.2f} %" in measures
    assert f"{record.accuracy - VIEW.records[0].accuracy:+.2f} points" in measures
    assert f"{record.latency_ms / VIEW.records[0].latency_ms:.2f}" in measures
    chosen = opened.find_elements("css selector", "#table tr[aria-selected=true]")
    assert [row.get_attribute("data-record") for row in chosen] == [str(i)]


def test_the_recipe_of_every_record_is_its_recipe(opened) -> None:
    texts = opened.execute_script(
        """return [...document.querySelectorAll("#table tbody tr")].map((row) => {
             row.click(); return document.getElementById("panel-yaml").textContent; });"""
    )
    assert len(texts) == len(VIEW.records)
    for text, record in zip(texts, VIEW.records, strict=True):
        assert text.startswith(f"# Trial {record.trial} of the study digits")
        assert Recipe.model_validate(yaml.safe_load(text)) == Recipe.model_validate(record.recipe)


def test_the_recipe_is_copied(opened) -> None:
    wanted = _text(opened, "#panel-yaml")
    _press(opened, "#copy")
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(opened, 60).until(lambda page: _text(page, "#copy") == "Copied")  # the browser copies in its own time
    # Pasting is the only way to the clipboard that every browser grants to a page opened from a file.
    opened.execute_script(
        "const area = document.createElement('textarea'); area.id = 'pasted'; document.body.append(area); area.focus()"
    )
    from selenium.webdriver.common.keys import Keys

    opened.find_element("id", "pasted").send_keys(Keys.CONTROL, "v")
    assert opened.find_element("id", "pasted").get_property("value") == wanted


def test_a_row_can_be_chosen_with_the_keyboard(opened) -> None:
    from selenium.webdriver.common.keys import Keys

    opened.find_element("css selector", "#table tbody tr:nth-child(8) button").send_keys(Keys.ENTER)
    assert _text(opened, "#panel-title") == "Trial 7"
    assert _text(opened, "#panel-marks") == "failed"
    assert _text(opened, "#panel-reason") == FAILURES[7][1]


def test_the_table_sorts_and_leaves_what_was_not_measured_last(opened) -> None:
    heads = opened.find_elements("css selector", "#table th")
    latency = next(head for head in heads if head.text.replace("\n", " ").startswith("latency, ms"))
    assert latency.get_attribute("aria-sort") == "none"
    measured = sorted(f"{each.latency_ms:.3f}" for each in VIEW.records if each.finished)
    for order, expected in (("ascending", measured), ("descending", measured[::-1])):
        latency.find_element("tag name", "button").click()
        assert latency.get_attribute("aria-sort") == order
        shown = _column(opened, "latency, ms")
        assert shown[: len(measured)] == expected
        assert set(shown[len(measured) :]) == {"\N{EN DASH}"}
    accuracy = next(head for head in heads if head.text.startswith("accuracy"))
    accuracy.find_element("tag name", "button").click()
    assert accuracy.get_attribute("aria-sort") == "descending"  # the best first
    assert float(_column(opened, "accuracy")[0]) == pytest.approx(max(r.accuracy or 0 for r in VIEW.records), abs=0.005)


def test_failed_trials_are_listed_with_their_reason(opened) -> None:
    reasons = dict(zip(_column(opened, "trial"), _column(opened, "recipe"), strict=True))
    status = dict(zip(_column(opened, "trial"), _column(opened, "status"), strict=True))
    for trial, (kind, reason) in FAILURES.items():
        assert (status[str(trial)], reasons[str(trial)]) == (kind.replace("_", " "), reason)
    opened.execute_script(
        "const s = document.getElementById('status'); s.value = 'diverged'; s.dispatchEvent(new Event('change'))"
    )
    assert _column(opened, "trial") == ["19", "51"]


def test_the_filter_dims_the_chart_and_shortens_the_table(opened) -> None:
    _press(opened, '[data-trick="int8"] label:nth-child(2)')
    _press(opened, '[data-trick="mixup"] label:nth-child(3)')
    kept = [i for i, each in enumerate(VIEW.records) if "int8" in each.tricks and "mixup" not in each.tricks]
    assert 0 < len(kept) < len(VIEW.records)
    assert _column(opened, "trial") == [str(VIEW.records[i].trial) for i in kept]
    assert f"{len(kept)} of 60 records match" in _text(opened, "#shown")
    lit = opened.execute_script(
        """return document.getElementById("chart").data
             .filter((trace) => ["recipe", "on the front"].includes(trace.name))
             .flatMap((trace) => trace.customdata);"""
    )
    assert sorted(lit) == [i for i in kept if i in VIEW.plotted]
    _press(opened, "#reset")
    assert len(_column(opened, "trial")) == 60


def test_the_chart_marks_front_knee_and_baseline(opened) -> None:
    traces = {
        t.get("name") or t["mode"]: t for t in opened.execute_script("return document.getElementById('chart').data")
    }
    assert traces["knee"]["customdata"] == [VIEW.knee]
    assert traces["baseline"]["customdata"] == [VIEW.baseline]
    assert traces["lines"]["line"]["shape"] == "hv"
    assert traces["lines"]["x"] == sorted(traces["lines"]["x"])
    assert len(traces["lines"]["x"]) == len(VIEW.front)
    assert opened.execute_script("return document.getElementById('chart')._fullLayout.xaxis.type") == "linear"
    _press(opened, "#log")
    assert opened.execute_script("return document.getElementById('chart')._fullLayout.xaxis.type") == "log"


def test_three_objectives_mark_the_front_without_a_line(browser, tmp_path: Path) -> None:
    three = ["accuracy", "latency_ms", "params"]
    view, path = make_view(make_records(), three), tmp_path / "report.html"
    assert len(view.front) > len(VIEW.front)
    write_report(make_records(), make_study(objectives=three), path)
    for opened in _open(browser, path):
        drawn = opened.execute_script("return document.getElementById('chart').data")
        assert "lines" not in [each["mode"] for each in drawn]
        (front,) = [each for each in drawn if each["name"] == "on the front over 3 objectives"]
        assert front["customdata"] == sorted(set(view.front) - {view.baseline})
        assert "objectives, accuracy, latency and parameters" in _text(opened, "h1")
        knee = view.records[view.knee]
        assert f"parameters {knee.value('params'):,}" in _text(opened, "header")
        assert f"parameters {knee.value('params'):,}" in _text(opened, "#panel-yaml")


@pytest.mark.parametrize("records", [[], [make_records()[7]]], ids=["none", "all failed"])
def test_a_study_without_a_finished_trial_still_has_a_page(browser, tmp_path: Path, records) -> None:
    write_report(records, make_study(), tmp_path / "report.html")
    for opened in _open(browser, tmp_path / "report.html"):
        assert "No trial finished" in _text(opened, "h1")
        assert opened.find_element("id", "chart-empty").is_displayed()
        assert _column(opened, "trial") == [str(each.trial) for each in records]


def test_markup_in_names_and_reasons_stays_text(browser, tmp_path: Path) -> None:
    from dataclasses import replace

    evil = "</script ></script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'><!--\u2028"
    plain = make_records(8)
    recipe = {**plain[3].recipe, "tricks": {evil: {evil: evil}}}
    records = [
        *plain[:3],
        replace(plain[3], recipe=recipe, recipe_key="", measures=plain[3].measures | {"accuracy": 99.9}),
        *plain[4:7],
        replace(plain[7], reason=evil, status=evil),
    ]
    path = tmp_path / "report.html"
    write_report(records, make_study(name=evil, hardware={evil: evil}), path)
    for opened in _open(browser, path):
        _move_to(opened, 3)
        assert "</script><script>" in _text(opened, "#tooltip")
        _move_to(opened, 3, click=True)
        assert "</script><script>" in _text(opened, "#panel-diff")
        loaded = yaml.safe_load(_text(opened, "#panel-yaml"))
        assert loaded["tricks"] == recipe["tricks"]
        _press(opened, "#table tbody tr:nth-child(8) button")
        assert _text(opened, "#panel-reason") == evil
        assert evil in _text(opened, ".study")
        assert opened.execute_script("return window.broken") is None
        assert opened.execute_script("return document.querySelectorAll('img').length") == 0


def test_the_policy_forbids_what_the_page_does_not_need(browser, page: Path) -> None:
    browser.get(page.as_uri())
    browser.execute_script(
        """const script = document.createElement("script");
           script.textContent = "window.injected = 1";
           document.body.append(script);
           fetch("http://127.0.0.1:9/").catch(() => { window.refused = 1; });"""
    )
    assert browser.execute_script("return window.injected") is None
    log = " ".join(each["message"] for each in browser.get_log("browser"))
    assert "script-src" in log
    assert "default-src 'none'" in log or "connect-src" in log


def test_ten_thousand_records_stay_light_and_are_all_drawn(browser, tmp_path: Path) -> None:
    path, records = tmp_path / "report.html", make_records(10_000)
    recipes = len({record.recipe_key for record in records})  # those that were drawn twice are one point
    assert recipes > 9_500
    write_report(records, make_study(), path)
    assert path.stat().st_size < 8_000_000
    for opened in _open(browser, path):
        # All but baseline, knee and selected are points of their own; what failed is in the table alone.
        assert len(opened.find_elements("css selector", "#chart .points path")) >= recipes - len(FAILURES)
        assert len(_column(opened, "trial")) == 200
        _press(opened, "#more")
        assert len(_column(opened, "trial")) == recipes


def test_an_older_page_survives_a_write_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("the older page")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_report(make_records(3), make_study(), path)
    assert path.read_text() == "the older page"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_the_report_imports_neither_torch_nor_the_search() -> None:
    code = (
        "import sys, pathlib, tempfile; from tricksearch.report import write_report;"
        "write_report([], {}, pathlib.Path(tempfile.mkdtemp()) / 'r.html');"
        "print([m for m in ('torch', 'ray', 'optuna', 'pandas') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
