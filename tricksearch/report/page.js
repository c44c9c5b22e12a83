"use strict";
// Every text of the data reaches the page through textContent: a name can never become markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const col = data.columns;
  const count = col.trial.length;
  const measure = Object.fromEntries(data.measures.map((m) => [m.key, m]));
  const onFront = new Set(data.front);
  const plotted = new Set(data.plotted);
  const infeasible = new Set(data.infeasible);
  const PAGE = 200; // rows that the table shows before it is asked for more
  const INTERVAL_OF = "accuracy"; // the measure that the columns `low` and `high` bound
  const $ = (id) => document.getElementById(id);
  const state = { selected: null, filter: new Map(), status: "", sort: null, down: false, rows: PAGE };

  const make = (tag, text, className) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    return node;
  };

  // ---- values as text
  const number = (value, digits) => value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const withUnit = (key, value) => {
    const { unit, digits } = measure[key];
    return number(value, digits) + (unit === "%" ? " %" : unit ? ` ${unit}` : "");
  };
  const short = (text) => (/^[-+]?[\d.]+(e[-+]?\d+)?$/i.test(text) && /[.e]/i.test(text) ? String(Number(Number(text).toPrecision(3))) : text);
  const interval = (i) => (col.low[i] === null ? "" : `${number(col.low[i], 1)} to ${number(col.high[i], 1)} %`);

  // ---- recipes
  const tricksOf = (i) => new Map(data.on[i].map(([form, ...values]) => {
    const [name, ...fields] = data.forms[form];
    return [name, fields.map((field, at) => [field, values[at]])];
  }));
  const spell = ([name, fields]) => [name, ...fields.map(([field, value]) => `${field}=${short(value)}`)].join(" ");
  const startTricks = data.baseline === null ? new Map() : tricksOf(data.baseline);
  const difference = (i) => {
    const own = tricksOf(i);
    const lines = [];
    for (const [name, fields] of own) {
      const before = startTricks.get(name);
      if (!before) lines.push(`+ ${spell([name, fields])}`);
      else if (JSON.stringify(before) !== JSON.stringify(fields)) lines.push(`± ${spell([name, fields])} (baseline: ${spell([name, before])})`);
    }
    for (const name of startTricks.keys()) if (!own.has(name)) lines.push(`− ${name}`);
    if (data.baseline !== null && data.base[i] !== data.base[data.baseline]) lines.push("± base settings (see the recipe file)");
    return lines;
  };
  const recipeText = (i) => (i === data.baseline ? "the baseline" : difference(i).join(", ") || "as the baseline");
  const recipeYaml = (i) => {
    const heading = [`# Trial ${col.id[i]} of the study ${data.study}, seed ${col.seed[i]}, ${col.status[i].replaceAll("_", " ")}`];
    if (plotted.has(i)) heading.push(`# ${data.objectives.map((key) => `${measure[key].noun} ${withUnit(key, col[key][i])}`).join(", ")}`);
    const tricks = [...tricksOf(i)].map(([name, fields]) =>
      `  ${name}:${fields.length ? "" : " {}"}\n${fields.map(([field, value]) => `    ${field}: ${value}\n`).join("")}`);
    return `${heading.join("\n")}\n${data.bases[data.base[i]]}tricks:${tricks.length ? "" : " {}"}\n${tricks.join("")}`;
  };

  // ---- filter
  const names = [...new Set(data.forms.map(([name]) => name))].sort();
  const onNames = data.on.map((list) => new Set(list.map(([form]) => data.forms[form][0])));
  const passes = (i) => {
    for (const [name, wanted] of state.filter) if (onNames[i].has(name) !== wanted) return false;
    return true;
  };
  function buildFilters() {
    $("filters").hidden = names.length === 0;
    names.forEach((name, at) => {
      const group = make("fieldset", undefined, "filter");
      group.dataset.trick = name;
      const choices = make("div", undefined, "choices");
      for (const [word, wanted] of [["any", null], ["on", true], ["off", false]]) {
        const label = make("label");
        const input = make("input");
        Object.assign(input, { type: "radio", name: `trick-${at}`, value: word, checked: wanted === null });
        input.addEventListener("change", () => {
          if (wanted === null) state.filter.delete(name);
          else state.filter.set(name, wanted);
          filterChanged();
        });
        label.append(input, word);
        choices.append(label);
      }
      group.append(make("legend", name), choices);
      $("trick-filters").append(group);
    });
    $("reset").addEventListener("click", () => {
      state.filter.clear();
      for (const input of $("trick-filters").querySelectorAll("input")) input.checked = input.value === "any";
      filterChanged();
    });
  }
  function filterChanged() {
    showFilter();
    state.rows = PAGE;
    drawChart();
    drawTable();
  }
  function showFilter() {
    const shown = col.trial.reduce((sum, _, i) => sum + passes(i), 0);
    $("shown").textContent = state.filter.size ? `${number(shown, 0)} of ${number(count, 0)} records match; the chart dims the others, the table leaves them out.` : "No filter is set.";
    $("reset").hidden = state.filter.size === 0;
  }

  // ---- chart
  // Always SVG: ten thousand points take it half a second, and plotly's WebGL needs eval, which the policy forbids.
  const better = (key) => (measure[key].maximize ? "higher is better" : "lower is better");
  const axisTitle = (key) => `${measure[key].title}${measure[key].unit ? ` (${measure[key].unit})` : ""}, ${better(key)}`;

  function traces(css) {
    const at = (rows) => ({ x: rows.map((i) => col[data.x][i]), y: rows.map((i) => col[data.y][i]) });
    const points = (rows, name, marker, more) => ({
      type: "scatter", mode: "markers", name, marker, hoverinfo: "none", customdata: rows, ...at(rows), ...more,
    });
    const ring = { hoverinfo: "skip" };
    const normal = data.plotted.filter((i) => i !== data.baseline);
    const kept = normal.filter(passes);
    const two = data.objectives.length === 2; // with more, a line through the front would zigzag and bound nothing
    const front = {
      type: "scatter", hoverinfo: "skip", ...at(data.front), mode: "lines", showlegend: false,
      line: { color: css("--front"), width: 1.5, shape: measure[data.x].maximize ? "vh" : "hv" },
    };
    const list = [
      points(normal.filter((i) => !passes(i)), "", { size: 6, color: css("--other"), opacity: 0.15 }, { hoverinfo: "skip", showlegend: false }),
      ...(two ? [front] : []),
      points(kept.filter((i) => !onFront.has(i)), "recipe", { size: 7, color: css("--other"), opacity: data.plotted.length > 2000 ? 0.4 : 0.75 }),
      points(kept.filter((i) => onFront.has(i)), two ? "on the front" : `on the front over ${data.objectives.length} objectives`, { size: 9, color: css("--front") }),
    ];
    if (data.knee !== null) {
      list.push(points([data.knee], "knee", { size: 18, symbol: "circle-open", color: css("--front"), line: { width: 2 } }, ring));
    }
    if (plotted.has(data.baseline)) {
      const marker = { size: 12, symbol: "diamond", color: css("--baseline"), line: { width: 1.5, color: css("--card") } };
      list.push(points([data.baseline], "baseline", marker));
    }
    const i = state.selected;
    if (plotted.has(i)) {
      const whisker = data.y === INTERVAL_OF && col.low[i] !== null
        ? { error_y: { type: "data", symmetric: false, array: [col.high[i] - col[data.y][i]], arrayminus: [col[data.y][i] - col.low[i]], color: css("--chosen"), thickness: 1.2, width: 4 } }
        : {};
      const marker = { size: 13, symbol: "circle-open", color: css("--chosen"), line: { width: 2 } };
      list.push(points([i], "selected", marker, { ...ring, ...whisker }));
    }
    return list;
  }
  function guides(css) {
    const i = data.baseline;
    if (!plotted.has(i)) return [];
    const line = { color: css("--baseline"), width: 1.5, dash: "dash" };
    const shapes = [
      { type: "line", xref: "paper", x0: 0, x1: 1, y0: col[data.y][i], y1: col[data.y][i], line, layer: "below" },
      { type: "line", yref: "paper", y0: 0, y1: 1, x0: col[data.x][i], x1: col[data.x][i], line, layer: "below" },
    ];
    if (data.y === INTERVAL_OF && col.low[i] !== null) {
      shapes.push({ type: "rect", xref: "paper", x0: 0, x1: 1, y0: col.low[i], y1: col.high[i], fillcolor: css("--band"), line: { width: 0 }, layer: "below" });
    }
    return shapes;
  }
  function labels(css) {
    const i = data.baseline;
    if (!plotted.has(i) || data.y !== INTERVAL_OF || col.low[i] === null) return [];
    return [{
      text: "baseline's 95 % interval", xref: "paper", x: 0, xanchor: "left", y: col.high[i], yanchor: "bottom", showarrow: false,
      font: { size: 11, color: css("--baseline") },
    }];
  }
  // A recipe that collapsed would press all others into a line: the first view may leave such points out, and says so.
  const near = (() => {
    const ys = data.plotted.map((i) => col[data.y][i]);
    const kept = data.front.concat(plotted.has(data.baseline) ? [data.baseline] : []).map((i) => col[data.y][i]);
    const [low, high] = [Math.min(...kept), Math.max(...kept)];
    const room = Math.max(high - low, 1e-9 + 0.01 * Math.abs(high));
    const range = measure[data.y].maximize
      ? [low - 0.75 * room, Math.max(...ys) + 0.25 * room] : [Math.min(...ys) - 0.25 * room, high + 0.75 * room];
    const outside = ys.filter((y) => y < range[0] || y > range[1]).length;
    return { range, outside, useful: outside > 0 && Math.max(...ys) - Math.min(...ys) > 2 * (range[1] - range[0]) };
  })();
  function drawChart() {
    if (!data.plotted.length) return;
    const close = near.useful && $("near").checked;
    const style = getComputedStyle(document.documentElement);
    const css = (name) => style.getPropertyValue(name).trim();
    const axis = { gridcolor: css("--grid"), linecolor: css("--rule"), zeroline: false, ticks: "outside", tickcolor: css("--rule"), automargin: true };
    const layout = {
      margin: { l: 56, r: 12, t: 34, b: 48 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: css("--ink") },
      xaxis: { ...axis, title: { text: axisTitle(data.x) }, type: $("log").checked ? "log" : "linear" },
      yaxis: { ...axis, title: { text: axisTitle(data.y) }, ...(close ? { range: [...near.range] } : { autorange: true }) },
      shapes: guides(css), annotations: labels(css), modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--rule"), activecolor: css("--quiet") }, hovermode: "closest", hoverdistance: 12, dragmode: "zoom", uirevision: `${$("log").checked} ${close}`,
      legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", itemclick: false, itemdoubleclick: false },
    };
    const config = { displaylogo: false, displayModeBar: innerWidth > 600, responsive: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]], doubleClick: "reset" };
    return Plotly.react($("chart"), traces(css), layout, config);
  }
  function tooltip(i, event) {
    const box = $("tooltip");
    box.replaceChildren(make("strong", `Trial ${col.id[i]}${i === data.baseline ? ", the baseline" : ""}`));
    for (const line of i === data.baseline ? [] : difference(i)) box.append(make("div", line));
    for (const key of data.tooltip.filter((name) => col[name][i] !== null)) {
      const between = key === INTERVAL_OF && interval(i) && ` (95 % interval ${interval(i)}, n = ${number(col.validation_images[i], 0)})`;
      box.append(make("div", `${measure[key].title}: ${withUnit(key, col[key][i])}${between || ""}`));
    }
    box.hidden = false;
    const left = event.clientX + 16 + box.offsetWidth < innerWidth ? event.clientX + 16 : event.clientX - 16 - box.offsetWidth;
    const top = Math.min(event.clientY + 12, innerHeight - box.offsetHeight - 8);
    Object.assign(box.style, { left: `${Math.max(4, left)}px`, top: `${Math.max(4, top)}px` });
  }
  function buildChart() {
    const empty = !data.plotted.length;
    $("chart").hidden = empty;
    $("chart-empty").hidden = !empty;
    $("chart-title").textContent = `${measure[data.y].title} against ${measure[data.x].title}`;
    $("log").parentElement.hidden = empty;
    if (empty) return;
    $("log").addEventListener("change", drawChart);
    $("near").parentElement.hidden = !near.useful;
    $("near").checked = near.useful;
    $("near").nextElementSibling.textContent = `leave out ${near.outside} far off`;
    $("near").addEventListener("change", drawChart);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawChart);
    drawChart().then((chart) => {
      const at = (event) => event.points[0].customdata;
      chart.on("plotly_hover", (event) => at(event) !== undefined && tooltip(at(event), event.event));
      chart.on("plotly_unhover", () => { $("tooltip").hidden = true; });
      chart.on("plotly_click", (event) => at(event) !== undefined && select(at(event)));
    });
  }

  // ---- table
  const columns = [
    { title: "trial", number: true, value: (i) => col.trial[i] + col.variant[i] / 1e4, text: (i) => col.id[i] },
    { title: "status", value: (i) => col.status[i], text: (i) => col.status[i].replaceAll("_", " ") },
    ...data.measures.filter(({ listed }) => listed).map(({ key, noun, unit, digits }) => ({
      title: `${noun}${unit ? `, ${unit}` : ""}`, key, number: true, value: (i) => col[key][i], text: (i) => number(col[key][i], digits),
    })),
    { title: "recipe against baseline, or reason", recipe: true, value: (i) => (col.status[i] === "finished" ? recipeText(i) : col.reason[i]) },
  ];
  function sorted() {
    const rows = [];
    for (let i = 0; i < count; i += 1) if (passes(i) && (!state.status || col.status[i] === state.status)) rows.push(i);
    if (!state.sort) return rows;
    const key = new Map(rows.map((i) => [i, state.sort.value(i)]));
    const sign = state.down ? -1 : 1;
    return rows.sort((a, b) => {
      const [p, q] = [key.get(a), key.get(b)];
      if (p === null || q === null) return (p === null) - (q === null) || a - b; // what was not measured stays last
      return sign * (typeof p === "string" ? p.localeCompare(q) : p - q) || a - b;
    });
  }
  function buildTable() {
    const head = document.querySelector("#table thead tr");
    for (const column of columns) {
      const cell = make("th", undefined, column.number ? "number" : "");
      cell.scope = "col";
      const button = make("button", column.title);
      button.type = "button";
      button.addEventListener("click", () => {
        // The first click puts the best on top, the second turns the order round.
        const first = Boolean(column.key && measure[column.key].maximize);
        state.down = state.sort === column ? !state.down : first;
        state.sort = column;
        drawTable();
      });
      column.head = cell;
      cell.append(button);
      head.append(cell);
    }
    for (const status of [...new Set(col.status)].sort()) {
      const option = make("option", status.replaceAll("_", " "));
      option.value = status;
      $("status").append(option);
    }
    $("status").addEventListener("change", () => { state.status = $("status").value; state.rows = PAGE; drawTable(); });
    $("more").addEventListener("click", () => { state.rows = Infinity; drawTable(); });
    document.querySelector("#table tbody").addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (row && !String(getSelection())) select(Number(row.dataset.record));
    });
  }
  function drawTable() {
    for (const column of columns) column.head.ariaSort = state.sort === column ? (state.down ? "descending" : "ascending") : "none";
    const rows = sorted();
    const body = document.createDocumentFragment();
    for (const i of rows.slice(0, state.rows)) {
      const row = make("tr", undefined, col.status[i] === "finished" ? "" : "unfinished");
      row.dataset.record = i;
      row.ariaSelected = String(i === state.selected);
      columns.forEach((column, at) => {
        const value = column.value(i);
        const text = value === null ? "–" : (column.text ?? ((k) => String(column.value(k))))(i);
        const cell = make("td", at ? text : undefined, column.number ? "number" : column.recipe ? "recipe" : "");
        if (!at) {
          const button = make("button", text, "link");
          button.type = "button";
          button.ariaLabel = `select trial ${text}`;
          cell.append(button);
        }
        row.append(cell);
      });
      body.append(row);
    }
    document.querySelector("#table tbody").replaceChildren(body);
    $("table-empty").hidden = rows.length > 0;
    $("more").hidden = rows.length <= state.rows;
    $("more").textContent = `Show all ${number(rows.length, 0)} rows`;
  }

  // ---- the selected trial
  function against(key, i) {
    const [value, start] = [col[key][i], data.baseline === null ? null : col[key][data.baseline]];
    if (i === data.baseline || value === null || start === null) return "";
    const { unit, digits } = measure[key];
    const delta = value - start;
    const sign = delta < 0 ? "−" : "+";
    if (Math.abs(delta) < 0.5 * 10 ** -digits) return "same";
    if (unit === "%") return `${sign}${number(Math.abs(delta), digits)} points`;
    return start > 0 ? `× ${number(value / start, 2)}` : `${sign}${number(Math.abs(delta), digits)}`;
  }
  function select(i, scroll = false) {
    showPanel(i);
    drawChart();
    if (scroll) $("panel").scrollIntoView({ block: "nearest" });
  }
  function showPanel(i) {
    state.selected = i;
    $("panel").hidden = false;
    document.querySelector(".columns").classList.remove("single");
    $("panel-title").textContent = `Trial ${col.id[i]}`;
    const marks = [
      [i === data.baseline, "baseline"], [i === data.knee, "knee"], [onFront.has(i), "front"], [col.status[i] !== "finished", col.status[i].replaceAll("_", " ")],
      [infeasible.has(i), "breaks a constraint"],
    ].filter(([yes]) => yes).map(([, word]) => make("span", word === "front" ? "on the front" : word, `mark ${word}`));
    $("panel-marks").replaceChildren(...marks);
    $("panel-reason").hidden = !col.reason[i];
    $("panel-reason").textContent = col.reason[i];
    const lines = i === data.baseline ? [...tricksOf(i)].map(spell) : difference(i);
    const same = i === data.baseline ? "No trick is on." : "The same recipe.";
    $("panel-diff").replaceChildren(...(lines.length ? lines : [same]).map((line) => make("li", line)));
    const line = (...cells) => {
      const row = make("tr");
      row.append(...cells.map((text, at) => make("td", text, at ? "number" : "")));
      return row;
    };
    $("panel-measures").replaceChildren(...data.measures.flatMap(({ key, title }) => {
      const row = line(title, col[key][i] === null ? "not measured" : withUnit(key, col[key][i]), against(key, i));
      if (key === "latency_ms" && col.latency_low_ms[i] !== null) {
        return [row, line("95 % interval of its timing", `${number(col.latency_low_ms[i], 3)} to ${number(col.latency_high_ms[i], 3)} ms`, "")];
      }
      return key === INTERVAL_OF && interval(i) ? [row, line("95 % interval", interval(i), "")] : [row];
    }));
    const notes = [
      data.chances[i] !== undefined && `On the front of what was confirmed with a chance of ${number(100 * data.chances[i], 0)} %, by fresh seeds.`,
      col.runs[i] > 1 && `The mean of n = ${col.runs[i]} seeds; accuracy has a standard deviation of ${number(col.accuracy_sd[i], 2)} points.`,
      col.validation_images[i] && `Accuracy and F1 on n = ${number(col.validation_images[i], 0)} validation images.`,
      col.latency_runs[i] && `Latency of n = ${number(col.latency_runs[i], 0)} calls${col.latency_low_ms[i] === null ? "" : ", in turn with those of a yardstick"}.`,
      col.runs[i] === 1 && `Seed ${col.seed[i]}, one run.`, col.started[i] && `Started ${col.started[i]}.`,
    ];
    $("panel-notes").textContent = notes.filter(Boolean).join(" ");
    $("panel-yaml").textContent = recipeYaml(i);
    $("panel").scrollTop = 0;
    $("copy").textContent = "Copy recipe YAML";
    for (const row of document.querySelectorAll("#table tbody tr")) row.ariaSelected = String(Number(row.dataset.record) === i);
  }
  async function copy(button) {
    const from = $(button.dataset.copy);
    const text = from.textContent;
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // not offered to a page opened from a file by every browser
      const area = make("textarea", text);
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
    }
    if (!done) getSelection().selectAllChildren(from);
    button.textContent = done ? "Copied" : "Press Ctrl+C";
  }

  document.querySelector(".columns").classList.add("single");
  buildFilters();
  buildTable();
  const first = data.knee ?? data.baseline;
  if (first !== null) showPanel(first);
  buildChart();
  showFilter();
  drawTable();
  for (const button of document.querySelectorAll("button[data-copy]")) button.addEventListener("click", () => copy(button));
  for (const button of document.querySelectorAll("button[data-record]")) {
    button.addEventListener("click", () => select(Number(button.dataset.record), true));
  }
})();
