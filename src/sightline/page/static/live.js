// The live page's connection: the run's records arrive as server-sent events, commands are posted.

export class Live {
  /** Calls `receive` with records, `tell` with messages for the user, `change` when the state changes. */
  constructor({ receive, tell, change }) {
    this.state = { training: false, paused: false, waiting: true };
    this.connected = false;
    this.pending = []; // commands sent from this tab whose record has not arrived
    this.tell = tell;
    const source = new EventSource("events"); // the browser reconnects with the id of the last event
    source.addEventListener("records", (event) => {
      const records = JSON.parse(event.data);
      receive(records);
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

  /** Send a command; its result arrives as a record. */
  async send(body, what) {
    this.tell(`Sent: ${what}. Waiting for the run.`);
    const sent = { edits: (body.edits ?? []).map((edit) => JSON.stringify(edit)), id: body.explain?.id, file: null,
      controls: body.pause ? ["paused"] : body.continue ? ["continued"] : body.one_epoch ? ["continued", "paused"] : [] };
    this.pending.push(sent);
    let answer, result;
    try {
      answer = await fetch("commands", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
      result = await answer.text();
    } catch {
      this.forget(sent);
      this.tell("Not sent: the page's server does not answer. Start it again with: sightline live RUN", "error");
      return;
    }
    try { result = JSON.parse(result); } catch { result = { error: result }; } // the guard refuses in plain text
    if (answer.ok) {
      sent.file = result.accepted;
    } else {
      this.forget(sent);
      this.tell(`Refused: ${result.error}`, "error");
    }
  }

  forget(sent) {
    this.pending = this.pending.filter((command) => command !== sent);
  }

  /** Announce the results of this tab's own commands only. */
  confirm({ stage, type, body }) {
    for (const sent of this.pending) {
      if (stage === "train" && (type === "edit" || type === "refused") && (sent.edits.includes(JSON.stringify(body.edit)) || (body.file && body.file === sent.file))) {
        this.tell(`${type === "edit" ? "Done" : "Refused"}, after step ${body.step}: ${body.said}`, type === "edit" ? "" : "error");
        sent.edits = sent.edits.filter((edit) => edit !== JSON.stringify(body.edit));
        if (!sent.edits.length || body.file) this.forget(sent);
      } else if (stage === "train" && type === sent.controls[0]) {
        this.tell(`After step ${body.step}: ${body.said}`);
        sent.controls.shift();
        if (!sent.controls.length) this.forget(sent);
      } else if (stage === "predict" && type === "asked" && body.id === sent.id) {
        this.tell(body.error ? `The row could not be explained: ${body.error}` : "The prediction is shown above.", body.error ? "error" : "");
        this.forget(sent);
      } else continue;
      return;
    }
  }
}
