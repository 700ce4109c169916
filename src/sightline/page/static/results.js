// Results on rows that were not used for training, compared with the baseline.

import { bar, confusion, histogram, reliability, scatter, unitLines } from "./charts.js";
import { METRICS, cell, data, drawer, el, num, percent, plural, table } from "./dom.js";

const CARDS = ["accuracy", "log_loss", "roc_auc", "average_precision", "rmse", "mae", "r2"];

const MOST_BARS = 12;

export const results = {
  id: "results", title: "Results", uses: ["lesson/result", "predict/metrics", "predict/curves", "predict/importance", "predict/worst", "predict/calibration"],
  render({ run, state }, depth) {
    const metrics = run.last("predict/metrics");
    if (!metrics) return null;
    const above = depth === "figures" && run.last("lesson/result"); // which shows the cards; older runs have none
    const curves = run.last("predict/curves"), importance = run.last("predict/importance"), worst = run.last("predict/worst");
    const calibrated = run.last("predict/calibration")?.after; // then the trust block shows the diagram
    return el("section", { class: "results" }, el("h2", {}, `Results on ${plural(metrics.rows, `${metrics.part} row`)}`),
      !above && cards(metrics),
      el("p", { class: "note" }, "The baseline is ", data(metrics.baseline.what, 300), ".", metrics.positive !== null && metrics.positive !== undefined && [" The positive class is ", data(metrics.positive), "."]),
      !above && metrics.notes?.map((note) => el("p", { class: "note" }, data(note, 600))),
      depth !== "brief" && [
        el("div", { class: "figures" },
          metrics.confusion && panel("Confusion matrix", confusion(metrics.classes.map((row) => row.class), metrics.confusion), metrics.classes.length > 3),
          curves?.reliability && !calibrated && panel("Reliability diagram", [reliability(curves.reliability.bins), el("p", { class: "note" }, curves.reliability.sentence)]),
          curves?.roc?.length ? panel("ROC curves", unitLines("ROC curves: true against false positive rate", curves.roc.map((curve) => ({ ...curve, text: `${curve.class}: area ${num(curve.area, 3)}` })), { xLabel: "false positive rate", yLabel: "true positive rate", diagonal: true })) : null,
          curves?.pr?.length ? panel("Precision-recall curves", unitLines("Precision against recall", curves.pr.map((curve) => ({ ...curve, text: `${curve.class}: average ${num(curve.area, 3)}` })), { xLabel: "recall", yLabel: "precision" })) : null,
          curves?.scatter && panel("Predicted and true values", [scatter(curves.scatter.truth, curves.scatter.predicted, "Predicted against true values, one dot for each row"), el("p", { class: "note" }, curves.scatter.sentence)]),
          curves?.residuals && panel("Errors: predicted minus true", [histogram(curves.residuals, "errors"), el("p", { class: "note" }, curves.residuals.sentence)]),
          importance && panel("Permutation importance", columns(importance, state), true)),
        curves?.curves_note && el("p", { class: "note" }, curves.curves_note),
        metrics.classes && drawer(state, "classes", `Each of the ${metrics.classes.length} classes`, () => table("Classes", ["Class", "Precision", "Recall", "F1", "Rows"],
          metrics.classes.slice(0, 400).map((row) => [data(row.class, 40), num(row.precision, 3), num(row.recall, 3), num(row.f1, 3), num(row.rows)]))),
        worst && drawer(state, "worst", "The worst predictions", () => [el("p", {}, worst.sentence), wrong(worst)]),
      ]);
  },
};

/** The metrics, each beside the baseline's. */
export function cards(metrics) {
  return el("div", { class: "cards" }, CARDS.filter((name) => name in metrics).map((name) => el("div", { class: "card" }, el("small", {}, METRICS[name]), el("b", {}, show(name, metrics[name])),
    Object.hasOwn(metrics.baseline, name) && el("span", {}, `baseline ${show(name, metrics.baseline[name])}`))));
}

function show(name, value) {
  return name === "accuracy" ? percent(value) : num(value, name === "roc_auc" || name === "average_precision" || name === "log_loss" || name === "r2" ? 3 : 4);
}

function panel(title, content, wide = false) {
  return el("article", { class: wide ? "panel wide" : "panel" }, el("h3", {}, title), content);
}

function columns(importance, state) {
  const most = Math.max(...importance.columns.map((column) => column.mean), 1e-12);
  const title = `Rise of the ${importance.metric === "rmse" ? "RMSE" : "log loss"} when a column is shuffled`;
  const rows = (some) => some.map((column) => [data(column.column, 40), `${num(column.mean, 3)} ± ${num(column.deviation, 2)}`, bar(Math.max(0, column.mean) / most)]);
  const more = importance.columns.slice(MOST_BARS, 400);
  return [
    table(title, ["Column", "Rise", ""], rows(importance.columns.slice(0, MOST_BARS))),
    more.length > 0 && drawer(state, "importance", plural(more.length, "more column"), () => table(title, ["Column", "Rise", ""], rows(more))),
    el("p", { class: "note" }, importance.sentence),
  ];
}

function wrong(worst) {
  const names = Object.keys(worst.rows[0]?.raw ?? {}).slice(0, 12);
  return table("The worst predictions", ["Row", "True", "Predicted", worst.rows[0]?.probability === null ? "Error" : "Probability of the true class", ...names.map((name) => data(name, 24))],
    worst.rows.map((row) => [num(row.row), cell(row.truth), cell(row.prediction), row.probability === null ? num(row.error) : percent(row.probability), ...names.map((name) => cell(row.raw[name]))]));
}
