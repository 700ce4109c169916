// Training: loss curves, boosted trees, gradients of each layer, one step in detail, epochs, events.

import { bar, curves, legend } from "./charts.js";
import { data, el, num, percent, plural, table } from "./dom.js";

const EVENTS = ["train/edit", "train/refused", "train/rollback", "train/plateau", "train/skipped", "train/memory", "train/warning", "train/paused", "train/continued", "train/checkpoint", "train/replay"];
const SHOWN_EPOCHS = 400;
const MOST_LAYERS = 8; // as many as there are colours

/** The vertical lines of a chart over epochs. */
function marks(run) {
  const end = run.last("train/end");
  return [
    ...run.all("train/checkpoint").map((checkpoint) => ({ at: checkpoint.epochs_done ?? checkpoint.epoch, kind: "checkpoint", text: checkpoint.said })),
    ...run.all("train/edit").map((edit) => ({ at: edit.epochs_done ?? edit.epoch, kind: "edit", label: words(edit.edit.edit), text: edit.said })),
    ...(end ? [{ at: end.best_epoch, kind: "best", label: `best: epoch ${end.best_epoch}` }] : []),
  ];
}

function words(edit) {
  return edit.replace(/(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase();
}

function metricName(epochs) {
  return epochs.length && "train_accuracy" in epochs[0].metrics ? "accuracy" : "rmse";
}

/** What the rows behind valid_loss are called: with folds there are no validation rows. */
function heldOut(run) {
  return run.last("load/split")?.folds ? "out-of-fold" : "validation";
}

/** The explanation of "out-of-fold", for a run with folds. */
function folded(run) {
  const folds = run.last("load/split")?.folds;
  return folds ? el("p", { class: "note" }, `There are no validation rows. The training rows are split into ${num(folds)} folds; out-of-fold means that each row is predicted by members of the network that were not trained on it.`) : null;
}

const SOURCES = ["load/split", "train/epoch", "train/edit", "train/checkpoint", "train/end", "lesson/begin"];

export const learning = {
  id: "learning", title: "Training", uses: SOURCES, grows: true,
  render({ run }, depth) {
    const epochs = () => run.all("train/epoch");
    if (!epochs().length) return null;
    const name = metricName(epochs());
    const word = name === "accuracy" ? "accuracy" : "RMSE", held = heldOut(run);
    const describe = (what, pick, show) => (i) => {
      const epoch = epochs()[i];
      if (!epoch) return [];
      const [train, valid] = pick(epoch);
      return [el("b", {}, `Epoch ${epoch.number}: `), `${what} ${show(train)}`, valid === null || valid === undefined ? "" : `, ${held === "validation" ? "validation" : "out-of-fold"} ${show(valid)}`, `. ${epoch.observation}.`];
    };
    const loss = curves({ label: "Loss after each epoch", xLabel: "epoch", yLabel: "loss", read: describe("loss", (epoch) => [epoch.train_loss, epoch.valid_loss], num) });
    const metric = curves({ label: `${word} after each epoch`, xLabel: "epoch", yLabel: word, read: describe(word, (epoch) => [epoch.metrics[`train_${name}`], epoch.metrics[`valid_${name}`]], (v) => value(name, v)) });
    const rate = depth === "full" ? curves({ label: "Learning rate of each epoch", xLabel: "epoch", yLabel: "learning rate", height: 150,
      read: (i) => (epochs()[i] ? [`Epoch ${epochs()[i].number}: learning rate ${num(epochs()[i].metrics.learning_rate)}, gradient norm ${num(epochs()[i].metrics.gradient_norm)}.`] : []) }) : null;
    const node = el("section", { class: "learning" }, el("h2", {}, "Training"),
      legend([["line0", "training"], ["line1", held, "dashed"], ["best", "best epoch"], ["edit", "edit"], ["checkpoint", "checkpoint"]]), folded(run),
      el("div", { class: "pair" }, loss, metric), rate);
    node.grow = () => {
      const all = epochs(), x = all.map((epoch) => epoch.number), lines = marks(run);
      const last = all.at(-1);
      loss.firstChild.setAttribute("aria-label", `Loss after each of ${all.length} epochs: training from ${num(all[0].train_loss)} to ${num(last.train_loss)}${last.valid_loss === null ? "" : `, ${held} from ${num(all[0].valid_loss)} to ${num(last.valid_loss)}`}. ${last.observation}.`);
      loss.draw({ x, marks: lines, series: both(held, "loss", all.map((epoch) => epoch.train_loss), all.map((epoch) => epoch.valid_loss)) });
      metric.draw({ x, marks: lines, series: both(held, word, all.map((epoch) => epoch.metrics[`train_${name}`]), all.map((epoch) => epoch.metrics[`valid_${name}`])) });
      rate?.draw({ x, marks: lines.filter((mark) => mark.kind === "edit"), series: [{ label: "learning rate", colour: "line2", values: all.map((epoch) => epoch.metrics.learning_rate) }] });
    };
    node.close = () => [loss, metric, rate].forEach((chart) => chart?.close());
    return node;
  },
};

function both(held, label, train, valid) {
  const series = [{ label: `training ${label}`, colour: "line0", values: train }];
  if (valid.some((value) => value !== null && value !== undefined)) series.push({ label: `${held} ${label}`, colour: "line1", values: valid, dash: [6, 3] });
  return series;
}

function value(name, number) {
  return name === "accuracy" ? percent(number) : num(number);
}

/** The second network, whose predictions are combined with the first one's. */
export const second = trained("second_network", "second", "Second network", "the second network",
  "The first network also learns a weight for each value and each piece of a number. This one sees numbers as they are, so that its predictions change smoothly with them. ",
  ({ network: { class: kind, config }, parameters }) => [["network", kind], ["members", num(config.members)], ["hidden layers", config.hidden.join(", ")], ["weights", num(parameters)]]);

/** The nearest-neighbours model, whose predictions are combined with the networks'. */
export const neighbors = trained("neighbors", "neighbors", "Nearest neighbours", "the nearest-neighbours model",
  "In each fold a network places rows so that rows of like targets are near each other. A prediction is the mean of the targets of training rows, the nearer the more. ",
  (body) => [["training rows to compare with", num(body.references)]]);

/** A part that was trained in epochs. */
function trained(name, id, title, called, about, first) {
  return { id, title, uses: [`train/${name}`], render({ run }) {
    const body = run.last(`train/${name}`);
    if (!body) return null;
    const [x, train, held] = [0, 1, 2].map((i) => body.history.map((epoch) => epoch[i]));
    const chart = x.length > 1 && curves({
      label: `Losses of ${called} after each epoch: training from ${num(train[0])} to ${num(train.at(-1))}, held out from ${num(held[0])} to ${num(held.at(-1))}`,
      xLabel: "epoch", yLabel: "loss", height: 220,
      read: (i) => (body.history[i] ? [el("b", {}, `Epoch ${num(x[i])}: `), `training loss ${num(train[i])}, held-out loss ${num(held[i])}.`] : []),
    });
    const facts = [...first(body), ["epochs", num(body.epochs)],
      ["held-out loss", num(body.held_out_loss)], ["first network's held-out loss", num(body.network_held_out_loss)], ["time", `${num(body.seconds, 3)} s`]];
    const node = el("section", { class: "trees" }, el("h2", {}, title),
      el("p", {}, about, data(body.said, 600), "."),
      el("dl", { class: "facts" }, facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text)))),
      chart && el("div", {}, legend([["line0", "training"], ["line1", "held out", "dashed"]]), chart));
    node.grow = () => chart && chart.draw({ x, marks: [{ at: body.best_epoch, kind: "best", label: `kept: epoch ${num(body.best_epoch)}` }], series: both("held-out", "loss", train, held) });
    node.close = () => chart && chart.close();
    return node;
  } };
}

