// Runs side by side: settings that differ, loss curves, metrics.

import { curves, legend } from "./charts.js";
import { data, el, num, table } from "./dom.js";

export function compare(comparison) {
  const names = comparison.runs.map((run) => run.split(/[\\/]/).at(-1) || run);
  const cell = (value) => data(typeof value === "number" ? num(value) : Array.isArray(value) ? value.join("; ") || "–" : value ?? "–", 300);
  const best = (name, i) => comparison.better[name]?.includes(i) && el("b", {}, " best");
  const rows = (values, mark = () => null) => Object.entries(values).map(([name, row]) => [data(name, 40), ...row.map((value, i) => [cell(value), mark(name, i)])]);
  const node = el("div", {},
    el("section", { class: "opening" }, el("h1", {}, `${names.length} runs side by side`), el("ol", {}, comparison.runs.map((run) => el("li", {}, data(run, 300))))),
    el("section", {}, el("h2", {}, "Settings that differ"), Object.keys(comparison.settings).length
      ? table("Settings that differ", ["Setting", ...names.map((name) => data(name, 30))], rows(comparison.settings))
      : el("p", {}, "None."), el("p", { class: "note" }, `${num(comparison.same)} settings are the same.`)),
    el("section", {}, el("h2", {}, "Metrics"), table("Metrics", ["Metric", ...names.map((name) => data(name, 30))], rows(comparison.metrics, best)),
      comparison.warnings.length > 0 && el("ul", { class: "notes cautions" }, comparison.warnings.map((warning) => el("li", {}, warning)))));
  const lines = ["train_loss", "valid_loss"].map((key) => {
    const long = comparison.epochs.reduce((a, b) => (b.length > a.length ? b : a), []);
    const chart = curves({ label: key === "train_loss" ? "Training loss of each run" : "Held-out loss of each run", xLabel: "epoch", yLabel: key === "train_loss" ? "training loss" : "held-out loss",
      read: (i) => (long[i] ? [`Epoch ${long[i].number}: `, names.map((name, k) => `${name.slice(0, 30)} ${num(comparison.epochs[k][i]?.[key])}`).join(", ")] : []) });
    return { chart, key, x: long.map((epoch) => epoch.number) };
  });
  node.append(el("section", {}, el("h2", {}, "Curves"), el("p", { class: "note" }, "Held-out loss: on validation rows, or out-of-fold if there are none."), legend(names.map((name, i) => [`line${i % 8}`, data(name, 40)])), el("div", { class: "pair" }, lines.map((line) => line.chart))));
  node.grow = () => lines.forEach(({ chart, key, x }) => chart.draw({ x, marks: [],
    series: comparison.epochs.map((epochs, i) => ({ label: `${i} ${names[i]}`, colour: `line${i % 8}`, values: x.map((_, k) => epochs[k]?.[key] ?? null) })) }));
  return node;
}
