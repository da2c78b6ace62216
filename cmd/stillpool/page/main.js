// The page: puts the connection, the list, the picture and the counts together.

import { Link, why } from "./link.js";
import { Log } from "./log.js";
import { History, summary, ms } from "./lateness.js";
import { Picture } from "./picture.js";

const $ = (id) => document.getElementById(id);
const stuff = JSON.stringify({ msg: "stuff!" });
const glance = 5000; // ms between two looks at the server's own counts

const log = new Log($("logs"), $("search"), $("matches"));
const history = new History(1000); // ms; the server says what it is, see look()
const picture = new Picture($("lateness"));
const link = new Link(new URL("ws", location.href.replace(/^http/, "ws")), { state: changed, message: came });
const counts = { ticks: 0, sent: 0 };
let frame = 0; // that is asked for

function changed(state, detail) {
  if (state === "open") history.opened(performance.now());
  const words = sentence(state, detail);
  $("state").dataset.state = state;
  $("state").textContent = words;
  log.add(state === "open" ? "good" : state === "lost" ? "bad" : "state", words);
  enable("open", state === "closed" || state === "lost");
  enable("close", state !== "closed" && state !== "closing");
  enable("send", state === "open");
  if (state === "open") look();
}

function sentence(state, detail) {
  switch (state) {
    case "connecting": return detail.attempt ? `Connecting, attempt ${detail.attempt + 1}` : "Connecting";
    case "open": return "Open";
    case "closing": return "Closing";
    case "lost": return `${detail.opened ? "Lost" : "Not reached"} (${why(detail)}). Trying again in ${(detail.wait / 1000).toFixed(1)} s`;
    default: return detail.code === undefined ? "Closed" : `Closed (${why(detail)})`;
  }
}

function came(data, at) {
  count("ticks");
  history.came(at);
  const { points } = history.view(performance.now());
  log.add("came", `${data} (${ms(points.at(-1).late)} late)`);
  draw();
}

function send() {
  if (!link.send(stuff)) return;
  count("sent");
  log.add("sent", `Sent ${stuff}`);
  setTimeout(look, 200); // by then the server has counted it
}

// draw draws with the next frame, however many messages come before it.
function draw() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const now = performance.now();
    const view = history.view(now);
    picture.draw(view, now);
    $("lateness-summary").textContent = summary(view.points);
  });
}

// look asks the server for its counts. What it doesn't answer is left as it was: whether the
// server is there is for the connection to say.
async function look() {
  if (link.state !== "open" || document.hidden) return;
  try {
    const answer = await fetch("stats", { cache: "no-store" });
    if (!answer.ok) return;
    const stats = await answer.json();
    history.every = stats.every_ms;
    show("counted", stats.stuff);
    show("connections", stats.connections);
    show("written", stats.ticks);
    show("skipped", stats.skipped);
  } catch { /* the connection will tell */ }
}

function count(name) {
  show(name, ++counts[name]);
}

function show(id, value) {
  $(id).textContent = value.toLocaleString("en");
}

// Not `disabled`, which would take the keyboard's focus from a button that was just pressed.
function enable(id, able) {
  $(id).setAttribute("aria-disabled", String(!able));
}

function press(id, act) {
  $(id).addEventListener("click", () => $(id).getAttribute("aria-disabled") !== "true" && act());
}

press("open", () => link.open());
press("close", () => link.close());
press("send", send);
new ResizeObserver(draw).observe($("lateness"));
setInterval(draw, 1000); // time goes on without messages, too
setInterval(look, glance);
link.open();
