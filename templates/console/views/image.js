// One image: the picture, what was asked, what the judge saw, what it cost, and where it comes from.
import { post, sized, useGet } from "../api.js";
import { Retry, SameAgain } from "../images/again.js";
import { Changed, EDGE, Large, RowVerdict, costOf, fullDate, nameOf, pixels } from "../images/facts.js";
import { neighbours, rowOf } from "../images/list.js";
import { Frame, ZoomButtons, useZoom, zoomKeys } from "../images/zoom.js";
import { useKeys } from "../keys.js";
import { html, useEffect, useState } from "../lib.js";
import { MAIN_SUBJECT, Picture, Problem, Waiting } from "../parts.js";
import { useProject } from "../project.js";
import { go, link } from "../views.js";
import { ENDED, KIND, plural, took, usd } from "../words.js";

const STRIP = 8;

export default function Image({ route }) {
  const project = useProject();
  const { id, projectId } = route;
  const path = `api/progressions/${encodeURIComponent(id ?? "")}`;
  const found = useGet(path);
  const row = project.images[id] ?? found.value ?? rowOf(id);
  if (!row && found.error) return html`<${Problem} error=${found.error} retry=${found.reload} /><p><a href=${link("library", { projectId })}>To the library</a></p>`;
  if (!row) return html`<${Waiting} label="Loading the image" />`;
  return html`<${Shown} key=${row.id} row=${row} path=${path} projectId=${projectId} />`;
}

function Shown({ row, path, projectId }) {
  const project = useProject();
  const zoom = useZoom();
  const lineage = useGet(`${path}/lineage`);
  const read = useGet(row.job_id ? `api/jobs/${encodeURIComponent(row.job_id)}` : null);
  const job = project.jobs.find((each) => each.jobId === row.job_id) ?? read.value;
  const item = job?.items.find((each) => each.itemId === row.item_id);
  const [dialog, setDialog] = useState(null);
  const [error, setError] = useState(null);
  const [before, after] = neighbours(row.id);
  const [parent] = lineage.value?.ancestors ?? [];
  const open = (id) => id && go("image", { projectId, id });
  const startFrom = () => go("make", { projectId, params: { start: `progression:${row.id}` } });
  const compare = () => go("compare", { projectId, params: { ids: `${parent.id},${row.id}` } });
  const back = (base) => post(`${path}/rollback`, { base }).then((made) => open(made.id), setError);
  const retryable = row.judgment === "fail" && job && item && ENDED.has(job.status);
  useEffect(() => { document.title = `${row.prompt.slice(0, 60)} · picasso`; }, [row.id]);
  useKeys({
    ArrowRight: ["Next image of the library", () => open(after)],
    ArrowLeft: ["Previous image of the library", () => open(before)],
    ...zoomKeys(zoom),
    s: ["Start from this image", startFrom],
    ...(parent ? { c: ["Compare with the image before", compare] } : {}),
    t: ["Lineage as a tree", () => go("lineage", { projectId, id: row.id })],
    Escape: ["Back to the library", () => go("library", { projectId })],
  });
  return html`<article class="image">
    <div class="seen">
      <${Frame} zoom=${zoom} width=${row.width} height=${row.height}><${Large} row=${row} /><//>
      <div class="row under">
        <${ZoomButtons} zoom=${zoom} />
        <span class="row leaf">
          <button class="quiet" disabled=${!before} onClick=${() => open(before)} aria-label="Previous image">←</button>
          <button class="quiet" disabled=${!after} onClick=${() => open(after)} aria-label="Next image">→</button>
          <a href=${link("library", { projectId })} class="plain">Library</a>
        </span>
      </div>
      <${Strip} lineage=${lineage} row=${row} projectId=${projectId} />
    </div>
    <div class="about">
      <header>
        <p class="eyebrow">${EDGE[row.edge]} · ${row.ai_provider}</p>
        <${Prompt} text=${row.prompt} />
      </header>
      <div class="row acts">
        <a class="strong" href=${link("make", { projectId, params: { start: `progression:${row.id}` } })}>Start from this</a>
        ${job && html`<button onClick=${() => setDialog("same")}>Same again</button>`}
        ${retryable && html`<button onClick=${() => setDialog("retry")}>${row.retry_suggestion ? "Retry with suggestion" : "Try again"}</button>`}
        ${parent && html`<button onClick=${compare}>Compare with before</button>`}
      </div>
      <${Problem} error=${error} />
      <${Judged} row=${row} projectId=${projectId} />
      ${row.refined_prompt && row.refined_prompt !== row.prompt && html`<section><h2>Sent to the model</h2>
        <p class="prose changed" dir="auto"><${Changed} before=${row.prompt} text=${row.refined_prompt} /></p></section>`}
      <${Facts} row=${row} job=${job} item=${item} />
      <${Calls} job=${job} item=${item} />
      <section><h2>Files</h2>
        <div class="row">
          <a class="button" href="${path}/original" download>Original</a>
          <a class="button" href=${sized(row.generated_image_url, 2048)} download="${row.id}" target="_blank" rel="noreferrer">Delivery image</a>
        </div>
        <p class="small soft">The original is byte for byte what the vendor sent; pages and links show the delivery image only.</p>
      </section>
      <section><h2>Return</h2>
        <div class="row">
          <button onClick=${() => back("original")}>Continue from this image</button>
          ${row.start_image_r2_key && html`<button onClick=${() => back("start")}>Continue from its start image</button>`}
        </div>
        <p class="small soft">Makes a new version with the same bytes, after this one; nothing is bought and nothing is lost.</p>
      </section>
    </div>
    ${dialog === "same" && html`<${SameAgain} job=${job} row=${row} onClose=${() => setDialog(null)} />`}
    ${dialog === "retry" && html`<${Retry} job=${job} row=${row} onClose=${() => setDialog(null)} />`}
  </article>`;
}

