// Charts: curves by uPlot, all others as SVG. Each has a text alternative for screen readers.

import { cut, data, el, finite, num, percent, spelled, svg } from "./dom.js";

/** A colour of the page's current theme, light or dark. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/**
 * Curves over epochs or steps, which can be extended.
 *
 * series: [{label, colour (a name in the style sheet), values: [..], dash}]; marks: [{at, kind, text}].
 * Returns a node with `draw({x, series, marks})`.
 */
export function curves({ label, xLabel, yLabel, log = false, height = 260, read }) {
  const box = el("div", { class: "chart", role: "img", "aria-label": label });
  const readout = el("p", { class: "readout" });
  const node = el("figure", { class: "curves" }, box, readout);
  let plot = null, now = null, key = "";

  const options = () => ({
    width: Math.max(200, box.clientWidth || 600), height,
    legend: { show: false },
    cursor: { y: false, points: { size: 7 } },
    scales: { x: { time: false }, y: log ? { distr: 3 } : { range: padded } },
    series: [
      { label: xLabel },
      ...now.series.map((line) => ({
        label: line.label, stroke: colour(line.colour), width: 2, spanGaps: true, dash: line.dash,
        points: { show: now.x.length < 30, size: 5 },
      })),
    ],
    axes: [
      { label: xLabel, labelSize: 18, size: 40, stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") },
        incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6] },
      { label: yLabel, labelSize: 18, size: 62, stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") },
        values: (_, splits) => splits.map((v) => (v === null ? "" : num(v, 3))) },
    ],
    hooks: { draw: [drawMarks], setCursor: [show] },
  });

  function padded(_, low, high) {
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    return [low - room, high + room];
  }

  function drawMarks(u) {
    const { ctx, bbox } = u;
    const dpr = devicePixelRatio, taken = []; // where labels are, so that none overlaps another
    ctx.save();
    ctx.font = `${11 * dpr}px system-ui, sans-serif`;
    for (const mark of now.marks) {
      const x = Math.round(u.valToPos(mark.at, "x", true)) + 0.5;
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = colour(mark.kind === "best" ? "good" : mark.kind === "edit" ? "accent" : "soft");
      ctx.lineWidth = dpr;
      ctx.setLineDash(mark.kind === "edit" ? [] : [4 * dpr, 4 * dpr]);
      const short = mark.kind === "checkpoint";
      ctx.beginPath();
      ctx.moveTo(x, short ? bbox.top + bbox.height - 8 * dpr : bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (!short) {
        const text = cut(mark.label, 24), wide = ctx.measureText(text).width;
        const left = x + wide + 8 * dpr > bbox.left + bbox.width ? x - wide - 4 * dpr : x + 4 * dpr;
        let line = 0;
        while (line < 6 && taken.some((label) => label.line === line && left < label.right && left + wide > label.left)) line += 1;
        taken.push({ line, left, right: left + wide });
        ctx.fillText(text, left, bbox.top + (12 + 13 * line) * dpr);
      }
    }
    ctx.restore();
  }

  function show(u) {
    const i = u.cursor.idx ?? now.x.length - 1;
    readout.replaceChildren(...(now.x.length ? read(i) : []));
  }

  node.draw = (next) => {
    now = next;
    const values = [now.x, ...now.series.map((line) => line.values.map(log ? positive : finite))];
    const shape = JSON.stringify([now.series.map((line) => line.label), now.x.length < 30, colour("soft")]);
    if (plot && key === shape) {
      plot.setData(values);
    } else if (now.x.length && box.isConnected) {
      plot?.destroy();
      key = shape;
      plot = new globalThis.uPlot(options(), values, box);
    }
    if (plot) show(plot);
  };
  const watch = new ResizeObserver(() => {
    if (!now?.x.length) return;
    if (!plot) node.draw(now);
    else if (plot.width !== box.clientWidth && box.clientWidth) plot.setSize({ width: box.clientWidth, height });
  });
  watch.observe(box);
  node.close = () => {
    watch.disconnect();
    plot?.destroy();
    plot = null;
  };
  return node;
}

function positive(value) {
  return typeof value === "number" && value > 0 ? value : null;
}

