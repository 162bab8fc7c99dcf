// A job as it happens: a grid of models and variants that fills, and the jobs before it.
import { post } from "../api.js";
import { html, useEffect, useState } from "../lib.js";
import { Dialog, Empty, Picture, Problem, Verdict, Waiting } from "../parts.js";
import { useProject } from "../project.js";
import { go, link } from "../views.js";
import { ENDED, STAGE, STATUS, ago, outcome, plural, took, usd } from "../words.js";

const RETRYABLE = new Set(["failed", "refused", "uncertain", "cancelled"]);

export default function Live({ route }) {
  const project = useProject();
  const job = route.id ? project.jobs.find((each) => each.jobId === route.id) : project.jobs[0];
  const wanted = route.id ?? job?.jobId ?? null;
  useEffect(() => { if (wanted && project.store) project.store.refresh(wanted); }, [wanted, project.store]);
  if (project.error && !project.ready) return html`<${Problem} error=${project.error} />`;
  if (!project.ready && !job) return html`<${Waiting} label="Loading the jobs" />`;
  if (!wanted) {
    return html`<${Empty} title="Nothing has been made in this project yet.">
      <p class="soft">What you make appears here while it is being made.</p>
      <a class="strong" href=${link("make", { projectId: project.id })}>Make images</a>
    <//>`;
  }
  return html`${job ? html`<${Job} key=${job.jobId} job=${job} project=${project} />` : html`<${Waiting} label="Loading the job" />`}
    <${Earlier} jobs=${project.jobs} current=${wanted} projectId=${project.id} />`;
}

function Job({ job, project }) {
  const [error, setError] = useState(null);
  const [retrying, setRetrying] = useState(null);
  const running = !ENDED.has(job.status);
  const done = job.items.filter((item) => ENDED.has(item.status)).length;
  const rows = new Map();
  for (const item of job.items) {
    const key = `${item.provider} ${item.model}`;
    rows.set(key, [...(rows.get(key) ?? []), item]);
  }
  const cancel = () => post(`api/jobs/${encodeURIComponent(job.jobId)}/cancel`).then(() => project.store.refresh(job.jobId), setError);
  return html`<article class="job">
    <header>
      <p class="eyebrow">${running ? `${done} of ${plural(job.items.length, "image")}` : STATUS[job.status]}${job.retryOf ? " · a retry" : ""}</p>
      <h1 class="words" dir="auto">${job.prompt}</h1>
      <div class="row small soft numbers">
        <span>${ago(job.createdAt)}</span>
        ${job.endedAt && job.startedAt && html`<span>${took(job.endedAt - job.startedAt)}</span>`}
        <span>${job.cost.total > 0 ? usd(job.cost.total) : running ? "" : "Free"}</span>
        ${job.request.size && html`<span>${job.request.size.replace("x", " × ")}</span>`}
        ${running && html`<button class="quiet" onClick=${cancel}>Cancel</button>`}
        ${!running && html`<a href=${link("make", { projectId: job.projectId, params: { prompt: job.prompt } })}>Use this prompt again</a>`}
      </div>
      ${running && html`<div class="bar" role="progressbar" aria-label="The whole job" aria-valuemin="0" aria-valuemax="100" aria-valuenow=${percent(job)}><i style=${{ width: `${percent(job)}%` }}></i></div>`}
      <${Problem} error=${error} />
    </header>
    ${[...rows].map(([key, items]) => html`<section key=${key} aria-label=${key}>
      <h2 class="maker">${items[0].provider} <span class="soft">${items[0].model}</span></h2>
      <ul class="tiles">${items.map((item) => html`<${Tile} key=${item.itemId} item=${item} job=${job} image=${project.images[item.progressionId]} onRetry=${() => setRetrying(item)} />`)}</ul>
    </section>`)}
    ${retrying && html`<${Retry} job=${job} item=${retrying} image=${project.images[retrying.progressionId]} onClose=${() => setRetrying(null)} />`}
  </article>`;
}

const percent = (job) => Math.round((100 * job.items.reduce((sum, item) => sum + (ENDED.has(item.status) ? 1 : item.progress), 0)) / job.items.length);

/** The verdict on an item: as an event told it, or as the stored image has it. */
function verdictOf(item, image) {
  if (item.verdict) return item.verdict;
  if (!image) return null;
  return { judgment: image.judgment, judgeStatus: image.judge_status, coverage: image.coverage, notes: image.ai_notes, criteria: image.criteria, retrySuggestion: image.retry_suggestion };
}

function costOf(item) {
  const paid = item.attempts.filter((call) => call.costUsd !== null);
  const sum = paid.reduce((all, call) => all + call.costUsd, 0);
  return sum > 0 ? usd(sum) : null;
}

function timeOf(item) {
  const began = item.startedAt ?? item.attempts[0]?.createdAt;
  const ended = item.endedAt ?? item.attempts.at(-1)?.settledAt;
  return began && ended && ENDED.has(item.status) ? took(ended - began) : null;
}

