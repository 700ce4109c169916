// Reliability: comparison with simple models, calibration, prediction sets, the decision threshold.

import { bar, extent, reliability, shares, whisker } from "./charts.js";
import { METRICS, data, el, finite, num, percent, plural, spelled, table } from "./dom.js";

const WORDS = { log_loss: "log loss", rmse: "RMSE", roc_auc: "area under ROC", balanced_accuracy: "balanced accuracy" };
const MOST_SIZES = 8, MOST_CLASSES = 30;

/** A number with its sign, and an interval around it. */
function between({ mean, low, high }) {
  const signed = (v) => (finite(v) > 0 ? `+${num(v, 3)}` : num(v, 3));
  return finite(mean) === null ? "–" : `${signed(mean)} (${signed(low)} to ${signed(high)})`;
}

export const worth = {
  id: "worth", title: "Comparison with simple models", uses: ["predict/baselines"],
  render({ run }, depth) {
    const body = run.last("predict/baselines");
    if (!body) return null;
    const name = METRICS[body.metric] ?? body.metric, other = body.models.find((model) => model.second)?.second.name;
    const scale = extent(body.models.flatMap((model) => [model.score, model.low, model.high]), 0.04);
    const gaps = body.differences ?? [], apart = extent([0, ...gaps.flatMap((gap) => [gap.mean, gap.low, gap.high])], 0.04);
    const notes = body.models.filter((model) => model.note), greater = body.greater_is_better === true;
    return el("section", { class: "worth" }, el("h2", {}, "Comparison with simple models"),
      el("p", { class: "lead" }, data(body.verdict, 1000)),
      body.remark && el("p", {}, data(body.remark, 1000)),
      table(`${name} on ${plural(body.rows, `${body.part} row`)}, ${greater ? "higher" : "lower"} is better; lines are 95 % intervals`,
        ["Model", name, "", "95 % interval", METRICS[other] ?? other ?? "", "Seconds"],
        body.models.map((model, i) => [data(model.name, 60), num(model.score), whisker(model.score, model.low, model.high, scale, { strong: i === 0 }),
          finite(model.low) === null ? "–" : `${num(model.low, 3)} to ${num(model.high, 3)}`, model.second ? shown(model.second) : "–", finite(model.seconds) !== null && model.seconds < 0.01 ? "0.01 or less" : num(model.seconds, 2)])),
      notes.length > 0 && el("ul", { class: "notes" }, notes.map((model) => el("li", {}, data(model.name, 60), ": ", data(model.note, 300)))),
      depth !== "brief" && gaps.length > 0 && table(`Difference in ${WORDS[body.metric] ?? body.metric}, this model minus the other, on the same rows: this model is better if the whole interval is ${greater ? "above" : "below"} zero`,
        ["Compared with", "Difference (95 % interval)", ""], gaps.map((gap) => [data(gap.name, 60), between(gap), whisker(gap.mean, gap.low, gap.high, apart, { zero: 0, strong: greater ? finite(gap.low) > 0 : finite(gap.high) < 0 })])));
  },
};

function shown({ name, value }) {
  return name === "accuracy" ? percent(value) : num(value, 3);
}

export const trust = {
  id: "trust", title: "Calibration and uncertainty", uses: ["predict/calibration", "predict/sets", "predict/threshold"],
  render({ run }) {
    const calibrated = run.last("predict/calibration"), sets = run.last("predict/sets"), threshold = run.last("predict/threshold");
    if (!calibrated && !sets && !threshold) return null;
    return el("section", { class: "trust" }, el("h2", {}, "Calibration and uncertainty"),
      calibrated && calibration(calibrated), sets && held(sets), threshold && decided(threshold));
  },
};

function calibration(body) {
  const { before, after, parts } = body;
  return [
    el("article", {}, el("h3", {}, parts.length > 1 ? "Weights of the parts" : "Calibration"),
      el("p", {}, data(body.said, 1500)),
      parts.length > 1 && [shares(parts), el("p", { class: "note" }, "Weights: ", parts.map((part, i) => [i ? ", " : "", data(spelled(part.name), 40), ` ${num(part.weight, 3)}`]), `; fitted on ${body.source}.`)]),
    before && after && el("article", {}, el("h3", {}, `Before and after calibration, ${plural(body.rows, `${body.part} row`)}`),
      el("div", { class: "figures" }, [["Before", before], ["After", after]].map(([name, side]) =>
        el("div", { class: "panel" }, el("h4", {}, name === "After" ? `After: temperature ${num(body.temperature, 3)}` : "Before: temperature 1"), reliability(side.points, name)))),
      errors(body)),
  ];
}

