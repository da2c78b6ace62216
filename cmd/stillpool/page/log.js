// The list of what happens: newest first, bounded, filtered as one types.

const most = 500; // lines; older ones are let go

export class Log {
  #list;
  #matches;
  #wanted = "";
  #shown = 0; // lines that fit what is wanted

  constructor(list, search, matches) {
    this.#list = list;
    this.#matches = matches;
    search.addEventListener("input", () => this.#filter(search.value));
    this.#filter(search.value); // a browser may bring the old text back on reload
  }

  // add writes a line. The kind is a class of the style sheet.
  add(kind, words) {
    const now = new Date();
    const line = document.createElement("li");
    line.className = kind;
    const time = document.createElement("time");
    time.dateTime = now.toISOString();
    time.textContent = clock(now);
    const text = document.createElement("span");
    text.textContent = words;
    line.append(time, text);
    this.#list.prepend(line);
    this.#sift(line);
    if (this.#list.childElementCount > most) this.#drop(this.#list.lastElementChild);
    this.#count();
  }

  #drop(line) {
    if (!line.hidden) this.#shown--;
    line.remove();
  }

  #filter(wanted) {
    this.#wanted = wanted.trim().toLowerCase();
    this.#shown = 0;
    for (const line of this.#list.children) this.#sift(line);
    this.#count();
  }

  #sift(line) {
    line.hidden = !line.lastElementChild.textContent.toLowerCase().includes(this.#wanted);
    if (!line.hidden) this.#shown++;
  }

  #count() {
    const all = this.#list.childElementCount;
    this.#matches.textContent = this.#wanted ? `${this.#shown} of ${all} lines` : `${all} lines`;
  }
}

function clock(date) {
  const two = (n) => String(n).padStart(2, "0");
  const ms = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${ms}`;
}
