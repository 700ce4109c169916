// The records of a run, by kind ("stage/type"). A resumed run is a new attempt: its records replace
// those of the earlier attempt from its first record's number on.

export class Store {
  constructor() {
    this.clear();
  }

  clear() {
    this.records = [];
    this.kinds = new Map();
    this.attempt = 0;
  }

  /** Add records; returns the kinds that changed, such as "train/epoch". */
  add(records) {
    const changed = new Set();
    for (const record of records) {
      if (record.seq === 0 && this.records.length && this.records[0].time !== record.time) {
        this.kinds.forEach((_, name) => changed.add(name)); // the run folder was replaced
        this.clear();
      }
      const last = this.records.at(-1);
      if (record.attempt < this.attempt) continue;
      if (record.attempt === this.attempt && last && record.seq <= last.seq) continue; // seen already
      this.attempt = record.attempt;
      while (this.records.length && this.records.at(-1).seq >= record.seq) {
        const dropped = this.records.pop();
        this.kinds.get(kind(dropped)).pop();
        changed.add(kind(dropped));
      }
      this.records.push(record);
      if (!this.kinds.has(kind(record))) this.kinds.set(kind(record), []);
      this.kinds.get(kind(record)).push(record);
      changed.add(kind(record));
    }
    return changed;
  }

  /** The bodies of one kind, in order. */
  all(name) {
    return (this.kinds.get(name) ?? []).map((record) => record.body);
  }

  /** The last body of one kind, or null. */
  last(name) {
    return this.kinds.get(name)?.at(-1)?.body ?? null;
  }

  /** The lesson's record of a stage: "begin" when it starts, "stage" when it has ended; or null. */
  lesson(type, name) {
    return this.all(`lesson/${type}`).findLast((body) => body.name === name) ?? null;
  }

  /** Records of several kinds together, in order. */
  among(names) {
    return this.records.filter((record) => names.includes(kind(record)));
  }
}

function kind(record) {
  return `${record.stage}/${record.type}`;
}
