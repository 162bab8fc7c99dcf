// Settings: providers and what each needs, models and prices, tips, and how the server is.
import { ROOT, get, put, useGet, usePages } from "../api.js";
import { html, useEffect, useState } from "../lib.js";
import { Dialog, Problem, Waiting } from "../parts.js";
import { KIND, plural, sentence, usd } from "../words.js";

const TITLES = { openai: "OpenAI", gemini: "Gemini", workers: "Workers AI", builtin: "Built in", sketch: "Sketch" };
const USES = { reasoning: "refines prompts and chats", vision: "judges images" };
const PARTS = [["providers", "Providers"], ["models", "Models and prices"], ["tips", "Tips"], ["server", "Server"]];

export default function Settings() {
  const show = (id) => document.getElementById(id).scrollIntoView({ behavior: "smooth" });
  return html`<div class="settings-view">
    <div class="top"><h1>Settings</h1></div>
    <div class="row contents">${PARTS.map(([id, title]) => html`<button key=${id} class="quiet" onClick=${() => show(`settings-${id}`)}>${title}</button>`)}</div>
    <${Providers} />
    <${Models} />
    <${Tips} />
    <${Server} />
  </div>`;
}

const nameOf = (id) => TITLES[id] ?? id;

function Providers() {
  const providers = useGet("api/providers");
  return html`<section id="settings-providers"><h2>Providers</h2>
    <${Problem} error=${providers.error} retry=${providers.reload} />
    ${providers.loading && html`<${Waiting} label="Loading the providers" />`}
    <ul class="cells">${(providers.value?.items ?? []).map((each) => html`<${Provider} key=${each.id} provider=${each} />`)}</ul>
    <p class="small soft">Keys are variables of the server's environment and are read when it starts. They never come into this page.</p>
  </section>`;
}

function Provider({ provider }) {
  const models = [...new Set(provider.capabilities.map((each) => each.model))];
  const kinds = [...new Set(provider.capabilities.map((each) => each.kind))];
  const open = (provider.lanes ?? []).filter((lane) => lane.state !== "closed");
  return html`<li>
    <h3>${nameOf(provider.id)} ${provider.configured ? html`<span class="tag pass">Ready</span>` : html`<span class="tag wait">Not configured</span>`} ${provider.free && html`<span class="tag">Free</span>`}</h3>
    ${provider.missing.length > 0 && html`<p>Set ${provider.missing.map((name, at) => html`<span key=${name}>${at > 0 ? " and " : ""}<code>${name}</code></span>`)} and start the server again.</p>`}
    ${provider.missing.length === 0 && provider.needs.length > 0 && html`<p class="small soft">Uses ${provider.needs.map((name, at) => html`<span key=${name}>${at > 0 ? ", " : ""}<code>${name}</code></span>`)}.</p>`}
    <p class="small soft">${plural(models.length, "model")} · ${kinds.map((kind) => KIND[kind] ?? kind).join(", ")}</p>
    ${open.map((lane) => html`<p key=${lane.name} class="small"><span class="tag fail">Failing</span> <code>${lane.name}</code>: ${plural(lane.failures, "failure")} in a row; it is tried again by itself.</p>`)}
  </li>`;
}

const UNIT = {
  text_input: "text in", cached_text_input: "cached text in", image_input: "images in", cached_image_input: "cached images in", text_output: "text out", image_output: "images out",
};

/** A price in words: tokens are per million. */
function price(each) {
  if (!each) return "no known price";
  return Object.entries(each.rates).map(([unit, rate]) => {
    const tokens = /input$|output$/.test(unit) && !/tile/.test(unit);
    return `${usd(rate)} ${tokens ? `per million tokens of ${UNIT[unit] ?? unit.replaceAll("_", " ")}` : `per ${unit.replaceAll("_", " ")}`}`;
  }).join(" · ");
}

function Models() {
  const models = useGet("api/models");
  return html`<section id="settings-models"><h2>Models and prices</h2>
    <${Problem} error=${models.error} retry=${models.reload} />
    ${models.loading && html`<${Waiting} label="Loading the models" />`}
    ${(models.value?.items ?? []).map((family) => html`<${Family} key=${family.provider} family=${family} />`)}
  </section>`;
}

function Family({ family }) {
  const used = Object.entries(USES).filter(([use]) => family[use]).map(([use, what]) => html`<span key=${use}><code>${family[use]}</code> ${what}. </span>`);
  const both = [...family.image, ...family.chat];
  if (!both.length && !used.length) return null;
  return html`<details class="family" open=${family.configured && both.length > 0}>
    <summary><b>${nameOf(family.provider)}</b> <span class="small soft">${both.length ? plural(both.length, "model") : ""} ${used}</span></summary>
    <ul class="models">${family.image.map((each) => html`<${Model} key=${each.id} model=${each} what=${each.kinds.map((kind) => KIND[kind] ?? kind).join(", ")} star=${each.default} />`)}
      ${family.chat.map((each) => html`<${Model} key=${each.id} model=${each} what=${["Chat", each.vision && "sees images"].filter(Boolean).join(", ")} star=${each.uses.length > 0} />`)}</ul>
  </details>`;
}

function Model({ model, what, star }) {
  return html`<li>
    <p><code>${model.id}</code> ${star && html`<span class="tag">In use by default</span>`} ${model.retires && html`<span class="tag wait">Ends ${model.retires}${model.successor ? `, then ${model.successor}` : ""}</span>`}</p>
    <p class="small soft">${what}</p>
    <p class="small">${price(model.price)}</p>
    <p class="small soft">Checked ${model.price?.checked ?? model.checked}</p>
  </li>`;
}

