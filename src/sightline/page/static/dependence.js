// Partial dependence: the mean prediction when one column is set to one value after another.

import { extent } from "./charts.js";
import { cut, data, el, finite, num, percent, plural, svg } from "./dom.js";

const WIDE = 280, HIGH = 120, LEFT = 42, RIGHT = 8, TOP = 8, STRIP = 7;

export const dependence = {
  id: "dependence", title: "Partial dependence", uses: ["predict/dependence"],
  render({ run, state }) {
    const body = run.last("predict/dependence");
    if (!body?.columns.length) return null;
    const outputs = body.outputs, charts = el("div", { class: "small-charts" });
    const chosen = () => Math.max(outputs.map(String).indexOf(state.label), state.label === null ? body.shown : -1, 0);
    const show = () => {
      const output = chosen();
      const scale = extent(body.columns.flatMap((column) => ["mean", "low", "high"].flatMap((key) => column[key].map((values) => values[output]))), 0.06);
      const shares = body.classes ? [Math.max(0, scale[0]), Math.min(1, scale[1])] : scale;
      charts.replaceChildren(...body.columns.map((column) => chart(column, output, shares, body)));
    };
    const pick = outputs.length > 2 && el("select", { id: "output", onchange: () => { state.label = String(outputs[Number(pick.value)]); state.remember(); show(); } },
      outputs.map((name, i) => el("option", { value: String(i) }, cut(name, 40))));
    if (pick) pick.value = String(chosen());
    show();
    return el("section", { class: "dependence" }, el("h2", {}, "Partial dependence"),
      el("p", {}, `Each column is set to one value after another in ${plural(body.rows, `${body.part} row`)}, while all other columns stay as they are. The line is the mean prediction, and the band contains the predictions of 80 % of the rows. The strip below is darker where more rows have such values.`),
      pick ? el("div", { class: "picker" }, el("label", { for: "output" }, "Probability of"), pick)
        : el("p", { class: "note" }, body.classes ? ["The probability of ", data(outputs[body.shown], 60), "."] : ["The predicted ", data(outputs[0], 60), "."]),
      charts);
  },
};

/** A column's grid as labels, and as positions on an axis: numbers, times, or equally spaced. */
function grid(column) {
  const labels = column.grid.map((value) => (typeof value === "number" && !Number.isInteger(value) ? num(value) : String(value)));
  const positions = column.grid.map((value) => (column.kind === "datetime" ? Date.parse(value) : finite(value)));
  const bars = column.kind !== "numeric" && column.kind !== "datetime";
  return { ...column, labels, bars, at: positions.every((position) => Number.isFinite(position)) ? positions : positions.map((_, i) => i) };
}

function chart(raw, output, scale, body) {
  const column = grid(raw);
  const pick = (key) => column[key].map((values) => finite(values[output])), mean = pick("mean"), low = pick("low"), high = pick("high");
  const show = (v) => (body.classes ? percent(v) : num(v, 3)), known = mean.map((v, i) => [v, i]).filter(([v]) => v !== null);
  const ordered = [...known].sort((a, b) => a[0] - b[0]), least = ordered[0], most = ordered.at(-1);
  const label = known.length
    ? `${cut(column.column, 60)}: from ${show(least[0])} at ${cut(column.labels[least[1]], 40)} to ${show(most[0])} at ${cut(column.labels[most[1]], 40)}`
    : `${cut(column.column, 60)}: no prediction`;
  return el("figure", { class: "small-chart" }, el("h3", {}, data(column.column, 40)),
    column.bars ? bars(column, { mean, low, high, show, label, scale: body.classes ? [0, scale[1]] : scale, dotted: !body.classes }) : lines(column, { mean, low, high, show, scale, label }),
    el("figcaption", {}, known.length > 1 ? [`${show(least[0])} at `, data(column.labels[least[1]], 24), `, ${show(most[0])} at `, data(column.labels[most[1]], 24)] : "one value only, so there is nothing to compare"));
}

