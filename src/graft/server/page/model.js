// Try a classifier: a text typed, or a picture chosen, dropped or pasted; labels with their probabilities, or "unsure".

import { $, busy, links, make, number, percent, pictureIn, send, sendPicture, served } from "./parts.js";

let model, shown, asked;

function fail(error) {
  if (error.name === "AbortError") return;
  busy(false);
  $("answer").replaceChildren();
  $("message").hidden = false;
  $("message").replaceChildren(make("h2", { textContent: "That did not work" }), make("p", { textContent: error.message }));
}

function show({ label, probability, top }) {
  const head = label === null
    ? [make("p", { className: "verdict unsure", textContent: "Unsure" }),
       make("p", { className: "hint", textContent: `The likeliest label has ${percent(probability)}; below ${percent(model.threshold)} this model gives none.` })]
    : [make("p", { className: "verdict", textContent: label }), make("p", { className: "hint", textContent: `${percent(probability)} sure` })];
  const rows = top.map(([name, p]) => {
    const fill = make("span", { className: "fill" });
    fill.style.width = `${100 * p}%`;
    return make("li", {}, make("span", { className: "name", textContent: name }), make("span", { className: "track" }, fill),
      make("span", { className: "share", textContent: percent(p) }));
  });
  $("answer").replaceChildren(...head, make("ol", { className: "labels" }, ...rows));
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
  if (!model) throw new Error("No classifier and no index is served.");
  links(all, `models/${model.name}`);
  document.title = `${model.name} · Graft`;
  $("title").textContent = model.name;
  const some = model.classes.slice(0, 6).join(", ") + (model.classes.length > 6 ? ` and ${number(model.classes.length - 6)} more` : "");
  $("lead").textContent = `Gives ${model.modality === "text" ? "a text" : "a picture"} one of ${number(model.classes.length)} labels: ${some}.`;
  $("facts").textContent = `${model.strategy} on ${model.encoder}` + (model.threshold ? `; unsure below ${percent(model.threshold)}` : "");
  $("texts").hidden = model.modality !== "text";
  $("zone").hidden = model.modality !== "image";
  listen();
  if (model.modality === "text") $("text").focus();
}

begin().catch(fail);
