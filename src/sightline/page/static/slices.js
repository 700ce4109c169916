// Metrics of groups of rows: by the value of one column, the worst group first.

import { extent, whisker } from "./charts.js";
import { METRICS, cut, data, el, finite, num, percent, plural, table } from "./dom.js";

const SHARES = ["accuracy", "balanced_accuracy", "recall", "precision", "coverage"];

export const slices = {
  id: "slices", title: "Groups of rows", uses: ["predict/slices"],
  render({ run, state }) {
    const body = run.last("predict/slices");
    if (!body?.columns.length) return null;
    const shown = el("div", {});
    const named = () => body.columns.find(({ column }) => column === state.by) ?? body.columns[0];
    const show = () => shown.replaceChildren(...column(named(), body));
    const pick = el("select", { id: "by", onchange: () => { state.by = body.columns[Number(pick.value)].column; state.remember(); show(); } },
      body.columns.map(({ column: name, groups }, i) => el("option", { value: String(i) }, `${cut(name, 40)}${groups.some((group) => group.worse) ? " (a group is worse)" : ""}`)));
    pick.value = String(body.columns.indexOf(named()));
    show();
    return el("section", { class: "slices" }, el("h2", {}, "Groups of rows"),
      el("p", {}, data(body.sentence, 1500)),
      el("div", { class: "picker" }, el("label", { for: "by" }, "Group by"), pick), shown);
  },
};

function column({ column: name, how, metric, greater_is_better: greater, groups, sentence, caution }, body) {
  const others = Object.keys(groups[0].values).filter((other) => other !== metric);
  // A group of few rows may have an interval many times as wide as the others: it is cut off at the scale's end.
  const sure = groups.filter((group) => !group.few), wide = sure.length ? sure : groups;
  const scale = extent([...groups.map((group) => group.score), ...wide.flatMap(({ low, high }) => [low, high])], 0.04);
  const apart = extent([0, ...groups.map((group) => group.difference), ...wide.flatMap((group) => [group.difference_low, group.difference_high])], 0.04);
  const cutOff = (v, [from, to]) => (finite(v) === null ? null : Math.min(to, Math.max(from, v)));
  const drawn = (v, low, high, ends, options) => whisker(v, cutOff(low, ends), cutOff(high, ends), ends, options);
  return [
    el("p", { class: "lead" }, data(sentence, 1000)),
    caution && el("p", { class: "note caution" }, data(caution, 600)),
    table(`${METRICS[metric] ?? metric} by ${cut(name, 60)} (${how}) on ${plural(body.rows, `${body.part} row`)}, ${greater ? "lower" : "higher"} is worse, the worst group first; lines are 95 % intervals`,
      ["Group", "Rows", METRICS[metric] ?? metric, "", "95 % interval", "Minus all other rows", "", ...others.map((other) => METRICS[other] ?? other)],
      groups.map((group) => [
        [data(group.group, 60), group.worse && el("b", {}, " worse")], num(group.rows), num(group.score, 3),
        drawn(group.score, group.low, group.high, scale, { strong: group.worse }),
        finite(group.low) === null ? "–" : `${num(group.low, 3)} to ${num(group.high, 3)}`, between(group),
        drawn(group.difference, group.difference_low, group.difference_high, apart, { zero: 0, strong: group.worse }),
        ...others.map((other) => (SHARES.includes(other) && finite(group.values[other]) !== null ? percent(group.values[other]) : num(group.values[other], 3))),
      ])),
  ].filter(Boolean);
}

/** A group's difference to all other rows, with its sign and interval. */
function between({ difference, difference_low: low, difference_high: high }) {
  const signed = (v) => (finite(v) > 0 ? `+${num(v, 3)}` : num(v, 3));
  return finite(difference) === null ? "–" : `${signed(difference)} (${signed(low)} to ${signed(high)})`;
}
