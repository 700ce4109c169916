// The page: nine views of the same records, live from the run's server or stored in a report.

import { compare } from "./compare.js";
import { dependence } from "./dependence.js";
import { copy, cut, el, num } from "./dom.js";
import { controls, settings } from "./experiment.js";
import * as flow from "./flow.js";
import { insight, quiz, terms } from "./learn.js";
import { Live } from "./live.js";
import { prediction } from "./prediction.js";
import { result } from "./result.js";
import { results } from "./results.js";
import { slices } from "./slices.js";
import { Store } from "./store.js";
import { thresholds } from "./thresholds.js";
import * as training from "./training.js";
import { trust, worth } from "./trust.js";

const { opening, strip, load, prepare, build, train, predict, code, shapes, maths } = flow;
const { learning, second, trees, symmetric, forest, kernel, neighbors, layers, glass, epochs, events } = training;

// Each view: its title, what it shows, and its blocks in order: [block, depth]. "fold": when the run has ended, it shows its title until it is opened.
const VIEWS = {
  story: ["Story", "what happened, in order", [[result], [opening], [strip], [load], [prepare], [build], [train], [learning, "full"], [second, "fold"], [trees, "fold"], [symmetric, "fold"], [forest, "fold"], [kernel, "fold"], [neighbors, "fold"], [layers, "fold"], [glass, "fold"], [epochs, "fold"], [events, "fold"], [predict], [prediction, "fold"], [results, "figures"], [thresholds], [worth, "fold"], [trust, "fold"], [slices, "fold"], [dependence, "fold"], [insight], [terms, "fold"], [quiz]]],
  pipeline: ["Pipeline", "the input and output of each stage", [[strip], [load, "open"], [prepare, "open"], [build, "open"], [train, "open"], [predict], [results, "brief"], [worth, "brief"]]],
  code: ["Code", "the Python code of each stage", [[strip], [code], [settings]]],
  shapes: ["Shapes", "the shape of each tensor", [[strip], [shapes], [build, "open"]]],
  maths: ["Maths", "the formulas, with this run's numbers", [[maths], [glass], [terms]]],
  training: ["Training", "how the network learned", [[train], [learning, "full"], [second], [trees], [symmetric], [forest], [kernel], [neighbors], [layers], [glass], [epochs, "full"], [events]]],
  prediction: ["Prediction", "how a prediction is made, and how reliable it is", [[prediction, "full"], [predict, "brief"], [results, "full"], [thresholds], [worth], [trust], [slices], [dependence]]],
  experiment: ["Experiment", "the settings, and what was changed during training", [[controls], [learning, "full"], [events], [settings], [layers]]],
  quiz: ["Quiz", "three questions about this run", [[quiz], [terms], [insight]]],
};
// The presentation: one stage for each screen.
const SLIDES = [[[opening], [strip]], [[load]], [[prepare]], [[build]], [[train], [learning, "brief"]], [[predict], [prediction, "brief"]], [[results, "brief"], [worth, "brief"]], [[insight]], [[quiz]]];

const DRAWERS = new Set(["columns", "ways", "layers", "plan", "classes", "worst", "importance", "encoded", ...Object.values(VIEWS).flatMap(([, , parts]) => parts.map(([part]) => `fold-${part.id}`))]);

class Page {
  constructor() {
    this.run = new Store();
    this.live = null;
    this.notes = [];
    this.state = { view: "story", present: false, slide: 0, row: null, label: null, threshold: null, costs: null, by: null, open: {}, answers: {}, typed: new Map(), remember: () => this.remember() };
    this.blocks = [];
    this.dirty = new Set();
    this.main = document.getElementById("page");
    this.head = document.getElementById("head");
    this.said = document.getElementById("said");
  }

