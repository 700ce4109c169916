// The records of a run, by kind. A resumed run is a new attempt, which takes over from its first
// record's number on: what an earlier attempt wrote from there is dropped.

export class Store {
  constructor() {
    this.clear();
  }

  clear() {
    this.records = [];
    this.kinds = new Map();
    this.attempt = 0;
  }

  /** Take records; returns the kinds that changed, such as "train/epoch". */
  add(records) {
    const changed = new Set();
    for (const record of records) {
      if (record.seq === 0 && this.records.length && this.records[0].time !== record.time) {
        this.kinds.forEach((_, name) => changed.add(name)); // the folder was removed and made anew
        this.clear();
      }
      const last = this.records.at(-1);
      if (record.attempt < this.attempt) continue;
      if (record.attempt === this.attempt && last && record.seq <= last.seq) continue; // seen already
      this.attempt = record.attempt;
      while (this.records.length && this.records.at(-1).seq >= record.seq) {
        const gone = this.records.pop();
        this.kinds.get(kind(gone)).pop();
        changed.add(kind(gone));
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

  /** The lesson's words on a stage, "begin" before it is done and "stage" after; or null. */
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
