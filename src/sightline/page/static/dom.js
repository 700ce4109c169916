// Elements and formatted numbers. Text from the data only becomes text nodes: no HTML is ever parsed.

const COPY_MS = 1000;
/** What the metrics of the records are called. */
export const METRICS = { accuracy: "Accuracy", log_loss: "Log loss", roc_auc: "Area under ROC", average_precision: "Average precision", rmse: "RMSE", mae: "Mean absolute error", r2: "R²",
  balanced_accuracy: "Balanced accuracy", recall: "Recall", precision: "Precision", mean_error: "Mean error", coverage: "Coverage" };
const SVG = "http://www.w3.org/2000/svg";

/** Make an element: el("p", {class: "note", onclick: f}, "text", child, [more]). */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Make an SVG element in the same way. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Text from the data: cut if it is long; <bdi> keeps its writing direction to itself. */
export function data(value, most = 80) {
  return el("bdi", {}, cut(value, most));
}

const WORDS = { kernel: "kernel model", neighbors: "nearest neighbours" };

/** The name of a part as words: second_network becomes second network. */
export function spelled(name) {
  return Object.hasOwn(WORDS, name) ? WORDS[name] : String(name).replaceAll("_", " ");
}

export function cut(value, most = 80) {
  const text = value === null || value === undefined ? "missing" : String(value);
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** A number with few digits; "NaN" and "Infinity" of the records are spelled out. */
export function num(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return { NaN: "not a number", Infinity: "∞", "-Infinity": "−∞" }[value] ?? value;
  if (Number.isInteger(value)) return value.toLocaleString("en").replace("-", "−");
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) return value.toExponential(2).replace("-", "−");
  const text = size >= 1000
    ? value.toLocaleString("en", { maximumFractionDigits: 0 })
    : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}

/** A value of the user's table as it is: a year stays 1992, not 1,992. */
export function cell(value, most = 40) {
  return data(typeof value !== "number" ? value : Number.isInteger(value) ? String(value).replace("-", "−") : num(value, 6), most);
}

export function percent(value) {
  if (typeof value !== "number") return num(value);
  const whole = 100 * value, short = Number(whole.toPrecision(3));
  return `${short === 100 ? Number(whole.toPrecision(6)) : short} %`; // 99.96 % is not 100 %
}

export function plural(count, one, many = `${one}s`) {
  return `${num(count)} ${count === 1 ? one : many}`;
}

/** A value for drawing; null if it is not a finite number. */
export function finite(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** A table with a caption, in a region that scrolls sideways. */
export function table(caption, heads, rows, attributes = {}) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", attributes,
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, heads.map((head, i) => el("th", { scope: "col", class: i && rows.length && rows.every((cells) => isNumber(cells[i])) ? "number" : null }, head)))),
      el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, i) =>
        i === 0 ? el("th", { scope: "row" }, cell) : el("td", { class: isNumber(cell) ? "number" : null }, cell)))))));
}

function isNumber(cell) {
  const text = cell?.localName === "b" ? cell.textContent : cell;
  return typeof text === "string" && /^[−+\d.,\s%∞–±]+(e[+−-]\d+)?$/.test(text);
}

/** A command of the terminal, with a button that copies it. */
export function command(text) {
  const button = el("button", { type: "button", class: "quiet", onclick: async () => {
    const copied = await copy(text);
    button.textContent = copied ? "Copied" : "Select and copy it";
  } }, "Copy");
  return el("p", { class: "command" }, el("code", {}, data(text, 1000)), button);
}

/** Copy a text; false where the browser does not allow it, or leaves the question open. */
export async function copy(text) {
  try {
    return await Promise.race([navigator.clipboard.writeText(text).then(() => true), new Promise((resolve) => { setTimeout(resolve, COPY_MS, false); })]);
  } catch {
    return false;
  }
}

/** A drawer that remembers whether it is open. */
export function drawer(state, key, title, make, open = false) {
  const node = el("details", { class: "drawer", "data-key": key }, el("summary", {}, title));
  node.open = state.open[key] ?? open;
  const show = () => {
    if (node.open && node.children.length === 1) node.append(...[make()].flat());
  };
  show();
  node.firstChild.addEventListener("click", () => {
    state.open[key] = !node.open;
    state.remember();
  });
  node.addEventListener("toggle", show);
  return node;
}