/** The names of a chart's lines. */
export function legend(entries) {
  return el("ul", { class: "legend" }, entries.map(([name, text, line = ""]) =>
    el("li", {}, el("span", { class: `swatch ${name} ${line}` }), text)));
}

/** A column's values in twenty bins, or its most frequent categories as bars. */
export function histogram(spread, name) {
  if (!spread) return el("p", { class: "note" }, "no values");
  if (spread.kind === "names") {
    const names = spread.rest ? [...spread.names, "others"] : spread.names;
    const counts = spread.rest ? [...spread.counts, spread.rest] : spread.counts;
    const most = Math.max(...counts, 1);
    return el("dl", { class: "bars small", "aria-label": `values of ${cut(name)}` }, names.slice(0, 6).map((label, i) =>
      [el("dt", {}, data(label, 24)), el("dd", {}, bar(counts[i] / most), el("span", {}, num(counts[i])))]));
  }
  const most = Math.max(...spread.counts, 1), wide = 200, high = 48, step = wide / spread.counts.length;
  return el("figure", { class: "histogram" },
    svg("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": `${cut(name)}: from ${spread.low} to ${spread.high}, most in bin ${spread.counts.indexOf(most) + 1} of ${spread.counts.length}` },
      spread.counts.map((count, i) => {
        const tall = count ? Math.max(1, (count / most) * high) : 0;
        return svg("rect", { class: "mark", x: i * step + 0.5, y: high - tall, width: step - 1, height: tall }, svg("title", {}, num(count)));
      })),
    el("figcaption", {}, el("span", {}, data(spread.low, 16)), el("span", {}, spread.kind === "lengths" ? "characters" : ""), el("span", {}, data(spread.high, 16))));
}

/** A bar of a length from -1 to 1; with `signed` it starts in the middle. */
export function bar(share, { signed = false, kind = "mark" } = {}) {
  const size = Math.min(1, Math.abs(share)) * (signed ? 50 : 100);
  const x = signed ? (share < 0 ? 50 - size : 50) : 0;
  return svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", width: 100, height: 10 }),
    svg("rect", { class: signed ? (share < 0 ? "down" : "up") : kind, x, width: Math.max(size, share ? 0.5 : 0), height: 10 }),
    signed && svg("line", { class: "axis", x1: 50, x2: 50, y1: 0, y2: 10 }));
}

/** Activations as a strip of cells: blue below zero, orange above, pale near zero. */
export function heatStrip(values, units, scale, name) {
  const step = 10, strong = Math.max(scale, 1e-9);
  const low = Math.min(...values), high = Math.max(...values);
  return svg("svg", {
    class: "heat", viewBox: `0 0 ${Math.max(values.length, 1) * step} 16`, preserveAspectRatio: "none", role: "img",
    "aria-label": `${cut(name)}: ${values.length} values from ${num(low)} to ${num(high)}`,
  }, values.map((value, i) => {
    const share = Math.min(1, Math.abs(finite(value) ?? 0) / strong);
    return svg("rect", { class: value < 0 ? "down" : "up", x: i * step, width: step, height: 16, "fill-opacity": 0.06 + 0.94 * share },
      svg("title", {}, `[${units[i]}] ${num(value)}`));
  }));
}

const WIDEST_NAMES = 110; // characters

/** A long text without its middle: names often begin alike. */
function middle(value, most) {
  const text = cut(value, 2000), half = (most - 1) >> 1;
  return text.length <= most ? text : `${text.slice(0, half)}…${text.slice(-half)}`;
}

