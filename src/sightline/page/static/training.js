// Training: curves that grow, the layers' health, one step under the glass, the epochs in words.

import { bar, curves, legend } from "./charts.js";
import { data, el, num, percent, plural, table } from "./dom.js";

const EVENTS = ["train/edit", "train/refused", "train/rollback", "train/plateau", "train/skipped", "train/memory", "train/warning", "train/paused", "train/continued", "train/checkpoint", "train/replay"];
const SHOWN_EPOCHS = 400;
const MOST_LAYERS = 8; // as many as there are colours

/** The vertical lines of a chart over epochs. */
function marks(run) {
  const end = run.last("train/end");
  return [
    ...run.all("train/checkpoint").map((one) => ({ at: one.epochs_done ?? one.epoch, kind: "checkpoint", text: one.said })),
    ...run.all("train/edit").map((one) => ({ at: one.epochs_done ?? one.epoch, kind: "edit", label: words(one.edit.edit), text: one.said })),
    ...(end ? [{ at: end.best_epoch, kind: "best", label: `best: epoch ${end.best_epoch}` }] : []),
  ];
}

function words(edit) {
  return edit.replace(/(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase();
}

function metricName(epochs) {
  return epochs.length && "train_accuracy" in epochs[0].metrics ? "accuracy" : "rmse";
}

/** What the rows are called by which a run is judged while it trains: with folds there are no validation rows. */
function heldOut(run) {
  return run.last("load/split")?.folds ? "out-of-fold" : "validation";
}

/** Said once where the words come up. */
function folded(run) {
  const folds = run.last("load/split")?.folds;
  return folds ? el("p", { class: "note" }, `There are no validation rows: the training rows are in ${num(folds)} folds, and out of fold each row is judged by members of the network that did not learn from it.`) : null;
}

const SOURCES = ["load/split", "train/epoch", "train/edit", "train/checkpoint", "train/end", "lesson/begin"];

export const learning = {
  id: "learning", title: "Training", uses: SOURCES, grows: true,
  render({ run }, depth) {
    const epochs = () => run.all("train/epoch");
    if (!epochs().length) return null;
    const name = metricName(epochs());
    const word = name === "accuracy" ? "accuracy" : "RMSE", held = heldOut(run);
    const said = (what, pick, show) => (i) => {
      const one = epochs()[i];
      if (!one) return [];
      const [train, valid] = pick(one);
      return [el("b", {}, `Epoch ${one.number}: `), `${what} ${show(train)}`, valid === null || valid === undefined ? "" : `, ${held === "validation" ? "on validation rows" : "out of fold"} ${show(valid)}`, `. ${one.observation}.`];
    };
    const loss = curves({ label: "Loss after each epoch", xLabel: "epoch", yLabel: "loss", read: said("loss", (one) => [one.train_loss, one.valid_loss], num) });
    const metric = curves({ label: `${word} after each epoch`, xLabel: "epoch", yLabel: word, read: said(word, (one) => [one.metrics[`train_${name}`], one.metrics[`valid_${name}`]], (v) => value(name, v)) });
    const rate = depth === "full" ? curves({ label: "Learning rate of each epoch", xLabel: "epoch", yLabel: "learning rate", height: 150,
      read: (i) => (epochs()[i] ? [`Epoch ${epochs()[i].number}: learning rate ${num(epochs()[i].metrics.learning_rate)}, gradient norm ${num(epochs()[i].metrics.gradient_norm)}.`] : []) }) : null;
    const node = el("section", { class: "learning" }, el("h2", {}, "Training"),
      legend([["line0", "training"], ["line1", held, "dashed"], ["best", "best epoch"], ["edit", "edit"], ["checkpoint", "checkpoint"]]), folded(run),
      el("div", { class: "pair" }, loss, metric), rate);
    node.grow = () => {
      const all = epochs(), x = all.map((one) => one.number), lines = marks(run);
      const last = all.at(-1);
      loss.firstChild.setAttribute("aria-label", `Loss after each of ${all.length} epochs: training from ${num(all[0].train_loss)} to ${num(last.train_loss)}${last.valid_loss === null ? "" : `, ${held} from ${num(all[0].valid_loss)} to ${num(last.valid_loss)}`}. ${last.observation}.`);
      loss.draw({ x, marks: lines, series: both(held, "loss", all.map((one) => one.train_loss), all.map((one) => one.valid_loss)) });
      metric.draw({ x, marks: lines, series: both(held, word, all.map((one) => one.metrics[`train_${name}`]), all.map((one) => one.metrics[`valid_${name}`])) });
      rate?.draw({ x, marks: lines.filter((one) => one.kind === "edit"), series: [{ label: "learning rate", colour: "line2", values: all.map((one) => one.metrics.learning_rate) }] });
    };
    node.close = () => [loss, metric, rate].forEach((one) => one?.close());
    return node;
  },
};

function both(held, label, train, valid) {
  const series = [{ label: `training ${label}`, colour: "line0", values: train }];
  if (valid.some((one) => one !== null && one !== undefined)) series.push({ label: `${held} ${label}`, colour: "line1", values: valid, dash: [6, 3] });
  return series;
}

function value(name, number) {
  return name === "accuracy" ? percent(number) : num(number);
}

/** Boosted trees that predict beside the network, on the same held-out rows. */
export const trees = {
  id: "trees", title: "The trees beside it", uses: ["train/trees"],
  render({ run }) {
    const found = run.last("train/trees");
    if (!found) return null;
    const x = found.history.map(([iteration]) => iteration), beside = found.network_held_out_loss;
    const chart = x.length > 1 && curves({
      label: `Held-out loss of the trees after each round: from ${num(found.history[0][1])} to ${num(found.history.at(-1)[1])}, the best ${num(found.held_out_loss)}; the network's ${num(beside)}`,
      xLabel: "rounds", yLabel: "held-out loss", height: 220,
      read: (i) => (found.history[i] ? [el("b", {}, `${num(found.history[i][0])} rounds: `), `held-out loss ${num(found.history[i][1])}.`] : []),
    });
    const most = Math.max(...found.columns.map((one) => one.gain), 1e-12);
    const facts = [["trees", num(found.trees)], ["ensembles", num(found.ensembles)], ["rounds", num(found.iterations)], ["leaves", num(found.leaves)], ["learning rate", num(found.learning_rate)],
      ["held-out loss", num(found.held_out_loss)], ["the network's", num(beside)], ["time", `${num(found.seconds, 3)} s`]];
    const node = el("section", { class: "trees" }, el("h2", {}, "The trees beside it"),
      el("p", {}, data(found.said, 600), "."),
      el("dl", { class: "facts" }, facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text)))),
      el("div", { class: "pair" },
        chart && el("div", {}, legend([["line2", "trees, held out"], ...(beside === null ? [] : [["line0", "network, held out", "dashed"]])]), chart),
        found.columns.length > 0 && table("What the trees split by, by what it gained", ["Column", "Share of the gain", ""], found.columns.slice(0, 12).map((one) => [data(one.column, 40), percent(one.gain), bar(one.gain / most)]))));
    node.grow = () => chart && chart.draw({ x, marks: [{ at: found.iterations, kind: "best", label: `kept: ${plural(found.iterations, "round")}` }], series: [
      { label: "trees", colour: "line2", values: found.history.map(([, loss]) => loss) },
      ...(beside === null ? [] : [{ label: "network", colour: "line0", values: x.map(() => beside), dash: [6, 3] }])] });
    node.close = () => chart && chart.close();
    return node;
  },
};

