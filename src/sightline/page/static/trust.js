// Can it be trusted: simple models beside it, calibration, sets that hold the truth, the threshold.

import { bar, extent, reliability, shares, whisker } from "./charts.js";
import { data, el, finite, num, percent, plural, table } from "./dom.js";

const NAMES = { log_loss: "Log loss", rmse: "RMSE", accuracy: "Accuracy", r2: "R²" };
const WORDS = { log_loss: "log loss", rmse: "RMSE" };
const MOST_SIZES = 8;

/** A number with its sign, and an interval around it. */
function between({ mean, low, high }) {
  const signed = (v) => (finite(v) > 0 ? `+${num(v, 3)}` : num(v, 3));
  return finite(mean) === null ? "–" : `${signed(mean)} (${signed(low)} to ${signed(high)})`;
}

export const worth = {
  id: "worth", title: "Is it worth it?", uses: ["predict/baselines"],
  render({ run }, depth) {
    const found = run.last("predict/baselines");
    if (!found) return null;
    const name = NAMES[found.metric] ?? found.metric, other = found.models.find((one) => one.second)?.second.name;
    const scale = extent(found.models.flatMap((one) => [one.score, one.low, one.high]), 0.04);
    const gaps = found.differences ?? [], apart = extent([0, ...gaps.flatMap((one) => [one.mean, one.low, one.high])], 0.04);
    const notes = found.models.filter((one) => one.note);
    return el("section", { class: "worth" }, el("h2", {}, "Is it worth it?"),
      el("p", { class: "lead" }, data(found.verdict, 1000)),
      table(`${name} on ${plural(found.rows, `${found.part} row`)}, less is better; the lines are 95 % intervals`,
        ["Model", name, "", "95 % interval", NAMES[other] ?? other ?? "", "Seconds"],
        found.models.map((one, i) => [data(one.name, 60), num(one.score), whisker(one.score, one.low, one.high, scale, { strong: i === 0 }),
          finite(one.low) === null ? "–" : `${num(one.low, 3)} to ${num(one.high, 3)}`, one.second ? shown(one.second) : "–", finite(one.seconds) !== null && one.seconds < 0.01 ? "0.01 or less" : num(one.seconds, 2)])),
      notes.length > 0 && el("ul", { class: "notes" }, notes.map((one) => el("li", {}, data(one.name, 60), ": ", data(one.note, 300)))),
      depth !== "brief" && gaps.length > 0 && table(`This model's ${WORDS[found.metric] ?? found.metric} minus another's, on the same rows: where the interval is left of zero, this model is better`,
        ["Compared with", "Difference (95 % interval)", ""], gaps.map((one) => [data(one.name, 60), between(one), whisker(one.mean, one.low, one.high, apart, { zero: 0, strong: finite(one.high) < 0 })])));
  },
};

function shown({ name, value }) {
  return name === "accuracy" ? percent(value) : num(value, 3);
}

export const trust = {
  id: "trust", title: "Can it be believed?", uses: ["predict/calibration", "predict/sets", "predict/threshold"],
  render({ run }) {
    const weighed = run.last("predict/calibration"), sets = run.last("predict/sets"), threshold = run.last("predict/threshold");
    if (!weighed && !sets && !threshold) return null;
    return el("section", { class: "trust" }, el("h2", {}, "Can it be believed?"),
      weighed && calibration(weighed), sets && held(sets), threshold && decided(threshold));
  },
};

function calibration(found) {
  const { before, after, parts } = found;
  return [
    el("article", {}, el("h3", {}, parts.length > 1 ? "Parts, weighed" : "Calibration"),
      el("p", {}, data(found.said, 1500)),
      parts.length > 1 && [shares(parts), el("p", { class: "note" }, "Weights: ", parts.map((one, i) => [i ? ", " : "", data(one.name, 40), ` ${num(one.weight, 3)}`]), `; found on ${found.source}.`)]),
    before && after && el("article", {}, el("h3", {}, `Before and after calibration, ${plural(found.rows, `${found.part} row`)}`),
      el("div", { class: "figures" }, [["Before", before], ["After", after]].map(([name, one]) =>
        el("div", { class: "panel" }, el("h4", {}, name === "After" ? `After: temperature ${num(found.temperature, 3)}` : "Before: temperature 1"), reliability(one.points, name)))),
      errors(found)),
  ];
}

/** The calibration errors as bars, and what chance alone makes of the best of models. */
function errors({ before, after, perfect_ece: perfect }) {
  const most = Math.max(before.ece, after.ece, finite(perfect) ?? 0, 1e-12);
  const rows = [["before", before.ece, before.log_loss], ["after", after.ece, after.log_loss]];
  if (finite(perfect) !== null) rows.push(["perfectly calibrated models stay below", perfect, null]);
  return table("How far sureness is from being right, on average over 15 bins", ["", "Calibration error", "", "Log loss"],
    rows.map(([name, ece, loss]) => [name, num(ece, 3), bar(ece / most), num(loss)]));
}

function held(found) {
  const wanted = 1 - found.alpha, sizes = found.sizes, promise = `${percent(found.coverage)} of ${num(found.rows)} ${found.part} rows have the truth in their ${sizes ? "set" : "interval"}; ${percent(wanted)} was asked for.`;
  const cards = sizes
    ? [["Coverage", percent(found.coverage), `asked for: ${percent(wanted)}`], ["Classes in a set", num(found.mean_size, 3), "on average"], ["Empty sets", percent(found.empty), "of the rows"]]
    : [["Coverage", percent(found.coverage), `asked for: ${percent(wanted)}`], ["Mean width", num(found.mean_width), "of an interval"], ["Median width", num(found.median_width), "of an interval"]];
  return el("article", {}, el("h3", {}, sizes ? "Sets that hold the truth" : "Intervals that hold the truth"),
    el("p", {}, data(found.said ?? promise, 1000)),
    el("div", { class: "cards" }, cards.map(([name, value, about]) => el("div", { class: "card" }, el("small", {}, name), el("b", {}, value), el("span", {}, about)))),
    sizes && bySize(sizes, found.rows),
    el("p", { class: "note" }, `Conformal prediction: how large ${sizes ? "a set" : "an interval"} has to be was found on ${found.source}.`));
}

function bySize(sizes, rows) {
  const rest = sizes.slice(MOST_SIZES).reduce((a, b) => a + b, 0), most = Math.max(...sizes.slice(0, MOST_SIZES), rest, 1);
  const lines = sizes.slice(0, MOST_SIZES).map((count, i) => [`${i} ${i === 1 ? "class" : "classes"}`, count]);
  if (rest) lines.push([`${MOST_SIZES} or more`, rest]);
  return table("How many classes the sets have", ["Size", "Rows", "Share", ""], lines.map(([name, count]) => [name, num(count), percent(rows ? count / rows : 0), bar(count / most)]));
}

function decided(found) {
  return el("article", {}, el("h3", {}, "The threshold"),
    el("p", {}, data(found.said, 600)),
    el("div", { class: "cards" },
      el("div", { class: "card" }, el("small", {}, "Threshold"), el("b", {}, num(found.value, 3)), el("span", {}, "instead of 0.5")),
      finite(found.score) !== null && el("div", { class: "card" }, el("small", {}, String(found.by).replace("_", " ")), el("b", {}, num(found.score, 3)), el("span", {}, `at 0.5: ${num(found.score_at_half, 3)}`))));
}
