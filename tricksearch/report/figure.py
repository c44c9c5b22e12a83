"""The chart of a run for notebooks: accuracy against latency, or whatever the first two objectives are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tricksearch.records.averages import shown
from tricksearch.records.goals import Goals
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record


def figure(records: Sequence[Record], goals: Goals) -> Any:
    """A Plotly figure: the first objective upwards, the second to the right; each recipe a point, the front a line.

    A recipe that ran with several seeds stands with its mean; what breaks a constraint is hollow.
    """
    import plotly.graph_objects as go

    up, right = goals.objectives[:2]
    means = [record for record in shown(records) if record.finished and goals.point(record) is not None]
    rivals = {record.id for record in goals.rivals(means)}
    front = goals.front_of_means(means)
    baseline = [record for record in means if record.phase == "baseline"]
    chart = go.Figure()
    for name, group, marker in (
        ("breaks a constraint", [mean for mean in means if mean.id not in rivals], {"symbol": "circle-open"}),
        ("recipes", [mean for mean in means if mean.id in rivals], {"opacity": 0.6}),
        ("baseline", baseline, {"symbol": "diamond", "size": 12}),
    ):
        if group:
            chart.add_trace(go.Scatter(name=name, mode="markers", marker=marker, **_points(group, right, up)))
    if front:
        line = {"shape": "hv" if MEASURES[up].maximize != MEASURES[right].maximize else "linear"}
        chart.add_trace(go.Scatter(name="front", mode="lines+markers", line=line, **_points(front, right, up)))
    chart.update_layout(xaxis_title=_axis(right), yaxis_title=_axis(up), hovermode="closest")
    return chart


def _points(records: Sequence[Record], right: str, up: str) -> dict[str, Any]:
    return {
        "x": [record.value(right) for record in records],
        "y": [record.value(up) for record in records],
        "text": [_label(record) for record in records],
        "hovertemplate": "%{text}<br>%{x}, %{y}<extra></extra>",
    }


def _label(record: Record) -> str:
    """The record in a few words; Plotly reads HTML in it, which a trick's name must not bring."""
    tricks = " + ".join(sorted(record.tricks)) or "(plain baseline)"
    return f"trial {record.id}: {tricks}".replace("&", "&amp;").replace("<", "&lt;")


def _axis(name: str) -> str:
    measure = MEASURES[name]
    return f"{measure.title}{f' [{measure.unit}]' if measure.unit else ''}"
