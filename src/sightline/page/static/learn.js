// The lesson: terms, the key insight, and three questions.

import { STAGES } from "./flow.js";
import { data, el } from "./dom.js";

export const terms = {
  id: "terms", title: "Terms", uses: ["lesson/stage"],
  render({ run }) {
    const all = STAGES.flatMap((name) => (run.lesson("stage", name)?.terms ?? []).map((term) => ({ ...term, name })));
    return all.length
      ? el("section", {}, el("h2", {}, "Terms"),
        el("dl", { class: "terms" }, all.map((term) => el("div", {}, el("dt", {}, term.term, " ", el("small", {}, term.name)), el("dd", {}, data(term.text, 1500))))))
      : null;
  },
};

export const insight = {
  id: "insight", uses: ["lesson/insight"],
  render({ run }) {
    const body = run.last("lesson/insight");
    return body && el("section", { class: "insight" }, el("h2", {}, body.title), el("p", {}, body.text));
  },
};

export const quiz = {
  id: "quiz", title: "Three questions", uses: ["lesson/quiz"],
  render({ run, state }) {
    const body = run.last("lesson/quiz");
    if (!body) return el("section", {}, el("h2", {}, "Three questions"), el("p", { class: "note" }, "The questions appear when the run has ended."));
    const score = el("p", { class: "score", role: "status" });
    const count = () => {
      const answers = Object.entries(state.answers);
      const right = answers.filter(([i, letter]) => body.questions[i]?.right === letter).length;
      score.textContent = answers.length ? `${right} of ${body.questions.length} right${answers.length < body.questions.length ? " so far" : ""}.` : "";
    };
    const node = el("section", { class: "quiz" }, el("h2", {}, "Three questions about this run"),
      el("ol", {}, body.questions.map((question, i) => ask(question, i, state, count))), score);
    count();
    return node;
  },
};

function ask(question, i, state, count) {
  const why = el("p", { class: "why", role: "status" });
  const buttons = Object.entries(question.answers).map(([letter, text]) =>
    el("button", { type: "button", class: "answer", "data-letter": letter, onclick: () => {
      state.answers[i] = letter;
      show();
      count();
    } }, el("b", {}, letter), " ", data(text, 400)));
  function show() {
    const given = state.answers[i];
    if (!given) return;
    for (const button of buttons) {
      const letter = button.dataset.letter;
      button.classList.toggle("right", letter === question.right);
      button.classList.toggle("wrong", letter === given && given !== question.right);
      button.setAttribute("aria-pressed", String(letter === given));
    }
    why.replaceChildren(el("b", {}, given === question.right ? "Right. " : `Not quite: it is ${question.right}. `), data(question.why, 2000));
  }
  show();
  return el("li", {}, el("p", { class: "question" }, data(question.question, 1000)), el("div", { class: "answers", role: "group", "aria-label": `Answers to question ${i + 1}` }, buttons), why);
}
