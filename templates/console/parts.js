// Parts that several views show. Their styles are in console.css.
import { sized } from "./api.js";
import { html, useEffect, useRef, useState } from "./lib.js";
import { complaint, usd } from "./words.js";

export const Icon = ({ path }) =>
  html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${path} /></svg>`;

/** A delivery image; `shown` is its width on the page in CSS pixels. Its place is kept while it loads. */
export function Picture({ src, alt, width, height, shown = 480, eager = false, class: name = "" }) {
  const [broken, setBroken] = useState(false);
  useEffect(() => setBroken(false), [src]);
  if (!src || broken) return html`<span class="picture gone ${name}" role="img" aria-label=${alt}>${broken ? "This image cannot be loaded" : ""}</span>`;
  return html`<img
    class="picture ${name}"
    src=${sized(src, shown * Math.min(2, devicePixelRatio || 1))}
    alt=${alt}
    width=${width}
    height=${height}
    loading=${eager ? "eager" : "lazy"}
    decoding="async"
    dir="auto"
    onError=${() => setBroken(true)}
  />`;
}

/** A verdict that covers no more of the prompt than this did not judge the main subject. */
export const MAIN_SUBJECT = 0.5;

/** A verdict. Where the judge could only measure, it says so instead of "Pass". */
export function Verdict({ verdict, judgment = verdict?.judgment, status = verdict?.judgeStatus, coverage = verdict?.coverage }) {
  if (judgment === "pass" && (coverage ?? 1) <= MAIN_SUBJECT) {
    return html`<span class="tag" title="The judge could measure some of it, and not see its main subject">Measured</span>`;
  }
  if (judgment === "pass") return html`<span class="tag pass">Pass</span>`;
  if (judgment === "fail") return html`<span class="tag fail">Fail</span>`;
  return status ? html`<span class="tag">Not judged</span>` : null;
}

/** An error in words, with a way to try again where there is one. */
export function Problem({ error, retry = null }) {
  if (!error) return null;
  return html`<div class="problem" role="alert">
    <p>${complaint(error)}</p>
    ${retry && html`<button class="quiet" onClick=${retry}>Try again</button>`}
    ${error.correlationId && html`<p class="small soft">Reference <code>${error.correlationId.slice(0, 12)}</code></p>`}
  </div>`;
}

/** What to do where there is nothing yet. */
export const Empty = ({ title, children }) => html`<div class="empty"><h2>${title}</h2>${children}</div>`;

/** Bars in the place of what is being loaded. */
export const Waiting = ({ label = "Loading" }) =>
  html`<div class="waiting" role="status"><span class="unseen">${label}</span><i></i><i></i><i></i></div>`;

/** How much of a budget is used: `spent` and `held` of `budget` dollars, and what is being `planned`. */
export function BudgetMeter({ budget, spent, held = 0, planned = 0 }) {
  if (budget === null || budget === undefined) {
    return html`<p class="small soft">Spent ${usd(spent)} · no budget is set</p>`;
  }
  const part = (amount) => ({ width: `${budget > 0 ? Math.min(100, (100 * amount) / budget) : 100}%` });
  const left = budget - spent - held;
  return html`<div class="meter" data-over=${planned > left}>
    <div class="track" role="meter" aria-label="Budget used" aria-valuemin="0" aria-valuemax=${budget} aria-valuenow=${spent + held}>
      <i class="spent" style=${part(spent)}></i><i class="held" style=${part(held)}></i><i class="planned" style=${part(planned)}></i>
    </div>
    <p class="small soft">${usd(left)} of ${usd(budget)} left${held > 0 ? ` · ${usd(held)} held for running images` : ""}</p>
  </div>`;
}

/** A dialog of the platform: focus stays inside, Escape closes. */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef(null);
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title" onClose=${onClose} onClick=${(event) => event.target === dialog.current && onClose()}>
    <div class="dialog">
      <header><h2 id="dialog-title">${title}</h2><button class="plain" aria-label="Close" onClick=${onClose}>×</button></header>
      ${children}
    </div>
  </dialog>`;
}
