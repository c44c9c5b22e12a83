"use strict";
// The forest plots of the verdicts, one for each measure, and the filter by comparison.
(() => {
  const source = document.getElementById("verdicts-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const choice = document.getElementById("comparison");
  const host = document.getElementById("forests");
  if (!choice || !host) return;
  const ROW = 26; // pixels for one trick
  // Told apart by shape as well as by colour; the lines above the plots show which is which.
  const SAYS = { helps: "circle", hurts: "x", equivalent: "square", undecided: "circle-open" };
  // Plotly reads its texts as markup; as entities, what looks like markup stays text.
  const literal = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const chosen = () => data.verdicts.filter((each) => !choice.value || each.comparison === choice.value);

  function forest(plot, measure, rows) {
    const style = getComputedStyle(document.documentElement);
    const css = (name) => style.getPropertyValue(name).trim();
    const { noun, unit, maximize } = data.measures[measure];
    const most = innerWidth < 600 ? 16 : 30;
    const several = !choice.value;
    const names = rows.map((each) => literal(cut(each.trick, most)) + (several ? ` · ${data.comparisons[each.comparison]?.title ?? literal(each.comparison)}` : ""));
    const points = (says, bounded) => { // a length of 0 would still draw the ends of an interval
      const own = rows.map((each, at) => ({ ...each, at })).filter((each) => each.says === says && each.effect !== null && (each.low !== null && each.high !== null) === bounded);
      const color = css(`--${says}`);
      const whiskers = { type: "data", symmetric: false, array: own.map((each) => each.high - each.effect), arrayminus: own.map((each) => each.effect - each.low), color, thickness: 1.8, width: 4 };
      return {
        type: "scatter", mode: "markers", x: own.map((each) => each.effect), y: own.map((each) => each.at),
        text: own.map((each) => `${literal(each.trick)}<br>${literal(each.text)}, n = ${each.n}: ${each.word}`), hovertemplate: "%{text}<extra></extra>",
        marker: { size: 9, color, symbol: SAYS[says], line: { width: says === "undecided" ? 2 : 0, color } }, ...(bounded ? { error_x: whiskers } : {}),
      };
    };
    const traces = Object.keys(SAYS).flatMap((says) => [points(says, true), points(says, false)]).filter((trace) => trace.x.length);
    const axis = { gridcolor: css("--grid"), linecolor: css("--rule"), zeroline: false, automargin: true, fixedrange: true };
    const band = rows[0].band;
    const layout = {
      title: { text: `${noun}: change in ${unit === "%" ? "percent" : unit}, ${maximize ? "right" : "left"} is better`, font: { size: 13 }, x: 0, xref: "container", pad: { l: 4 }, y: 1, yanchor: "top", yref: "container" },
      height: ROW * rows.length + 62, margin: { l: 8, r: 12, t: 30, b: 32 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: css("--ink") },
      xaxis: { ...axis, ticksuffix: unit === "%" ? " %" : "", nticks: innerWidth < 600 ? 5 : 8, tickangle: 0 },
      yaxis: { ...axis, showgrid: false, tickvals: rows.map((_, at) => at), ticktext: names, range: [rows.length - 0.4, -0.6] },
      shapes: [
        { type: "rect", yref: "paper", y0: 0, y1: 1, x0: band[0], x1: band[1], fillcolor: css("--margin"), line: { width: 0 }, layer: "below" },
        { type: "line", yref: "paper", y0: 0, y1: 1, x0: 0, x1: 0, line: { color: css("--quiet"), width: 1.2 }, layer: "below" },
      ],
      annotations: rows.flatMap((each, at) => (each.effect === null ? [{ x: 0, y: at, text: "no estimate", showarrow: false, font: { size: 11, color: css("--quiet") }, bgcolor: css("--card") }] : [])),
      showlegend: false,
      hovermode: "closest", hoverlabel: { align: "left" }, dragmode: false,
    };
    return Plotly.newPlot(plot, traces, layout, { displayModeBar: false, responsive: true });
  }
  function draw() {
    for (const plot of host.children) Plotly.purge(plot);
    host.replaceChildren();
    const rows = chosen();
    const plots = Object.keys(data.measures).filter((measure) => rows.some((each) => each.measure === measure)).map((measure) => {
      const plot = document.createElement("div");
      plot.className = "forest";
      plot.dataset.measure = measure;
      return plot;
    });
    host.append(...plots); // all of them first: a plot takes the width that its place has when it is drawn
    for (const plot of plots) forest(plot, plot.dataset.measure, rows.filter((each) => each.measure === plot.dataset.measure));
  }
  function show() {
    const about = data.comparisons[choice.value]?.about;
    document.getElementById("comparison-about").textContent = about
      ? `${about}. The band is the margin within which a difference does not matter.` : "The band is the margin within which a difference does not matter.";
    for (const row of document.querySelectorAll("#verdict-table tbody tr")) row.hidden = Boolean(choice.value) && row.dataset.comparison !== choice.value;
    draw();
  }
  choice.addEventListener("change", show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  show();
})();