  start() {
    const embedded = document.getElementById("data");
    this.read();
    if (embedded) {
      const { records, notes, compare: runs } = JSON.parse(embedded.textContent);
      if (runs) {
        const node = compare(runs);
        document.title = `${runs.runs.length} runs side by side · Sightline`;
        this.head.append(el("div", { class: "topbar" }, this.brand(), themeButton(() => node.grow())));
        this.main.replaceChildren(node);
        node.grow();
        return;
      }
      this.notes = notes;
      this.run.add(records);
    } else {
      this.live = new Live({
        receive: (records) => this.receive(records),
        tell: (sentence, kind) => this.tell(sentence, kind),
        change: () => { this.drawHead(); this.touch(["#state"]); },
      });
    }
    addEventListener("hashchange", () => { this.read(); this.draw(); });
    addEventListener("keydown", (event) => this.key(event));
    addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((node) => { node.open = true; }));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.draw();
  }

  receive(records) {
    const first = !this.run.records.length;
    const changed = this.run.add(records);
    if (first) this.draw();
    else this.touch(changed);
  }

  /** Redraw, at the browser's next frame, the blocks that show these kinds of records. */
  touch(kinds) {
    const scheduled = this.dirty.size;
    for (const name of kinds) this.dirty.add(name);
    if (!scheduled && this.dirty.size) requestAnimationFrame(() => this.update());
  }

  update() {
    const changed = this.dirty;
    this.dirty = new Set();
    this.drawHead();
    for (const block of this.blocks) {
      const { part, node } = block;
      if (!part.uses.some((name) => changed.has(name)) && !(changed.has("#state") && (part === controls))) continue;
      if (part.grows && node.grow) node.grow();
      else if (!part.key || part.key(this) !== block.key) this.replace(block);
    }
  }

  replace(block) {
    const focus = document.activeElement?.id;
    const next = this.make(block.part, block.depth);
    if (block.part === prediction && block.node.contains(document.activeElement) && document.activeElement.tagName === "INPUT") {
      block.late = true; // the user is typing: redraw when the field loses focus
      block.node.addEventListener("focusout", () => { if (block.late) { block.late = false; setTimeout(() => this.replace(block)); } }, { once: true });
      return;
    }
    block.node.close?.();
    block.node.replaceWith(next);
    block.node = next;
    block.key = block.part.key?.(this);
    next.grow?.();
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  }

  make(part, depth) {
    const node = part.render(this, depth === "fold" ? "full" : depth) ?? el("div", { hidden: true });
    return depth === "fold" && this.folds && !node.hidden ? this.fold(part, node) : node;
  }

  /** A block behind its title. */
  fold(part, node) {
    const key = `fold-${part.id}`, folded = el("details", { class: "drawer fold", open: Boolean(this.state.open[key]) }, el("summary", {}, el("h2", {}, part.title)), node);
    folded.firstChild.addEventListener("click", () => {
      this.state.open[key] = !folded.open;
      this.remember();
    });
    folded.addEventListener("toggle", () => folded.grow());
    folded.grow = () => { if (folded.open) node.grow?.(); };
    folded.close = () => node.close?.();
    return folded;
  }

  /** Scroll to a block, opened; one that this view does not have is in the story. */
  reveal(id, drawer = null) {
    const find = () => this.blocks.find(({ part }) => part.id === id);
    if (!find()) this.state.view = "story";
    this.state.present = false;
    this.state.open[`fold-${id}`] = true;
    if (drawer) this.state.open[drawer] = true;
    this.remember();
    this.draw();
    const node = find()?.node;
    ((drawer && node?.querySelector(`[data-key="${drawer}"]`)) ?? node)?.scrollIntoView();
  }

  draw() {
    this.blocks.forEach(({ node }) => node.close?.());
    this.folds = Boolean(this.run.last("lesson/result")); // a run is watched unfolded while it trains
    this.drawHead();
    document.body.classList.toggle("present", this.state.present);
    const [title, about, parts] = VIEWS[this.state.view];
    const shown = this.state.present ? SLIDES[this.state.slide] : parts;
    this.blocks = shown.map(([part, depth]) => ({ part, depth, node: this.make(part, depth), key: part.key?.(this) }));
    const notes = this.notes.map((note) => el("p", { class: "note sampled" }, note));
    this.main.replaceChildren(
      el("p", { class: "about" }, this.state.present ? `${this.state.slide + 1} of ${SLIDES.length}` : `${title}: ${about}.`),
      ...(this.run.records.length ? [] : [el("p", { class: "waiting" }, "Waiting for the first record ...")]),
      ...this.blocks.map(({ node }) => node), ...(this.state.present ? [] : notes),
    );
    this.blocks.forEach(({ node }) => node.grow?.());
  }

  drawHead() {
    const views = Object.keys(VIEWS);
    if (!this.head.firstChild) {
      this.chip = el("span", { class: "chip" });
      this.present = el("button", { type: "button", class: "quiet", onclick: () => this.go({ present: !this.state.present, slide: 0 }) });
      this.links = views.map((view, i) => el("a", { href: this.address({ view }), title: `${VIEWS[view][1]} (key ${i + 1})` }, el("kbd", { "aria-hidden": "true" }, String(i + 1)), " ", VIEWS[view][0]));
      this.head.append(el("div", { class: "topbar" }, this.brand(), this.chip, el("span", { class: "grow" }), el("button", { type: "button", class: "quiet", id: "copy-link", onclick: () => this.link() }, "Copy link"), this.present, themeButton(() => this.draw())),
        el("nav", { class: "ways", "aria-label": "Nine views" }, this.links));
    }
    const opening = this.run.last("lesson/opening");
    if (opening) document.title = `${cut(opening.title, 100)} · Sightline`;
    this.chip.className = `chip ${this.status()[0]}`;
    this.chip.textContent = this.status()[1];
    this.present.textContent = this.state.present ? "End presentation" : "Present";
    this.links.forEach((link, i) => {
      link.href = this.address({ view: views[i], present: false });
      if (views[i] === this.state.view && !this.state.present) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    });
  }

  brand() {
    return el("span", { class: "brand" }, "Sightline");
  }

  status() {
    if (!this.live) return ["", "report"];
    const { training: running, paused, waiting } = this.live.state;
    const epoch = this.run.last("train/epoch"), plan = this.run.last("train/plan");
    if (!this.live.connected) return ["off", "connection lost, reconnecting"];
    if (this.run.last("run/end")) return ["done", "done"];
    if (waiting) return ["", "waiting for the run"];
    if (!running) return ["off", "interrupted: continue it with sightline resume"];
    const where = epoch && plan ? `epoch ${num(epoch.number)} of ${num(plan.epochs)}` : "before training";
    return paused ? ["paused", `paused, ${where}`] : ["busy", this.run.last("train/end") ? "evaluating" : where];
  }

  tell(sentence, kind = "") {
    this.said.className = `said show ${kind}`;
    this.said.replaceChildren(el("span", {}, sentence), el("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => { this.said.className = "said"; } }, "×"));
  }

  // --------------------------------------------------------- the address: #way=story&row=12&threshold=0.37&open=worst

  /** Read the state from the address. What it names is compared with the records where it is used, and ignored if unknown. */
  read() {
    const hash = new URLSearchParams(location.hash.slice(1));
    this.state.label = hash.get("class");
    this.state.threshold = hash.get("threshold");
    this.state.by = hash.get("by");
    const costs = (hash.get("costs") ?? "").split(":").map(Number);
    this.state.costs = hash.has("costs") && costs.length === 2 && costs.every((cost) => Number.isFinite(cost) && cost >= 0) ? costs : null;
    this.state.open = {};
    for (const [name, open] of [["open", true], ["shut", false]]) {
      for (const key of (hash.get(name) ?? "").split(" ")) if (DRAWERS.has(key)) this.state.open[key] = open;
    }
    this.state.view = Object.hasOwn(VIEWS, hash.get("way") ?? "") ? hash.get("way") : "story";
    this.state.row = hash.get("row");
    this.state.present = hash.has("slide");
    this.state.slide = Math.min(SLIDES.length - 1, Math.max(0, Math.trunc(Number(hash.get("slide"))) - 1 || 0));
  }

  address(change = {}) {
    const next = { ...this.state, ...change };
    const hash = new URLSearchParams({ way: next.view });
    if (next.row !== null) hash.set("row", next.row);
    if (next.label !== null) hash.set("class", next.label);
    if (next.threshold !== null) hash.set("threshold", next.threshold);
    if (next.by !== null) hash.set("by", next.by);
    if (next.costs !== null) hash.set("costs", next.costs.join(":"));
    for (const [name, open] of [["open", true], ["shut", false]]) {
      const keys = Object.keys(next.open).filter((key) => next.open[key] === open && DRAWERS.has(key));
      if (keys.length) hash.set(name, keys.join(" "));
    }
    if (next.present) hash.set("slide", String(next.slide + 1));
    return `#${hash}`;
  }

  go(change) {
    location.hash = this.address(change);
  }

  /** Copy the page's address; that of a live page holds a secret, which stays here. */
  async link() {
    const address = this.live ? `${location.origin}/${location.hash}` : location.href;
    const copied = await copy(address), secret = this.live ? " The secret part of this page's address is left out: who has the page or its report adds what follows the # to its address." : "";
    this.tell(copied ? `The link is copied.${secret}` : `The browser does not allow copying. The link: ${address}${secret}`);
  }

  remember() {
    history.replaceState(null, "", this.address());
    this.drawHead();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) return;
    const view = Object.keys(VIEWS)[Number(event.key) - 1];
    const { present, slide } = this.state;
    if (view) this.go({ view, present: false });
    else if (event.key === "p") this.go({ present: !present, slide: 0 });
    else if (present && event.key === "Escape") this.go({ present: false });
    else if (present && ["ArrowRight", "PageDown"].includes(event.key)) this.go({ slide: Math.min(SLIDES.length - 1, slide + 1) });
    else if (present && ["ArrowLeft", "PageUp"].includes(event.key)) this.go({ slide: Math.max(0, slide - 1) });
    else return;
    event.preventDefault();
    scrollTo(0, 0);
  }

  /** Scroll to a stage's section. */
  jump(name) {
    const section = document.getElementById(`stage-${name}`);
    if (section) section.scrollIntoView();
    else this.go({ view: "story" });
  }
}

function themeButton(redraw) {
  const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const button = el("button", { type: "button", class: "quiet", onclick: () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    name();
    redraw();
  } });
  const name = () => { button.textContent = dark() ? "Light" : "Dark"; };
  name();
  return button;
}

new Page().start();
