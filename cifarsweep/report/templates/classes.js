// The figures of classes: their accuracies, and the confusion matrix.
const CLASSES_SHOWN = 20;
const READABLE = 20; // classes up to which a matrix has names, and numbers in it
const classCells = () => [...data.cells.keys()].filter((index) => data.classes.cells[index] && isShown(index));

/** Classes by difficulty, the hardest first: by the mean over the shown cells. */
const hardest = (means) => {
  const known = [...data.classes.names.keys()].map((label) => {
    const values = means.map((mean) => mean[label]).filter(Number.isFinite);
    return { label, value: values.reduce((sum, value) => sum + value, 0) / values.length };
  });
  const ranked = known.filter(({ value }) => Number.isFinite(value)).sort((a, b) => a.value - b.value);
  return ranked.slice(0, CLASSES_SHOWN).map(({ label }) => label);
};

const classTrace = (index, nth, indices, labels) => {
  const [cell, found] = [data.cells[index], data.classes.cells[index]];
  const mean = unpack(found.mean);
  const [low, high] = found.low ? [unpack(found.low), unpack(found.high)] : [null, null];
  const spread = (label) => (low ? spreadText(mean[label], low[label], high[label], true, found.seeds) : "");
  // Shift the cells of a row a little, so that equal values stay visible.
  const shift = indices.length > 1 && indices.length <= 9 ? (0.5 * nth) / (indices.length - 1) - 0.25 : 0;
  return {
    x: labels.map((label) => mean[label]), y: labels.map((_, row) => row + shift), mode: "markers", cliponaxis: !roomy(), name: nameOf(index),
    marker: { color: translucent(colour(cell), 0.85), size: 8, symbol: symbolOf(cell) },
    error_x: {
      type: "data", symmetric: false, array: labels.map((label) => (high?.[label] ?? mean[label]) - mean[label]),
      arrayminus: labels.map((label) => mean[label] - (low?.[label] ?? mean[label])), color: translucent(colour(cell), 0.6),
      thickness: 1.5, width: 3, visible: low !== null && indices.length <= 3,
    },
    text: labels.map((label) => `${plain(data.classes.names[label])}: ${percent(mean[label], 1)}${spread(label)} (n = ${found.seeds})`),
    hovertemplate: "<b>%{fullData.name}</b><br>%{text}<extra></extra>",
  };
};

const drawClasses = () => {
  const plot = byId("classes-plot");
  if (!plot) return;
  const indices = classCells();
  const means = indices.map((index) => unpack(data.classes.cells[index].mean));
  const labels = hardest(means);
  const names = labels.map((label) => short(data.classes.names[label], narrow() ? 14 : 28));
  const values = means.flatMap((mean) => labels.map((label) => mean[label]));
  const panels = placed(plot, panelsOf(indices), PANEL.title + PANEL.down + 28 * labels.length);
  const margin = { l: roomFor(plot, names), r: 24, t: 28, b: 46 };
  const layout = {
    ...layoutStyle(), height: plot.clientHeight, margin, uirevision: ["classes", view.panels].join(),
    ...panelLayout(plot, panels, {
      ...axisStyle("Accuracy of the class"), tickformat: "~%",
      range: values.length ? shareRange(values, 0.02) : [0, 1],
    }, {
      ...axisStyle(), automargin: false, tickmode: "array", tickvals: labels.map((_, row) => row), ticks: "", showline: false, autorange: false,
      ticktext: names.map(plain),
      range: [Math.max(labels.length, 1) - 0.4, -0.6],
    }, margin),
  };
  const traces = panels.flatMap(({ cells, axes }) => cells.map((index, nth) => ({ ...classTrace(index, nth, cells, labels), ...axes })));
  Plotly.react(plot, traces, layout, config("classes"));
};