/** Boosted trees, whose predictions are combined with the network's. */
export const trees = boosted("trees", "Boosted trees");
export const symmetric = boosted("symmetric_trees", "Boosted symmetric trees", "All nodes of a level ask the same question. ");

function boosted(name, title, about = "") {
  return { id: name.replace("_", "-"), title, uses: [`train/${name}`], render({ run }) {
    const body = run.last(`train/${name}`);
    if (!body) return null;
    const x = body.history.map(([iteration]) => iteration), networkLoss = body.network_held_out_loss;
    const chart = x.length > 1 && curves({
      label: `Held-out loss of the trees after each round: from ${num(body.history[0][1])} to ${num(body.history.at(-1)[1])}, the best ${num(body.held_out_loss)}; the network's is ${num(networkLoss)}`,
      xLabel: "rounds", yLabel: "held-out loss", height: 220,
      read: (i) => (body.history[i] ? [el("b", {}, `${num(body.history[i][0])} rounds: `), `held-out loss ${num(body.history[i][1])}.`] : []),
    });
    const most = Math.max(...body.columns.map((column) => column.gain), 1e-12);
    const facts = [["trees", num(body.trees)], ["ensembles", num(body.ensembles)], ["rounds", num(body.iterations)], ["leaves", num(body.leaves)], ["learning rate", num(body.learning_rate)],
      ["held-out loss", num(body.held_out_loss)], ["network's held-out loss", num(networkLoss)], ["time", `${num(body.seconds, 3)} s`]];
    const node = el("section", { class: "trees" }, el("h2", {}, title),
      el("p", {}, about, data(body.said, 600), "."),
      el("dl", { class: "facts" }, facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text)))),
      el("div", { class: "pair" },
        chart && el("div", {}, legend([["line2", "trees, held out"], ...(networkLoss === null ? [] : [["line0", "network, held out", "dashed"]])]), chart),
        body.columns.length > 0 && table("Columns the trees split on, by share of the total gain", ["Column", "Share of the gain", ""], body.columns.slice(0, 12).map((column) => [data(column.column, 40), percent(column.gain), bar(column.gain / most)]))));
    node.grow = () => chart && chart.draw({ x, marks: [{ at: body.iterations, kind: "best", label: `kept: ${plural(body.iterations, "round")}` }], series: [
      { label: "trees", colour: "line2", values: body.history.map(([, loss]) => loss) },
      ...(networkLoss === null ? [] : [{ label: "network", colour: "line0", values: x.map(() => networkLoss), dash: [6, 3] }])] });
    node.close = () => chart && chart.close();
    return node;
  } };
}

