"use strict";
// Draws the figures of one page from the JSON in it. Asks nobody for anything.
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const root = document.documentElement;
  const curvesPlot = document.getElementById("curves-plot");
  const finalsPlot = document.getElementById("finals-plot");
  if (typeof Plotly === "undefined") {
    document.getElementById("no-plotly").hidden = false;
    for (const id of ["figure-1", "figure-2"]) document.getElementById(id)?.remove();
    return;
  }

  const ARRAYS = { i2: Int16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array };
  const UNITS = [["s", 1, 180], ["min", 60, 180], ["h", 3600, Infinity]];
  const PAPER = 680; // pixels between the margins of A4 and of US letter
  const chosen = new Set();
  const narrow = () => curvesPlot.clientWidth < 560;
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const colour = (cell) => css(`--c${cell.colour}`);

  const unpack = (field) => {
    if (field === null || typeof field === "number") return field;
    const bytes = Uint8Array.from(atob(field.bdata), (character) => character.charCodeAt(0));
    return new ARRAYS[field.dtype](bytes.buffer);
  };
  const opened = new Map();
  const curveOf = (metric, cell) => {
    const packed = data.metrics[metric].curves[cell];
    if (packed === null) return null;
    if (!opened.has(packed)) {
      const entries = Object.entries(packed).map(([key, field]) => [key, unpack(field)]);
      opened.set(packed, Object.fromEntries(entries));
    }
    return opened.get(packed);
  };

  // Plotly reads <b>, <a href> and their like in its texts; here a text is only ever text.
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const translucent = (hex, alpha) => {
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
  };
  const shown = (value, share) => (share ? `${(100 * value).toFixed(2)} %` : String(Number(value.toPrecision(4))));

  /** Steps turned into the x axis of one cell, or null where the cell never recorded it. */
  const along = (axis, cell, steps) => {
    if (axis === "steps") return Array.from(steps);
    const clock = data.clocks[cell][axis];
    if (!clock) return null;
    const knots = unpack(clock.steps);
    const at = unpack(clock.at);
    let place = 0;
    return Array.from(steps, (step) => {
      if (knots.length < 2) return at[0];
      while (place < knots.length - 2 && knots[place + 1] < step) place += 1;
      const part = (step - knots[place]) / (knots[place + 1] - knots[place]);
      return at[place] + part * (at[place + 1] - at[place]);
    });
  };

  /** The largest unit of time in which the axis still has numbers worth reading. */
  const unitOf = (axis, lines) => {
    if (axis !== "elapsed_s") return ["", 1];
    const most = lines.reduce((max, line) => Math.max(max, line.x.at(-1) ?? 0), 0);
    const [name, seconds] = UNITS.find(([, size, limit]) => most / size <= limit);
    return [name, seconds];
  };

  /** The band as closed shapes, one for each stretch that has an interval. */
  const outline = (line, log) => {
    const x = [];
    const y = [];
    const floor = log ? Math.min(...line.curve.mean.filter((value) => value > 0)) / 10 : -Infinity;
    let start = -1;
    for (let i = 0; i <= line.x.length; i += 1) {
      const sure = i < line.x.length && Number.isFinite(line.curve.low[i]);
      if (sure && start < 0) start = i;
      if (sure || start < 0) continue;
      for (let k = start; k < i; k += 1) { x.push(line.x[k]); y.push(line.curve.high[k]); }
      for (let k = i - 1; k >= start; k -= 1) { x.push(line.x[k]); y.push(Math.max(line.curve.low[k], floor)); }
      x.push(null);
      y.push(null);
      start = -1;
    }
    return { x, y };
  };

  /** Around the means; a band may widen the view by no more than their own span, or two seeds would flatten it. */
  const yRange = (lines, share, log) => {
    let [low, high, least, most] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const { curve } of lines) {
      for (let i = 0; i < curve.mean.length; i += 1) {
        if (log && curve.mean[i] <= 0) continue;
        low = Math.min(low, curve.mean[i]);
        high = Math.max(high, curve.mean[i]);
        if (curve.low && Number.isFinite(curve.low[i])) {
          least = Math.min(least, curve.low[i]);
          most = Math.max(most, curve.high[i]);
        }
      }
    }
    if (!Number.isFinite(low)) return null;
    const span = high - low || Math.abs(high) || 1;
    let ends = [Math.max(Math.min(low, least), low - span / 2), Math.min(Math.max(high, most), high + span / 2)];
    if (share) ends = [Math.max(ends[0], 0), Math.min(ends[1], 1)];
    if (log) {
      const floor = Math.max(ends[0], low / 2);
      return [Math.log10(floor) - 0.05, Math.log10(ends[1]) + 0.05];
    }
    const room = 0.04 * (ends[1] - ends[0] || span);
    return [ends[0] - room, ends[1] + room];
  };

  const bandTrace = (line, log) => ({
    ...outline(line, log), mode: "lines", fill: "toself", line: { width: 0 }, hoverinfo: "skip",
    fillcolor: translucent(colour(line.cell), data.cells.length > 12 && !chosen.size ? 0.07 : 0.16),
  });

  const lineTrace = (line, metric, unit) => {
    const { curve, cell } = line;
    const text = Array.from(curve.mean, (mean, i) => {
      const seeds = typeof curve.n === "number" ? curve.n : curve.n[i];
      const sure = curve.low && Number.isFinite(curve.low[i]);
      const spread = sure ? ` ± ${shown((curve.high[i] - curve.low[i]) / 2, metric.share)}` : "";
      return `${shown(mean, metric.share)}${spread} (n = ${seeds})`;
    });
    return {
      x: line.x, y: curve.mean, text, name: plain(short(cell.name, 60)), mode: line.x.length > 1 ? "lines" : "markers",
      line: { color: colour(cell), width: 2, dash: cell.dash }, marker: { color: colour(cell), size: 7 },
      hovertemplate: `<b>%{fullData.name}</b><br>%{text}<br>at %{x:,.5~g} ${unit}<extra></extra>`,
    };
  };

  const axisStyle = () => ({
    gridcolor: css("--grid"), linecolor: css("--strong-line"), tickcolor: css("--strong-line"), zeroline: false,
    showline: true, ticks: "outside", ticklen: 4, automargin: true, fixedrange: matchMedia("(pointer: coarse)").matches,
  });
  const layoutStyle = () => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: css("--sans"), size: narrow() ? 12 : 13, color: css("--ink") },
    hoverlabel: { bgcolor: css("--panel"), bordercolor: css("--strong-line"), font: { color: css("--ink") }, align: "left" },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    ...(root.classList.contains("printing") ? { width: PAPER } : { autosize: true }),
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--strong-line"), activecolor: css("--ink") },
  });
  const config = (filename) => ({
    responsive: true, displaylogo: false,
    // Named one by one: among plotly's own choice is a button that uploads the figure.
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
    showSendToCloud: false, plotlyServerURL: "",
    toImageButtonOptions: { format: "svg", filename: `${data.name}-${filename}` },
  });

  const drawCurves = () => {
    const axis = document.querySelector("input[name=x]:checked").value;
    const metric = data.metrics[Number(document.getElementById("y-axis").value)];
    const log = document.getElementById("log-scale").checked;
    const lines = [];
    data.cells.forEach((cell, place) => {
      if (chosen.size && !chosen.has(place)) return;
      const curve = curveOf(data.metrics.indexOf(metric), place);
      const x = curve && along(axis, place, curve.steps);
      if (x) lines.push({ cell, curve, x });
    });
    const [unit, seconds] = unitOf(axis, lines);
    for (const line of lines) line.x = line.x.map((value) => value / seconds);
    const label = axis === "steps" ? "Steps" : data.axes.find(({ name }) => name === axis).label;
    const traces = [
      ...lines.filter(({ curve }) => curve.low).map((line) => bandTrace(line, log)),
      ...lines.map((line) => lineTrace(line, metric, unit || label.toLowerCase())),
    ];
    const range = yRange(lines, metric.share, log);
    const layout = {
      ...layoutStyle(), margin: { l: 62, r: 24, t: 28, b: 48 },
      xaxis: { ...axisStyle(), title: { text: unit ? `${label} (${unit})` : label }, rangemode: "tozero" },
      yaxis: {
        ...axisStyle(), title: { text: plain(metric.label) }, type: log ? "log" : "linear", tickformat: metric.share ? "~%" : "",
        exponentformat: "power", ...(range ? { range } : {}),
      },
    };
    return Plotly.react(curvesPlot, traces, layout, config("curves"));
  };

  const drawFinals = () => {
    if (!finalsPlot) return null;
    const most = narrow() ? 18 : 44;
    const rows = data.cells.map((cell, place) => ({ cell, place })).filter(({ cell }) => cell.mean !== null);
    const traces = rows.flatMap(({ cell, place }) => {
      const name = plain(short(cell.name, 60));
      const own = colour(cell);
      const half = cell.interval ? (cell.interval[1] - cell.interval[0]) / 2 : null;
      const spread = half === null ? "" : ` ± ${shown(half, true)}`;
      return [{
        x: cell.seeds.map(([, value]) => value), y: cell.seeds.map(() => place + 0.18), mode: "markers", name,
        text: cell.seeds.map(([seed, , diverged]) => `seed ${seed}${diverged ? ", diverged" : ""}`),
        marker: { color: translucent(own, 0.6), size: 7, symbol: cell.seeds.map(([, , lost]) => (lost ? "x" : "circle")) },
        hovertemplate: "<b>%{fullData.name}</b><br>%{text}: %{x:.2%}<extra></extra>",
      }, {
        x: [cell.mean], y: [place - 0.12], mode: "markers", name, marker: { color: own, size: 10 },
        text: [`${shown(cell.mean, true)}${spread} (n = ${cell.seeds.length})`],
        error_x: half === null ? { visible: false } : { type: "data", array: [half], color: own, thickness: 2, width: 5 },
        hovertemplate: "<b>%{fullData.name}</b><br>%{text}<extra></extra>",
      }];
    });
    const values = rows.flatMap(({ cell }) => cell.seeds.map(([, value]) => value));
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = Math.max(0.15 * (high - low), 0.01);
    const layout = {
      ...layoutStyle(), height: finalsPlot.clientHeight, margin: { l: 20, r: 24, t: 28, b: 46 },
      xaxis: {
        ...axisStyle(), title: { text: "Validation accuracy" }, tickformat: "~%",
        range: [Math.max(low - room, -0.005), Math.min(high + room, 1.005)],
      },
      yaxis: {
        ...axisStyle(), tickmode: "array", tickvals: rows.map(({ place }) => place), ticks: "", showline: false,
        ticktext: rows.map(({ cell }) => plain(short(cell.name, most))), autorange: false,
        range: [data.cells.length - 0.4, -0.6],
      },
    };
    return Plotly.react(finalsPlot, traces, layout, config("finals"));
  };
  const draw = () => Promise.all([drawCurves(), drawFinals()]);

  const buttons = [...document.querySelectorAll("#legend button[data-cell]")];
  const showAll = document.getElementById("show-all");
  const choose = (change) => {
    change();
    for (const button of buttons) button.setAttribute("aria-pressed", String(chosen.has(Number(button.dataset.cell))));
    showAll.hidden = chosen.size === 0;
    drawCurves();
  };
  for (const button of buttons) {
    const cell = Number(button.dataset.cell);
    button.addEventListener("click", () => choose(() => chosen.delete(cell) || chosen.add(cell)));
  }
  showAll.addEventListener("click", () => choose(() => chosen.clear()));
  for (const input of document.querySelectorAll(".controls input, .controls select")) {
    input.addEventListener("change", drawCurves);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  // Paper is white, whatever the screen is.
  const printing = (now) => () => {
    root.classList.toggle("printing", now);
    draw();
    if (!now) for (const plot of document.querySelectorAll(".plot")) Plotly.Plots.resize(plot);
  };
  addEventListener("beforeprint", printing(true));
  addEventListener("afterprint", printing(false));
  draw();
})();
