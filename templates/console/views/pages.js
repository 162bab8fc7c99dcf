// Pages: what was made, the kinds that can be made, and making one.
import { post, useGet, usePages } from "../api.js";
import { useKeys } from "../keys.js";
import { html, useEffect, useState } from "../lib.js";
import { OptionsForm } from "../options-form.js";
import { Drawing, ORDER, OUTPUT, PURPOSE, explained, kindOf, spoken, templateOf } from "../page-words.js";
import { Empty, Problem, Waiting } from "../parts.js";
import { useProject } from "../project.js";
import { go, link } from "../views.js";
import { ago, plural } from "../words.js";
import { Page, Standing } from "./page.js";

export default function Pages({ route }) {
  const inside = route.id && route.id !== "new" ? html`<${Page} key=${route.id} id=${route.id} />` : html`<${Making} route=${route} />`;
  return html`<div class="pages-view">${inside}</div>`;
}

function Making({ route }) {
  const generators = useGet("api/generators");
  const templates = useGet("api/templates?limit=200");
  if (generators.error) return html`<${Problem} error=${generators.error} retry=${generators.reload} />`;
  if (!generators.value) return html`<${Waiting} label="Loading the kinds of pages" />`;
  const kinds = ordered(generators.value.items);
  const fillable = (templates.value?.items ?? []).filter((each) => each.fillable);
  if (route.id !== "new") return html`<${Overview} kinds=${kinds} templates=${fillable} />`;
  const kind = kinds.find((each) => each.id === route.params.get("kind"));
  const template = fillable.find((each) => each.templateR2Key === route.params.get("template"));
  if (!kind && !template) {
    return templates.loading ? html`<${Waiting} />` : html`<${Empty} title="There is no such kind of page."><a href=${link("pages")}>See all kinds</a><//>`;
  }
  return html`<${NewPage} kind=${kind} template=${template} />`;
}

function ordered(kinds) {
  const place = ({ id }) => (ORDER.includes(id) ? ORDER.indexOf(id) : ORDER.length);
  return kinds.toSorted((a, b) => place(a) - place(b));
}

function Overview({ kinds, templates }) {
  const made = usePages("api/artifacts", 24);
  const toKinds = () => document.getElementById("kinds").scrollIntoView();
  useKeys({ n: ["See the kinds of pages to make", toKinds] });
  return html`
    <div class="top">
      <h1>Pages</h1>
      ${made.items.length > 0 && html`<button class="strong" onClick=${toKinds}>Make a page</button>`}
    </div>
    <${Problem} error=${made.error} retry=${made.reload} />
    ${made.loading && html`<${Waiting} label="Loading the pages" />`}
    ${!made.loading && !made.error && !made.items.length && html`<p class="lead">A page shows the images of your projects to others: a lookbook for a client, a board on which
      guests vote, a PDF for a meeting. Choose a kind; its link works as soon as it is made.</p>`}
    ${made.items.length > 0 && html`<ul class="made">${made.items.map((row) => html`<${Made} key=${row.id} row=${row} kinds=${kinds} />`)}</ul>`}
    ${made.more && html`<button class="quiet" onClick=${made.loadMore}>Show more pages</button>`}
    <h2 id="kinds" class="part">Kinds</h2>
    <ul class="kinds">${kinds.map((kind) => html`<li key=${kind.id} class="kind" data-off=${!kind.configured}>
      <a href=${link("pages", { id: "new", params: { kind: kind.id } })}>
        <${Drawing} kind=${kind.id} />
        <h3>${kind.name} <span class="tag">${OUTPUT[kind.output] ?? kind.output}</span></h3>
        <p class="small soft">${PURPOSE[kind.id] ?? explained(kind.options.description, [])}${!kind.configured && " What it needs is not installed on this server."}</p>
      </a>
    </li>`)}</ul>
    ${templates.length > 0 && html`<h2 class="part">Templates to fill</h2>
      <ul class="kinds">${templates.map((each) => html`<li key=${each.templateR2Key} class="kind">
        <a href=${link("pages", { id: "new", params: { template: each.templateR2Key } })}>
          <${Drawing} kind=${each.name} />
          <h3 dir="auto">${spoken(each.name)} <span class="tag">${each.kind === "upload" ? "Yours" : "Example"}</span></h3>
          <p class="small soft">${plural(each.placeholders.length, "field")} to fill, by form or by chat.</p>
        </a>
      </li>`)}</ul>`}
  `;
}

