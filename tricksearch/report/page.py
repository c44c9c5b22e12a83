"""The report: one HTML file, the records embedded once as columns, that works without a network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from tricksearch.contract import InputError
from tricksearch.records.averages import shown
from tricksearch.records.files import replace_file
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record
from tricksearch.report.embedded import embedded_data
from tricksearch.report.headline import caveat, details, headline
from tricksearch.report.verdict_section import forest_data, front_chances, verdict_section
from tricksearch.report.view import DEFAULT_OBJECTIVES, View, as_tested, make_view
from tricksearch.verdicts.findings import Findings
from tricksearch.verdicts.text import SIMULATED

# The templates escape every text but the four that they mark as safe: our style sheet, the scripts, and both JSONs.
_TEMPLATES = Environment(
    loader=PackageLoader("tricksearch.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
# Inside <script type="application/json"> only these could end the element or, in older parsers, a line.
_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def write_report(
    records: Sequence[Record], study: Mapping[str, Any], path: Path, findings: Findings | None = None
) -> None:
    """Write the page of a study's records to `path`, replacing an older one in one step.

    `study` is the resolved study as plain JSON. Its first two objectives are drawn, the first upwards; front and knee
    are those of all objectives. The baseline is the record whose phase is "baseline". `findings` are what the records
    say of the tricks; without them the page has no verdicts. Raises InputError for an objective that is no measure, or
    where the file cannot be written.
    """
    text = render(records, study, findings)
    try:
        replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"the report cannot be written: {error.strerror}",
            place=str(path),
            remedy="free some space there, or make the folder writable",
        ) from error


def render(records: Sequence[Record], study: Mapping[str, Any], findings: Findings | None = None) -> str:
    """The page's HTML. Raises InputError for an objective that is no measure."""
    from plotly.offline import get_plotlyjs

    findings = findings or Findings()
    view = make_view(shown(records), study.get("objectives") or DEFAULT_OBJECTIVES, study.get("constraints") or ())
    view = as_tested(view, findings.verdicts)
    scripts = [_script(text) for text in (get_plotlyjs(), _asset("page.js"), _asset("verdicts.js"))]
    return _TEMPLATES.get_template("page.html").render(
        policy=_policy(scripts),
        title=str(study.get("name") or "study"),
        simulated=SIMULATED if findings.simulated else "",
        headline=headline(view),
        caveat=caveat(view),
        knee=_knee(view),
        details=details(view, study),
        study=yaml.safe_dump(dict(study), sort_keys=False, allow_unicode=True),
        css=_asset("page.css"),
        verdicts=verdict_section(findings, view, records),
        data=_json(embedded_data(view, study) | {"chances": front_chances(findings, view, records)}),
        forest_data=_json(forest_data(findings)),
        scripts=scripts,
    )


def _knee(view: View) -> dict[str, Any] | None:
    """The best compromise: its place in the view, which its button selects, its name, and its objectives."""
    if view.knee is None:
        return None
    record = view.records[view.knee]
    return {
        "place": view.knee,
        "label": "the baseline" if view.knee == view.baseline else f"trial {record.id}",
        "measures": ", ".join(
            f"{MEASURES[name].noun} {MEASURES[name].text(record.value(name))}" for name in view.objectives
        ),
    }


def _asset(name: str) -> str:
    return resources.files("tricksearch.report").joinpath(name).read_text(encoding="utf-8")


def _json(data: Any) -> str:
    """JSON that is safe inside a script element: it holds no character that could end it."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).translate(_ESCAPES)


def _script(text: str) -> str:
    """A script, ours or Plotly's, that cannot end its own element."""
    return text.replace("</script", "<\\/script")


def _policy(scripts: Sequence[str]) -> str:
    """The page may run exactly these scripts, and load nothing. The chart sets styles while it draws."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:;"
        " base-uri 'none'; form-action 'none'"
    )
