// One item at a time, a key a label. An answer is shown as given when the server has it on disk, never before.

import { $, ask, busy, make, number, send } from "./parts.js";

const KEYS = [..."123456789abcdefghijklmnopqrstuvwxyz"];
const GLANCE = 110; // milliseconds for which the answer that was given stays to be seen
let state, shown, waiting = false, filter = null;

const item = () => state?.next[0];

function tell(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

async function work(request, after) {
  if (waiting) return;
  waiting = true;
  busy(true);
  try {
    state = await request();
    if (after) await after();
    tell("");
  } catch (error) {
    if (error.status === 409 || error.status === 404) {
      state = await ask("/v1/labelling").catch(() => state);
      tell(error.message, true);
    } else {
      tell(error.status === 0 ? "The server does not answer: this label is not saved. Is it still running?" : error.message, true);
    }
  } finally {
    waiting = false;
    busy(false);
  }
  show();
}

function give(label, fresh = false) {
  const asked = item();
  if (!asked) return;
  close();
  work(() => send("/v1/answers", { item: asked.key, label, new: fresh }), () => glance(label));
}

// The button lights up for a moment, so that a slip of the finger is seen.
function glance(label) {
  const button = [...document.querySelectorAll("#classes button")].find((each) => each.dataset.name === label);
  if (!button) return undefined;
  button.classList.add("given");
  return new Promise((done) => setTimeout(done, GLANCE));
}

const undo = () => work(() => send("/v1/undo", { item: state.last.key })); // the one that is shown, whatever another window answered since
const more = () => work(() => send("/v1/batches", {}));

function matching() {
  const words = (filter ?? "").trim().toLowerCase();
  const found = state.classes.map(({ name, count }, place) => ({ name, count, key: KEYS[place] }));
  if (!words) return found;
  const starts = ({ name }) => name.toLowerCase().startsWith(words);
  return found.filter(({ name }) => name.toLowerCase().includes(words)).sort((a, b) => starts(b) - starts(a));
}

function classes() {
  $("classes").replaceChildren(...matching().map(({ name, count, key }) => {
    const button = make("button", { type: "button", title: name, onclick: () => give(name) },
      make("kbd", { textContent: key?.toUpperCase() ?? "·" }), make("span", { className: "word", textContent: name }),
      make("span", { className: "count", textContent: count ? number(count) : "" }));
    button.dataset.name = name;
    return make("li", {}, button);
  }));
}

function picture(key) {
  const image = $("picture");
  image.onload = () => image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) < 160);
  image.src = `/v1/items/${key}/picture?size=large`;
  for (const next of state.next.slice(1)) new Image().src = `/v1/items/${next.key}/picture?size=large`; // there when it is asked for
}

function show() {
  if (!state) return;
  const asked = item(), { counts } = state;
  document.title = `${state.done}/${state.asked} · ${state.name} · Graft`;
  $("name").textContent = state.name;
  $("done").textContent = `${number(state.done)} of ${number(state.asked)}`;
  $("done").title = `${number(counts.given)} labels stood in the data, ${number(counts.answered)} are yours, ${number(counts.unlabelled)} items have none`;
  $("bar-done").value = state.asked ? state.done / state.asked : 1;
  $("undo").disabled = !state.last;
  $("taken").textContent = state.last ? state.last.label ?? "skipped" : "";
  $("skip").disabled = $("new").disabled = !asked;
  $("find").hidden = state.classes.length <= KEYS.length;
  $("item").hidden = !asked;
  $("classes").hidden = !asked;
  $("message").hidden = Boolean(asked);
  classes();
  if (asked && asked.key !== shown) {
    const words = state.modality === "text";
    $("picture").hidden = words;
    $("text").hidden = !words;
    if (words) {
      $("text").textContent = asked.text;
      $("text").classList.toggle("long", asked.text.length > 600);
      $("text").scrollTop = 0;
    } else picture(asked.key);
    $("id").textContent = words ? "" : asked.id;
    $("reason").textContent = asked.reason;
  }
  shown = asked?.key;
  if (asked && !state.classes.length && $("other").hidden) open("new");
  if (!asked) rest();
}

