// Creates elements: `h("p", { class: "muted" }, "text", child)`. Null and false children are skipped.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = ["value", "checked", "htmlFor", "indeterminate"];

const flatten = (children) => children.flat(3).filter((child) => child !== null && child !== undefined && child !== false);

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...flatten(children));
  return element;
}

export const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => build(document.createElementNS(SVG, tag), attributes, children);

export const replace = (parent, ...children) => parent.replaceChildren(...flatten(children));

/** Shows a message for a few seconds, also to screen readers. */
export function notify(text) {
  const toast = document.getElementById("toast");
  toast.textContent = text;
  clearTimeout(notify.timer);
  notify.timer = setTimeout(() => (toast.textContent = ""), 6000);
}

export function showError(error) {
  if (error.name !== "AbortError") notify(error.message);
}

/** Asks before an action that cannot be undone. Resolves to true if the user confirms. */
export function confirmDialog(question, detail, action) {
  return new Promise((resolve) => {
    const close = (answer) => () => { dialog.close(); dialog.remove(); resolve(answer); };
    const dialog = h("dialog", { "aria-labelledby": "question", oncancel: close(false) },
      h("h2", { id: "question" }, question), h("p", {}, detail),
      h("div", { class: "row" },
        h("button", { type: "button", class: "danger", onclick: close(true) }, action),
        h("button", { type: "button", autofocus: true, onclick: close(false) }, "Cancel")));
    document.body.append(dialog);
    dialog.showModal();
  });
}