/** The forest, whose predictions are combined with the networks'. */
export const forest = {
  id: "forest", title: "Forest", uses: ["train/forest"],
  render({ run }) {
    const body = run.last("train/forest");
    if (!body) return null;
    const most = Math.max(...body.columns.map((column) => column.gain), 1e-12);
    const facts = [["trees", num(body.trees)], ["leaves of a tree", num(body.leaves, 4)], ["held-out loss", num(body.held_out_loss)], ["network's held-out loss", num(body.network_held_out_loss)], ["time", `${num(body.seconds, 3)} s`]];
    return el("section", { class: "trees" }, el("h2", {}, "Forest"),
      el("p", {}, "Each tree tries thresholds drawn at random, and grows until its leaves hold few rows; the forest's prediction is their mean. ", data(body.said, 600), "."),
      el("dl", { class: "facts" }, facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text)))),
      body.columns.length > 0 && table("Columns the forest splits on, by share of the impurity that all splits take away", ["Column", "Share", ""], body.columns.slice(0, 12).map((column) => [data(column.column, 40), percent(column.gain), bar(column.gain / most)])));
  },
};

/** The kernel model, whose predictions are combined with the networks'. */
export const kernel = {
  id: "kernel", title: "Kernel model", uses: ["train/kernel"],
  render({ run }) {
    const body = run.last("train/kernel");
    if (!body) return null;
    const facts = [["landmarks", num(body.landmarks)], ["width ÷ median distance", num(body.bandwidth)], ["ridge", num(body.ridge)], ["held-out loss", num(body.held_out_loss)], ["first network's held-out loss", num(body.network_held_out_loss)], ["time", `${num(body.seconds, 3)} s`]];
    const [widths, ridges] = [0, 1].map((i) => [...new Set(body.tried.map((one) => one[i]))]);
    const lowest = Math.min(...body.tried.map((one) => one[2]));
    const cell = (width, ridge) => {
      const loss = body.tried.find((one) => one[0] === width && one[1] === ridge)?.[2];
      return loss === lowest ? el("b", {}, num(loss)) : num(loss);
    };
    return el("section", { class: "trees" }, el("h2", {}, "Kernel model"),
      el("p", {}, "It compares a row with training rows that it keeps, its landmarks: the nearer a landmark, the more it counts. The width says how far a landmark reaches, and the ridge how strongly its weight is held back. ", data(body.said, 600), "."),
      el("dl", { class: "facts" }, facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text)))),
      body.tried.length > 1 && table("Held-out loss by width and ridge, with few landmarks; the lowest is bold", ["Width", ...ridges.map((ridge) => `Ridge ${num(ridge)}`)], widths.map((width) => [num(width), ...ridges.map((ridge) => cell(width, ridge))])));
  },
};