/** For each true class, the counts of its predictions and their shares; null for a class without images. */
const matrixOf = (index) => {
  const size = data.classes.names.length;
  const counts = unpack(data.classes.cells[index].counts);
  return Array.from({ length: size }, (_, row) => {
    const line = Array.from(counts.subarray(row * size, (row + 1) * size));
    const total = line.reduce((sum, count) => sum + count, 0);
    return line.map((count) => ({ count, share: total ? count / total : null }));
  });
};

/** The five confusions with the largest shares of their class, in words. */
const worst = (matrix, names) => {
  const pairs = matrix.flatMap((line, row) => line.map(({ share }, column) => ({ row, column, share })));
  const wrong = pairs.filter(({ row, column, share }) => row !== column && share).sort((a, b) => b.share - a.share);
  const texts = wrong.slice(0, 5).map(({ row, column, share }) => `${names[row]} for ${names[column]} (${percent(share, 1)})`);
  return texts.length ? `Most often taken: ${texts.join(", ").replaceAll(" %", "\u202f%")}.` : "No image was taken for another class.";
};

const matrixTrace = (matrix, names) => {
  const small = names.length <= READABLE;
  const fine = names.length <= 12 && !narrow();
  const digits = ({ share }) => (small && share >= 0.005 ? (100 * share).toFixed(fine && share < 0.095 ? 1 : 0) : "");
  const told = ({ count, share }, row, column) => (
    `${plain(names[row])} taken for ${plain(names[column])}<br>${share === null ? "" : `${percent(share)}, `}${count.toLocaleString("en")} images`);
  return {
    type: "heatmap", z: matrix.map((line) => line.map(({ share }) => (share === null ? null : Math.sqrt(share)))), zmin: 0, zmax: 1,
    colorscale: [[0, css("--panel")], [1, css("--heat")]], xgap: small ? 1 : 0, ygap: small ? 1 : 0,
    text: matrix.map((line) => line.map(digits)), texttemplate: "%{text}", textfont: { size: fine ? 12 : 9.5, color: css("--ink") },
    hovertext: matrix.map((line, row) => line.map((entry, column) => told(entry, row, column))),
    hovertemplate: "%{hovertext}<extra></extra>", showscale: !small,
    colorbar: {
      tickvals: [0, 0.01, 0.05, 0.2, 0.5, 1].map(Math.sqrt), ticktext: ["0 %", "1 %", "5 %", "20 %", "50 %", "100 %"],
      thickness: 10, outlinewidth: 0, tickfont: { size: 11 },
    },
  };
};

const drawConfusion = () => {
  const plot = byId("confusion-plot");
  if (!plot) return;
  const { names } = data.classes;
  const matrix = matrixOf(Number(byId("confusion-cell").value));
  byId("confusion-worst").textContent = worst(matrix, names);
  const small = names.length <= READABLE;
  const ticks = {
    ...axisStyle(), automargin: false, showgrid: false, showline: false, ticks: "", fixedrange: true, constrain: "domain",
    range: [-0.5, names.length - 0.5], showticklabels: small, tickmode: "array", tickvals: [...names.keys()],
    ticktext: names.map((name) => plain(short(name, 12))),
  };
  // Set margins here: plotly's automatic margins may never settle with equal sides.
  const room = 36 + (small ? Math.max(...names.map((name) => widthOf(short(name, 12)))) : 0);
  const layout = {
    ...layoutStyle(), height: plot.clientHeight, dragmode: false, margin: { l: room, r: 10, t: 28, b: room },
    ...(onPaper() ? { width: Math.min(PAPER, plot.clientHeight) } : {}),
    xaxis: { ...ticks, title: { ...ticks.title, text: "taken for", standoff: 8 }, tickangle: names.some((name) => name.length > 2) ? -45 : 0 },
    yaxis: { ...ticks, title: { ...ticks.title, text: "true class", standoff: 8 }, range: [names.length - 0.5, -0.5], scaleanchor: "x" },
  };
  Plotly.react(plot, [matrixTrace(matrix, names)], layout, config("confusion"));
};
