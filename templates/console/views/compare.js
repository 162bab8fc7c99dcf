// Two to four images beside each other, one over the other with a slider, or one in the place of the other.
import { get } from "../api.js";
import { Changed, EDGE, Large, RowVerdict, costOf, nameOf, pixels } from "../images/facts.js";
import { rowOf } from "../images/list.js";
import { Frame, ZoomButtons, useZoom, zoomKeys } from "../images/zoom.js";
import { useKeys } from "../keys.js";
import { html, useEffect, useState } from "../lib.js";
import { Empty, Problem, Waiting } from "../parts.js";
import { go, link } from "../views.js";
import { KIND, took } from "../words.js";

const MOST = 4;
const MODES = { side: "Side by side", slider: "Slider", hover: "Hover" };

export default function Compare({ route }) {
  const { projectId } = route;
  const ids = [...new Set((route.params.get("ids") ?? "").split(",").filter(Boolean))].slice(0, MOST);
  const { rows, jobs, error, reload } = useImagesWithJobs(ids);
  const [mode, setMode] = useState("side");
  const [pair, setPair] = useState([0, 1]);
  const [flipped, setFlipped] = useState(false);
  const zoom = useZoom();
  const [left, right] = pair.map((at) => rows?.[Math.min(at, ids.length - 1)]);
  const choose = (next) => { setFlipped(next === "hover" && mode === "hover" ? !flipped : false); setMode(next); };
  const swap = () => {
    // Of two images the order itself changes, so that the address can be kept.
    if (ids.length === 2) go("compare", { projectId, params: { ids: ids.toReversed().join(",") } });
    else if (mode === "side") go("compare", { projectId, params: { ids: [...ids.slice(1), ids[0]].join(",") } });
    else setPair(([a, b]) => [b, a]);
  };
  useKeys({
    b: ["Side by side", () => choose("side")],
    l: ["Slider", () => choose("slider")],
    m: ["Hover; again shows the other image", () => choose("hover")],
    x: ["Swap the images", swap],
    ...zoomKeys(zoom),
    Escape: ["Back to the library", () => go("library", { projectId })],
  });
  if (ids.length < 2) {
    return html`<${Empty} title="Choose two to four images."><p class="soft">Select them in the library with <kbd>x</kbd> or the circle on each image, then press <kbd>c</kbd>.</p>
      <a class="strong" href=${link("library", { projectId })}>To the library</a><//>`;
  }
  if (error) return html`<${Problem} error=${error} retry=${reload} />`;
  if (!rows) return html`<${Waiting} label="Loading the images" />`;
  return html`<div class="comparison">
    <div class="top"><h1>Compare</h1>
      <div class="row">
        <div class="modes" role="radiogroup" aria-label="How they are shown">${Object.entries(MODES).map(([name, title]) => html`<label key=${name}><input type="radio" class="unseen" name="mode" checked=${mode === name} onChange=${() => choose(name)} /><span>${title}</span></label>`)}</div>
        <button class="quiet" onClick=${swap}>Swap</button>
        <${ZoomButtons} zoom=${zoom} />
      </div>
    </div>
    ${mode === "side"
      ? html`<ul class="sides" data-count=${rows.length}>${rows.map((row, at) => html`<li key=${row.id}>
          <${Frame} zoom=${zoom} width=${row.width} height=${row.height}><${Large} row=${row} /><//><${Caption} row=${row} number=${at + 1} projectId=${projectId} /></li>`)}</ul>`
      : html`<div class="over">
          ${rows.length > 2 && html`<div class="row pair">${["Left", "Right"].map((name, side) => html`<div key=${name}><label for="pair-${side}">${mode === "slider" ? name : ["First", "Other"][side]}</label>
            <select id="pair-${side}" value=${pair[side]} onChange=${(event) => setPair((old) => old.with(side, Number(event.target.value)))}>
              ${rows.map((row, at) => html`<option key=${row.id} value=${at}>${at + 1} · ${nameOf(row)}</option>`)}</select></div>`)}</div>`}
          ${mode === "slider" ? html`<${Slider} zoom=${zoom} left=${left} right=${right} />` : html`<${Hover} zoom=${zoom} first=${left} other=${right} flipped=${flipped} />`}
          <div class="captions">${[left, right].map((row) => html`<${Caption} key=${row.id} row=${row} number=${rows.indexOf(row) + 1} projectId=${projectId} />`)}</div>
        </div>`}
    <${Differences} rows=${rows} jobs=${jobs} />
  </div>`;
}

/** The rows of the ids in their order, and the jobs that made them by their id. */
function useImagesWithJobs(ids) {
  const wanted = ids.join(",");
  const [state, setState] = useState({ wanted: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (ids.length < 2) return undefined;
    const control = new AbortController();
    const { signal } = control;
    const read = async () => {
      const rows = await Promise.all(ids.map((id) => state.rows?.find((row) => row.id === id) ?? rowOf(id) ?? get(`api/progressions/${encodeURIComponent(id)}`, { signal })));
      const names = [...new Set(rows.map((row) => row.job_id).filter(Boolean))];
      const jobs = await Promise.all(names.map((name) => get(`api/jobs/${encodeURIComponent(name)}`, { signal })));
      setState({ wanted, rows, jobs: new Map(jobs.map((job) => [job.jobId, job])), error: null });
    };
    read().catch((error) => error.name !== "AbortError" && setState({ wanted, error }));
    return () => control.abort();
  }, [wanted, turn]);
  return { ...(state.wanted === wanted ? state : {}), reload: () => setTurn((number) => number + 1) };
}

