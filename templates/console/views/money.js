// Money: what each project spent by day, provider, model and job, and its budget.
import { get, patch, query, useGet, usePages } from "../api.js";
import { Days } from "../charts.js";
import { html, useEffect, useState } from "../lib.js";
import { BudgetMeter, Empty, Problem, Waiting } from "../parts.js";
import { useProject } from "../project.js";
import { link } from "../views.js";
import { plural, usd } from "../words.js";

const PURPOSE = { image: "Images", refine: "Refining prompts", judge: "Judging", workflow: "Workflows", chat: "Chat" };
const JOBS = 20;

export default function Money({ route }) {
  const { lastId } = useProject();
  const cards = usePages("api/overview", 24);
  if (cards.error && !cards.items.length) return html`<${Problem} error=${cards.error} retry=${cards.reload} />`;
  if (cards.loading) return html`<${Waiting} label="Loading the projects" />`;
  if (!cards.items.length) return html`<${Empty} title="Nothing was spent yet."><p>What calls to vendors cost stands here, by project, day, provider and job.</p><a class="strong" href=${link("home")}>To the projects</a><//>`;
  const chosen = route.id ?? lastId ?? cards.items[0].id;
  const total = cards.items.reduce((sum, card) => sum + card.spentUsd, 0);
  return html`<div class="money-view">
    <div class="top"><h1>Money</h1><p class="numbers"><b>${usd(total)}</b> <span class="soft">spent in ${plural(cards.items.length, "project")}${cards.more ? " shown" : ""}</span></p></div>
    <div class="ledger">
      <nav aria-label="Projects"><ul>${cards.items.map((card) => html`<li key=${card.id}><a href=${link("money", { id: card.id })} aria-current=${card.id === chosen ? "true" : null}>
        <span dir="auto">${card.name}</span><span class="numbers soft">${usd(card.spentUsd)}</span></a></li>`)}</ul>
        ${cards.more && html`<button class="plain" onClick=${cards.loadMore}>Show more</button>`}</nav>
      <${Project} key=${chosen} id=${chosen} onChanged=${cards.reload} />
    </div>
  </div>`;
}

function Project({ id, onChanged }) {
  const path = `api/projects/${encodeURIComponent(id)}`;
  const project = useGet(path);
  const costs = useGet(`${path}/costs`);
  const error = project.error ?? costs.error;
  if (error && !costs.value) return html`<${Problem} error=${error} retry=${() => { project.reload(); costs.reload(); }} />`;
  if (!project.value || !costs.value) return html`<${Waiting} label="Loading the costs" />`;
  const { total, budgetUsd, reservedUsd, byDay, byProvider, byModel, byJob } = costs.value;
  return html`<section class="account" aria-label="Costs">
    <h2 dir="auto">${project.value.name}</h2>
    <${BudgetMeter} budget=${budgetUsd} spent=${total.usd} held=${reservedUsd} />
    <${Budget} key=${budgetUsd} path=${path} budget=${budgetUsd} onSaved=${() => { costs.reload(); onChanged(); }} />
    ${total.calls === 0
      ? html`<p class="soft">No vendor was paid for this project yet. The built-in <em>sketch</em> provider costs nothing.</p>`
      : html`<p class="small soft">${plural(total.calls, "paid call")}.${total.estimated > 0 ? ` ${total.estimated} had no usage in their answer and count at their highest quote.` : ""}${total.unpriced > 0 ? ` ${total.unpriced} have no known price and count at the amount set for such models.` : ""}</p>
        <h3>By day</h3>
        <${Days} rows=${byDay.map(({ day, usd: value }) => ({ day, value }))} what="Spending by day" format=${usd} />
        <div class="tables">
          <${Table} title="By provider" rows=${byProvider.map((row) => [row.provider, row])} most=${total.usd} />
          <${Table} title="By model and purpose" rows=${byModel.toSorted((a, b) => b.usd - a.usd).map((row) => [`${row.model} · ${PURPOSE[row.purpose] ?? row.purpose}`, row])} most=${total.usd} />
        </div>`}
    <${Jobs} projectId=${id} path=${path} rows=${byJob} most=${total.usd} />
  </section>`;
}

function Budget({ path, budget, onSaved }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const save = async (event) => {
    event.preventDefault();
    const text = event.target.elements.budget.value.trim();
    setBusy(true);
    setError(null);
    try {
      await patch(path, { budgetUsd: text === "" ? null : Number(text) });
      onSaved();
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  return html`<form class="budget" onSubmit=${save}>
    <label for="budget">Budget in dollars; empty for none</label>
    <input id="budget" name="budget" type="number" min="0" max="1000000" step="0.01" inputmode="decimal" defaultValue=${budget ?? ""} />
    <button disabled=${busy}>Save</button>
    <p class="small soft">A job that would go beyond it is refused before anything is bought.</p>
    <${Problem} error=${error} />
  </form>`;
}

function Table({ title, rows, most }) {
  if (!rows.length) return null;
  return html`<section><h3>${title}</h3><ul class="shares">${rows.map(([name, row]) => html`<${Share} key=${name} name=${name} row=${row} most=${most} />`)}</ul></section>`;
}

function Share({ name, row, most, href = null }) {
  return html`<li><span class="what" dir="auto">${href ? html`<a href=${href}>${name}</a>` : name}</span>
    <span class="numbers">${usd(row.usd)}</span>
    <progress max="1" value=${most > 0 ? row.usd / most : 0} aria-label="Share of the spending"></progress>
    <span class="small soft numbers">${plural(row.calls, "call")}</span></li>`;
}

/** The jobs that cost something, with the words they were asked with. */
function Jobs({ projectId, path, rows, most }) {
  const [shown, setShown] = useState(JOBS);
  const [prompts, setPrompts] = useState({});
  const listed = rows.slice(0, shown);
  useEffect(() => {
    if (!rows.length) return undefined;
    const control = new AbortController();
    get(query(`${path}/jobs`, { limit: 200 }), { signal: control.signal }).then(
      (page) => setPrompts(Object.fromEntries(page.items.map((job) => [job.jobId, job.prompt]))),
      () => {},
    );
    return () => control.abort();
  }, [path, rows.length]);
  if (!rows.length) return null;
  return html`<section><h3>By job</h3>
    <ul class="shares">${listed.map((row) => html`<${Share} key=${row.jobId} name=${prompts[row.jobId] ?? `Job ${row.jobId.slice(0, 8)}`} row=${row} most=${most} href=${link("live", { projectId, id: row.jobId })} />`)}</ul>
    ${rows.length > shown && html`<button class="plain" onClick=${() => setShown(shown + JOBS)}>Show more</button>`}
  </section>`;
}