export const layers = {
  id: "layers", title: "Gradients and updates of each layer", uses: ["train/layers"], grows: true,
  render({ run }) {
    const records = () => run.all("train/layers");
    if (!records().length) return null;
    const names = () => [...new Set(records().flatMap((look) => look.layers.map((layer) => layer.name)))].slice(0, MOST_LAYERS);
    const chart = (key, title) => curves({ label: `${title} of each layer`, xLabel: "step", yLabel: title, log: true, height: 220, read: (i) => {
      const look = records()[i];
      return look ? [`Step ${num(look.step)}: `, look.layers.slice(0, MOST_LAYERS).map((layer) => `${layer.name} ${num(layer[key], 3)}`).join(", ")] : [];
    } });
    const gradient = chart("gradient", "gradient"), update = chart("update", "update ÷ weight");
    const key = el("div", {}), health = el("div", {});
    const node = el("section", { class: "layers" }, el("h2", {}, "Gradients and updates of each layer"),
      el("p", {}, "Left: the root mean square of each layer's gradient. Right: the size of one update divided by the size of the layer's weights. Around 0.001 is usual; a layer far below it learns little, and one far above it may be unstable."),
      key, el("div", { class: "pair" }, gradient, update),
      records().at(-1).layers.length > MOST_LAYERS && el("p", { class: "note" }, `The curves show the first ${MOST_LAYERS} layers; the table lists all.`), health);
    node.grow = () => {
      const all = records(), x = all.map((look) => look.step);
      const series = (field) => names().map((name, i) => ({ label: name, colour: `line${i}`,
        values: all.map((look) => look.layers.find((layer) => layer.name === name)?.[field] ?? null) }));
      gradient.draw({ x, marks: [], series: series("gradient") });
      update.draw({ x, marks: [], series: series("update") });
      key.replaceChildren(legend(names().map((name, i) => [`line${i}`, data(name, 40)])));
      const last = all.at(-1);
      health.replaceChildren(table(`Layers at step ${num(last.step)}`, ["Layer", "Mean output", "Standard deviation", "Zeros", "Dead units", "Gradient", "Update ÷ weight", ""],
        last.layers.map((layer) => [data(layer.title, 60), num(layer.mean, 3), num(layer.deviation, 3), percent(layer.zero), percent(layer.dead), num(layer.gradient, 3), num(layer.update, 3), layer.frozen ? "frozen" : ""])));
    };
    node.close = () => [gradient, update].forEach((chart) => chart.close());
    return node;
  },
};

