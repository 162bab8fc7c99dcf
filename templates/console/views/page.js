// One page: filled by form and by chat beside what is published, its links, views, versions and board.
import { ROOT, del, patch, post, put, query, useGet, usePages } from "../api.js";
import { Days } from "../charts.js";
import { html, useEffect, useId, useRef, useState } from "../lib.js";
import { ImageChoice, OptionsForm } from "../options-form.js";
import { BOARDS, OUTPUT, kindOf, spoken } from "../page-words.js";
import { Problem, Waiting } from "../parts.js";
import { link } from "../views.js";
import { ago, plural, sentence } from "../words.js";
import { Board } from "./board.js";

const AGAIN = 1000;
const TITLE = 200;

/** The session in which the console chats about an artifact. */
const sessionOf = (id) => `console.page.${id}`;

/** How an artifact stands, as a tag. */
export function Standing({ row }) {
  if (row.render && row.render.status !== "complete" && row.render.status !== "failed") return html`<span class="tag wait">Being made</span>`;
  if (row.unpublished_at !== null) return html`<span class="tag">Taken down</span>`;
  if (row.version > 0) return html`<span class="tag pass">Published</span>`;
  return html`<span class="tag wait">Draft</span>`;
}

export function Page({ id }) {
  const path = `api/artifacts/${encodeURIComponent(id)}`;
  const artifact = useGet(path);
  const shares = useGet(`${path}/shares`);
  const generators = useGet("api/generators");
  const templates = useGet("api/templates?limit=200");
  const [error, setError] = useState(null);
  const [by, setBy] = useState("form");
  const row = artifact.value;
  const rendering = row?.render && row.render.status !== "complete" && row.render.status !== "failed";
  useEffect(() => {
    if (!rendering) return undefined;
    const timer = setTimeout(artifact.reload, AGAIN);
    return () => clearTimeout(timer);
  }, [row]);
  if (artifact.error && !row) return html`<${Problem} error=${artifact.error} retry=${artifact.reload} />`;
  if (!row || generators.loading || templates.loading) return html`<${Waiting} label="Loading the page" />`;
  const generator = generators.value?.items.find((each) => each.id === row.generator_id);
  const template = templates.value?.items.find((each) => each.templateR2Key === row.template_r2_key);
  const names = generator ? null : (template?.placeholders ?? []);
  const missing = (names ?? []).filter((name) => !row.configuration[name]);
  const published = row.version > 0 && row.unpublished_at === null;
  const attempt = async (work) => {
    setError(null);
    try {
      await work();
    } catch (failure) {
      setError(failure);
    }
    artifact.reload();
  };
  const approve = () => attempt(() => post(`${path}/customize`, { sessionId: sessionOf(id), approve: true }));
  return html`
    <p class="small"><a href=${link("pages")}>Pages</a></p>
    <div class="top">
      <div><h1 dir="auto">${row.title}</h1>
        <p class="row soft small">${kindOf(row, generators.value?.items ?? [])}${row.version > 0 && html`<span class="numbers">Version ${row.version}</span>`}<${Standing} row=${row} /></p></div>
      <div class="row">
        ${published && html`<${CopyLink} url=${row.public_url} />
          <a class="strong" id="public-link" href=${row.public_url} target="_blank" rel="noreferrer">Open the page</a>`}
      </div>
    </div>
    <${Problem} error=${error} />
    ${row.render?.status === "failed" && html`<${Problem} error=${row.render.error} />`}
    ${rendering && html`<div class="making" role="status"><p>Making it: ${sentence(row.render.stage ?? "waiting for its turn")}</p><progress max="1" value=${row.render.progress}></progress></div>`}
    <div class="desk">
      <section class="work" aria-label="Change the page">
        <div class="tabs" role="tablist">
          <button role="tab" aria-selected=${by === "form"} onClick=${() => setBy("form")}>By form</button>
          <button role="tab" aria-selected=${by === "chat"} onClick=${() => setBy("chat")}>By chat</button>
        </div>
        ${by === "form" && generator && html`<${Options} key=${row.version} row=${row} generator=${generator} path=${path} onDone=${artifact.reload} />`}
        ${by === "form" && names && html`<${Fields} row=${row} names=${names} path=${path} onDone=${artifact.reload} />`}
        ${by === "chat" && html`<${Chat} id=${id} path=${path} onTurn=${artifact.reload} />`}
        ${(names || by === "chat") && html`<div class="approve">
          <button class="strong" disabled=${missing.length > 0 || rendering} onClick=${approve}>${published ? "Approve and publish again" : "Approve and publish"}</button>
          <p class="small soft" role="status">${missing.length ? `Still missing: ${missing.map(spoken).join(", ")}.` : published ? "The link stays the same." : "Everything is filled."}</p>
        </div>`}
      </section>
      ${BOARDS.has(row.generator_id) && row.version > 0
        ? html`<${Board} artifact=${row} />`
        : html`<${Preview} row=${row} published=${published} generator=${generator} shares=${shares.value?.items} />`}
    </div>
    <div class="facts">
      ${row.version > 0 && html`<${Links} path=${path} shares=${shares} />
        <${Views} path=${path} />
        <${Versions} path=${path} current=${row.version} />`}
      <section><h2>Publication</h2>
        <p class="small soft">Of ${plural(row.project_ids.length, "project")}, made ${ago(row.created_at)}.</p>
        ${published && html`<button class="quiet" onClick=${() => attempt(() => post(`${path}/unpublish`))}>Take the page down</button>
          <p class="small soft">Every link to it then says that it is gone. Publishing again brings it back.</p>`}
        ${row.unpublished_at !== null && html`<button class="quiet" onClick=${() => attempt(() => post(`${path}/regenerate`))}>Publish it again</button>`}
      </section>
    </div>
  `;
}

