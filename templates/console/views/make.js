// The brief: prompt, start images, kind, size and models, with a quote that follows every change.
import { get, post, upload, useGet } from "../api.js";
import { useKeys } from "../keys.js";
import { html, useEffect, useMemo, useRef, useState } from "../lib.js";
import { BudgetMeter, Picture, Problem, Waiting } from "../parts.js";
import { sessionOf, useProject } from "../project.js";
import { go } from "../views.js";
import { KIND, complaint, plural, quoted } from "../words.js";

const MOST_IMAGES = 16;
const QUOTE_WAIT = 350;
const TYPES = "image/*,.jp2,.pnm,.ppm,.tga";
const SHAPES = [[1, "square"], [1.5, "landscape"], [1 / 1.5, "portrait"], [16 / 9, "wide"], [9 / 16, "tall"]];

/** Drafts of this visit by project: leaving the view and coming back loses nothing. */
const drafts = new Map();
const EMPTY = { prompt: "", kind: null, images: [], size: "", quality: "", seed: "", negative: "", variants: 2, chosen: null };

export default function Make({ route }) {
  const project = useProject();
  const providers = useGet("api/providers");
  const [draft, setDraft] = useState(() => drafts.get(project.id) ?? EMPTY);
  const change = (changes) => setDraft((old) => ({ ...old, ...(typeof changes === "function" ? changes(old) : changes) }));
  useEffect(() => { drafts.set(project.id, draft); }, [draft]);

  const kind = draft.kind ?? (draft.images.length ? "edit" : "generate");
  const models = useMemo(() => listModels(providers.value?.items ?? [], kind, draft.images.length), [providers.value, kind, draft.images.length]);
  const chosen = draft.chosen ?? defaultModels(models);
  const picked = models.filter((model) => chosen.includes(model.key) && !model.reason);
  const body = briefOf(project.id, draft, kind, picked);
  const quote = useQuote(project.id, body);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const sent = useRef({ text: "", key: "" });

  useEffect(() => {
    const start = route.params.get("start");
    const prompt = route.params.get("prompt");
    if (prompt) change({ prompt });
    if (start?.startsWith("progression:")) {
      get(`api/progressions/${encodeURIComponent(start.slice(12))}`).then(
        (row) => change((old) => ({ images: [{ ref: start, url: row.generated_image_url, name: row.prompt, width: row.width, height: row.height }, ...old.images.filter((each) => each.ref !== start)].slice(0, MOST_IMAGES) })),
        setError,
      );
    }
    if (start || prompt) history.replaceState(null, "", location.hash.split("?")[0]);
  }, [location.hash]);

  const submit = async () => {
    if (!body || busy) return;
    setBusy(true);
    setError(null);
    const text = JSON.stringify(body);
    // A repetition after a lost answer is the same job; a changed brief is another one.
    if (sent.current.text !== text) sent.current = { text, key: [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("") };
    try {
      const { jobId } = await post(`api/projects/${encodeURIComponent(project.id)}/jobs`, body, { headers: { "Idempotency-Key": `console-${sent.current.key}` } });
      sent.current = { text: "", key: "" };
      go("live", { projectId: project.id, id: jobId });
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  useKeys({ "mod+Enter": ["Make the images", submit] });

  if (project.error && !project.ready) return html`<${Problem} error=${project.error} />`;
  if (providers.error) return html`<${Problem} error=${providers.error} retry=${providers.reload} />`;
  if (!providers.value) return html`<${Waiting} label="Loading the models" />`;
  const over = quote.value && !quote.value.fits;
  return html`<form class="brief" onSubmit=${(event) => { event.preventDefault(); submit(); }}>
    <h1>Make</h1>
    <${Prompt} draft=${draft} change=${change} jobs=${project.jobs} />
    <${StartImages} projectId=${project.id} images=${draft.images} change=${change} onError=${setError} />
    <${Parameters} draft=${draft} kind=${kind} picked=${picked} change=${change} />
    <${Models} models=${models} chosen=${chosen} change=${change} />
    <div class="send">
      <div class="sum" aria-live="polite"><${Quote} quote=${quote} picked=${picked} ready=${body !== null} /></div>
      ${project.costs && html`<${BudgetMeter} budget=${project.costs.budgetUsd} spent=${project.costs.total.usd} held=${project.costs.reservedUsd} planned=${quote.value?.quote.high ?? 0} />`}
      <button class="strong" disabled=${!body || busy || over}>${busy ? "Sending" : "Make"}<kbd class="hint" aria-hidden="true">${/Mac|iPhone|iPad/.test(navigator.platform) ? "⌘" : "Ctrl"} ↵</kbd></button>
      <${Problem} error=${error} />
    </div>
  </form>`;
}

/** The request of the draft; null while something that it needs is missing. */
function briefOf(projectId, draft, kind, picked) {
  if (!draft.prompt.trim() || !picked.length || (kind !== "generate" && !draft.images.length)) return null;
  const [start, ...references] = draft.images.map((image) => image.ref);
  const seed = draft.seed === "" ? null : Number(draft.seed);
  return {
    prompt: draft.prompt,
    providers: picked.map(({ provider, model }) => ({ provider, model })),
    variants: draft.variants,
    sessionId: sessionOf(projectId),
    kind,
    startImageUrl: kind === "generate" ? null : start,
    parentProgressionId: kind !== "generate" && start.startsWith("progression:") ? start.slice(12) : null,
    referenceImageUrls: kind === "generate" ? draft.images.map((image) => image.ref) : references,
    size: draft.size || null,
    quality: draft.quality || null,
    seed,
    negativePrompt: draft.negative.trim() || null,
  };
}

/** Every model once, with the reason why it cannot be chosen now, or null. */
function listModels(providers, kind, images) {
  const found = [];
  for (const provider of providers) {
    for (const model of new Set(provider.capabilities.map((each) => each.model))) {
      const able = provider.capabilities.find((each) => each.model === model && each.kind === kind);
      const references = Math.max(0, kind === "generate" ? images : images - 1);
      let reason = null;
      if (!provider.configured) reason = `set ${provider.missing.join(" and ")}`;
      else if (!able) reason = `does not ${kind === "variation" ? "make variations" : kind}`;
      else if (references > able.maxReferences) reason = able.maxReferences ? `takes ${plural(able.maxReferences, "reference")} at most` : "takes no reference images";
      found.push({ key: `${provider.id}:${model}`, provider: provider.id, model, able, reason, free: provider.free });
    }
  }
  const usable = new Set(found.filter((model) => !model.reason).map((model) => model.provider));
  return found.sort((a, b) => usable.has(b.provider) - usable.has(a.provider));
}

/** The first model of each provider that can be used; where only free ones can, those. */
function defaultModels(models) {
  const usable = models.filter((model) => !model.reason);
  const paid = usable.filter((model) => !model.free);
  return [...new Map((paid.length ? paid : usable).toReversed().map((model) => [model.provider, model.key])).values()];
}

function Prompt({ draft, change, jobs }) {
  const prompts = useMemo(() => [...new Set(jobs.map((job) => job.prompt))], [jobs]);
  const [at, setAt] = useState(-1);
  const written = useRef("");
  const turn = (step) => {
    const next = Math.min(prompts.length - 1, Math.max(-1, at + step));
    if (next === at) return;
    if (at === -1) written.current = draft.prompt;
    setAt(next);
    change({ prompt: next === -1 ? written.current : prompts[next] });
  };
  const keys = (event) => {
    if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      event.preventDefault();
      turn(event.key === "ArrowUp" ? 1 : -1);
    }
  };
  return html`<div class="prompt">
    <label for="prompt">Prompt</label>
    <textarea id="prompt" dir="auto" rows="4" maxlength="8000" autofocus placeholder="What should be in the picture?" value=${draft.prompt}
      onInput=${(event) => { setAt(-1); change({ prompt: event.target.value }); }} onKeyDown=${keys}></textarea>
    ${prompts.length > 0 && html`<p class="small soft">${at >= 0 ? `Earlier prompt ${at + 1} of ${prompts.length}` : html`<span class="keyboard"><kbd>Alt ↑</kbd> brings back earlier prompts</span>`}</p>`}
  </div>`;
}

function StartImages({ projectId, images, change, onError }) {
  const [busy, setBusy] = useState(0);
  const [over, setOver] = useState(false);
  const count = useRef(images.length);
  count.current = images.length;
  const add = async (files) => {
    const taken = [...files].filter((file) => file.type.startsWith("image/"));
    if (!taken.length) return;
    const room = MOST_IMAGES - count.current;
    onError(taken.length > room ? { message: `at most ${MOST_IMAGES} images go with a prompt` } : null);
    for (const file of taken.slice(0, room)) {
      setBusy((number) => number + 1);
      try {
        const stored = await upload(projectId, file);
        const image = { ref: stored.startImageUrl, url: URL.createObjectURL(file), name: file.name, width: stored.width, height: stored.height };
        change((old) => (old.images.some((each) => each.ref === image.ref) ? {} : { images: [...old.images, image] }));
      } catch (failure) {
        onError(failure);
      } finally {
        setBusy((number) => number - 1);
      }
    }
  };
  useEffect(() => {
    const paste = (event) => add(event.clipboardData?.files ?? []);
    const drag = (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(event.type === "dragover");
      if (event.type === "drop") add(event.dataTransfer.files);
    };
    addEventListener("paste", paste);
    for (const name of ["dragover", "dragleave", "drop"]) addEventListener(name, drag);
    return () => {
      removeEventListener("paste", paste);
      for (const name of ["dragover", "dragleave", "drop"]) removeEventListener(name, drag);
    };
  }, [projectId]);
  const remove = (image) => change((old) => ({ images: old.images.filter((each) => each !== image) }));
  const first = (image) => change((old) => ({ images: [image, ...old.images.filter((each) => each !== image)] }));
  return html`<fieldset class="starts" data-over=${over}>
    <legend>Start image and references</legend>
    <ul>
      ${images.map((image, at) => html`<li key=${image.ref}>
        <img src=${image.url} alt=${image.name} width="72" height="72" />
        <span class="small soft">${at === 0 ? "Start" : "Reference"}</span>
        <span class="tools">
          ${at > 0 && html`<button type="button" class="plain" onClick=${() => first(image)} aria-label=${`Make ${image.name} the start image`}>First</button>`}
          <button type="button" class="plain" onClick=${() => remove(image)} aria-label=${`Remove ${image.name}`}>×</button>
        </span>
      </li>`)}
      <li class="add"><label><input type="file" class="unseen" accept=${TYPES} multiple onChange=${(event) => { add(event.target.files); event.target.value = ""; }} />
        <span>${busy ? `Storing ${plural(busy, "image")} …` : "Paste, drop or pick"}</span></label></li>
    </ul>
  </fieldset>`;
}

const shapeOf = (size) => {
  const [width, height] = size.split("x").map(Number);
  const [, word] = SHAPES.find(([ratio]) => Math.abs(width / height / ratio - 1) < 0.06) ?? [0, width > height ? "wide" : "tall"];
  return `${width} × ${height} · ${word}`;
};

/** What the chosen models offer, what most of them offer first. */
function offers(picked, name) {
  const votes = new Map();
  for (const { able } of picked) for (const one of able[name]) votes.set(one, (votes.get(one) ?? 0) + 1);
  return [...votes].sort((a, b) => b[1] - a[1]).map(([one]) => one);
}

function Parameters({ draft, kind, picked, change }) {
  const kinds = draft.images.length ? ["edit", "variation", "outpaint", "upscale", "generate"] : ["generate"];
  const sizes = offers(picked, "sizes").slice(0, 40);
  const qualities = offers(picked, "qualities");
  const seeded = picked.some(({ able }) => able.seed);
  const negated = picked.some(({ able }) => able.negativePrompt);
  return html`<div class="parameters">
    <div><label for="kind">Kind</label><select id="kind" value=${kind} onChange=${(event) => change({ kind: event.target.value })}>
      ${kinds.map((each) => html`<option key=${each} value=${each}>${KIND[each]}</option>`)}</select></div>
    <div><label for="size">Size</label><select id="size" value=${draft.size} onChange=${(event) => change({ size: event.target.value })}>
      <option value="">Model's own</option>
      ${(draft.size && !sizes.includes(draft.size) ? [draft.size, ...sizes] : sizes).map((size) => html`<option key=${size} value=${size}>${shapeOf(size)}</option>`)}</select></div>
    ${qualities.length > 0 && html`<div><label for="quality">Quality</label><select id="quality" value=${draft.quality} onChange=${(event) => change({ quality: event.target.value })}>
      <option value="">Model's own</option>${qualities.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></div>`}
    <div><label for="variants">Variants of each</label><input id="variants" type="number" min="1" max="8" required value=${draft.variants}
      onInput=${(event) => change({ variants: Math.min(8, Math.max(1, Math.round(event.target.valueAsNumber) || 1)) })} /></div>
    ${seeded && html`<div><label for="seed">Seed</label><input id="seed" type="number" min="0" max="2147483647" step="1" placeholder="Random" value=${draft.seed} onInput=${(event) => change({ seed: event.target.value })} /></div>`}
    ${negated && html`<div class="wide"><label for="negative">Leave out</label><input id="negative" dir="auto" maxlength="8000" placeholder="What should not be in it" value=${draft.negative} onInput=${(event) => change({ negative: event.target.value })} /></div>`}
  </div>`;
}

function Models({ models, chosen, change }) {
  const groups = Map.groupBy ? Map.groupBy(models, (model) => model.provider) : models.reduce((all, model) => all.set(model.provider, [...(all.get(model.provider) ?? []), model]), new Map());
  const toggle = (key) => change({ chosen: chosen.includes(key) ? chosen.filter((each) => each !== key) : [...chosen, key] });
  return html`<fieldset class="models">
    <legend>Models</legend>
    ${[...groups].map(([provider, group]) => {
      // One reason for the whole group stands once, beside its name.
      const shared = group.every((model) => model.reason === group[0].reason) ? group[0].reason : null;
      return html`<div class="vendor" key=${provider}><span class="name">${provider}${shared && html` <span class="small soft">${shared}</span>`}</span>
        <div class="chips">${group.map((model) => html`<label key=${model.key} class="chip" data-off=${model.reason !== null} title=${model.reason ?? ""}>
          <input type="checkbox" checked=${chosen.includes(model.key) && !model.reason} disabled=${model.reason !== null} onChange=${() => toggle(model.key)} />
          <span>${model.model}${model.reason && !shared && html`<small> ${model.reason}</small>`}</span></label>`)}</div></div>`;
    })}
  </fieldset>`;
}

/** The quote of the brief as it stands, a moment after the last change. */
function useQuote(projectId, body) {
  const text = body ? JSON.stringify(body) : null;
  const [state, setState] = useState({ text: null, value: null, error: null });
  useEffect(() => {
    if (text === null) return undefined;
    const control = new AbortController();
    const timer = setTimeout(() => {
      post(`api/projects/${encodeURIComponent(projectId)}/jobs`, { ...JSON.parse(text), dryRun: true }, { signal: control.signal }).then(
        (value) => setState({ text, value, error: null }),
        (error) => error.name !== "AbortError" && setState({ text, value: null, error }),
      );
    }, QUOTE_WAIT);
    return () => { clearTimeout(timer); control.abort(); };
  }, [projectId, text]);
  return text === null ? { value: null, error: null, current: true } : { value: state.value, error: state.text === text ? state.error : null, current: state.text === text };
}

function Quote({ quote, picked, ready }) {
  if (!ready) return html`<p class="soft">${picked.length ? "Write a prompt to see what it costs." : "Choose at least one model."}</p>`;
  if (quote.error) return html`<p class="no">${complaint(quote.error)}</p>`;
  if (!quote.value) return html`<p class="soft">Asking for the price …</p>`;
  const { items, unpriced } = quote.value.quote;
  const told = new Map();
  for (const item of items) for (const note of item.adjustments) told.set(`${item.model}: ${note}`, true);
  return html`<p class="amount numbers" data-old=${!quote.current}><b>${quoted(quote.value.quote)}</b> <span class="soft">for ${plural(items.length, "image")}</span></p>
    ${unpriced > 0 && html`<p class="small soft">${plural(unpriced, "image has", "images have")} no known price and count at their ceiling.</p>`}
    ${!quote.value.fits && html`<p class="no">This is more than the budget has left.</p>`}
    ${told.size > 0 && html`<ul class="told small" aria-label="What will be adjusted">${[...told.keys()].map((note) => html`<li key=${note}>${note}</li>`)}</ul>`}`;
}
