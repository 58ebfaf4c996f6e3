"use strict";
const at = (id) => document.getElementById(id);
const make = (tag, text, parent) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
};
const fold = (title, value, parent) => {
  const details = make("details", undefined, parent);
  make("summary", title, details);
  make("pre", JSON.stringify(value, null, 2), details);
};
fetch("/openapi.json").then((answer) => answer.json()).then((api) => {
  at("about").textContent = `${api.info.description} Version ${api.info.version}.`;
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const heading = make("h3", undefined, at("paths"));
      make("span", method.toUpperCase(), heading).className = "method";
      make("code", path, heading);
      make("p", operation.summary, at("paths"));
      if (operation.description) make("p", operation.description, at("paths"));
      if (operation.requestBody) fold("request", operation.requestBody.content, at("paths"));
      fold("answers", operation.responses, at("paths"));
    }
  }
  for (const [name, schema] of Object.entries(api.components.schemas)) fold(name, schema, at("types"));
});
at("run").addEventListener("click", async () => {
  const headers = { "content-type": "application/json" };
  if (at("key").value) headers.authorization = `Bearer ${at("key").value}`;
  at("answer").textContent = "…";
  try {
    const answer = await fetch("/v1/run", { method: "POST", headers, body: JSON.stringify({ code: at("code").value }) });
    at("answer").textContent = JSON.stringify(await answer.json(), null, 2);
  } catch (error) {
    at("answer").textContent = String(error);
  }
});
