"""The report: one HTML file, the records embedded once as columns, that works without a network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import yaml

from tricksearch.contract import InputError
from tricksearch.records.averages import averaged
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record
from tricksearch.report.embedded import embedded
from tricksearch.report.headline import answer, certainty, details
from tricksearch.report.verdict_section import chances, drawn, section
from tricksearch.report.view import DEFAULT_OBJECTIVES, View, view
from tricksearch.verdicts.findings import Findings
from tricksearch.verdicts.text import SIMULATED

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
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(
            f"the report cannot be written: {error.strerror}",
            place=str(path),
            remedy="free some space there, or make the folder writable",
        ) from error


def render(records: Sequence[Record], study: Mapping[str, Any], findings: Findings | None = None) -> str:
    """The page's HTML. Raises InputError for an objective that is no measure."""
    from plotly.offline import get_plotlyjs

    seen = view(averaged(records), study.get("objectives") or DEFAULT_OBJECTIVES, study.get("constraints") or ())
    found = findings or Findings()
    scripts = [_inline(text) for text in (get_plotlyjs(), _asset("page.js"), _asset("verdicts.js"))]
    library, script, forests = scripts
    data = embedded(seen, study) | {"chances": chances(found, seen, records)}
    return Template(_asset("page.html")).substitute(
        policy=_policy(*scripts),
        title=html.escape(str(study.get("name") or "study")),
        simulated=f'<p class="simulated">{SIMULATED}</p>' if found.simulated else "",
        answer=html.escape(answer(seen)),
        certainty=_paragraphs([certainty(seen)]),
        details=_paragraphs(details(seen, study)),
        knee=_knee(seen),
        study=html.escape(yaml.safe_dump(dict(study), sort_keys=False, allow_unicode=True)),
        css=_asset("page.css"),
        verdicts=section(found, seen, records),
        data=_json(data),
        verdicts_data=_json(drawn(found)),
        plotly=library,
        script=script,
        forests=forests,
    )


def _paragraphs(lines: Sequence[str]) -> str:
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines if line)


def _knee(seen: View) -> str:
    """The sentence that names the best compromise; its button selects the point."""
    if seen.knee is None:
        return ""
    record = seen.records[seen.knee]
    values = ", ".join(f"{MEASURES[name].title} {MEASURES[name].text(record.value(name))}" for name in seen.objectives)
    label = "the baseline" if seen.knee == seen.baseline else f"trial {record.trial}"
    button = f'<button type="button" class="link" data-record="{seen.knee}">{html.escape(label)}</button>'
    return f"<p>The knee of the front, its best compromise, is {button}: {html.escape(values)}.</p>"


def _asset(name: str) -> str:
    return resources.files("tricksearch.report").joinpath(name).read_text(encoding="utf-8")


def _json(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).translate(_ESCAPES)


def _inline(script: str) -> str:
    """A script that cannot end its own element."""
    return script.replace("</script", "<\\/script")


def _policy(*scripts: str) -> str:
    """The page may run exactly these scripts, and load nothing. The chart sets styles while it draws."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:;"
        " base-uri 'none'; form-action 'none'"
    )