function Made({ row, kinds }) {
  const open = row.version > 0 && row.unpublished_at === null;
  return html`<li>
    <a class="name" href=${link("pages", { id: row.id })}><${Drawing} kind=${row.generator_id ?? templateOf(row)} /><b dir="auto">${row.title}</b></a>
    <span class="small soft">${kindOf(row, kinds)}${row.version > 1 ? ` · version ${row.version}` : ""} · ${ago(row.updated_at)}</span>
    <${Standing} row=${row} />
    <span class="open">${open && html`<a href=${row.public_url} target="_blank" rel="noreferrer" aria-label="Open ${row.title}">Open</a>`}</span>
  </li>`;
}

function NewPage({ kind, template }) {
  const { lastId } = useProject();
  const projects = useGet("api/projects?limit=200");
  const [chosen, setChosen] = useState(null);
  const [options, setOptions] = useState({});
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const list = projects.value?.items ?? [];
  useEffect(() => {
    if (chosen === null && list.length) setChosen([list.some((each) => each.id === lastId) ? lastId : list[0].id]);
  }, [projects.value]);
  const projectIds = chosen ?? [];
  const toggle = (id) => setChosen(projectIds.includes(id) ? projectIds.filter((each) => each !== id) : [...projectIds, id]);
  const create = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    const title = event.target.elements.title.value.trim() || null;
    try {
      let row;
      if (kind) row = await post("api/artifacts", { generatorId: kind.id, projectIds, title, options }, { headers: { Prefer: "respond-async, wait=5" } });
      else row = await post("api/artifacts", { templateR2Key: template.templateR2Key, projectIds, title });
      go("pages", { id: row.artifact_id });
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  if (projects.error) return html`<${Problem} error=${projects.error} retry=${projects.reload} />`;
  if (!projects.value) return html`<${Waiting} label="Loading the projects" />`;
  if (!list.length) return html`<${Empty} title="First make some images."><p>A page is made of the images of a project, and there is no project yet.</p><a class="strong" href=${link("home")}>To the projects</a><//>`;
  return html`
    <p class="small"><a href=${link("pages")}>Pages</a></p>
    <div class="top"><h1 dir="auto">${kind ? kind.name : spoken(template.name)}</h1></div>
    <form class="new" onSubmit=${create}>
      <div class="fields">
        <p class="lead">${kind ? (PURPOSE[kind.id] ?? "") : `A template with ${plural(template.placeholders.length, "field")}: ${template.placeholders.map(spoken).join(", ")}.`}</p>
        <div><label for="page-title">Title; empty for the names of the projects</label><input id="page-title" name="title" dir="auto" maxlength="200" /></div>
        <fieldset class="projects"><legend>Projects whose images it may show</legend>
          ${list.map((each) => html`<label class="check" key=${each.id}><input type="checkbox" checked=${projectIds.includes(each.id)} onChange=${() => toggle(each.id)} /> <span dir="auto">${each.name}</span></label>`)}
        </fieldset>
      </div>
      ${kind && html`<${OptionsForm} schema=${kind.options} value=${options} onChange=${setOptions} projectIds=${projectIds} />`}
      <div class="do">
        <${Problem} error=${error} />
        <button class="strong" disabled=${busy || !projectIds.length || (kind && !kind.configured)}>${busy ? "Making it" : kind ? "Make and publish" : "Begin to fill it"}</button>
        ${kind && html`<p class="small soft">Anyone with its link can see it; conditions such as a password can be set afterwards.</p>`}
      </div>
    </form>
  `;
}
