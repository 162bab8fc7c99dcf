// Projects as cover cards; an installation without any greets with one button that makes the first images.
import { patch, post, usePages } from "../api.js";
import { useKeys } from "../keys.js";
import { html, useEffect, useRef, useState } from "../lib.js";
import { Dialog, Empty, Picture, Problem, Waiting } from "../parts.js";
import { sessionOf } from "../project.js";
import { go, link } from "../views.js";
import { ago, plural, usd } from "../words.js";

const FIRST_PROMPT = "a small red boat on a calm turquoise lake, snowy mountains behind, morning light";
const AGAIN = 4000;

export default function Home() {
  const cards = usePages("api/overview", 24);
  const [making, setMaking] = useState(null);
  const running = cards.items.some((card) => card.runningJobs > 0);
  useEffect(() => {
    if (!running) return undefined;
    const timer = setTimeout(cards.reload, AGAIN);
    return () => clearTimeout(timer);
  }, [cards.items]);
  useKeys({ n: ["New project", () => setMaking("new")] });
  if (cards.error && !cards.items.length) return html`<${Problem} error=${cards.error} retry=${cards.reload} />`;
  if (cards.loading && !cards.items.length) return html`<${Waiting} label="Loading the projects" />`;
  if (!cards.items.length) return html`<${Welcome} onNew=${() => setMaking("new")} />${making && html`<${NewProject} onClose=${() => setMaking(null)} />`}`;
  return html`
    <div class="top">
      <h1>Projects</h1>
      <button class="strong" onClick=${() => setMaking("new")}>New project</button>
    </div>
    <ul class="cards">${cards.items.map((card) => html`<${Card} key=${card.id} card=${card} onEdit=${() => setMaking(card)} />`)}</ul>
    ${cards.more && html`<button class="quiet" onClick=${cards.loadMore}>Show more projects</button>`}
    <${Problem} error=${cards.error} retry=${cards.reload} />
    ${making && html`<${NewProject} card=${making === "new" ? null : making} onClose=${() => setMaking(null)} onSaved=${cards.reload} />`}
  `;
}

function Card({ card, onEdit }) {
  const [first, ...others] = card.covers;
  const facts = [plural(card.images, "image"), card.spentUsd > 0 && usd(card.spentUsd), ago(card.updatedAt)].filter(Boolean);
  return html`<li class="card">
    <a href=${link(card.images || card.runningJobs ? "live" : "make", { projectId: card.id })}>
      <div class="covers" data-count=${card.covers.length}>
        ${first
          ? html`<${Picture} src=${first.url} alt="" width=${first.width} height=${first.height} shown=${480} />
              ${others.length === 3 && html`<div class="strip">${others.map((cover) => html`<${Picture} key=${cover.progressionId} src=${cover.url} alt="" width=${cover.width} height=${cover.height} shown=${128} />`)}</div>`}`
          : html`<span class="none">No images yet</span>`}
      </div>
      <h2 dir="auto">${card.name}</h2>
    </a>
    <p class="small soft numbers">${facts.join(" · ")}${card.runningJobs > 0 && html` <span class="tag wait">${plural(card.runningJobs, "job")} running</span>`}
      <button class="plain edit" onClick=${onEdit} aria-label=${`Rename ${card.name} or set its budget`}>Edit</button></p>
  </li>`;
}

function Welcome({ onNew }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const begin = async () => {
    setBusy(true);
    try {
      const project = await post("api/projects", { name: "First images" });
      const job = { prompt: FIRST_PROMPT, providers: ["sketch"], variants: 4, size: "1024x1024", sessionId: sessionOf(project.id) };
      const { jobId } = await post(`api/projects/${project.id}/jobs`, job);
      go("live", { projectId: project.id, id: jobId });
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return html`<${Empty} title="One prompt, several makers, every image judged.">
    <p>Nothing has been made here yet. The built-in <em>sketch</em> provider paints without an account and costs nothing, so you can see
      how it all works in a few seconds.</p>
    <blockquote class="first" dir="auto">“${FIRST_PROMPT}”</blockquote>
    <div class="row">
      <button class="strong" disabled=${busy} onClick=${begin}>${busy ? "Starting" : "Make the first images"}</button>
      <button class="quiet" onClick=${onNew}>Begin with an empty project</button>
    </div>
    <${Problem} error=${error} />
  <//>`;
}

function NewProject({ card = null, onClose, onSaved = () => {} }) {
  const [error, setError] = useState(null);
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  const save = async (event) => {
    event.preventDefault();
    const { name, description, budget } = event.target.elements;
    const budgetUsd = budget.value.trim() === "" ? null : Number(budget.value);
    try {
      let id = card?.id;
      if (!id) ({ id } = await post("api/projects", { name: name.value, description: description.value || null }));
      if (card || budgetUsd !== null) await patch(`api/projects/${id}`, { name: name.value, description: description.value || null, budgetUsd });
      onSaved();
      onClose();
      if (!card) go("make", { projectId: id });
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<${Dialog} title=${card ? "Edit the project" : "New project"} onClose=${onClose}>
    <form class="fields" onSubmit=${save}>
      <div><label for="project-name">Name</label><input id="project-name" name="name" ref=${field} dir="auto" required maxlength="200" defaultValue=${card?.name ?? ""} /></div>
      <div><label for="project-description">Description, if you like</label><textarea id="project-description" name="description" dir="auto" rows="2" maxlength="4000" defaultValue=${card?.description ?? ""}></textarea></div>
      <div><label for="project-budget">Budget in dollars; empty for none</label><input id="project-budget" name="budget" type="number" min="0" max="1000000" step="0.01" inputmode="decimal" defaultValue=${card?.budgetUsd ?? ""} /></div>
      <${Problem} error=${error} />
      <button class="strong">${card ? "Save" : "Create"}</button>
    </form>
  <//>`;
}
