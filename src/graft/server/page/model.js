// Try a model: a text typed, or a picture chosen, dropped or pasted; labels with their probabilities or "unsure", or a value with its interval.

import { $, busy, links, make, number, percent, pictureIn, send, sendPicture, served } from "./parts.js";

let model, shown, asked;

function fail(error) {
  if (error.name === "AbortError") return;
  busy(false);
  $("answer").replaceChildren();
  $("message").hidden = false;
  $("message").replaceChildren(make("h2", { textContent: "That did not work" }), make("p", { textContent: error.message }));
}

function show(answer) {
  const [head, told, listed] = (HEADS[model.task] || classHead)(answer);
  const rows = listed.map(([name, p]) => {
    const fill = make("span", { className: "fill" });
    fill.style.width = `${100 * p}%`;
    return make("li", {}, make("span", { className: "name", textContent: name }), make("span", { className: "track" }, fill),
      make("span", { className: "share", textContent: percent(p) }));
  });
  $("answer").replaceChildren(head, make("p", { className: "hint", textContent: told }), make("ol", { className: "labels" }, ...rows));
}

const verdict = (textContent, kind = "") => make("p", { className: `verdict ${kind}`.trim(), textContent });

function classHead({ label, probability, top }) {
  return label === null
    ? [verdict("Unsure", "unsure"), `The likeliest label has ${percent(probability)}; below ${percent(model.threshold)} this model gives none.`, top]
    : [verdict(label), `${percent(probability)} sure`, top];
}

// What stands for each task: the answer, what is said of it, and the bars.
const figure = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });
const between = (low, high, written) => low === null ? "No interval: too few items were fitted on to promise one."
  : `${percent(model.coverage)} interval: ${low === high ? written(low) : `${written(low)} to ${written(high)}`}`;
const HEADS = {
  number: ({ value, low, high }) => [verdict(figure(value)), between(low, high, figure), []],
  count: ({ value, low, high }) => [verdict(figure(value)), `on average; ${between(low, high, number)}`, []],
  ordinal: ({ labels, low, high, probabilities }) => [verdict(labels[0]), between(low, high, (place) => model.classes[place]), probabilities],
  multilabel: ({ labels, probabilities }) => [labels.length ? verdict(labels.join(", ")) : verdict("None of them", "unsure"), "The likeliest labels:", probabilities],
};

function gives() {
  const item = model.modality === "text" ? "a text" : "a picture", many = model.classes.length;
  const some = model.classes.slice(0, 6).join(", ") + (many > 6 ? ` and ${number(many - 6)} more` : "");
  return {
    number: `Answers ${item} with a number and its interval.`,
    count: `Answers ${item} with a count: the rate to expect, and an interval of whole numbers.`,
    ordinal: `Gives ${item} one of ${number(many)} ordered levels: ${some}.`,
    multilabel: `Gives ${item} any of ${number(many)} labels: ${some}.`,
  }[model.task] || `Gives ${item} one of ${number(many)} labels: ${some}.`;
}

async function label(request) {
  asked?.abort();
  asked = new AbortController();
  $("message").hidden = true;
  busy(true);
  try {
    show((await request(asked.signal)).predictions[0]);
    busy(false);
  } catch (error) { fail(error); }
}

const path = () => `/v1/models/${encodeURIComponent(model.name)}/predict`;

function labelPicture(file) {
  if (!file || model.modality !== "image") return;
  if (shown) URL.revokeObjectURL(shown);
  shown = URL.createObjectURL(file);
  $("preview").src = shown;
  $("preview").hidden = false;
  label((signal) => sendPicture(`${path()}/upload`, file, { top: "5" }, signal));
}

function labelText() {
  const text = $("text").value;
  if (text.trim()) label((signal) => send(path(), { texts: [text], top: 5 }, signal));
}

function listen() {
  $("form").addEventListener("submit", (event) => { event.preventDefault(); labelText(); });
  $("text").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) labelText(); });
  $("file").addEventListener("change", () => labelPicture($("file").files[0]));
  document.addEventListener("paste", (event) => labelPicture(pictureIn(event.clipboardData.files)));
  document.addEventListener("dragover", (event) => { event.preventDefault(); $("zone").classList.add("over"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("zone").classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("zone").classList.remove("over");
    labelPicture(pictureIn(event.dataTransfer.files));
  });
}

async function begin() {
  const named = decodeURIComponent(location.pathname.split("/")[2] || "");
  const all = await served();
  model = all.models.find((each) => each.name === named) || all.models[0];
  if (!model) throw new Error("No model and no index is served.");
  links(all, `models/${model.name}`);
  document.title = `${model.name} · Graft`;
  $("title").textContent = model.name;
  $("lead").textContent = gives();
  $("go").textContent = HEADS[model.task] ? "Answer" : "Label it";
  $("facts").textContent = `${model.strategy} on ${model.encoder}` + (model.threshold ? `; unsure below ${percent(model.threshold)}` : "");
  $("texts").hidden = model.modality !== "text";
  $("zone").hidden = model.modality !== "image";
  listen();
  if (model.modality === "text") $("text").focus();
}

begin().catch(fail);