/** The confusion matrix: true classes down, predicted classes across. */
export function confusion(classes, counts, most = 26) {
  const shown = classes.slice(0, most), top = counts.flat().reduce((a, b) => Math.max(a, b), 1);
  const numbered = shown.reduce((sum, name) => sum + Math.max(4, cut(name, 14).length), 0) > WIDEST_NAMES; // then columns have numbers in place of names
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion matrix" },
    el("table", { class: "confusion" },
      el("caption", {}, "Rows: true class. Columns: predicted class."),
      el("thead", {}, el("tr", {}, el("td", {}), shown.map((name, i) => el("th", { scope: "col" }, numbered ? el("span", { title: cut(name, 200) }, String(i + 1)) : data(name, 14))))),
      el("tbody", {}, shown.map((name, i) => el("tr", {}, el("th", { scope: "row" }, numbered && `${i + 1}. `, data(middle(name, 26), 26)),
        shown.map((_, j) => {
          const cell = el("td", { class: i === j ? "right" : counts[i][j] ? "wrong" : "" }, counts[i][j] ? num(counts[i][j]) : "·");
          cell.style.setProperty("--share", counts[i][j] / top);
          return cell;
        }))))),
    classes.length > most && el("p", { class: "note" }, `The first ${most} of ${classes.length} classes are shown.`));
}

/** Lines from (0, 0) to (1, 1), such as ROC curves. */
export function unitLines(label, lines, { xLabel, yLabel, diagonal = false }) {
  const size = 220, at = (x, y) => `${(34 + x * size).toFixed(1)},${(8 + (1 - y) * size).toFixed(1)}`;
  return el("figure", { class: "unit" },
    svg("svg", { viewBox: "0 0 268 268", role: "img", "aria-label": label },
      frame(size),
      diagonal && svg("line", { class: "diagonal", x1: 34, y1: 8 + size, x2: 34 + size, y2: 8 }),
      lines.map((line, i) => svg("polyline", { class: `line line${i % 8}`, points: line.x.map((x, k) => at(x, line.y[k])).join(" ") },
        svg("title", {}, line.text))),
      axisNames(size, xLabel, yLabel)),
    el("figcaption", {}, el("ul", { class: "legend" }, lines.map((line, i) => el("li", {}, el("span", { class: `swatch line${i % 8}` }), line.text)))));
}

function frame(size) {
  return [
    svg("rect", { class: "frame", x: 34, y: 8, width: size, height: size }),
    [0, 0.5, 1].map((v) => [
      svg("text", { class: "tick", x: 34 + v * size, y: size + 22, "text-anchor": "middle" }, String(v)),
      svg("text", { class: "tick", x: 30, y: 12 + (1 - v) * size, "text-anchor": "end" }, String(v)),
    ]),
  ];
}

function axisNames(size, xLabel, yLabel) {
  return [
    svg("text", { class: "tick", x: 34 + size / 2, y: size + 38, "text-anchor": "middle" }, xLabel),
    svg("text", { class: "tick", x: 10, y: 8 + size / 2, "text-anchor": "middle", transform: `rotate(-90 10 ${8 + size / 2})` }, yLabel),
  ];
}

/** The reliability diagram: accuracy against confidence, one dot for each bin, larger for more rows. */
export function reliability(bins, name = "Reliability diagram") {
  const size = 220, most = Math.max(1, ...bins.map((bin) => bin.rows));
  return el("figure", { class: "unit" },
    svg("svg", { viewBox: "0 0 268 268", role: "img", "aria-label": `${name}: ${bins.map((b) => `confidence ${percent(b.confidence)}, accuracy ${percent(b.accuracy)} in ${b.rows} rows`).join("; ")}` },
      frame(size),
      svg("line", { class: "diagonal", x1: 34, y1: 8 + size, x2: 34 + size, y2: 8 }),
      bins.map((bin) => {
        const x = 34 + bin.confidence * size, y = 8 + (1 - bin.accuracy) * size;
        return [
          svg("line", { class: "gap", x1: x, x2: x, y1: y, y2: 8 + (1 - bin.confidence) * size }),
          svg("circle", { class: "mark", cx: x, cy: y, r: 3 + 9 * Math.sqrt(bin.rows / most) },
            svg("title", {}, `${num(bin.rows)} rows: confidence ${percent(bin.confidence)}, accuracy ${percent(bin.accuracy)}`)),
        ];
      }),
      axisNames(size, "confidence", "accuracy")));
}

