// Prediction: one row from raw values through the layers to the predicted class or number.

import { bar, dots, extent, heatStrip, shares } from "./charts.js";
import { cell, cut, data, drawer, el, num, percent, plural, spelled, table } from "./dom.js";

export const prediction = {
  id: "prediction", title: "Prediction", uses: ["predict/rows", "predict/example", "predict/asked", "predict/sets", "build/network"],
  render(page, depth) {
    const { run, state } = page;
    const rows = recordedRows(run), asked = run.all("predict/asked");
    const typing = page.live && depth !== "brief" ? form(page, rows) : null;
    if (!rows.length && !asked.length) {
      return typing && el("section", { class: "prediction" }, el("h2", {}, "Prediction"), typing);
    }
    const path = el("div", { class: "path", "aria-live": "polite" });
    const choices = [
      ...asked.map((answer, i) => ({ key: `asked-${answer.id}`, text: `typed row ${i + 1} (${answer.step === null ? "the finished model" : `after step ${num(answer.step)}`})`, ...answer, part: "a typed row" })),
      ...rows.map((row) => ({ key: String(row.row), text: `row ${row.row}: ${name(row)}`, ...row })),
    ];
    const show = () => {
      const choice = choices.find((choice) => choice.key === state.row) ?? choices.find((choice) => !choice.key.startsWith("asked")) ?? choices[0];
      pick.value = choice.key;
      path.replaceChildren(...follow(choice, page, show));
    };
    const step = (by) => {
      const i = choices.findIndex((choice) => choice.key === pick.value);
      choose(choices[(i + by + choices.length) % choices.length].key);
    };
    const choose = (key) => {
      state.row = key;
      page.remember();
      show();
    };
    const pick = el("select", { id: "row", onchange: () => choose(pick.value) }, choices.map((choice) => el("option", { value: choice.key }, choice.text)));
    show();
    const sentence = run.last("predict/rows")?.sentence;
    return el("section", { class: "prediction" }, el("h2", {}, "Prediction of one row"),
      sentence && el("p", { class: "note" }, sentence),
      el("div", { class: "picker" }, el("label", { for: "row" }, "Row"), pick,
        el("button", { type: "button", onclick: () => step(-1), "aria-label": "previous row" }, "‹"),
        el("button", { type: "button", onclick: () => step(1), "aria-label": "next row" }, "›")),
      path, typing);
  },
};

function recordedRows(run) {
  const sample = run.last("predict/rows"), example = run.last("predict/example");
  if (sample) return sample.rows.map((row) => ({ ...row, part: `a ${sample.part} row` }));
  return example ? [example] : [];
}

function name(row) {
  const right = row.right === true ? ", right" : row.right === false ? ", wrong" : "";
  const predicted = row.explanation?.prediction;
  return `${typeof predicted === "number" ? num(predicted) : String(predicted ?? "no prediction").slice(0, 40)}${right}`;
}

/** The elements that show how one row became a prediction. */
export function follow(row, page, redraw) {
  const explained = row.explanation, { run, state } = page;
  if (!explained) return [el("p", { class: "error" }, "No prediction: ", data(row.error, 600))];
  const raw = Object.entries(explained.raw), encoded = Object.entries(explained.encoded ?? {});
  const first = el("section", {}, el("h3", {}, "Raw values"), el("dl", { class: "values" }, raw.slice(0, 40).map(([column, value]) => el("div", {}, el("dt", {}, data(column, 30)), el("dd", {}, cell(value))))),
    raw.length > 40 && el("p", { class: "note" }, `and ${plural(raw.length - 40, "more column")}`));
  if (explained.error) return [first, el("p", { class: "error" }, "No prediction: ", data(explained.error, 600))];
  return [
    el("p", { class: "verdict" }, explained.parts?.length > 1 ? "The model predicts " : "The network predicts ", el("b", {}, verdict(explained.prediction)),
      row.truth !== undefined && [`; the true value is `, el("b", {}, verdict(row.truth)), row.right === true ? " ✓" : row.right === false ? " ✗" : ""], row.part ? ` (${row.part})` : ""),
    held(row, run.last("predict/sets")),
    ...explained.notes.length ? [el("ul", { class: "notes" }, explained.notes.map((note) => el("li", {}, data(note, 300))))] : [],
    el("ol", { class: "way" },
      el("li", {}, first),
      encoded.length > 0 && el("li", {}, el("h3", {}, "Encoded tensor"), el("p", { class: "shape" }, `1 × ${encoded.length}`),
        drawer(state, "encoded", `The ${encoded.length} inputs`, () => el("dl", { class: "values" }, encoded.slice(0, 200).map(([input, value]) => el("div", {}, el("dt", {}, data(input, 40)), el("dd", {}, num(value)))))),
      ),
      explained.layers.map((layer) => el("li", {}, el("h3", {}, data(layer.name, 60)), el("p", { class: "shape" }, layer.shape.join(" × "), ` · ${num(layer.active)} of ${num(layer.size)} not zero`),
        layer.values ? heatStrip(layer.values, layer.places, layer.scale, layer.name) : el("p", { class: "note" }, layer.largest.map(([place, v]) => `[${place}] ${num(v)}`).join(", ")),
        layer.values && layer.values.length < layer.size && el("p", { class: "note" }, `${layer.values.length} of ${num(layer.size)} units are shown.`))),
      ...together(explained, state, redraw),
      explained.probabilities.length ? el("li", {}, el("h3", {}, "Logits, softmax, probabilities"), probabilities(explained, row.set)) : null),
    pushes(explained),
  ];
}