export const layers = {
  id: "layers", title: "The layers' health", uses: ["train/layers"], grows: true,
  render({ run }) {
    const looks = () => run.all("train/layers");
    if (!looks().length) return null;
    const names = () => [...new Set(looks().flatMap((look) => look.layers.map((layer) => layer.name)))].slice(0, MOST_LAYERS);
    const chart = (key, title) => curves({ label: `${title} of each layer`, xLabel: "step", yLabel: title, log: true, height: 220, read: (i) => {
      const look = looks()[i];
      return look ? [`Step ${num(look.step)}: `, look.layers.slice(0, MOST_LAYERS).map((layer) => `${layer.name} ${num(layer[key], 3)}`).join(", ")] : [];
    } });
    const gradient = chart("gradient", "gradient"), update = chart("update", "update ÷ weight");
    const key = el("div", {}), health = el("div", {});
    const node = el("section", { class: "layers" }, el("h2", {}, "The layers' health"),
      el("p", {}, "Left, the size of an average gradient; right, how much a step changes a layer's weights, as a share of them. Around a thousandth is usual; a layer far below learns little, one far above may be unstable."),
      key, el("div", { class: "pair" }, gradient, update),
      looks().at(-1).layers.length > MOST_LAYERS && el("p", { class: "note" }, `The curves are of the first ${MOST_LAYERS} layers; the table has all.`), health);
    node.grow = () => {
      const all = looks(), x = all.map((look) => look.step);
      const series = (field) => names().map((name, i) => ({ label: name, colour: `line${i}`,
        values: all.map((look) => look.layers.find((layer) => layer.name === name)?.[field] ?? null) }));
      gradient.draw({ x, marks: [], series: series("gradient") });
      update.draw({ x, marks: [], series: series("update") });
      key.replaceChildren(legend(names().map((name, i) => [`line${i}`, data(name, 40)])));
      const last = all.at(-1);
      health.replaceChildren(table(`Each layer in step ${num(last.step)}`, ["Layer", "Mean", "Deviation", "Zeros", "Dead units", "Gradient", "Update ÷ weight", ""],
        last.layers.map((layer) => [data(layer.title, 60), num(layer.mean, 3), num(layer.deviation, 3), percent(layer.zero), percent(layer.dead), num(layer.gradient, 3), num(layer.update, 3), layer.frozen ? "frozen" : ""])));
    };
    node.close = () => [gradient, update].forEach((one) => one.close());
    return node;
  },
};