const LONG = 220;

function Prompt({ text }) {
  const [whole, setWhole] = useState(false);
  if (text.length <= LONG) return html`<h1 dir="auto">${text}</h1>`;
  return html`<h1 dir="auto" class="long" data-whole=${whole}>${text}</h1>
    <button class="plain small" aria-expanded=${whole} onClick=${() => setWhole(!whole)}>${whole ? "Less" : "The whole prompt"}</button>`;
}

function Judged({ row, projectId }) {
  const covered = row.coverage === null || row.coverage === undefined ? null : Math.round(row.coverage * 100);
  const met = row.criteria.filter((one) => one.met).length;
  return html`<section class="judged">
    <h2>Verdict</h2>
    <p class="row"><${RowVerdict} row=${row} />
      ${row.criteria.length > 0 && html`<span class="small soft numbers">${met} of ${plural(row.criteria.length, "requirement")} met</span>`}
      ${row.judgment && covered !== null && html`<span class="small soft numbers">covers ${covered} % of what was asked</span>`}
      ${!row.judgment && row.judge_status === "error" && html`<span class="small soft">The judge could not be asked.</span>`}</p>
    ${row.judgment === "pass" && covered !== null && row.coverage <= MAIN_SUBJECT && html`<p class="small soft">What can be measured was measured. Nobody has looked whether the picture shows what was asked for.</p>`}
    ${row.criteria.length > 0 && html`<ul class="criteria">${row.criteria.map((one, at) => html`<li key=${at} data-met=${one.met}>
      <span class="unseen">${one.met ? "Met: " : "Not met: "}</span><b dir="auto">${one.requirement}</b><span class="small soft" dir="auto">${one.evidence}</span></li>`)}</ul>`}
    ${row.ai_notes.length > 0 && html`<ul class="notes small" dir="auto">${row.ai_notes.map((note, at) => html`<li key=${at}>${note}</li>`)}</ul>`}
    ${row.retry_suggestion && html`<p class="suggestion" dir="auto"><span class="small soft">Suggestion</span> ${row.retry_suggestion}</p>`}
    ${row.ai_tags.length > 0 && html`<ul class="tags" aria-label="Tags">${row.ai_tags.map((tag) => html`<li key=${tag}><a class="tag" dir="auto" href=${link("library", { projectId, params: { tags: JSON.stringify([tag]) } })}>${tag}</a></li>`)}</ul>`}
  </section>`;
}

function Facts({ row, job, item }) {
  const [first] = item?.attempts ?? [];
  const last = item?.attempts.at(-1);
  const facts = [
    ["Model", nameOf(row)],
    ["Size", job?.request.size && job.request.size.replace("x", " × ") !== pixels(row) ? `${pixels(row)}, asked for ${job.request.size.replace("x", " × ")}` : pixels(row)],
    ["Quality", job?.request.quality],
    ["Seed", row.seed],
    ["Kind", KIND[job?.kind]],
    ["Without", job?.request.negativePrompt],
    ["Cost", costOf(row)],
    ["Took", first?.createdAt && last?.settledAt ? took(last.settledAt - first.createdAt) : null],
    ["Made", fullDate(row.created_at)],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`<section><h2>Made with</h2>
    <dl class="facts numbers">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd dir="auto">${value}</dd></div>`)}</dl>
    ${row.adjustments.length > 0 && html`<ul class="told small" aria-label="What was adjusted">${row.adjustments.map((note) => html`<li key=${note}>${note}</li>`)}</ul>`}
  </section>`;
}

const PURPOSE = { refine: "Prompt", judge: "Verdict" };

/** Every call to a vendor for this image, with what it cost. */
function Calls({ job, item }) {
  if (!item) return null;
  const others = job.modelCalls.filter((call) => call.itemId === item.itemId || call.itemId === null);
  const calls = [...item.attempts.map((call) => ["Image", call]), ...others.map((call) => [PURPOSE[call.purpose] ?? call.purpose, call])];
  if (!calls.length) return null;
  return html`<details class="calls"><summary>${plural(calls.length, "call")} to vendors</summary>
    <ol>${calls.map(([what, call], at) => html`<li key=${at}>
      <span>${what}</span><span class="soft">${call.provider} ${call.model}</span>
      <span class="numbers soft">${[call.failure ? `${call.state}: ${call.failure}` : call.state, call.settledAt && took(call.settledAt - call.createdAt), call.billed ? usd(call.costUsd) : "not billed"].filter(Boolean).join(" · ")}</span>
    </li>`)}</ol>
  </details>`;
}

/** The images that this one comes from, and those that were made from it. */
function Strip({ lineage, row, projectId }) {
  if (lineage.error) return html`<${Problem} error=${lineage.error} retry=${lineage.reload} />`;
  const { ancestors = [], descendants = [] } = lineage.value ?? {};
  const children = descendants.filter((each) => each.parent_progression_id === row.id);
  if (!ancestors.length && !children.length) return html`<div class="strip-place"></div>`;
  const shown = [...ancestors.slice(0, STRIP).reverse(), row, ...children.slice(0, STRIP)];
  return html`<nav class="strip" aria-label="Lineage">
    <ol>${shown.map((each) => html`<li key=${each.id}><a href=${link("image", { projectId, id: each.id })} aria-current=${each.id === row.id ? "true" : null}>
      <${Picture} src=${each.generated_image_url} alt=${each.prompt} width=${each.width} height=${each.height} shown=${88} eager=${true} />
      <span class="small soft">${EDGE[each.edge]}</span></a></li>`)}</ol>
    <a class="small" href=${link("lineage", { projectId, id: row.id })}>Whole tree</a>
  </nav>`;
}
