// Lateness: how long after its due time each message came. Pure, no clock and no document.
//
// The server writes on a steady schedule whose phase it doesn't tell, so both the phase and the
// slot of every message are worked out from when the messages came.

// anchor finds the phase of the schedule: the one of the messages' own phases after which, all in
// all, they came the least late. This is the earliest phase, unless so few messages have it that
// calling them early would be calling all others late.
export function anchor(times, every) {
  if (times.length === 0) return 0;
  const start = times[0];
  const phases = times.map((t) => (((t - start) % every) + every) % every).sort((a, b) => a - b);
  let best = 0;
  let least = Infinity;
  phases.forEach((phase, k) => {
    // The sum of all lateness if the schedule starts here: the k phases before it wrap round.
    const sum = k * every - phases.length * phase;
    if (sum < least) [best, least] = [phase, sum];
  });
  return start + best;
}

// lateness answers, for the ascending times at which messages came, how late each was, in the
// times' unit. Every message belongs to a slot of its own: counted from the newest back, the last
// slot that is still free and was due by then. So a gap is a message that was never written, and
// messages that come in one burst after a stall are late by what the stall cost each of them.
export function lateness(times, every) {
  const due = anchor(times, every);
  const late = new Array(times.length);
  let slot = Infinity;
  for (let i = times.length - 1; i >= 0; i--) {
    // The hair's breadth makes up for rounding: the message at the anchor itself is not late.
    slot = Math.min(slot - 1, Math.floor((times[i] - due) / every + 1e-6));
    late[i] = Math.max(0, times[i] - due - slot * every);
  }
  return late;
}

// History keeps the messages of the last `span` ms, at most `most` of them. A connection opened
// anew has a schedule of its own, so what came before it is set down for good.
export class History {
  #past = []; // {at, late} of earlier connections
  #times = []; // arrivals on the present one
  #opened = [];

  constructor(every, span = 180_000, most = 2000) {
    this.every = every;
    this.span = span;
    this.most = most;
  }

  opened(at) {
    this.#past = this.#points();
    this.#times = [];
    this.#opened.push(at);
  }

  came(at) {
    this.#times.push(at);
  }

  // view forgets what is too old at `now`, and answers the rest.
  view(now) {
    const from = now - this.span;
    const spare = this.#past.length + this.#times.length - this.most;
    this.#past = this.#past.slice(Math.max(0, spare)).filter((p) => p.at >= from);
    this.#times = this.#times.slice(-this.most).filter((t) => t >= from);
    this.#opened = this.#opened.filter((t) => t >= from);
    return { points: this.#points(), opened: this.#opened };
  }

  #points() {
    const late = lateness(this.#times, this.every);
    return this.#past.concat(this.#times.map((at, i) => ({ at, late: late[i] })));
  }
}

// summary is what the picture says, in words.
export function summary(points) {
  if (points.length === 0) return "Waiting for messages.";
  const sorted = points.map((p) => p.late).sort((a, b) => a - b);
  const median = sorted[Math.floor((sorted.length - 1) / 2)];
  return `last ${ms(points.at(-1).late)} · median ${ms(median)} · worst ${ms(sorted.at(-1))}`;
}

export function ms(value) {
  return `${value < 100 ? value.toFixed(1) : Math.round(value)} ms`;
}