export const glass = {
  id: "glass", title: "One step under the glass", uses: ["train/step"],
  render({ run }) {
    const found = run.all("train/step");
    if (!found.length) return null;
    return el("section", { class: "glass" }, el("h2", {}, "One step under the glass"), found.slice(-2).map((step) =>
      el("article", {}, el("h3", {}, `Step ${num(step.step)}, in epoch ${step.epoch}`),
        el("ol", { class: "chain" },
          link("batch", `${step.numeric_shape.join(" × ")} numbers${step.categorical_shape[1] ? `, ${step.categorical_shape.join(" × ")} codes` : ""}`),
          link("logits", step.logits_shape.join(" × ")), link("loss", num(step.loss)),
          link("old weight", num(step.weight_before)), link("gradient", num(step.gradient)), link("update", num(step.update, 3)), link("new weight", num(step.weight_after))),
        el("p", { class: "note" }, "The weight is ", data(step.weight, 80), "; the batch's first rows:"),
        table(`First rows of the batch of step ${step.step}`, ["Row", "Numbers", "Target", "Logits"], step.first_rows.map((row, i) =>
          [num(row), step.first_numeric[i].map((v) => num(v, 3)).join("  "), num(step.first_targets[i]), step.first_logits[i].map((v) => num(v, 3)).join("  ")])))));
  },
};

function link(name, value) {
  return el("li", {}, el("small", {}, name), el("b", {}, value));
}

export const epochs = {
  id: "epochs", title: "Epoch by epoch", uses: ["load/split", "train/epoch"], grows: true,
  render({ run }, depth) {
    const found = () => run.all("train/epoch");
    if (!found().length) return null;
    const name = metricName(found());
    const word = name === "accuracy" ? "Accuracy" : "RMSE", held = heldOut(run) === "validation" ? "Validation" : "Out-of-fold";
    const body = el("tbody", {}), note = el("p", { class: "note" });
    const node = el("section", { class: "epochs" }, el("h2", {}, "Epoch by epoch"),
      el("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Epochs" },
        el("table", {}, el("caption", {}, "Epoch 0 is the untrained network."),
          el("thead", {}, el("tr", {}, ["Epoch", "Loss", `${held} loss`, word, `${held} ${word}`, "Observation"].map((head) => el("th", { scope: "col" }, head)))), body)), note);
    let shown = 0, first = null;
    node.grow = () => {
      const all = found();
      if (all.length < shown || first !== all[0]) {
        body.replaceChildren();
        shown = Math.max(0, all.length - SHOWN_EPOCHS);
        [first] = all;
      }
      for (const one of all.slice(shown)) {
        body.append(el("tr", {}, el("th", { scope: "row" }, String(one.number)), [num(one.train_loss), num(one.valid_loss), value(name, one.metrics[`train_${name}`]), value(name, one.metrics[`valid_${name}`])].map((text) => el("td", { class: "number" }, text)), el("td", {}, one.observation)));
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
  id: "events", title: "What happened besides", uses: [...EVENTS, "train/end"],
  render({ run }) {
    const found = run.among(EVENTS), end = run.last("train/end");
    return el("section", { class: "events" }, el("h2", {}, "Edits and other events"),
      found.length
        ? el("ol", {}, found.slice(-200).map((record) => el("li", { class: record.type }, el("span", { class: "tag" }, record.type), ` step ${num(record.body.step ?? record.body.steps)}, epoch ${record.body.epoch ?? "–"}: `, data(record.body.said, 600))))
        : el("p", { class: "note" }, "None: the training ran as it was asked for."),
      end && el("p", { class: "caption" }, `Training ended: ${end.stopped}; the weights of epoch ${end.best_epoch} were kept.`));
  },
};