function rest() {
  const { counts } = state;
  const labelled = counts.given + counts.answered;
  const table = make("p", {}, "The table for ", make("code", { textContent: "graft fit" }), " is ", make("a", { href: "/labels.csv", download: "labels.csv", textContent: "labels.csv" }), ".");
  if (counts.unlabelled > counts.skipped) {
    $("message").replaceChildren(make("h2", { textContent: state.asked ? "This batch is done" : "Nothing to ask for" }),
      make("p", { textContent: `${number(labelled)} of ${number(counts.items)} items have a label. The next are chosen by what these labels tell.` }),
      table, make("button", { className: "go", type: "button", textContent: "Go on (Enter)", onclick: more }));
  } else {
    $("message").replaceChildren(make("h2", { textContent: counts.skipped ? "Nothing is left but what you skipped" : "Everything has a label" }),
      make("p", { textContent: `${number(labelled)} of ${number(counts.items)} items have a label.` }), table);
  }
}

function open(what) {
  if (!item()) return;
  $("other").dataset.what = what;
  $("otherName").textContent = what === "new" ? "New label" : "Find a label";
  $("word").placeholder = what === "new" ? (state.classes.length ? "A new label" : "The first label") : "Find a label";
  $("other").hidden = false;
  $("word").value = "";
  $("word").focus();
}

function close() {
  filter = null;
  if ($("other").hidden) return;
  $("other").hidden = true;
  $("word").blur();
  classes();
}

function submit() {
  const word = $("word").value.trim();
  if (!word) return;
  const same = state.classes.find(({ name }) => name.toLowerCase() === word.toLowerCase());
  if (same) give(same.name);
  else if ($("other").dataset.what === "new") give(word, true);
  else if (matching().length) give(matching()[0].name);
  else tell(`No label has ${word} in it. + makes a new one.`, true);
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !state) return;
  const typing = document.activeElement === $("word");
  if (event.key === "Escape") return close();
  if (typing) return;
  const done = () => event.preventDefault();
  if (event.key === "Backspace" || event.key === "ArrowLeft") return done(), state.last && undo();
  if (event.key === "+") return done(), open("new");
  if (event.key === "/") return done(), open("find");
  if (!item()) {
    if (event.key === "Enter" && document.activeElement.tagName === "BODY" && state.counts.unlabelled > state.counts.skipped) more();
    return;
  }
  if (event.key === " " && document.activeElement.tagName !== "BUTTON") return done(), give(null);
  const place = KEYS.indexOf(event.key.toLowerCase());
  if (place >= 0 && place < state.classes.length && !event.repeat) return done(), give(state.classes[place].name);
}

async function begin() {
  document.addEventListener("keydown", press);
  // A button that was clicked lets go of the focus, or Space and Enter would press it again.
  document.addEventListener("click", (event) => { if (event.detail && event.target.closest("button")) document.activeElement.blur(); });
  $("undo").addEventListener("click", () => state?.last && undo());
  $("skip").addEventListener("click", () => give(null));
  $("new").addEventListener("click", () => open("new"));
  $("find").addEventListener("click", () => open("find"));
  $("other").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  $("word").addEventListener("input", () => { if ($("other").dataset.what === "find") { filter = $("word").value; classes(); } });
  addEventListener("focus", () => { if (!waiting) ask("/v1/labelling").then((fresh) => { state = fresh; show(); }).catch(() => {}); });
  state = await ask("/v1/labelling");
  show();
}

begin().catch((error) => {
  $("message").hidden = false;
  $("message").replaceChildren(make("h2", { textContent: "That did not work" }), make("p", { textContent: error.message }));
});