function Tile({ item, job, image, onRetry }) {
  const [width, height] = image ? [image.width, image.height] : (job.request.size ?? "1x1").split("x").map(Number);
  const own = item.status !== "duplicate";
  const src = own ? (item.imageUrl ?? image?.generated_image_url) : null;
  const verdict = own ? verdictOf(item, image) : null;
  const judged = verdict?.judgment === "fail";
  const original = job.items.find((each) => each.itemId === item.duplicateOf);
  const ended = ENDED.has(item.status);
  const name = `${item.provider} ${item.model}, variant ${item.variantIndex + 1}`;
  const facts = [timeOf(item), costOf(item)].filter(Boolean);
  return html`<li class="tile" data-status=${item.status}>
    <div class="frame" style=${{ aspectRatio: `${width} / ${height}` }}>
      ${src
        ? html`<a href=${item.progressionId ? link("image", { projectId: job.projectId, id: item.progressionId }) : null}>
            <${Picture} src=${src} alt=${job.prompt} width=${width} height=${height} shown=${512} eager=${true} /></a>`
        : item.previewUrl && !ended
          ? html`<${Picture} src=${item.previewUrl} alt="Preview: ${job.prompt}" width=${width} height=${height} shown=${512} eager=${true} class="preview" />`
          : html`<div class="blank">${ended ? html`<b>${STATUS[item.status]}</b>` : html`<span class="soft">${STATUS[item.status]}</span>`}</div>`}
      ${!ended && html`<div class="bar" role="progressbar" aria-label=${name} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(item.progress * 100)}><i style=${{ width: `${item.progress * 100}%` }}></i></div>`}
    </div>
    <div class="line">
      <span class="soft small">${ended ? `Variant ${item.variantIndex + 1}` : (STAGE[item.stage] ?? STATUS[item.status])}</span>
      ${ended && own && src && html`<${Verdict} verdict=${verdict} />`}
      ${ended && !src && html`<span class="tag ${item.status === "duplicate" || item.status === "cancelled" ? "" : "fail"}">${STATUS[item.status]}</span>`}
    </div>
    ${item.fallback && html`<p class="small soft">Made by ${item.fallback.provider} instead, because of ${item.fallback.because}.</p>`}
    ${ended && !src && html`<p class="small">${item.status === "duplicate" && original ? `The same as variant ${original.variantIndex + 1} of ${original.provider}, which is kept.` : outcome(item)}</p>`}
    ${(item.adjustments ?? image?.adjustments ?? []).map((note) => html`<p class="small told" key=${note}>${note}</p>`)}
    ${judged && html`<ul class="notes small" dir="auto">${verdict.notes.slice(0, 3).map((note) => html`<li key=${note}>${note}</li>`)}</ul>`}
    <div class="line numbers small soft">
      <span>${facts.join(" · ")}</span>
      ${(RETRYABLE.has(item.status) || judged) && ENDED.has(job.status) && html`<button class="quiet small" onClick=${onRetry} aria-label=${`Try ${name} again`}>Try again</button>`}
      ${ended && own && src && !judged && html`<a href=${link("make", { projectId: job.projectId, params: { start: `progression:${item.progressionId}` } })} aria-label=${`Start from ${name}`}>Start from this</a>`}
    </div>
  </li>`;
}

/** Asks for the prompt of another try; the judge's suggestion is in it, and can be edited. */
function Retry({ job, item, image, onClose }) {
  const suggestion = verdictOf(item, image)?.retrySuggestion ?? null;
  const merged = suggestion ? `${job.prompt}\n\n${suggestion}` : job.prompt;
  const [prompt, setPrompt] = useState(merged);
  const [error, setError] = useState(null);
  const send = (event) => {
    event.preventDefault();
    const body = prompt === merged && suggestion ? { useSuggestion: true } : { prompt };
    post(`api/jobs/${encodeURIComponent(job.jobId)}/items/${encodeURIComponent(item.itemId)}/retry`, body).then((made) => {
      onClose();
      go("live", { projectId: job.projectId, id: made.jobId });
    }, setError);
  };
  return html`<${Dialog} title="Try again" onClose=${onClose}>
    <form class="retry" onSubmit=${send}>
      <p class="small soft">${item.provider} ${item.model} makes one new image.${suggestion ? " The judge's suggestion is in the prompt; change it as you like." : ""}</p>
      ${item.status === "uncertain" && html`<p class="small no">The first call may have been bought: a new one may be paid a second time.</p>`}
      <label for="retry-prompt">Prompt</label>
      <textarea id="retry-prompt" dir="auto" rows="7" maxlength="8000" required value=${prompt} onInput=${(event) => setPrompt(event.target.value)}></textarea>
      <${Problem} error=${error} />
      <button class="strong">Try again</button>
    </form>
  <//>`;
}

function Earlier({ jobs, current, projectId }) {
  const others = jobs.filter((job) => job.jobId !== current);
  if (!others.length) return null;
  return html`<section class="earlier" aria-label="Other jobs">
    <h2>Other jobs</h2>
    <ol>${others.map((job) => html`<li key=${job.jobId}><a href=${link("live", { projectId, id: job.jobId })}>
      <span class="words" dir="auto">${job.prompt}</span>
      <span class="small soft numbers">${plural(job.items.length, "image")} · ${ago(job.createdAt)}</span>
      ${job.status !== "complete" && html`<span class="tag ${ENDED.has(job.status) ? "fail" : "wait"}">${STATUS[job.status]}</span>`}
    </a></li>`)}</ol>
  </section>`;
}
