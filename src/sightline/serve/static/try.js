// Try a row by hand: every column is a control, and the prediction follows. Nothing is stored.

import { bar } from "./charts.js";
import { cell, cut, data, el, num, percent, plural } from "./dom.js";
import { follow } from "./prediction.js";

const MOST_LISTED = 60; // categories in a menu; of more, a field with suggestions
const PAUSE = 60; // milliseconds after a change
const main = document.getElementById("page");
const state = { key: null, models: [], model: null, row: {}, start: {}, first: null, asked: 0, shown: 0, timer: null, open: {}, followed: null };

async function ask(path, body) {
  const headers = { ...(body && { "Content-Type": "application/json" }), ...(state.key && { Authorization: `Bearer ${state.key}` }) };
  const answer = await fetch(path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
  const found = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(found.error), { status: answer.status });
  return found;
}

async function load() {
  try {
    state.models = (await ask("models")).models;
  } catch (error) {
    return error.status === 401 ? askKey(state.key ? error.message : null) : problem(error);
  }
  if (!state.models.length) return problem(new Error("The server is not ready yet. Load the page again in a moment."));
  choose(state.models[0]);
}

function problem(error) {
  main.replaceChildren(el("p", { class: "error", role: "alert" }, data(error.message, 600)));
}

function askKey(said) {
  const field = el("input", { type: "password", id: "key", autocomplete: "off", required: true });
  main.replaceChildren(el("h1", {}, "API key"), said && el("p", { class: "error", role: "alert" }, said),
    el("form", { onsubmit: (event) => { event.preventDefault(); state.key = field.value; load(); } },
      el("p", {}, el("label", { for: "key" }, "This server asks for a key. The page keeps it until it is closed. ")), field, " ",
      el("button", { type: "submit", class: "primary" }, "Go on")));
  field.focus();
}

function choose(model) {
  Object.assign(state, { model, start: { ...model.start }, row: { ...model.start }, first: null, followed: null });
  draw();
  changed(0);
}

function draw() {
  const { model } = state;
  const pick = state.models.length > 1 && el("select", { id: "model", onchange: () => choose(state.models[Number(pick.value)]) },
    state.models.map((one, i) => el("option", { value: String(i) }, one.name)));
  if (pick) pick.value = String(state.models.indexOf(model));
  main.replaceChildren(
    el("h1", {}, "What if?"),
    el("p", { class: "lead" }, "The model ", el("b", {}, data(model.name, 60)), model.version && [", version ", data(model.version, 30), ","], " predicts ", el("b", {}, data(model.target, 60)), ". Change any columns: the prediction follows. An empty field is a missing value."),
    pick && el("p", { class: "picker" }, el("label", { for: "model" }, "Model "), pick),
    el("div", { class: "try" },
      el("section", {}, el("h2", {}, "The row"), el("div", { class: "controls", id: "controls" }, model.columns.map(control))),
      el("div", { class: "answer" }, el("h2", {}, "The prediction"), el("div", { id: "answer", "aria-live": "polite" }),
        el("div", { class: "buttons" },
          el("button", { type: "button", onclick: () => { state.start = { ...state.row }; state.first = null; draw(); changed(0); } }, "Compare with this row"),
          el("button", { type: "button", onclick: () => { state.row = { ...state.start }; draw(); changed(0); } }, "Undo all changes"),
          el("button", { type: "button", onclick: explain }, "How is it made?")))),
    el("div", { id: "how" }),
    el("p", { class: "about" }, "The same over HTTP: ", el("a", { href: "docs" }, "the interface"), "."));
}

/** A control for a column: a slider and a field, a menu, or a field. */
function control(column, i) {
  const id = `column-${i}`, value = state.row[column.name];
  const box = el("div", { class: "control" });
  const set = (given) => {
    state.row[column.name] = given;
    box.classList.toggle("changed", given !== state.start[column.name]);
    changed(PAUSE);
  };
  box.classList.toggle("changed", value !== state.start[column.name]);
  const label = el("label", { for: id }, data(column.name, 40));
  if (column.kind === "numeric") {
    const [low, high] = column.range, step = column.whole ? 1 : Number(((high - low) / 200 || 1).toPrecision(1));
    const field = el("input", { id, type: "number", step: "any", value: value ?? "", oninput: () => { slider.value = field.value; set(field.value === "" ? null : Number(field.value)); } });
    const slider = el("input", { type: "range", min: low, max: high, step, value: value ?? (low + high) / 2, "aria-label": `${cut(column.name, 40)}, slider`,
      oninput: () => { field.value = slider.value; set(Number(slider.value)); } });
    box.append(label, field, slider, el("p", { class: "note" }, "in training ", num(low), " to ", num(high)));
  } else if (column.kind === "boolean" || (column.categories && column.categories.length <= MOST_LISTED)) {
    const values = column.kind === "boolean" ? [true, false] : column.categories;
    const menu = el("select", { id, onchange: () => set(menu.value === "" ? null : values[Number(menu.value)]) },
      el("option", { value: "" }, "(missing)"), values.map((one, k) => el("option", { value: String(k) }, cut(one, 40))));
    menu.value = value === null || value === undefined ? "" : String(values.indexOf(value));
    box.append(label, menu, el("p", { class: "note" }, plural(values.length, "value")));
  } else {
    const field = el("input", { id, type: "text", value: value ?? "", list: column.categories ? `${id}-list` : null, oninput: () => set(field.value === "" ? null : field.value) });
    box.append(label, field, column.categories ? el("datalist", { id: `${id}-list` }, column.categories.slice(0, 500).map((one) => el("option", { value: one }))) : "",
      el("p", { class: "note" }, column.categories ? plural(column.categories.length, "known value") : data(column.said, 60)));
  }
  return box;
}

