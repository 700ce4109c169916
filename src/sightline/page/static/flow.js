// The flow of data: the opening, the five stages side by side, and a section for each stage.

import { histogram } from "./charts.js";
import { data, drawer, el, num, percent, plural, table } from "./dom.js";

export const STAGES = ["load", "prepare", "build", "train", "predict"];
const TITLES = {
  load: "Rows become batches", prepare: "Columns become tensors", build: "Features in, logits out",
  train: "Weights move, loss falls", predict: "A row becomes an answer",
};
const LESSON = ["lesson/begin", "lesson/stage"];

export const opening = {
  id: "opening", uses: ["lesson/opening", "lesson/result", "run/end"],
  render({ run }) {
    const body = run.last("lesson/opening");
    if (!body) return null;
    const end = run.last("run/end");
    return el("section", { class: "opening" },
      el(run.last("lesson/result") ? "h2" : "h1", {}, data(body.title, 200)),
      el("p", { class: "lead" }, data(body.paragraph, 2000)),
      el("p", { class: "note" }, `${plural(body.minutes, "minute")} to read`, end && ` · the run took ${num(end.seconds, 3)} s`));
  },
};

export const strip = {
  id: "strip", uses: [...LESSON, "train/epoch", "train/plan"],
  render(page) {
    const { run } = page;
    return el("section", { class: "flow", "aria-label": "The five stages" },
      el("ol", { class: "strip" }, STAGES.map((name, i) => {
        const done = run.lesson("stage", name), begun = run.lesson("begin", name);
        const epoch = run.last("train/epoch"), plan = run.last("train/plan");
        const busy = name === "train" && begun && !done && epoch && plan;
        return el("li", { class: done ? "done" : begun ? "busy" : "to-come" },
          el("button", { type: "button", class: "stage", onclick: () => page.jump(name) },
            el("span", { class: "number" }, String(i + 1)), el("b", {}, name), el("small", {}, TITLES[name])),
          done
            ? [el("p", { class: "in" }, data(done.came_in, 160)), el("p", { class: "out" }, data(done.came_out, 200)), time(done)]
            : el("p", { class: "in" }, busy ? `epoch ${epoch.number} of ${plan.epochs}` : begun ? "in progress" : "not started"));
      })));
  },
};

function time(stage) {
  const fact = (stage.facts ?? []).find(([label]) => label === "time");
  return fact && el("p", { class: "time" }, fact[1]);
}

/** A stage: a description, facts, and drawers with details. */
function stage(name, uses, drawers) {
  return {
    id: name, uses: [...LESSON, ...uses],
    render(page, depth) {
      const { run } = page;
      const begun = run.lesson("begin", name), ended = run.lesson("stage", name);
      if (!begun && !ended) return null;
      const number = STAGES.indexOf(name) + 1;
      return el("section", { class: `stage-page ${name}`, id: `stage-${name}` },
        el("h2", {}, el("span", { class: "number" }, String(number)), ` ${(begun ?? ended).title}`),
        ended && [
          el("p", { class: "arrow" }, el("span", {}, data(ended.came_in, 300)), el("span", { class: "to", "aria-label": "becomes" }, "→"), el("span", {}, data(ended.came_out, 300))),
          depth !== "brief" && el("p", {}, data(ended.done, 3000)),
          el("p", { class: "caption" }, data(ended.caption, 3000)),
          depth !== "brief" && facts(ended),
        ],
        depth !== "brief" && drawers(page, depth === "open"));
    },
  };
}

function facts(ended) {
  return ended.facts?.length
    ? el("dl", { class: "facts" }, ended.facts.map(([label, value]) => el("div", {}, el("dt", {}, label), el("dd", {}, data(value, 120)))))
    : null;
}

export const load = stage("load", ["load/table", "load/split"], ({ run, state }, open) => {
  const body = run.last("load/table");
  return body && drawer(state, "columns", `The ${plural(body.columns.length, "column")}: kinds, values, missing values`, () => [
    el("ul", { class: "notes" }, body.notes.map((note) => el("li", {}, data(note, 600)))),
    el("div", { class: "columns" }, body.columns.slice(0, 400).map((column) =>
      el("article", { class: `column ${column.role}` },
        el("h3", {}, data(column.name, 40)),
        el("p", { class: "tags" }, el("span", { class: `tag ${column.kind}` }, column.kind), el("span", { class: "tag" }, column.role),
          column.missing ? el("span", { class: "tag missing" }, `${column.share_missing === undefined ? num(column.missing) : percent(column.share_missing)} missing`) : null),
        histogram(column.histogram, column.name),
        el("p", { class: "note" }, data(column.reason, 200))))),
  ], open);
});

