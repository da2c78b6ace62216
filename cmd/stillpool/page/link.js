// The connection: one WebSocket at a time, opened again by itself when it is lost.

const first = 500; // ms before the first new attempt
const most = 15_000; // ms between attempts at most

// backoff is the wait before attempt n (0, 1, 2, …): it doubles, and half of it is left to chance,
// so that pages that lost one server together don't come back together.
export function backoff(n, chance = Math.random()) {
  const whole = Math.min(most, first * 2 ** n);
  return whole / 2 + (whole / 2) * chance;
}

// Link tells `on` what happens: on.state(name, detail) for every change of state, and
// on.message(data, time) for every message, with the time it came in.
export class Link {
  #url;
  #on;
  #socket = null;
  #timer = 0;
  #attempt = 0;
  #wanted = false; // whether the user wants a connection
  #opened = false; // whether the present one came about
  state = "closed";

  constructor(url, on) {
    this.#url = url;
    this.#on = on;
    // There is no point in waiting any longer when the network or the user comes back.
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
  }

  open() {
    if (this.#socket) return;
    this.#wanted = true;
    this.#attempt = 0;
    this.#connect();
  }

  // close ends the connection, or the waiting for one.
  close() {
    this.#wanted = false;
    clearTimeout(this.#timer);
    if (!this.#socket) return this.#become("closed", {});
    this.#become("closing", {});
    this.#socket.close(1000, "closed by the user");
  }

  // send answers whether the connection was open to take it.
  send(text) {
    if (this.state !== "open") return false;
    this.#socket.send(text);
    return true;
  }

  #become(state, detail) {
    this.state = state;
    this.#on.state(state, detail);
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#opened = false;
    this.#become("connecting", { attempt: this.#attempt });
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#opened = true;
      if (this.#wanted) this.#become("open", {});
    };
    socket.onmessage = (event) => {
      // Only a message proves that the server is well: one that accepts and drops would else be
      // asked again and again without a pause.
      this.#attempt = 0;
      this.#on.message(event.data, event.timeStamp);
    };
    socket.onclose = (event) => this.#closed(event);
  }

  #closed({ code, reason }) {
    this.#socket = null;
    const end = { code, reason, opened: this.#opened };
    if (!this.#wanted) return this.#become("closed", end);
    const wait = backoff(this.#attempt++);
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#become("lost", { ...end, wait });
  }

  #hurry() {
    if (this.#wanted && !this.#socket) this.#connect();
  }
}

const meanings = {
  1000: "normal closure",
  1001: "the server is going away",
  1002: "protocol error",
  1003: "data it can't accept",
  1005: "no code given",
  1006: "no closing handshake",
  1007: "text that is not UTF-8",
  1008: "against the server's policy",
  1009: "message too big",
  1011: "the server failed",
  1012: "the server restarts",
  1013: "try again later",
};

// why puts a close code and its reason in words.
export function why({ code, reason }) {
  if (code === undefined) return "";
  const words = reason || meanings[code];
  return words ? `${code}, ${words}` : `${code}`;
}