function CopyLink({ url }) {
  const [done, setDone] = useState(false);
  const copy = () => navigator.clipboard?.writeText(url).then(() => setDone(true), () => setDone(false));
  return html`<button class="quiet" onClick=${copy}>${done ? "Copied" : "Copy the link"}</button>`;
}

/** The published page as a frame of its own origin, without a view counted; where it cannot be framed, why not. */
function Preview({ row, published, generator, shares }) {
  const main = shares?.find((each) => each.shareId === "main");
  const output = generator?.output ?? "html";
  const why = !published
    ? row.unpublished_at !== null ? "The page is taken down." : "Nothing is published yet. Once it is, the page stands here."
    : output !== "html" ? `A ${OUTPUT[output] ?? output} is not shown here; open it instead.`
    : shares && !main ? "The main link is closed, so the page is not shown here."
    : main?.hasPassword || main?.maxViews ? "The main link has conditions that would count here too, so the page is not shown."
    : null;
  const address = new URL(`public/artifact/${row.public_slug}/versions/${row.version}`, ROOT).href;
  return html`<section class="preview" aria-label="Published page">
    ${why || !shares
      ? html`<div class="none"><p>${why ?? ""}</p></div>`
      : html`<iframe key=${address} src=${address} title="The published page, version ${row.version}" sandbox="allow-scripts" loading="lazy" referrerpolicy="no-referrer"></iframe>`}
  </section>`;
}

/** The options of a generator's page; sending them publishes the next version. */
function Options({ row, generator, path, onDone }) {
  const [options, setOptions] = useState(row.options);
  const [title, setTitle] = useState(row.title);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const chosen = Object.entries(row.configuration);
  const changed = title !== row.title || JSON.stringify(options) !== JSON.stringify(row.options);
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await post(`${path}/regenerate`, changed ? { title, options } : {}, { headers: { Prefer: "respond-async, wait=5" } });
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
    onDone();
  };
  return html`<form class="fields" onSubmit=${send}>
    ${chosen.length > 0 && html`<p class="small soft">Chosen in the chat: ${chosen.map(([name, value]) => `${spoken(name)}: ${value}`).join("; ")}. What you change here takes their place.</p>`}
    <div><label for="title">Title</label><input id="title" dir="auto" required maxlength=${TITLE} value=${title} onInput=${(event) => setTitle(event.target.value)} /></div>
    <${OptionsForm} schema=${generator.options} value=${options} onChange=${setOptions} projectIds=${row.project_ids} />
    <${Problem} error=${error} />
    <button class="strong" disabled=${busy}>${busy ? "Making it" : changed ? "Publish with these" : "Publish from the present images"}</button>
  </form>`;
}