export const prepare = stage("prepare", ["prepare/columns"], ({ run, state }, open) => {
  const body = run.last("prepare/columns");
  return body && drawer(state, "ways", "Preparation of each column", () =>
    table("From columns to the network's features", ["Column", "Kind", "Preparation", "Features"],
      body.ways.slice(0, 400).map((way) => [data(way.column, 40), way.kind, data(way.way, 300), data(way.features, 200)])), open);
});

export const build = stage("build", ["build/network"], ({ run, state }, open) => {
  const body = run.last("build/network");
  return body && [
    network(body),
    drawer(state, "layers", `The network's layers and its ${plural(body.parameters, "parameter")}`, () =>
      [
        table("Layers", ["Layer", "Output for one batch", "Parameters"],
          body.layers.map((layer) => [data(layer.name, 80), layer.shape.join(" × "), num(layer.parameters)])),
        el("pre", { class: "code", tabindex: "0" }, data(body.printed, 6000)),
      ], open),
  ];
});

export const train = stage("train", ["train/plan", "train/end"], ({ run, state }, open) => {
  const plan = run.last("train/plan");
  return plan && drawer(state, "plan", "The training plan, decided before the first step", () =>
    table("Training plan", ["Setting", "Value", "Reason"], [
      ["device", data(plan.device), data(plan.device_reason, 200)],
      ["precision", data(plan.precision), data(plan.precision_reason, 200)],
      ["threads", num(plan.threads), data(plan.threads_reason, 200)],
      ["epochs (at most)", num(plan.epochs), ""], ["batch size (rows)", num(plan.batch_size), ""],
      ["micro-batch size (rows per forward pass)", num(plan.micro_batch), ""], ["steps per epoch", num(plan.steps_per_epoch), ""],
    ]), open);
});

export const predict = stage("predict", ["predict/example"], () => null);

/** The layers as boxes; the width grows with the size of the output. */
function network(body) {
  const most = Math.max(...body.layers.map((layer) => layer.shape.slice(1).reduce((a, b) => a * b, 1)));
  return el("ol", { class: "network", "aria-label": "The network's layers" }, body.layers.map((layer) => {
    const size = layer.shape.slice(1).reduce((a, b) => a * b, 1);
    const box = el("li", {}, el("b", {}, data(layer.name, 60)), el("span", {}, layer.shape.join(" × ")),
      layer.parameters ? el("small", {}, plural(layer.parameters, "parameter")) : null);
    box.style.setProperty("--size", Math.sqrt(size / most));
    return box;
  }));
}

export const code = {
  id: "code", title: "The code of each stage", uses: [...LESSON, "build/network"],
  render({ run }) {
    return el("section", {}, el("h2", {}, "The code of each stage"),
      el("p", {}, "These lines do the same as fit() with this run's settings, stage by stage."),
      STAGES.map((name, i) => {
        const begun = run.lesson("begin", name), ended = run.lesson("stage", name);
        return begun?.code?.length
          ? el("article", { id: `code-${name}` }, el("h3", {}, `${i + 1}. ${begun.title}`),
            begun.code.map((block) => [el("p", { class: "note" }, data(block.title, 200)), el("pre", { class: "code", tabindex: "0" }, data(block.code, 20000))]),
            ended && el("p", { class: "caption" }, data(ended.caption, 1000)))
          : null;
      }));
  },
};

export const shapes = {
  id: "shapes", title: "Tensor shapes", uses: LESSON,
  render({ run }) {
    return el("section", {}, el("h2", {}, "Tensor shapes"),
      STAGES.map((name, i) => {
        const ended = run.lesson("stage", name);
        return ended?.shapes?.length
          ? el("article", {}, el("h3", {}, `${i + 1}. ${ended.title}`), el("p", { class: "arrow" }, data(ended.came_in, 300), el("span", { class: "to", "aria-label": "becomes" }, "→"), data(ended.came_out, 300)),
            el("dl", { class: "shapes" }, ended.shapes.map(([what, shape]) => [el("dt", {}, data(what, 120)), el("dd", {}, data(shape, 120))])))
          : null;
      }));
  },
};

export const maths = {
  id: "maths", title: "Formulas", uses: LESSON,
  render({ run }) {
    return el("section", {}, el("h2", {}, "The formulas, with this run's numbers"),
      STAGES.map((name, i) => {
        const ended = run.lesson("stage", name);
        return ended?.maths?.length
          ? el("article", {}, el("h3", {}, `${i + 1}. ${ended.title}`), ended.maths.map((formula) =>
            el("div", { class: "formula" }, el("h4", {}, data(formula.title, 200)), el("p", { class: "math" }, data(formula.formula, 600)),
              el("p", { class: "math with" }, data(formula.numbers, 2000)), el("p", { class: "note" }, data(formula.said, 1000)))))
          : null;
      }));
  },
};