/** True against predicted values, one dot for each row. */
export function scatter(truth, predicted, label) {
  const all = [...truth, ...predicted].filter((v) => finite(v) !== null);
  const low = Math.min(...all), span = Math.max(...all) - low || 1, size = 220;
  const scaled = (v) => (v - low) / span;
  return el("figure", { class: "unit" },
    svg("svg", { viewBox: "0 0 268 268", role: "img", "aria-label": label },
      svg("rect", { class: "frame", x: 34, y: 8, width: size, height: size }),
      svg("line", { class: "diagonal", x1: 34, y1: 8 + size, x2: 34 + size, y2: 8 }),
      truth.map((value, i) => finite(value) !== null && finite(predicted[i]) !== null
        && svg("circle", { class: "dot", cx: 34 + scaled(value) * size, cy: 8 + (1 - scaled(predicted[i])) * size, r: 2.4 })),
      svg("text", { class: "tick", x: 34, y: size + 22 }, num(low, 3)),
      svg("text", { class: "tick", x: 34 + size, y: size + 22, "text-anchor": "end" }, num(low + span, 3)),
      axisNames(size, "true", "predicted")));
}

/** Shares of a whole, side by side: [{name, share}]. */
export function shares(parts) {
  let at = 0;
  const total = parts.reduce((sum, part) => sum + (finite(part.share) ?? 0), 0) || 1;
  return el("figure", { class: "shares" },
    svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": parts.map((part) => `${cut(spelled(part.name), 40)} ${percent(part.share)}`).join(", ") },
      parts.map((part, i) => {
        const wide = (100 * (finite(part.share) ?? 0)) / total;
        at += wide;
        return svg("rect", { class: `fill${i % 8}`, x: at - wide, width: wide, height: 10 }, svg("title", {}, `${cut(spelled(part.name), 40)} ${percent(part.share)}`));
      })),
    legend(parts.map((part, i) => [`line${i % 8}`, [data(spelled(part.name), 40), ` ${percent(part.share)}`]])));
}

/** A value with its interval, on a scale shared by a whole table column. */
export function whisker(value, low, high, [from, to], { strong = false, zero = null } = {}) {
  const at = (v) => 6 + (188 * (v - from)) / (to - from || 1);
  if (finite(value) === null) return "";
  return svg("svg", { class: "whisker", viewBox: "0 0 200 16", "aria-hidden": "true" },
    svg("line", { class: "track", x1: 6, x2: 194, y1: 8, y2: 8 }),
    zero !== null && svg("line", { class: "zero", x1: at(zero), x2: at(zero), y1: 0, y2: 16 }),
    finite(low) !== null && finite(high) !== null && svg("line", { class: strong ? "range ours" : "range", x1: at(low), x2: at(high), y1: 8, y2: 8 }),
    svg("circle", { class: strong ? "point ours" : "point", cx: at(value), cy: 8, r: 5 }));
}

/** The smallest and largest of some numbers; values that are not finite are left out. */
export function extent(values, room = 0) {
  const known = values.filter((value) => finite(value) !== null);
  const low = known.reduce((a, b) => Math.min(a, b), Infinity), high = known.reduce((a, b) => Math.max(a, b), -Infinity);
  const more = (high - low || Math.abs(high) || 1) * room;
  return known.length ? [low - more, high + more] : [0, 1];
}

/** One dot for each value, and a line at their mean. */
export function dots(values, mean, [from, to], label) {
  const at = (v) => 8 + (284 * (v - from)) / (to - from || 1), taken = new Map();
  const height = (v) => { // dots that would overlap are stacked
    const column = Math.round(at(v) / 7), level = taken.get(column) ?? 0;
    taken.set(column, level + 1);
    return 34 - Math.min(level, 4) * 6.5;
  };
  return el("figure", { class: "dots" },
    svg("svg", { viewBox: "0 0 300 54", role: "img", "aria-label": label },
      svg("line", { class: "track", x1: 8, x2: 292, y1: 40, y2: 40 }),
      finite(mean) !== null && svg("line", { class: "mean", x1: at(mean), x2: at(mean), y1: 4, y2: 44 }),
      values.map((v) => finite(v) !== null && svg("circle", { class: "dot", cx: at(v), cy: height(v), r: 3.4 }, svg("title", {}, num(v)))),
      svg("text", { class: "tick", x: 8, y: 52 }, num(from, 3)), svg("text", { class: "tick", x: 292, y: 52, "text-anchor": "end" }, num(to, 3))));
}