function changed(pause) {
  clearTimeout(state.timer);
  state.timer = setTimeout(predict, pause);
}

async function predict() {
  const number = ++state.asked, box = document.getElementById("answer");
  document.getElementById("how").replaceChildren();
  try {
    const found = await ask(`predict/${encodeURIComponent(state.model.name)}`, { rows: [state.row, state.start], ...(state.model.sets && { alpha: 0.1 }) });
    if (number < state.shown) return; // a later answer is there already
    state.shown = number;
    const one = await unusual();
    box.replaceChildren(...answer(found.predictions[0], found.predictions[1], one));
  } catch (error) {
    box.replaceChildren(el("p", { class: "error", role: "alert" }, data(error.message, 600)));
  }
}

/** What is unusual in the row itself: the answer counts both rows. */
async function unusual() {
  const found = await ask(`predict/${encodeURIComponent(state.model.name)}`, { rows: [state.row] });
  return [["is missing", found.missing], ["was never seen in training", found.unseen], ["lies outside its training range", found.out_of_range]]
    .flatMap(([said, columns]) => Object.keys(columns).map((name) => [name, said]));
}

function answer(now, start, notes) {
  const changes = state.model.columns.filter((column) => state.row[column.name] !== state.start[column.name]);
  const same = !changes.length;
  return [
    now.probabilities ? shares(now, start, same) : el("p", { class: "verdict" }, el("b", {}, num(now.value)), !same && ` (before ${num(start.value)})`),
    now.set && el("p", { class: "held" }, now.set.length ? ["Prediction set: ", now.set.slice(0, 12).map((name, i) => [i ? ", " : "", el("b", {}, data(name, 40))]), ". It contains the true class in 90 % of rows like these."] : "The prediction set is empty: no class is as probable as the true class was in 90 % of the held-out rows."),
    now.interval && el("p", { class: "held" }, "Prediction interval: ", el("b", {}, num(now.interval[0])), " to ", el("b", {}, num(now.interval[1])), ". It contains the true value in 90 % of rows like these."),
    changes.length ? el("p", { class: "note" }, "Changed: ", changes.slice(0, 12).map((column, i) => [i ? "; " : "", data(column.name, 40), " ", cell(state.start[column.name]), " → ", cell(state.row[column.name])]), changes.length > 12 && ` and ${plural(changes.length - 12, "more column")}`) : null,
    notes.length ? el("ul", { class: "notes" }, notes.slice(0, 12).map(([name, said]) => el("li", {}, data(name, 40), ` ${said}`)), notes.length > 12 && el("li", {}, `and ${plural(notes.length - 12, "more column")}`)) : null,
  ].filter(Boolean);
}

function shares(now, start, same) {
  const order = Object.entries(now.probabilities).sort(([, a], [, b]) => b - a);
  return el("div", {}, el("p", { class: "verdict" }, el("b", {}, data(now.label, 60))),
    el("div", { class: "bars" }, order.slice(0, 10).map(([name, share]) => [
      el("span", { class: name === String(now.label) ? "best" : null }, data(name, 40)), bar(share),
      el("span", {}, percent(share), !same && ` (before ${percent(start.probabilities[name])})`)])),
    order.length > 10 && el("p", { class: "note" }, `and ${plural(order.length - 10, "more class", "more classes")}`));
}

async function explain() {
  const how = document.getElementById("how");
  how.replaceChildren(el("p", { class: "note" }, "Computing ..."));
  try {
    const found = await ask(`explain/${encodeURIComponent(state.model.name)}`, { row: state.row });
    const explanation = { encoded: {}, notes: [], layers: [], logits: [], pushes_note: null, ...found };
    const show = () => how.replaceChildren(el("section", { class: "prediction" }, el("h2", {}, "How the prediction is made"),
      el("div", { class: "path" }, follow({ explanation }, { run: { last: () => null }, state }, show))));
    show();
    how.scrollIntoView({ behavior: "smooth" });
  } catch (error) {
    how.replaceChildren(el("p", { class: "error", role: "alert" }, data(error.message, 600)));
  }
}

load();
