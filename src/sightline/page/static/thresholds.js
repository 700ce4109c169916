// The decision threshold of two classes, chosen by hand among the recorded ones.

import { confusion } from "./charts.js";
import { command, data, el, finite, num, percent, table } from "./dom.js";

export const thresholds = {
  id: "thresholds", title: "Decision threshold by hand", uses: ["predict/thresholds", "predict/metrics", "run/end"],
  render({ run, state }) {
    const body = run.last("predict/thresholds");
    if (!body) return missing(run);
    const { thresholds: all, calibration, test } = body, sides = [["Choose by these", calibration], ...(test ? [["What to expect", test]] : [])];
    const nearest = all.reduce((best, value, i) => (Math.abs(value - body.chosen) < Math.abs(all[best] - body.chosen) ? i : best), 0);
    const known = all.findIndex((value) => String(value) === state.threshold);
    const slider = el("input", { type: "range", id: "threshold", min: 0, max: all.length - 1, step: 1, value: known < 0 ? nearest : known });
    const shown = el("output", { for: "threshold", class: "number" }), outcome = el("div", { "aria-live": "polite" }), order = el("div", {});
    const costs = () => state.costs ?? [1, 1];
    const cost = (side, i) => side.false_positives[i] * costs()[0] + side.false_negatives[i] * costs()[1]; // the one thing that the page computes
    const show = () => {
      const i = Number(slider.value), text = String(all[i]);
      shown.textContent = text;
      slider.setAttribute("aria-valuetext", text);
      outcome.replaceChildren(
        el("div", { class: "figures" }, sides.map(([title, side]) => el("div", { class: "panel" }, el("h3", {}, title), el("p", { class: "note" }, data(side.source, 200)),
          confusion([body.negative, body.positive], [[side.true_negatives[i], side.false_positives[i]], [side.false_negatives[i], side.true_positives[i]]])))),
        table(`Decisions with the threshold ${text}`, ["", ...sides.map(([title]) => title)], [
          ["Precision", ...sides.map(([, side]) => num(side.precision[i], 3))],
          ["Recall", ...sides.map(([, side]) => num(side.recall[i], 3))],
          ["F1", ...sides.map(([, side]) => num(side.f1[i], 3))],
          [["Predicted as ", data(body.positive, 40)], ...sides.map(([, side]) => percent(side.flagged[i]))],
          ["Cost", ...sides.map(([, side]) => num(cost(side, i)))],
        ]));
      const model = run.last("run/end")?.bundle ?? "model.sightline";
      order.replaceChildren(command(`sightline threshold ${quoted(model)} ${text} -o ${quoted(model.replace(/(\.sightline)?$/, `-${text}.sightline`))}`));
    };
    const keep = () => {
      state.threshold = String(all[Number(slider.value)]);
      state.remember();
    };
    slider.addEventListener("input", show);
    slider.addEventListener("change", keep);
    const price = (i, label) => el("label", {}, el("span", {}, label), el("input", { type: "number", min: 0, step: "any", value: costs()[i], oninput: (event) => {
      const value = event.target.value === "" ? null : finite(Number(event.target.value));
      if (value === null || value < 0) return;
      state.costs = costs().map((old, k) => (k === i ? value : old));
      show();
    }, onchange: () => state.remember() }));
    const lowest = () => {
      const best = all.reduce((best, _, i) => (cost(calibration, i) < cost(calibration, best) ? i : best), nearest);
      slider.value = best;
      show();
      keep();
    };
    show();
    return el("section", { class: "thresholds" }, el("h2", {}, "Decision threshold by hand"),
      el("p", {}, "A row is predicted as ", data(body.positive, 40), " if its probability is at least the threshold. A lower threshold finds more of them, and raises more false alarms."),
      el("div", { class: "picker" }, el("label", { for: "threshold" }, "Threshold"), slider, shown),
      el("div", { class: "fields costs" }, price(0, ["Cost of a ", data(body.negative, 30), " predicted as ", data(body.positive, 30)]), price(1, ["Cost of a ", data(body.positive, 30), " predicted as ", data(body.negative, 30)]),
        el("button", { type: "button", id: "lowest-cost", onclick: lowest }, "Lowest cost")),
      outcome,
      test ? el("p", { class: "note" }, "Choose by the first rows alone. If you choose by the test rows, they no longer tell how good the choice is.") : el("p", { class: "note" }, "There are no test rows to check the choice with: on new rows it is somewhat worse."),
      body.note && el("p", { class: "note" }, body.note),
      el("p", {}, "This command writes the model with the threshold; nothing is fitted again:"), order);
  },
};

/** A run of two classes without the record. */
function missing(run) {
  if (run.last("predict/metrics")?.classes?.length !== 2) return null;
  return el("section", { class: "thresholds" }, el("h2", {}, "Decision threshold by hand"),
    el("p", { class: "note" }, "This run has no counts for each threshold: an older version made it, or the model was not calibrated. Fit it again, a network of your own with ", el("code", {}, "--calibrate"), ", to choose the threshold here."));
}

function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`;
}