/** The calibration errors as bars, and the error that chance alone gives a perfectly calibrated model. */
function errors({ before, after, perfect_ece: perfect }) {
  const most = Math.max(before.ece, after.ece, finite(perfect) ?? 0, 1e-12);
  const rows = [["before", before.ece, before.log_loss], ["after", after.ece, after.log_loss]];
  if (finite(perfect) !== null) rows.push(["95 % of perfectly calibrated models are below", perfect, null]);
  return table("Expected calibration error: difference between confidence and accuracy, averaged over 15 bins", ["", "Calibration error", "", "Log loss"],
    rows.map(([name, ece, loss]) => [name, num(ece, 3), bar(ece / most), num(loss)]));
}

function held(body) {
  const wanted = 1 - body.alpha, sizes = body.sizes, summary = `The prediction ${sizes ? "set contains the true class" : "interval contains the true value"} in ${percent(body.coverage)} of ${num(body.rows)} ${body.part} rows; the target is ${percent(wanted)}.`;
  const cards = sizes
    ? [["Coverage", percent(body.coverage), `target: ${percent(wanted)}`], ["Classes in a set", num(body.mean_size, 3), "on average"], ["Empty sets", percent(body.empty), "of the rows"]]
    : [["Coverage", percent(body.coverage), `target: ${percent(wanted)}`], ["Mean width", num(body.mean_width), "of an interval"], ["Median width", num(body.median_width), "of an interval"]];
  return el("article", {}, el("h3", {}, sizes ? "Prediction sets" : "Prediction intervals"),
    el("p", {}, data(body.said ?? summary, 1000)),
    el("div", { class: "cards" }, cards.map(([name, value, about]) => el("div", { class: "card" }, el("small", {}, name), el("b", {}, value), el("span", {}, about)))),
    sizes && bySize(sizes, body.rows),
    body.by_class && table("Coverage by true class", ["Class", "Rows", "Coverage", ""], body.by_class.slice(0, MOST_CLASSES).map(([name, rows, share]) => [data(name, 40), num(rows), share === null ? "-" : percent(share), share === null ? "" : bar(share)])),
    body.by_class?.length > MOST_CLASSES && el("p", { class: "note" }, `The table has the first ${MOST_CLASSES} of ${num(body.by_class.length)} classes.`),
    body.by_tenth && table("Coverage by tenth of the predictions", ["Predictions up to", "Rows", "Coverage", "", "Mean width"], body.by_tenth.map(([top, rows, share, width]) => [num(top), num(rows), percent(share), bar(share), num(width)])),
    el("p", { class: "note" }, `Conformal prediction: the size of the ${sizes ? "sets" : "intervals"} was calibrated on ${body.source}.`));
}

function bySize(sizes, rows) {
  const rest = sizes.slice(MOST_SIZES).reduce((a, b) => a + b, 0), most = Math.max(...sizes.slice(0, MOST_SIZES), rest, 1);
  const lines = sizes.slice(0, MOST_SIZES).map((count, i) => [`${i} ${i === 1 ? "class" : "classes"}`, count]);
  if (rest) lines.push([`${MOST_SIZES} or more`, rest]);
  return table("Number of classes in the sets", ["Size", "Rows", "Share", ""], lines.map(([name, count]) => [name, num(count), percent(rows ? count / rows : 0), bar(count / most)]));
}

function decided(body) {
  return el("article", {}, el("h3", {}, "Decision threshold"),
    el("p", {}, data(body.said, 600)),
    el("div", { class: "cards" },
      el("div", { class: "card" }, el("small", {}, "Threshold"), el("b", {}, num(body.value, 3)), el("span", {}, "instead of 0.5")),
      finite(body.score) !== null && el("div", { class: "card" }, el("small", {}, String(body.by).replace("_", " ")), el("b", {}, num(body.score, 3)), el("span", {}, `at 0.5: ${num(body.score_at_half, 3)}`))));
}