/** The placeholders of a template; what is typed is saved when a field is left. */
function Fields({ row, names, path, onDone }) {
  const [error, setError] = useState(null);
  const [saved, setSaved] = useState(null);
  const save = async (name, value) => {
    if ((row.configuration[name] ?? "") === value.trim()) return;
    setError(null);
    try {
      await patch(`${path}/configuration`, { sessionId: sessionOf(row.id), values: { [name]: value } });
      setSaved(name);
    } catch (failure) {
      setError(failure);
    }
    onDone();
  };
  return html`<form class="fields" onSubmit=${(event) => event.preventDefault()}>
    ${names.map((name) => html`<${Placeholder} key=${name} name=${name} value=${row.configuration[name] ?? ""} saved=${saved === name} projectIds=${row.project_ids} onSave=${(value) => save(name, value)} />`)}
    <${Problem} error=${error} />
    <p class="small soft">Each field is saved when you leave it. In the chat, “undo” takes the last one back.</p>
  </form>`;
}

function Placeholder({ name, value, saved, projectIds, onSave }) {
  const id = useId();
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  if (name.startsWith("IMAGE")) {
    return html`<${ImageChoice} label=${spoken(name)} many=${false} projectIds=${projectIds} chosen=${value ? [value] : []} none="No image yet."
      nameOf=${(row) => row.generated_image_url} onChange=${([url]) => onSave(url ?? "")} />`;
  }
  return html`<div><label for=${id}>${spoken(name)} ${saved && html`<span role="status">· saved</span>`}</label>
    <textarea id=${id} rows=${text.length > 60 ? 3 : 1} dir="auto" maxlength="2000" value=${text} onInput=${(event) => setText(event.target.value)} onChange=${(event) => onSave(event.target.value)}></textarea></div>`;
}

function Chat({ id, path, onTurn }) {
  const said = useGet(query(`${path}/messages`, { sessionId: sessionOf(id) }));
  const [text, setText] = useState("");
  const [pending, setPending] = useState(null);
  const [error, setError] = useState(null);
  const end = useRef(null);
  const messages = said.value?.items ?? [];
  useEffect(() => {
    if (end.current) end.current.scrollTop = end.current.scrollHeight;
  }, [messages.length, pending]);
  useEffect(() => setPending(null), [said.value]);
  const send = async (event) => {
    event?.preventDefault();
    const input = text.trim();
    if (!input || pending) return;
    setPending(input);
    setText("");
    setError(null);
    try {
      await post(`${path}/customize`, { sessionId: sessionOf(id), input }, { headers: { "Idempotency-Key": crypto.randomUUID() } });
    } catch (failure) {
      setError(failure);
      setText(input);
      setPending(null);
    }
    said.reload();
    onTurn();
  };
  return html`<div class="chat">
    <ol ref=${end} tabindex="0" aria-label="Conversation" aria-live="polite">
      ${!messages.length && !pending && !said.loading && html`<li class="soft">Say what the page should show: “title: Autumn”, “use image 2 as hero image”, “pick for me”, “what is missing”.</li>`}
      ${messages.map((each, at) => html`<li key=${at} data-role=${each.role} dir="auto">${each.text}</li>`)}
      ${pending && html`<li data-role="user" dir="auto">${pending}</li><li class="soft" role="status">Writing …</li>`}
    </ol>
    <${Problem} error=${error ?? said.error} />
    <form class="say" onSubmit=${send}>
      <label class="unseen" for="say">Message</label>
      <textarea id="say" rows="2" dir="auto" maxlength="4000" placeholder="Message; Enter sends" value=${text} onInput=${(event) => setText(event.target.value)}
        onKeyDown=${(event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); } }}></textarea>
      <button disabled=${!text.trim() || pending !== null}>Send</button>
    </form>
  </div>`;
}

