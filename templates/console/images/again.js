// Dialogs that make an image again: with the same request, or with another prompt after a failed verdict.
import { post } from "../api.js";
import { nameOf } from "./facts.js";
import { html, useEffect, useState } from "../lib.js";
import { Dialog, Problem } from "../parts.js";
import { sessionOf } from "../project.js";
import { go } from "../views.js";
import { quoted } from "../words.js";

/** The request of an image's job, narrowed to the model that made it; without its seed, so that another image comes. */
export function sameRequest(job, row) {
  const { startImageUrl, maskImageUrl, referenceImageUrls, size, quality, negativePrompt, strict, kind, prompt } = job.request;
  return {
    prompt, kind, startImageUrl, maskImageUrl, referenceImageUrls, size, quality, negativePrompt, strict,
    parentProgressionId: job.parentProgressionId,
    providers: [{ provider: row.ai_provider, model: row.ai_model }],
    variants: 1,
    sessionId: sessionOf(job.projectId),
  };
}

/** Asks before one more image is made; says what it may cost. */
export function SameAgain({ job, row, onClose }) {
  const [quote, setQuote] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const path = `api/projects/${encodeURIComponent(job.projectId)}/jobs`;
  const body = sameRequest(job, row);
  useEffect(() => { post(path, { ...body, dryRun: true }).then(setQuote, setError); }, []);
  const send = (event) => {
    event.preventDefault();
    setBusy(true);
    post(path, body).then(
      (made) => go("live", { projectId: job.projectId, id: made.jobId }),
      (failure) => { setError(failure); setBusy(false); },
    );
  };
  return html`<${Dialog} title="Same again" onClose=${onClose}>
    <form class="again" onSubmit=${send}>
      <p>${nameOf(row)} makes one more image of the same request, with another seed.</p>
      <p class="soft numbers" aria-live="polite">${quote ? `${quoted(quote.quote)}${quote.fits ? "" : ": this is more than the budget has left."}` : error ? "" : "Asking for the price …"}</p>
      <${Problem} error=${error} />
      <button class="strong" disabled=${busy || !quote?.fits}>${busy ? "Sending" : "Make it"}</button>
    </form>
  <//>`;
}

/** Asks for the prompt of another try; the judge's suggestion is in it, and can be edited. */
export function Retry({ job, row, onClose }) {
  const merged = row.retry_suggestion ? `${job.prompt}\n\n${row.retry_suggestion}` : job.prompt;
  const [prompt, setPrompt] = useState(merged);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const send = (event) => {
    event.preventDefault();
    setBusy(true);
    const body = row.retry_suggestion && prompt === merged ? { useSuggestion: true } : { prompt };
    post(`api/jobs/${encodeURIComponent(row.job_id)}/items/${encodeURIComponent(row.item_id)}/retry`, body).then(
      (made) => go("live", { projectId: row.project_id, id: made.jobId }),
      (failure) => { setError(failure); setBusy(false); },
    );
  };
  return html`<${Dialog} title="Try again" onClose=${onClose}>
    <form class="again" onSubmit=${send}>
      <p class="small soft">${nameOf(row)} makes one new image.${row.retry_suggestion ? " The judge's suggestion is in the prompt; change it as you like." : ""}</p>
      <div><label for="again-prompt">Prompt</label>
        <textarea id="again-prompt" dir="auto" rows="7" maxlength="8000" required value=${prompt} onInput=${(event) => setPrompt(event.target.value)}></textarea></div>
      <${Problem} error=${error} />
      <button class="strong" disabled=${busy}>${busy ? "Sending" : "Try again"}</button>
    </form>
  <//>`;
}
