// The live page's two wires: the run's records come in as server-sent events, commands go out.

export class Live {
  /** `hear` is told of records, `tell` of sentences for the reader, `change` of the run's state. */
  constructor({ hear, tell, change }) {
    this.state = { training: false, paused: false, waiting: true };
    this.connected = false;
    this.pending = []; // edits sent and not yet confirmed by their record
    this.tell = tell;
    const source = new EventSource("events"); // the browser reconnects, with the id of what came last
    source.addEventListener("records", (event) => {
      const records = JSON.parse(event.data);
      hear(records);
      records.forEach((record) => this.confirm(record));
    });
    source.addEventListener("state", (event) => {
      this.state = JSON.parse(event.data);
      change();
    });
    source.addEventListener("trouble", (event) => tell(JSON.parse(event.data).said ?? event.data, "error"));
    source.addEventListener("open", () => { this.connected = true; change(); });
    source.addEventListener("error", () => { this.connected = false; change(); });
  }

  /** Send a command; its outcome comes as a record. */
  async send(body, what) {
    this.tell(`Sent: ${what}. Waiting for the run.`);
    const wanted = (body.edits ?? []).map((edit) => JSON.stringify(edit));
    this.pending.push(...wanted);
    let answer;
    try {
      answer = await fetch("commands", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    } catch {
      this.tell(`Not sent: the page's server does not answer. Start it again: sightline live RUN.`, "error");
      return;
    }
    if (!answer.ok) {
      const text = await answer.text();
      let said = text;
      try { said = JSON.parse(text).error ?? text; } catch { /* plain text is shown as it is */ }
      this.pending = this.pending.filter((one) => !wanted.includes(one));
      this.tell(`Refused: ${said}`, "error");
    }
  }

  confirm({ stage, type, body }) {
    if (stage === "train" && (type === "edit" || type === "refused")) {
      const i = body.edit ? this.pending.indexOf(JSON.stringify(body.edit)) : 0;
      if (i >= 0 && this.pending.length) {
        this.pending.splice(i, 1);
        this.tell(`${type === "edit" ? "Done" : "Refused"}, after step ${body.step}: ${body.said}`, type === "edit" ? "" : "error");
      }
    } else if (stage === "train" && (type === "paused" || type === "continued")) {
      this.tell(`After step ${body.step}: ${body.said}`);
    } else if (stage === "predict" && type === "asked") {
      this.tell(body.error ? `The row could not be followed: ${body.error}` : "The row is followed below.", body.error ? "error" : "");
    }
  }
}
