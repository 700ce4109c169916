// The result: metrics, verdict, what to be careful about, what to do next.

import { command, data, el } from "./dom.js";
import { cards } from "./results.js";

const BLOCKS = { worst: ["results", "worst"] }; // an entry that is a drawer of a block: the block, and the drawer to open

export const result = {
  id: "result", title: "Result", uses: ["lesson/result", "predict/metrics"],
  render(page) {
    const { run } = page;
    const body = run.last("lesson/result"), metrics = run.last("predict/metrics");
    if (!body || !metrics) return null;
    return el("section", { class: "result" },
      el("h1", {}, together(body.headline)),
      cards(metrics),
      body.verdict && el("p", { class: "lead" }, together(body.verdict)),
      body.cautions.length > 0 && el("ul", { class: "notes cautions" }, body.cautions.map((caution) => el("li", {}, data(caution, 600)))),
      el("h2", {}, "What next"),
      el("p", { class: "note" }, "The commands are for the run's folder; give the path of your own files."),
      el("ul", { class: "next" }, body.next.map((step) => el("li", {}, step.block === null ? el("span", {}, step.text) : link(page, step), step.command && command(step.command)))));
  },
};

/** A sentence whose per cent signs stay on the line of their numbers. */
function together(sentence) {
  return data(sentence.replace(/(\d) %/g, "$1\u00a0%"), 1000);
}

function link(page, { text, block }) {
  const [name, drawer] = BLOCKS[block] ?? [block, null];
  return el("button", { type: "button", class: "link", onclick: () => page.reveal(name, drawer) }, text);
}