function own(values, name) {
  return values && Object.hasOwn(values, name) ? values[name] : null;
}

function verdict(value) {
  return data(typeof value === "number" ? num(value) : value, 60);
}

/** The prediction set or prediction interval. */
function held({ set, interval, truth }, about) {
  const coverage = about ? `in ${percent(1 - about.alpha)} of rows like these` : "in most rows";
  if (interval) {
    return el("p", { class: "held" }, "Prediction interval: ", el("b", {}, num(interval[0])), " to ", el("b", {}, num(interval[1])), `. It contains the true value ${coverage}`,
      typeof truth === "number" ? (truth >= interval[0] && truth <= interval[1] ? ", and it does here." : ", but not here.") : ".");
  }
  if (!set) return el("span", {});
  if (!set.length) return el("p", { class: "held" }, "The prediction set is empty: no class is as probable as the true class was in ", percent(1 - (about?.alpha ?? 0.1)), " of the held-out rows.");
  return el("p", { class: "held" }, "Prediction set: ", el("span", { class: "chips" }, set.slice(0, 12).map((label) => el("b", {}, verdict(label)))),
    set.length > 12 && ` and ${plural(set.length - 12, "more class", "more classes")}`,
    `. It contains the true class ${coverage}`, truth === undefined ? "." : set.includes(truth) ? ", and it does here." : ", but not here.");
}

/** The members' predictions, the weights of the parts, and the effect of calibration. */
function together(explained, state, redraw) {
  const { parts = [], members, classes, probabilities: calibrated, temperature, uncalibrated } = explained;
  const classed = calibrated.length > 0, labels = classes.map(String), followed = labels.indexOf(state.label), output = classed ? Math.max(0, followed < 0 ? classes.indexOf(explained.prediction) : followed) : 0;
  const show = classed ? percent : num;
  const of = () => (classed ? [" of ", data(classes[output], 40)] : "");
  const steps = [];
  if (members?.values.length) {
    const values = members.values.map((member) => member[output]), [low, high] = extent(values);
    const range = classed ? [Math.max(0, Math.min(low - 0.02, high - 0.1)), Math.min(1, Math.max(high + 0.02, low + 0.1))] : extent(values, 0.1);
    steps.push(el("li", {}, el("h3", {}, `The network's ${plural(values.length, "member")}`),
      el("p", {}, classed ? "Their probability" : "Their number", of(), ": ", el("b", {}, show(members.mean[output])), ` on average, standard deviation ${num(members.spread[output], 3)}.`),
      dots(values, members.mean[output], range, `${values.length} members from ${show(low)} to ${show(high)}, mean ${show(members.mean[output])}`)));
  }
  if (parts.length) {
    const most = Math.max(...parts.map((part) => Math.abs(part.share[output])), 1e-12), sum = parts.reduce((all, part) => all + part.share[output], 0);
    const total = parts.reduce((all, part) => all + part.weight, 0);
    steps.push(el("li", {}, el("h3", {}, parts.length > 1 ? "Prediction of each part" : "Weight of the network"),
      parts.length > 1 && shares(parts.map((part) => ({ name: part.name, share: part.weight / (total || 1) }))),
      el("p", { class: "note" }, classed ? ["A part's share of the logit", of(), " is its weight × the logarithm of its probability. The shares add up to the logit."] : "A part's share is its weight × its value. The shares add up to the prediction."),
      table(classed ? `Shares of the logit of ${cut(classes[output], 40)}` : "Shares of the prediction", ["Part", classed ? "Probability" : "Value", "Weight", "Share", ""],
        [...parts.map((part) => [data(spelled(part.name), 40), show(part.values[output]), num(part.weight, 3), num(part.share[output]), bar(part.share[output] / most, { signed: true })]),
          [el("b", {}, "sum"), "", "", num(sum), ""]])));
  }
  if (classed && uncalibrated && temperature) {
    steps.push(el("li", {}, el("h3", {}, "Calibration"),
      el("p", { class: "note" }, `The logits are divided by the temperature ${num(temperature, 3)}, which makes the probabilities ${temperature > 1 ? "less" : "more"} extreme.`),
      table(`Probability of ${cut(classes[output], 40)}`, ["", "Probability", ""], [["before", percent(uncalibrated[output]), bar(uncalibrated[output])], ["after", percent(calibrated[output]), bar(calibrated[output])]])));
  }
  if (steps.length && classes.length > 2) {
    const pick = el("select", { id: "of-class", onchange: () => { state.label = pick.value ? labels[Number(pick.value)] : null; state.remember(); redraw(); document.getElementById("of-class")?.focus(); } },
      el("option", { value: "" }, "the predicted class"), classes.map((name, i) => el("option", { value: String(i) }, cut(name, 40))));
    pick.value = followed < 0 ? "" : String(followed);
    steps[0].prepend(el("div", { class: "picker" }, el("label", { for: "of-class" }, "Show the class"), pick));
  }
  return steps;
}