function Links({ path, shares }) {
  const [making, setMaking] = useState(null);
  const [error, setError] = useState(null);
  const attempt = async (work) => {
    setError(null);
    try {
      await work();
      setMaking(null);
    } catch (failure) {
      setError(failure);
    }
    shares.reload();
  };
  const list = shares.value?.items ?? [];
  const main = list.some((each) => each.shareId === "main");
  return html`<section class="links"><h2>Links</h2>
    <${Problem} error=${shares.error} retry=${shares.reload} />
    <ul>${list.map((each) => html`<li key=${each.shareId}>
        <p><b dir="auto">${each.shareId === "main" ? "Main link" : (each.label ?? "A link")}</b> <a class="small" href=${each.url} target="_blank" rel="noreferrer">Open</a> <${CopyLink} url=${each.url} /></p>
        <p class="small soft">${conditions(each)}</p>
        <p class="row"><button class="plain" onClick=${() => setMaking(each.shareId)}>Set conditions</button>
          <button class="plain" onClick=${() => attempt(() => del(`${path}/shares/${each.shareId}`))}>${each.shareId === "main" ? "Close" : "Close for good"}</button></p>
      </li>`)}</ul>
    ${shares.value && !main && html`<p class="small soft">The main link is closed. <button class="plain" onClick=${() => attempt(() => put(`${path}/shares/main`, {}))}>Open it again</button></p>`}
    ${making
      ? html`<${Conditions} key=${making} present=${making !== "new"} onCancel=${() => setMaking(null)}
          onSend=${(wanted) => attempt(() => (making === "new" ? post(`${path}/shares`, wanted) : put(`${path}/shares/${making}`, wanted)))} />`
      : html`<button class="quiet" onClick=${() => setMaking("new")}>New link</button>`}
    <${Problem} error=${error} />
  </section>`;
}

function conditions(share) {
  const found = [
    share.hasPassword && "asks for a password",
    share.expiresAt !== null && `ends ${new Date(share.expiresAt).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" })}`,
    share.maxViews !== null && `${share.viewsLeft} of ${plural(share.maxViews, "view")} left`,
  ].filter(Boolean);
  return sentence(found.length ? found.join(", ") : "open to everyone who has it");
}

function Conditions({ present, onSend, onCancel }) {
  const send = (event) => {
    event.preventDefault();
    const { label, password, end, views } = event.target.elements;
    onSend({
      ...(label?.value.trim() ? { label: label.value } : {}),
      ...(password.value ? { password: password.value } : {}),
      ...(end.value ? { expiresAt: new Date(end.value).getTime() } : {}),
      ...(views.value ? { maxViews: Number(views.value) } : {}),
    });
  };
  return html`<form class="fields conditions" onSubmit=${send} autocomplete="off">
    ${!present && html`<div><label for="share-label">For whom, for you to know</label><input id="share-label" name="label" dir="auto" maxlength="200" /></div>`}
    <div><label for="share-password">Password; empty for none</label><input id="share-password" name="password" type="text" minlength="4" maxlength="200" spellcheck="false" /></div>
    <div><label for="share-end">Ends; empty for never</label><input id="share-end" name="end" type="datetime-local" /></div>
    <div><label for="share-views">Most views; empty for no limit</label><input id="share-views" name="views" type="number" min="1" max="1000000000" step="1" /></div>
    <div class="row"><button class="strong">${present ? "Set these conditions" : "Make the link"}</button><button type="button" class="quiet" onClick=${onCancel}>Cancel</button></div>
  </form>`;
}

function Views({ path }) {
  const views = useGet(`${path}/views`);
  if (!views.value) return html`<section><h2>Views</h2><${Problem} error=${views.error} retry=${views.reload} /></section>`;
  const { total, bots, byDay, byCountry } = views.value;
  const known = byCountry.filter((each) => each.country !== "unknown");
  return html`<section><h2>Views</h2>
    <p class="numbers">${plural(total, "view")}${bots > 0 ? `, ${bots} of them by crawlers` : ""} <button class="plain" onClick=${views.reload}>Count again</button></p>
    <${Days} rows=${byDay.map(({ day, views: value }) => ({ day, value }))} what="Views by day" format=${(value) => plural(value, "view")} />
    ${known.length > 0 && html`<p class="small soft">${known.slice(0, 8).map((each) => `${each.country} ${each.views}`).join(" · ")}</p>`}
  </section>`;
}

function Versions({ path, current }) {
  const versions = usePages(`${path}/versions`, 10);
  useEffect(() => {
    if (versions.items.length && versions.items[0].version !== current) versions.reload();
  }, [current]);
  return html`<section><h2>Versions</h2>
    <${Problem} error=${versions.error} retry=${versions.reload} />
    <ol class="versions">${versions.items.map((each) => html`<li key=${each.version}>
        <a href=${each.public_url} target="_blank" rel="noreferrer">Version ${each.version}</a> <span class="small soft" dir="auto">${each.title}</span> <span class="small soft">${ago(each.created_at)}</span>
      </li>`)}</ol>
    ${versions.more && html`<button class="plain" onClick=${versions.loadMore}>Show earlier ones</button>`}
  </section>`;
}
