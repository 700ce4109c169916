// The flow of data: the opening, the five stages as a strip, and each stage as a page of a textbook.

import { histogram } from "./charts.js";
import { data, drawer, el, num, percent, plural, table } from "./dom.js";

export const STAGES = ["load", "prepare", "build", "train", "predict"];
const TITLES = {
  load: "Rows become batches", prepare: "Columns become tensors", build: "Features in, logits out",
  train: "Weights move, loss falls", predict: "A row becomes an answer",
};
const LESSON = ["lesson/begin", "lesson/stage"];

export const opening = {
  id: "opening", uses: ["lesson/opening", "run/end"],
  render({ run }) {
    const said = run.last("lesson/opening");
    if (!said) return null;
    const end = run.last("run/end");
    return el("section", { class: "opening" },
      el("h1", {}, data(said.title, 200)),
      el("p", { class: "lead" }, data(said.paragraph, 2000)),
      el("p", { class: "note" }, `${plural(said.minutes, "minute")} to read`, end && ` · the run took ${num(end.seconds, 3)} s`));
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
            : el("p", { class: "in" }, busy ? `epoch ${epoch.number} of ${plan.epochs}` : begun ? "at work" : "to come"));
      })));
  },
};

function time(stage) {
  const found = (stage.facts ?? []).find(([label]) => label === "time");
  return found && el("p", { class: "time" }, found[1]);
}

/** A stage in words and facts, with its drawers. */
function stage(name, uses, drawers) {
  return {
    id: name, uses: [...LESSON, ...uses],
    render(page, depth) {
      const { run } = page;
      const begun = run.lesson("begin", name), said = run.lesson("stage", name);
      if (!begun && !said) return null;
      const number = STAGES.indexOf(name) + 1;
      return el("section", { class: `stage-page ${name}`, id: `stage-${name}` },
        el("h2", {}, el("span", { class: "number" }, String(number)), ` ${(begun ?? said).title}`),
        said && [
          el("p", { class: "arrow" }, el("span", {}, data(said.came_in, 300)), el("span", { class: "to", "aria-label": "becomes" }, "→"), el("span", {}, data(said.came_out, 300))),
          depth !== "brief" && el("p", {}, data(said.done, 3000)),
          el("p", { class: "caption" }, data(said.caption, 3000)),
          depth !== "brief" && facts(said),
        ],
        depth !== "brief" && drawers(page, depth === "open"));
    },
  };
}

function facts(said) {
  return said.facts?.length
    ? el("dl", { class: "facts" }, said.facts.map(([label, value]) => el("div", {}, el("dt", {}, label), el("dd", {}, data(value, 120)))))
    : null;
}

export const load = stage("load", ["load/table", "load/split"], ({ run, state }, open) => {
  const found = run.last("load/table");
  return found && drawer(state, "columns", `The ${plural(found.columns.length, "column")}: kinds, values, what is missing`, () => [
    el("ul", { class: "notes" }, found.notes.map((note) => el("li", {}, data(note, 600)))),
    el("div", { class: "columns" }, found.columns.slice(0, 400).map((column) =>
      el("article", { class: `column ${column.role}` },
        el("h3", {}, data(column.name, 40)),
        el("p", { class: "tags" }, el("span", { class: `tag ${column.kind}` }, column.kind), el("span", { class: "tag" }, column.role),
          column.missing ? el("span", { class: "tag missing" }, `${column.share_missing === undefined ? num(column.missing) : percent(column.share_missing)} missing`) : null),
        histogram(column.histogram, column.name),
        el("p", { class: "note" }, data(column.reason, 200))))),
  ], open);
});

export const prepare = stage("prepare", ["prepare/columns"], ({ run, state }, open) => {
  const found = run.last("prepare/columns");
  return found && drawer(state, "ways", "The way of each column through preparation", () =>
    table("From a column to the network's features", ["Column", "Kind", "Way", "Features"],
      found.ways.slice(0, 400).map((way) => [data(way.column, 40), way.kind, data(way.way, 300), data(way.features, 200)])), open);
});

