// Makes elements. `h("p", { class: "quiet" }, "text", child)`; what is null or false is left out.

const SVG = "http://www.w3.org/2000/svg";

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (["value", "checked", "htmlFor", "indeterminate"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, attributes, ...children) => made(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => made(document.createElementNS(SVG, tag), attributes, children);

export function replace(parent, ...children) {
  parent.replaceChildren(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
}

/** Says a thing once, to eyes and to screen readers, and takes it back after a while. */
export function say(text) {
  const said = document.getElementById("said");
  said.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (said.textContent = ""), 6000);
}

/** What went wrong, in the service's own words. */
export function complain(error) {
  if (error.name !== "AbortError") say(error.message);
}

/** Asks before something that cannot be undone; resolves to true if it shall be. */
export function confirmed(question, detail, action) {
  return new Promise((resolve) => {
    const close = (answer) => () => { dialog.close(); dialog.remove(); resolve(answer); };
    const dialog = h("dialog", { "aria-labelledby": "question", oncancel: close(false) },
      h("h2", { id: "question" }, question), h("p", {}, detail),
      h("div", { class: "row" },
        h("button", { type: "button", class: "grave", onclick: close(true) }, action),
        h("button", { type: "button", autofocus: true, onclick: close(false) }, "Keep it")));
    document.body.append(dialog);
    dialog.showModal();
  });
}