/** A line over numbers or dates, and the share of rows near each of its points. */
function lines(column, { mean, low, high, show, scale, label }) {
  const count = mean.length, x = column.at.map(finite), [from, to] = extent(x), most = Math.max(...column.share, 1e-9);
  const across = (i) => LEFT + (WIDE - LEFT - RIGHT) * (to > from ? (x[i] - from) / (to - from) : 0.5);
  const up = (v) => TOP + (HIGH - TOP) * (1 - (v - scale[0]) / (scale[1] - scale[0] || 1));
  const points = (values, order) => order.filter((i) => values[i] !== null && x[i] !== null).map((i) => `${across(i).toFixed(1)},${up(values[i]).toFixed(1)}`);
  const order = x.map((_, i) => i), edges = order.map((i) => [i ? (across(i - 1) + across(i)) / 2 : LEFT, i < count - 1 ? (across(i) + across(i + 1)) / 2 : WIDE - RIGHT]);
  return svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH + 30}`, role: "img", "aria-label": label }, axis(scale, show, up),
    svg("polygon", { class: "band", points: [...points(high, order), ...points(low, [...order].reverse())].join(" ") }),
    svg("polyline", { class: "curve", points: points(mean, order).join(" ") }),
    order.map((i) => mean[i] !== null && x[i] !== null && svg("circle", { class: "mark", cx: across(i), cy: up(mean[i]), r: count > 1 ? 2 : 4 },
      svg("title", {}, `${column.labels[i]}: ${show(mean[i])}, 80 % of the rows from ${show(low[i])} to ${show(high[i])}; ${percent(column.share[i])} of the rows`))),
    order.map((i) => svg("rect", { class: "many", x: edges[i][0], y: HIGH + 5, width: Math.max(0, edges[i][1] - edges[i][0]), height: STRIP, "fill-opacity": (0.06 + 0.44 * column.share[i] / most).toFixed(2) })),
    svg("text", { class: "tick", x: LEFT, y: HIGH + 25 }, cut(column.labels[0], 18)),
    count > 1 && svg("text", { class: "tick", x: WIDE - RIGHT, y: HIGH + 25, "text-anchor": "end" }, cut(column.labels[count - 1], 18)));
}

function axis(scale, show, up) {
  return [scale[0], (scale[0] + scale[1]) / 2, scale[1]].map((v) => [
    svg("line", { class: "track", x1: LEFT, x2: WIDE - RIGHT, y1: up(v), y2: up(v) }),
    svg("text", { class: "tick", x: LEFT - 4, y: up(v) + 3, "text-anchor": "end" }, show(Number(v.toPrecision(2)))),
  ]);
}

/** A bar for each category (a dot for a regression), the band as a line, and a mark that is darker for more rows. */
function bars(column, { mean, low, high, show, scale, label, dotted }) {
  const step = 17, start = 92, most = Math.max(...column.share, 1e-9);
  const across = (v) => start + (WIDE - start - RIGHT) * Math.min(1, Math.max(0, (v - scale[0]) / (scale[1] - scale[0] || 1)));
  return svg("svg", { viewBox: `0 0 ${WIDE} ${mean.length * step + 18}`, role: "img", "aria-label": label }, mean.map((v, i) => [
    svg("text", { class: "tick", x: start - 4, y: i * step + 12, "text-anchor": "end" }, cut(column.labels[i], 15)),
    svg("rect", { class: "many", x: 0, y: i * step + 2, width: 4, height: step - 4, "fill-opacity": (0.06 + 0.44 * column.share[i] / most).toFixed(2) }),
    v !== null && svg(dotted ? "circle" : "rect", dotted ? { class: "mark", cx: across(v), cy: i * step + step / 2, r: 5 } : { class: "mark", x: start, y: i * step + 3, width: Math.max(1, across(v) - start), height: step - 6 },
      svg("title", {}, `${column.labels[i]}: ${show(v)}, 80 % of the rows from ${show(low[i])} to ${show(high[i])}; ${percent(column.share[i])} of the rows`)),
    low[i] !== null && high[i] !== null && svg("line", { class: "spread", x1: across(low[i]), x2: across(high[i]), y1: i * step + step / 2, y2: i * step + step / 2 }),
  ]),
  svg("text", { class: "tick", x: start, y: mean.length * step + 14 }, show(Number(scale[0].toPrecision(2)))),
  svg("text", { class: "tick", x: WIDE - RIGHT, y: mean.length * step + 14, "text-anchor": "end" }, show(Number(scale[1].toPrecision(2)))));
}