export const build = stage("build", ["build/network"], ({ run, state }, open) => {
  const found = run.last("build/network");
  return found && [
    network(found),
    drawer(state, "layers", `The network's layers and its ${plural(found.parameters, "parameter")}`, () =>
      [
        table("Layers", ["Layer", "Output for one batch", "Parameters"],
          found.layers.map((layer) => [data(layer.name, 80), layer.shape.join(" × "), num(layer.parameters)])),
        el("pre", { class: "code", tabindex: "0" }, data(found.printed, 6000)),
      ], open),
  ];
});

export const train = stage("train", ["train/plan", "train/end"], ({ run, state }, open) => {
  const plan = run.last("train/plan");
  return plan && drawer(state, "plan", "What was decided before the first step, and why", () =>
    table("The plan", ["What", "Value", "Why"], [
      ["device", data(plan.device), data(plan.device_reason, 200)],
      ["precision", data(plan.precision), data(plan.precision_reason, 200)],
      ["threads", num(plan.threads), data(plan.threads_reason, 200)],
      ["epochs at most", num(plan.epochs), ""], ["rows of a batch", num(plan.batch_size), ""],
      ["rows through the network at once", num(plan.micro_batch), ""], ["steps an epoch", num(plan.steps_per_epoch), ""],
    ]), open);
});

export const predict = stage("predict", ["predict/example"], () => null);

/** The layers as boxes, as wide as their output has values. */
function network(found) {
  const most = Math.max(...found.layers.map((layer) => layer.shape.slice(1).reduce((a, b) => a * b, 1)));
  return el("ol", { class: "network", "aria-label": "The network's layers" }, found.layers.map((layer) => {
    const size = layer.shape.slice(1).reduce((a, b) => a * b, 1);
    const box = el("li", {}, el("b", {}, data(layer.name, 60)), el("span", {}, layer.shape.join(" × ")),
      layer.parameters ? el("small", {}, plural(layer.parameters, "parameter")) : null);
    box.style.setProperty("--size", Math.sqrt(size / most));
    return box;
  }));
}

export const code = {
  id: "code", title: "The lines that did it", uses: [...LESSON, "build/network"],
  render({ run }) {
    return el("section", {}, el("h2", {}, "The lines that did it"),
      el("p", {}, "fit() is these lines, stage by stage, with this run's own settings."),
      STAGES.map((name, i) => {
        const begun = run.lesson("begin", name), said = run.lesson("stage", name);
        return begun?.code?.length
          ? el("article", { id: `code-${name}` }, el("h3", {}, `${i + 1}. ${begun.title}`),
            begun.code.map((block) => [el("p", { class: "note" }, data(block.title, 200)), el("pre", { class: "code", tabindex: "0" }, data(block.code, 20000))]),
            said && el("p", { class: "caption" }, data(said.caption, 1000)))
          : null;
      }));
  },
};

export const shapes = {
  id: "shapes", title: "The shapes that flowed", uses: LESSON,
  render({ run }) {
    return el("section", {}, el("h2", {}, "The shapes that flowed"),
      STAGES.map((name, i) => {
        const said = run.lesson("stage", name);
        return said?.shapes?.length
          ? el("article", {}, el("h3", {}, `${i + 1}. ${said.title}`), el("p", { class: "arrow" }, data(said.came_in, 300), el("span", { class: "to", "aria-label": "becomes" }, "→"), data(said.came_out, 300)),
            el("dl", { class: "shapes" }, said.shapes.map(([what, shape]) => [el("dt", {}, data(what, 120)), el("dd", {}, data(shape, 120))])))
          : null;
      }));
  },
};

export const maths = {
  id: "maths", title: "The arithmetic", uses: LESSON,
  render({ run }) {
    return el("section", {}, el("h2", {}, "The arithmetic, with this run's numbers"),
      STAGES.map((name, i) => {
        const said = run.lesson("stage", name);
        return said?.maths?.length
          ? el("article", {}, el("h3", {}, `${i + 1}. ${said.title}`), said.maths.map((one) =>
            el("div", { class: "formula" }, el("h4", {}, data(one.title, 200)), el("p", { class: "math" }, data(one.formula, 600)),
              el("p", { class: "math with" }, data(one.numbers, 2000)), el("p", { class: "note" }, data(one.said, 1000)))))
          : null;
      }));
  },
};