export const glass = {
  id: "glass", title: "One training step in detail", uses: ["train/step"],
  render({ run }) {
    const steps = run.all("train/step");
    if (!steps.length) return null;
    return el("section", { class: "glass" }, el("h2", {}, "One training step in detail"), steps.slice(-2).map((step) =>
      el("article", {}, el("h3", {}, `Step ${num(step.step)}, in epoch ${step.epoch}`),
        el("ol", { class: "chain" },
          link("batch", `${step.numeric_shape.join(" × ")} numbers${step.categorical_shape[1] ? `, ${step.categorical_shape.join(" × ")} codes` : ""}`),
          link("logits", step.logits_shape.join(" × ")), link("loss", num(step.loss)),
          link("weight before", num(step.weight_before)), link("gradient", num(step.gradient)), link("update", num(step.update, 3)), link("weight after", num(step.weight_after))),
        el("p", { class: "note" }, "The weight shown is ", data(step.weight, 80), ". The first rows of the batch:"),
        table(`First rows of the batch of step ${step.step}`, ["Row", "Numbers", "Target", "Logits"], step.first_rows.map((row, i) =>
          [num(row), step.first_numeric[i].map((v) => num(v, 3)).join("  "), num(step.first_targets[i]), step.first_logits[i].map((v) => num(v, 3)).join("  ")])))));
  },
};

function link(name, value) {
  return el("li", {}, el("small", {}, name), el("b", {}, value));
}

export const epochs = {
  id: "epochs", title: "Epochs", uses: ["run/start", "load/split", "train/epoch"], grows: true,
  render({ run }, depth) {
    const records = () => run.all("train/epoch");
    if (!records().length) return null;
    const before = run.last("run/start")?.origin?.warm_start ? "the network of the earlier model" : "the untrained network";
    const name = metricName(records());
    const word = name === "accuracy" ? "Accuracy" : "RMSE", held = heldOut(run) === "validation" ? "Validation" : "Out-of-fold";
    const body = el("tbody", {}), note = el("p", { class: "note" });
    const node = el("section", { class: "epochs" }, el("h2", {}, "Epochs"),
      el("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Epochs" },
        el("table", {}, el("caption", {}, `Epoch 0 is ${before}.`),
          el("thead", {}, el("tr", {}, ["Epoch", "Loss", `${held} loss`, word, `${held} ${word}`, "Observation"].map((head) => el("th", { scope: "col" }, head)))), body)), note);
    let shown = 0, first = null;
    node.grow = () => {
      const all = records();
      if (all.length < shown || first !== all[0]) {
        body.replaceChildren();
        shown = Math.max(0, all.length - SHOWN_EPOCHS);
        [first] = all;
      }
      for (const epoch of all.slice(shown)) {
        body.append(el("tr", {}, el("th", { scope: "row" }, String(epoch.number)), [num(epoch.train_loss), num(epoch.valid_loss), value(name, epoch.metrics[`train_${name}`]), value(name, epoch.metrics[`valid_${name}`])].map((text) => el("td", { class: "number" }, text)), el("td", {}, epoch.observation)));
      }
      shown = all.length;
      while (body.children.length > SHOWN_EPOCHS) body.firstChild.remove();
      note.textContent = all.length > SHOWN_EPOCHS ? `The last ${SHOWN_EPOCHS} of ${num(all.length)} epochs are listed; the curves show all.` : "";
      if (depth === "brief") node.querySelector(".scroll").scrollTop = 1e9;
    };
    return node;
  },
};

export const events = {
  id: "events", title: "Events", uses: [...EVENTS, "train/end"],
  render({ run }) {
    const records = run.among(EVENTS), end = run.last("train/end");
    return el("section", { class: "events" }, el("h2", {}, "Edits and other events"),
      records.length
        ? el("ol", {}, records.slice(-200).map((record) => el("li", { class: record.type }, el("span", { class: "tag" }, record.type), ` step ${num(record.body.step ?? record.body.steps)}, epoch ${record.body.epoch ?? "–"}: `, data(record.body.said, 600))))
        : el("p", { class: "note" }, "None: nothing was changed during training."),
      end && el("p", { class: "caption" }, `Training ended: ${end.stopped}; the weights of epoch ${end.best_epoch} were kept.`));
  },
};
