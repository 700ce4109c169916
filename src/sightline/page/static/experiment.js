// Experiment: the live controls. Each sends an edit; the edit's record confirms it.

import { data, el, num } from "./dom.js";

export const controls = {
  id: "controls", title: "Experiment", uses: ["build/network", "train/layers", "train/edit", "train/end", "train/paused", "train/continued", "lesson/begin"],
  /** What the controls depend on. They are redrawn only if it changes, so that no button moves under a click. */
  key({ run, live }) {
    return JSON.stringify([live?.state, !run.last("train/end"), Boolean(run.lesson("begin", "train")), layerNames(run), run.all("train/edit").length]);
  },
  render(page) {
    const { run, live } = page;
    if (!live) return null;
    const { training, paused, waiting } = live.state;
    const done = run.last("train/end"), running = training && !done && run.lesson("begin", "train");
    if (!running) {
      return el("section", { class: "controls" }, el("h2", {}, "Experiment"),
        el("p", { class: "note" }, waiting || (training && !done) ? "The controls appear when training starts." : "Training has ended. To change a training while it runs, start one with --live."));
    }
    const send = (body, what) => live.send(body, what);
    const edit = (edits, what) => send({ edits: [edits] }, what);
    const names = layerNames(run);
    const hidden = names.filter((name) => name.startsWith("hidden"));
    const rate = run.all("train/epoch").at(-1)?.metrics.learning_rate;
    const lr = field("learning-rate", { type: "text", inputmode: "decimal", value: page.state.typed.get("#lr") ?? rate ?? "" }, page, "#lr");
    const units = field("units", { type: "number", min: 1, step: 1, value: page.state.typed.get("#units") ?? 128 }, page, "#units");
    const layer = choice("widen-layer", hidden.length ? hidden : names, page);
    const after = choice("deepen-after", hidden.length ? hidden : names, page);
    const freeze = choice("freeze-layer", names, page);
    return el("section", { class: "controls" }, el("h2", {}, "Experiment"),
      el("p", {}, "Change the training while it runs. Each change is applied between two steps and recorded, so that the run can be replayed."),
      el("div", { class: "buttons" },
        paused
          ? el("button", { type: "button", id: "continue", class: "primary", onclick: () => send({ continue: true }, "continue") }, "Continue")
          : el("button", { type: "button", id: "pause", class: "primary", onclick: () => send({ pause: true }, "pause") }, "Pause"),
        el("button", { type: "button", id: "one-epoch", onclick: () => send({ one_epoch: true }, "one epoch") }, "Train one epoch"),
        el("button", { type: "button", id: "stop", class: "danger", onclick: () => edit({ edit: "Stop", why: "stopped from the page" }, "stop and keep the best weights") }, "Stop and keep the best weights")),
      el("div", { class: "knobs" },
        knob("Learning rate", "Set", lr, () => edit({ edit: "SetLearningRate", value: numberOrText(lr.value) }, `learning rate ${lr.value}`)),
        names.length ? [
          knob("Widen", "Widen", [layer, units], () => edit({ edit: "Widen", name: layer.value, width: Number(units.value) }, `widen ${layer.value} to ${units.value} units`)),
          knob("Deepen after", "Deepen", after, () => edit({ edit: "Deepen", after: after.value }, `a new layer after ${after.value}`)),
          knob("Freeze", "Freeze", [freeze, el("button", { type: "button", onclick: () => edit({ edit: "Unfreeze", name: freeze.value }, `unfreeze ${freeze.value}`) }, "Unfreeze")], () => edit({ edit: "Freeze", name: freeze.value }, `freeze ${freeze.value}`)),
        ] : el("p", { class: "note" }, "Widen, deepen and freeze need the names of the layers. They are recorded at the first step of an epoch, unless the run was started with doctor off.")));
  },
};

/** What was typed as a number; what is none stays as it was typed, so that the refusal quotes it. */
function numberOrText(typed) {
  const value = Number(typed);
  return typed.trim() !== "" && Number.isFinite(value) ? value : typed;
}

function layerNames(run) {
  return (run.last("train/layers")?.layers ?? []).map((layer) => layer.name);
}

function knob(title, verb, inputs, act) {
  return el("form", { class: "knob", onsubmit: (event) => { event.preventDefault(); act(); } }, el("fieldset", {}, el("legend", {}, title), inputs, el("button", { type: "submit" }, verb)));
}

function field(id, attributes, page, key) {
  return el("input", { id, "aria-label": id.replace("-", " "), ...attributes, oninput: (event) => { page.state.typed.set(key, event.target.value); } });
}

function choice(id, names, page) {
  const node = el("select", { id, "aria-label": id.replace("-", " "), onchange: () => { page.state.typed.set(`#${id}`, node.value); } }, names.map((name) => el("option", { value: name }, data(name, 40))));
  if (names.includes(page.state.typed.get(`#${id}`))) node.value = page.state.typed.get(`#${id}`);
  return node;
}

/** The settings of this run. */
export const settings = {
  id: "settings", title: "Settings", uses: ["run/start"],
  render({ run }) {
    const start = run.last("run/start");
    return start && el("section", {}, el("h2", {}, "Settings of this run"), el("dl", { class: "values" },
      Object.entries({ seed: start.seed, ...start.settings }).filter(([, v]) => v !== null && typeof v !== "object").map(([name, v]) =>
        el("div", {}, el("dt", {}, name), el("dd", {}, data(typeof v === "number" ? num(v) : v, 60))))));
  },
};