function probabilities(explained, set) {
  const order = explained.probabilities.map((p, i) => [p, i]).sort((a, b) => b[0] - a[0]);
  return [
    table("Logits and probabilities", ["Class", "Logit", "Probability", "", ...(set ? ["In the prediction set"] : [])], order.slice(0, 10).map(([p, i]) =>
      [data(explained.classes[i], 40), num(explained.logits[i]), percent(p), bar(p), ...(set ? [set.includes(explained.classes[i]) ? "✓" : "·"] : [])])),
    order.length > 10 && el("p", { class: "note" }, `and ${plural(order.length - 10, "more class", "more classes")}`),
  ];
}

function pushes(explained) {
  const shapley = explained.pushes;
  if (!shapley) return explained.pushes_note ? el("p", { class: "note" }, data(explained.pushes_note, 300)) : el("span", {});
  const show = (v) => (shapley.unit === "probability" ? `${v < 0 ? "−" : "+"}${num(Math.abs(100 * v), 3)}` : `${v < 0 ? "" : "+"}${num(v)}`);
  const most = Math.max(...shapley.columns.map(([, push]) => Math.abs(push)), 1e-12);
  return el("section", { class: "pushes" }, el("h3", {}, "Contribution of each column"),
    el("p", {}, shapley.unit === "probability" ? "Probability of " : "Predicted ", data(shapley.of, 40), ": from ", el("b", {}, shapley.unit === "probability" ? percent(shapley.base) : num(shapley.base)), ` (${shapley.base_said}) to `, el("b", {}, shapley.unit === "probability" ? percent(shapley.value) : num(shapley.value)), " (this row). The Shapley values of the columns add up to the difference."),
    table(`Shapley values, ${shapley.unit === "probability" ? "in percentage points" : "in the target's unit"}`, ["Column", "Value", "Contribution", ""], shapley.columns.slice(0, 15).map(([column, push]) =>
      [data(column, 40), Object.hasOwn(explained.raw, column) ? cell(explained.raw[column], 30) : "", show(push), bar(push / most, { signed: true })])),
    shapley.columns.length > 15 && drawer({ open: {} }, "more", plural(shapley.columns.length - 15, "more column"), () => table("The other columns", ["Column", "Contribution"], shapley.columns.slice(15).map(([column, push]) => [data(column, 40), show(push)]))));
}

/** A form with a field for each column; during training the answer comes at the next step. */
function form(page, rows) {
  const columns = (page.run.last("load/table")?.columns ?? []).filter((column) => column.role === "feature");
  if (!columns.length) return null;
  const from = rows.find((row) => String(row.row) === page.state.row) ?? rows[0];
  const fields = columns.slice(0, 60).map((column, i) => {
    const names = column.histogram?.kind === "names" ? column.histogram.names : [];
    const value = page.state.typed.get(column.name) ?? own(from?.explanation?.raw, column.name) ?? "";
    return el("label", {}, data(column.name, 40), el("input", { name: String(i), value, list: names.length ? `names-${i}` : null, inputmode: column.kind === "numeric" ? "decimal" : null, placeholder: cut(column.values, 40),
      oninput: (event) => { page.state.typed.set(column.name, event.target.value); } }),
    names.length ? el("datalist", { id: `names-${i}` }, names.map((name) => el("option", { value: name }))) : null);
  });
  return el("form", { class: "typed", onsubmit: (event) => {
    event.preventDefault();
    const row = Object.fromEntries(columns.map((column, i) => { // columns may be named __proto__
      const given = event.target.elements.namedItem(String(i))?.value;
      return [column.name, given === undefined || given === "" ? null : given];
    }));
    const id = crypto.randomUUID?.() ?? String(Math.random());
    page.state.row = `asked-${id}`;
    page.remember();
    page.live.send({ explain: { id, row } }, "the row");
  } }, el("h3", {}, "Enter a row"), el("p", { class: "note" }, "An empty field is a missing value. During training the answer comes at the next step, with the current weights."),
  el("div", { class: "fields" }, fields), columns.length > 60 && el("p", { class: "note" }, `These are the first 60 of ${columns.length} columns; the others count as missing values.`),
  el("button", { type: "submit", class: "primary" }, "Predict this row"));
}
