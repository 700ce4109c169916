// Prediction: one row's way through the network, from raw values to the named class.

import { bar, heatStrip } from "./charts.js";
import { cell, cut, data, drawer, el, num, percent, plural, table } from "./dom.js";

export const prediction = {
  id: "prediction", title: "Prediction", uses: ["predict/rows", "predict/example", "predict/asked", "build/network"],
  render(page, depth) {
    const { run, state } = page;
    const rows = found(run), asked = run.all("predict/asked");
    const typing = page.live && depth !== "brief" ? form(page, rows) : null;
    if (!rows.length && !asked.length) {
      return typing && el("section", { class: "prediction" }, el("h2", {}, "Prediction"), typing);
    }
    const path = el("div", { class: "path", "aria-live": "polite" });
    const choices = [
      ...asked.map((one, i) => ({ key: `asked-${one.id}`, text: `typed row ${i + 1} (${one.step === null ? "the finished model" : `after step ${num(one.step)}`})`, ...one, part: "a typed row" })),
      ...rows.map((one) => ({ key: String(one.row), text: `row ${one.row}: ${name(one)}`, ...one })),
    ];
    const show = () => {
      const one = choices.find((choice) => choice.key === state.row) ?? choices.find((choice) => !choice.key.startsWith("asked")) ?? choices[0];
      pick.value = one.key;
      path.replaceChildren(...follow(one, state));
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
    const pick = el("select", { id: "row", onchange: () => choose(pick.value) }, choices.map((one) => el("option", { value: one.key }, one.text)));
    show();
    const sentence = run.last("predict/rows")?.sentence;
    return el("section", { class: "prediction" }, el("h2", {}, "Prediction: follow one row"),
      sentence && el("p", { class: "note" }, sentence),
      el("div", { class: "picker" }, el("label", { for: "row" }, "Row"), pick,
        el("button", { type: "button", onclick: () => step(-1), "aria-label": "the row before" }, "‹"),
        el("button", { type: "button", onclick: () => step(1), "aria-label": "the next row" }, "›")),
      path, typing);
  },
};

function found(run) {
  const sample = run.last("predict/rows"), example = run.last("predict/example");
  if (sample) return sample.rows.map((row) => ({ ...row, part: `a ${sample.part} row` }));
  return example ? [example] : [];
}

function name(one) {
  const right = one.right === true ? ", right" : one.right === false ? ", wrong" : "";
  const told = one.explanation?.prediction;
  return `${typeof told === "number" ? num(told) : String(told ?? "no prediction").slice(0, 40)}${right}`;
}

function follow(one, state) {
  const explained = one.explanation;
  if (!explained) return [el("p", { class: "error" }, "No prediction: ", data(one.error, 600))];
  const raw = Object.entries(explained.raw), encoded = Object.entries(explained.encoded ?? {});
  const first = el("section", {}, el("h3", {}, "Raw values"), el("dl", { class: "values" }, raw.slice(0, 40).map(([column, value]) => el("div", {}, el("dt", {}, data(column, 30)), el("dd", {}, cell(value))))),
    raw.length > 40 && el("p", { class: "note" }, `and ${plural(raw.length - 40, "more column")}`));
  if (explained.error) return [first, el("p", { class: "error" }, "No prediction: ", data(explained.error, 600))];
  return [
    el("p", { class: "verdict" }, "The network says ", el("b", {}, verdict(explained.prediction)),
      one.truth !== undefined && [`; the truth is `, el("b", {}, verdict(one.truth)), one.right === true ? " ✓" : one.right === false ? " ✗" : ""], one.part ? ` (${one.part})` : ""),
    ...explained.notes.length ? [el("ul", { class: "notes" }, explained.notes.map((note) => el("li", {}, data(note, 300))))] : [],
    el("ol", { class: "way" },
      el("li", {}, first),
      el("li", {}, el("h3", {}, "Encoded tensor"), el("p", { class: "shape" }, `1 × ${encoded.length}`),
        drawer(state, "encoded", `The ${encoded.length} inputs`, () => el("dl", { class: "values" }, encoded.slice(0, 200).map(([input, value]) => el("div", {}, el("dt", {}, data(input, 40)), el("dd", {}, num(value)))))),
      ),
      explained.layers.map((layer) => el("li", {}, el("h3", {}, data(layer.name, 60)), el("p", { class: "shape" }, layer.shape.join(" × "), ` · ${num(layer.active)} of ${num(layer.size)} not zero`),
        layer.values ? heatStrip(layer.values, layer.places, layer.scale, layer.name) : el("p", { class: "note" }, layer.largest.map(([place, v]) => `[${place}] ${num(v)}`).join(", ")),
        layer.values && layer.values.length < layer.size && el("p", { class: "note" }, `${layer.values.length} of ${num(layer.size)} units are shown.`))),
      explained.probabilities.length ? el("li", {}, el("h3", {}, "Logits, softmax, probabilities"), probabilities(explained)) : null),
    pushes(explained),
  ];
}

function own(values, name) {
  return values && Object.hasOwn(values, name) ? values[name] : null;
}

function verdict(value) {
  return data(typeof value === "number" ? num(value) : value, 60);
}

function probabilities(explained) {
  const order = explained.probabilities.map((p, i) => [p, i]).sort((a, b) => b[0] - a[0]);
  return [
    table("Logits become probabilities", ["Class", "Logit", "Probability", ""], order.slice(0, 10).map(([p, i]) => [data(explained.classes[i], 40), num(explained.logits[i]), percent(p), bar(p)])),
    order.length > 10 && el("p", { class: "note" }, `and ${plural(order.length - 10, "more class", "more classes")}`),
  ];
}

function pushes(explained) {
  const found = explained.pushes;
  if (!found) return explained.pushes_note ? el("p", { class: "note" }, data(explained.pushes_note, 300)) : el("span", {});
  const show = (v) => (found.unit === "probability" ? `${v < 0 ? "−" : "+"}${num(Math.abs(100 * v), 3)}` : `${v < 0 ? "" : "+"}${num(v)}`);
  const most = Math.max(...found.columns.map(([, push]) => Math.abs(push)), 1e-12);
  return el("section", { class: "pushes" }, el("h3", {}, "What pushed it there"),
    el("p", {}, "From ", el("b", {}, found.unit === "probability" ? percent(found.base) : num(found.base)), ` for ${found.base_said}, to `, el("b", {}, found.unit === "probability" ? percent(found.value) : num(found.value)), " for ", data(found.of, 40), ":"),
    table(`What each column added, ${found.unit === "probability" ? "in percentage points" : "in the target's unit"}`, ["Column", "Its value", "Push", ""], found.columns.slice(0, 15).map(([column, push]) =>
      [data(column, 40), Object.hasOwn(explained.raw, column) ? cell(explained.raw[column], 30) : "", show(push), bar(push / most, { signed: true })])),
    found.columns.length > 15 && drawer({ open: {} }, "more", plural(found.columns.length - 15, "more column"), () => table("The other columns", ["Column", "Push"], found.columns.slice(15).map(([column, push]) => [data(column, 40), show(push)]))));
}

/** A form with a field for each column; the run answers at its next step. */
function form(page, rows) {
  const columns = (page.run.last("load/table")?.columns ?? []).filter((column) => column.role === "feature");
  if (!columns.length) return null;
  const from = rows.find((row) => String(row.row) === page.state.row) ?? rows[0];
  const fields = columns.slice(0, 60).map((column, i) => {
    const names = column.histogram?.kind === "names" ? column.histogram.names : [];
    const value = page.state.typed.get(column.name) ?? own(from?.explanation?.raw, column.name) ?? "";
    return el("label", {}, data(column.name, 40), el("input", { name: String(i), value, list: names.length ? `names-${i}` : null, inputmode: column.kind === "numeric" ? "decimal" : null, placeholder: cut(column.values, 40),
      oninput: (event) => { page.state.typed.set(column.name, event.target.value); } }),
    names.length ? el("datalist", { id: `names-${i}` }, names.map((one) => el("option", { value: one }))) : null);
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
  } }, el("h3", {}, "Type a row"), el("p", { class: "note" }, "An empty field is a missing value. The run answers at its next step, with the weights of that moment."),
  el("div", { class: "fields" }, fields), columns.length > 60 && el("p", { class: "note" }, `The first 60 of ${columns.length} columns; the others are taken as missing.`),
  el("button", { type: "submit", class: "primary" }, "Follow this row"));
}