function Tips() {
  const tips = usePages("api/knowledge", 200);
  const [editing, setEditing] = useState(null);
  const [search, setSearch] = useState("");
  const found = tips.items.filter((each) => `${each.key} ${each.value.tip}`.toLowerCase().includes(search.trim().toLowerCase()));
  const groups = Map.groupBy(found, (each) => each.key.split(".")[0]);
  return html`<section id="settings-tips"><h2>Tips</h2>
    <p class="small soft">They are used to refine prompts for the provider that their key begins with.</p>
    <div class="row tools"><input type="search" aria-label="Search the tips" placeholder="Search the tips" value=${search} onInput=${(event) => setSearch(event.target.value)} />
      <button class="quiet" onClick=${() => setEditing({ key: "", value: { tip: "", kinds: null } })}>New tip</button></div>
    <${Problem} error=${tips.error} retry=${tips.reload} />
    ${tips.loading && html`<${Waiting} label="Loading the tips" />`}
    ${[...groups].map(([provider, rows]) => html`<details key=${provider} class="family" open=${search.trim() !== ""}><summary><b>${nameOf(provider)}</b> <span class="small soft">${plural(rows.length, "tip")}</span></summary>
      <ul class="tips">${rows.map((each) => html`<li key=${each.key}><p dir="auto">${each.value.tip}</p>
        <p class="small soft"><code>${each.key}</code> · ${each.value.kinds ? each.value.kinds.map((kind) => KIND[kind] ?? kind).join(", ") : "every kind"}</p>
        <button class="plain" aria-label="Edit ${each.key}" onClick=${() => setEditing(each)}>Edit</button></li>`)}</ul></details>`)}
    ${!tips.loading && !tips.error && !found.length && html`<p class="soft">No tip has these words.</p>`}
    ${tips.more && html`<button class="plain" onClick=${tips.loadMore}>Show more tips</button>`}
    ${editing && html`<${Tip} tip=${editing} onClose=${() => setEditing(null)} onSaved=${() => { setEditing(null); tips.reload(); }} />`}
  </section>`;
}

function Tip({ tip, onClose, onSaved }) {
  const [error, setError] = useState(null);
  const save = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const kinds = form.getAll("kinds");
    const key = tip.key || String(form.get("key")).trim();
    try {
      await put(`api/knowledge/${encodeURIComponent(key)}`, { tip: form.get("tip"), kinds: kinds.length ? kinds : null });
      onSaved();
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<${Dialog} title=${tip.key ? "Edit the tip" : "New tip"} onClose=${onClose}>
    <form class="fields" onSubmit=${save}>
      ${tip.key ? html`<p class="small soft"><code>${tip.key}</code></p>` : html`<div><label for="tip-key">Key, such as openai.light</label><input id="tip-key" name="key" required pattern="[a-z0-9_\\-]{1,64}[.][a-z0-9._\\-]{1,128}" spellcheck="false" /></div>`}
      <div><label for="tip-text">Tip</label><textarea id="tip-text" name="tip" rows="4" dir="auto" required maxlength="2000" defaultValue=${tip.value.tip}></textarea></div>
      <fieldset><legend>For which kinds; none chosen is every kind</legend>
        <div class="row">${Object.entries(KIND).map(([kind, label]) => html`<label class="check" key=${kind}><input type="checkbox" name="kinds" value=${kind} defaultChecked=${tip.value.kinds?.includes(kind)} /> ${label}</label>`)}</div></fieldset>
      <${Problem} error=${error} />
      <button class="strong">Save</button>
    </form>
  <//>`;
}

const BINDING = { DB: "Database", Redis: "Redis", BUCKET: "Storage of originals and pages", assets: "Packaged files", disk: "Disk" };
const STATUS = { ready: "Ready", starting: "Starting", draining: "Ending", failing: "Something is away" };

/** How the server is. A server that is not ready says why with a status of 503, so that its body counts too. */
function Server() {
  const [state, setState] = useState({ ready: null, index: null, error: null });
  const ask = () => {
    const ready = fetch(new URL("readyz", ROOT), { headers: { Accept: "application/json" } }).then((response) => response.json());
    Promise.all([ready, get("")]).then(
      ([found, index]) => setState({ ready: found, index, error: null }),
      () => setState((old) => ({ ...old, error: { message: "the server cannot be reached at the moment" } })),
    );
  };
  useEffect(ask, []);
  const { ready, index, error } = state;
  return html`<section id="settings-server"><h2>Server</h2>
    <${Problem} error=${error} retry=${ask} />
    ${ready && html`<div class="row"><span class="tag ${ready.status === "ready" ? "pass" : "fail"}">${STATUS[ready.status] ?? ready.status}</span>
        <button class="quiet" onClick=${ask}>Ask again</button></div>
      <ul class="bindings">${Object.entries(ready.bindings).map(([name, each]) => html`<li key=${name}>
        <span><i data-ok=${each.ok}></i>${BINDING[name] ?? name}</span><span class="small soft numbers">${each.ok ? `answered in ${each.ms.toFixed(0)} ms` : sentence(each.reason)}</span></li>`)}</ul>
      <p class="small soft">${index && `${index.name}, version ${index.version} of its API. `}<a href="docs" target="_blank" rel="noreferrer">Documentation</a> · <a href="schema" target="_blank" rel="noreferrer">Schema of the API</a></p>`}
  </section>`;
}