const Caption = ({ row, number, projectId }) => html`<p class="caption small"><b class="numbers">${number}</b> <a href=${link("image", { projectId, id: row.id })}>${nameOf(row)}</a> <${RowVerdict} row=${row} /></p>`;

/** Two pictures, the left one up to a line that follows the pointer, a finger or the slider. */
function Slider({ zoom, left, right }) {
  const [part, setPart] = useState(50);
  const move = ({ currentTarget, clientX }) => {
    const { left: from, width } = currentTarget.getBoundingClientRect();
    if (!zoom.zoomed) setPart(Math.round(Math.min(100, Math.max(0, (100 * (clientX - from)) / width))));
  };
  return html`<div class="slider">
    <div onPointerMove=${move} onPointerDown=${move}>
      <${Frame} zoom=${zoom} width=${left.width} height=${left.height}>
        <div class="layer"><${Large} row=${right} /></div>
        <div class="layer" style=${{ clipPath: `inset(0 ${100 - part}% 0 0)` }}><${Large} row=${left} /></div>
        <i class="wipe" style=${{ insetInlineStart: `${part}%` }}></i>
      <//>
    </div>
    <label class="unseen" for="slider-part">How much of the left image is shown</label>
    <input id="slider-part" type="range" min="0" max="100" value=${part} aria-valuetext=${`${part} percent of the left image`} onInput=${(event) => setPart(Number(event.target.value))} />
  </div>`;
}

/** The first picture; the other one while the pointer is on it, or a finger, or after `m`. */
function Hover({ zoom, first, other, flipped }) {
  const [over, setOver] = useState(false);
  const shown = over !== flipped ? other : first;
  return html`<div class="hovered" onPointerEnter=${() => setOver(true)} onPointerLeave=${() => setOver(false)}>
    <${Frame} zoom=${zoom} width=${first.width} height=${first.height}>
      <div class="layer"><${Large} row=${first} /></div>
      <div class="layer" data-shown=${shown === other}><${Large} row=${other} /></div>
    <//>
    <p class="small soft" aria-live="polite">Shown: ${shown === other ? "the other image" : "the first image"}. Point at it, or press <kbd>m</kbd>.</p>
  </div>`;
}

/** What is told of each image, as text. `long` texts are compared word by word with those of the first image. */
const FACTS = [
  { name: "Prompt", of: (row) => row.prompt, long: true },
  { name: "Sent to the model", of: (row) => row.refined_prompt ?? row.prompt, long: true },
  { name: "Made by", of: (row) => EDGE[row.edge] },
  { name: "Model", of: nameOf },
  { name: "Kind", of: (row, job) => KIND[job?.kind] },
  { name: "Size", of: pixels },
  { name: "Quality", of: (row, job) => job?.request.quality },
  { name: "Seed", of: (row) => row.seed },
  { name: "Without", of: (row, job) => job?.request.negativePrompt },
  { name: "Verdict", of: wordOf, shown: (row) => html`<${RowVerdict} row=${row} />` },
  { name: "Covers", of: (row) => (row.judgment && row.coverage !== null ? `${Math.round(row.coverage * 100)} %` : null) },
  { name: "Not met", of: (row) => row.criteria.filter((one) => !one.met).map((one) => one.requirement).join("; ") },
  { name: "Notes", of: (row) => row.ai_notes.join(" ") },
  { name: "Adjusted", of: (row) => row.adjustments.join("; ") },
  { name: "Cost", of: costOf },
  { name: "Took", of: (row, job) => timeOf(job?.items.find((item) => item.itemId === row.item_id)) },
];

function wordOf(row) {
  return `${row.judgment ?? row.judge_status} ${row.coverage ?? ""}`;
}

function timeOf(item) {
  const [first, last] = [item?.attempts[0], item?.attempts.at(-1)];
  return first && last?.settledAt ? took(last.settledAt - first.createdAt) : null;
}

function Differences({ rows, jobs }) {
  const [all, setAll] = useState(false);
  const facts = FACTS.map((fact) => ({ ...fact, values: rows.map((row) => { const value = fact.of(row, jobs.get(row.job_id)); return value === undefined || value === null ? "" : String(value); }) }))
    .filter(({ values }) => values.some(Boolean));
  const differing = facts.filter(({ values }) => values.some((value) => value !== values[0]));
  const shown = all ? facts : differing;
  return html`<section class="differences">
    <div class="top"><h2>${all ? "Everything" : "What differs"}</h2>
      <label class="check"><input type="checkbox" checked=${all} onChange=${(event) => setAll(event.target.checked)} /> Also what is the same</label></div>
    ${!shown.length && html`<p class="soft">Nothing that is known of them differs.</p>`}
    <dl data-count=${rows.length}>${shown.map(({ name, values, long, shown: drawn }) => html`<div key=${name}><dt>${name}</dt>
      ${values.map((value, at) => html`<dd key=${rows[at].id} class="changed" dir="auto"><b class="number numbers small soft" aria-label=${`Image ${at + 1}`}>${at + 1}</b><span>${drawn ? drawn(rows[at]) : !value ? html`<span class="soft">–</span>` : long ? html`<${Changed} before=${at ? values[0] : null} text=${value} />` : value}</span></dd>`)}</div>`)}</dl>
  </section>`;
}
