// All images of the project: search, filters, keyboard, and a selection to compare.
import { query, useGet } from "../api.js";
import { RowVerdict, nameOf } from "../images/facts.js";
import { justify, useImages } from "../images/list.js";
import { useKeys } from "../keys.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../lib.js";
import { Empty, Picture, Problem, Waiting } from "../parts.js";
import { useProject } from "../project.js";
import { go, link } from "../views.js";
import { ENDED, plural } from "../words.js";

const QUIET = 250;
const BELOW = 30;
const MOST_COMPARED = 4;
const TAGS = 14;
const NOTHING = { query: "", provider: "", judgment: "", tags: [] };
const JUDGMENTS = { pass: "Pass", fail: "Fail" };

/** The image that had the focus when the library was left, by project. */
const places = new Map();

export default function Library({ route }) {
  const project = useProject();
  const [filter, setFilter] = useState(() => filterOf(route.params));
  const change = (changes) => setFilter((old) => ({ ...old, ...changes }));
  useEffect(() => setFilter(filterOf(route.params)), [route]);
  // The address keeps the filter, so that reloading and going back show the same.
  useEffect(() => history.replaceState(null, "", link("library", { projectId: project.id, params: paramsOf(filter) })), [filter]);
  const settled = useSettled(filter);
  const ended = project.jobs.filter((job) => ENDED.has(job.status)).length;
  const path = query(`api/projects/${encodeURIComponent(project.id)}/progressions`, settled);
  const list = useImages(path, `${ended} ${Object.keys(project.images).length}`);
  const [selected, setSelected] = useState(() => new Map());
  const search = useRef(null);
  const filtered = filter.query || filter.provider || filter.judgment || filter.tags.length > 0;
  const [chosen, compare] = [[...selected.keys()], () => go("compare", { projectId: project.id, params: { ids: [...selected.keys()].join(",") } })];
  const able = chosen.length >= 2 && chosen.length <= MOST_COMPARED;
  useKeys({
    "/": ["Search", () => search.current.focus()],
    ...(able ? { c: ["Compare the selected images", compare] } : {}),
    ...(chosen.length ? { Escape: ["Select nothing", () => setSelected(new Map())] } : {}),
  });
  return html`
    <div class="top"><h1>Library</h1><p class="soft small numbers" aria-live="polite">${countOf(list)}</p></div>
    <${Filters} filter=${filter} change=${change} items=${list.items} field=${search} />
    <${Problem} error=${list.error} retry=${list.reload} />
    ${list.loading && !list.error && html`<${Waiting} label="Loading the images" />`}
    ${!list.loading && !list.error && !list.items.length && (filtered
      ? html`<${Empty} title="No image matches."><p class="soft">All words of the search must occur in the prompt, the notes or the tags of an image.</p>
          <button class="quiet" onClick=${() => setFilter(NOTHING)}>Show all images</button><//>`
      : html`<${Empty} title="No images yet."><p class="soft">Every image that is made in this project comes here, with its prompt, its verdict and its cost.</p>
          <a class="strong" href=${link("make", { projectId: project.id })}>Make images</a><//>`)}
    ${list.items.length > 0 && html`<${Wall} projectId=${project.id} list=${list} selected=${selected} setSelected=${setSelected} />`}
    ${chosen.length > 0 && html`<div class="selection" role="region" aria-label="Selection">
      <ul>${[...selected.values()].slice(0, 8).map((row) => html`<li key=${row.id}><${Picture} src=${row.generated_image_url} alt="" width=${row.width} height=${row.height} shown=${48} eager=${true} /></li>`)}</ul>
      <p class="numbers" aria-live="polite">${chosen.length} selected${able ? "" : html`<span class="soft small"> · ${chosen.length < 2 ? "one more to compare" : `up to ${MOST_COMPARED} can be compared`}</span>`}</p>
      <button class="strong" disabled=${!able} onClick=${compare}>Compare</button>
      <button class="quiet" onClick=${() => setSelected(new Map())}>Clear</button>
    </div>`}`;
}

const filterOf = (params) => ({
  query: params.get("query") ?? "", provider: params.get("provider") ?? "",
  judgment: Object.hasOwn(JUDGMENTS, params.get("judgment")) ? params.get("judgment") : "",
  tags: tagsOf(params.get("tags")),
});
const paramsOf = ({ query: words, provider, judgment, tags }) => ({
  query: words || null, provider: provider || null, judgment: judgment || null, tags: tags.length ? JSON.stringify(tags) : null,
});

function tagsOf(text) {
  try {
    return JSON.parse(text ?? "[]").filter((tag) => typeof tag === "string");
  } catch {
    return [];
  }
}

function countOf({ items, more, loading }) {
  if (loading || !items.length) return " ";
  return more ? `The newest ${items.length} images, more below` : plural(items.length, "image");
}

/** The filter as it is asked for: words a moment after the last key, the rest at once. */
function useSettled(filter) {
  const [words, setWords] = useState(filter.query);
  useEffect(() => {
    const timer = setTimeout(() => setWords(filter.query), QUIET);
    return () => clearTimeout(timer);
  }, [filter.query]);
  return { query: words.trim(), provider: filter.provider, judgment: filter.judgment, tags: filter.tags.length ? JSON.stringify(filter.tags) : null };
}

function Filters({ filter, change, items, field }) {
  const providers = useGet("api/providers");
  const known = new Set(items.map((row) => row.ai_provider));
  for (const each of providers.value?.items ?? []) if (each.configured) known.add(each.id);
  if (filter.provider) known.add(filter.provider);
  const tags = useMemo(() => commonTags(items, filter.tags), [items, filter.tags]);
  const leave = (event) => event.key === "Escape" && event.target.blur();
  return html`<form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
    <div class="words"><label class="unseen" for="library-search">Search prompts, notes and tags</label>
      <input id="library-search" type="search" dir="auto" ref=${field} maxlength="1000" autocomplete="off" spellcheck="false"
        placeholder="Search prompts, notes and tags" value=${filter.query} onKeyDown=${leave} onInput=${(event) => change({ query: event.target.value })} /></div>
    <div><label class="unseen" for="library-provider">Provider</label><select id="library-provider" value=${filter.provider} onChange=${(event) => change({ provider: event.target.value })}>
      <option value="">Any provider</option>${[...known].sort().map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></div>
    <div><label class="unseen" for="library-verdict">Verdict</label><select id="library-verdict" value=${filter.judgment} onChange=${(event) => change({ judgment: event.target.value })}>
      <option value="">Any verdict</option>${Object.entries(JUDGMENTS).map(([value, name]) => html`<option key=${value} value=${value}>${name}</option>`)}</select></div>
    ${tags.length > 0 && html`<ul class="tags" aria-label="Tags">${tags.map((tag) => {
      const on = filter.tags.includes(tag);
      return html`<li key=${tag}><button type="button" class="tag" dir="auto" aria-pressed=${on} onClick=${() => change({ tags: on ? filter.tags.filter((each) => each !== tag) : [...filter.tags, tag] })}>${tag}</button></li>`;
    })}</ul>`}
  </form>`;
}

/** The tags that the filter has, then those of the loaded images, most frequent first; a tag that all have tells nothing. */
function commonTags(items, chosen) {
  const counts = new Map();
  for (const row of items) for (const tag of new Set(row.ai_tags)) counts.set(tag, (counts.get(tag) ?? 0) + 1);
  const others = [...counts].filter(([tag, count]) => count < items.length && !chosen.includes(tag)).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return [...chosen, ...others.map(([tag]) => tag)].slice(0, Math.max(TAGS, chosen.length));
}

/** What of a tall element is in the window, in pixels from its top, in steps so that not every scroll draws anew. */
function useWindow(element) {
  const [range, setRange] = useState([0, 2000]);
  useEffect(() => {
    const look = () => {
      if (!element.current) return;
      const top = -element.current.getBoundingClientRect().top;
      const next = [Math.floor((top - innerHeight) / 300) * 300, Math.ceil((top + 2 * innerHeight) / 300) * 300];
      setRange((old) => (old[0] === next[0] && old[1] === next[1] ? old : next));
    };
    look();
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => {
      removeEventListener("scroll", look);
      removeEventListener("resize", look);
    };
  }, []);
  return range;
}

/** The images in rows. Only those near the window are in the document; their sizes are known, so nothing jumps. */
function Wall({ projectId, list, selected, setSelected }) {
  const wall = useRef(null);
  const [width, setWidth] = useState(0);
  const [from, to] = useWindow(wall);
  const { items, more, loadMore } = list;
  const begin = useRef(places.get(projectId));
  const [at, setAt] = useState(0);
  const [inside, setInside] = useState(false);
  const anchor = useRef(null);
  useLayoutEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    watch.observe(wall.current);
    setWidth(Math.floor(wall.current.clientWidth));
    return () => watch.disconnect();
  }, []);
  const layout = useMemo(() => (width ? justify(items, width, { wanted: width < 560 ? 170 : 230, gap: width < 560 ? 6 : 10, below: BELOW }) : { height: 0, rows: [] }), [items, width]);
  const rowAt = (index) => layout.rows.find((row) => row.cells.at(-1).at >= index);

  useEffect(() => {
    // Coming back from an image: where it was, not at the top.
    const index = begin.current && width ? items.findIndex((row) => row.id === begin.current) : -1;
    begin.current = width ? null : begin.current;
    if (index > 0) focus(index);
  }, [width]);
  useEffect(() => { if (more && layout.height > 0 && to > layout.height - 1500) loadMore(); }, [more, to, layout, loadMore]);

  const wanted = useRef(null);
  const focus = (index) => {
    setAt(index);
    wanted.current = index;
    const row = rowAt(index);
    const top = wall.current.getBoundingClientRect().top + row.top;
    const [above, below] = [90, innerHeight - 90];
    if (top < above) scrollBy(0, top - above);
    else if (top + row.height + BELOW > below) scrollBy(0, top + row.height + BELOW - below);
    focusWanted();
  };
  const focusWanted = () => {
    if (wanted.current === null) return;
    const cell = wall.current.querySelector(`[data-at="${wanted.current}"] a`);
    if (!cell) return;
    cell.focus({ preventScroll: true });
    wanted.current = null;
  };
  // Without dependencies: a cell out of sight is drawn only after the scrolling.
  useEffect(focusWanted);

  const toggle = (index, range = false) => setSelected((old) => {
    const next = new Map(old);
    const [first, last] = range && anchor.current !== null ? [Math.min(anchor.current, index), Math.max(anchor.current, index)] : [index, index];
    const on = first !== last || !old.has(items[index].id);
    for (const row of items.slice(first, last + 1)) {
      if (on) next.set(row.id, row);
      else next.delete(row.id);
    }
    anchor.current = index;
    return next;
  });
  const step = (target) => (event) => {
    const next = Math.max(0, Math.min(items.length - 1, inside ? target() : at));
    if (event.shiftKey && inside) {
      setSelected((old) => new Map([...old, ...items.slice(Math.min(at, next), Math.max(at, next) + 1).map((row) => [row.id, row])]));
      anchor.current = next;
    }
    focus(next);
  };
  const vertical = (by) => () => {
    const number = layout.rows.indexOf(rowAt(at));
    const target = layout.rows[number + by];
    if (!target) return at;
    const cell = layout.rows[number].cells.find((each) => each.at === at);
    const centre = cell.left + cell.width / 2;
    return target.cells.reduce((best, each) => (Math.abs(each.left + each.width / 2 - centre) < Math.abs(best.left + best.width / 2 - centre) ? each : best)).at;
  };
  const open = (index) => {
    places.set(projectId, items[index].id);
    go("image", { projectId, id: items[index].id });
  };
  useKeys({
    ArrowRight: ["Next image; with shift it is selected", step(() => at + 1)],
    ArrowLeft: ["Previous image", step(() => at - 1)],
    ArrowDown: ["Image below", step(vertical(1))],
    ArrowUp: ["Image above", step(vertical(-1))],
    ...(inside ? { Enter: ["Open the image", () => open(at)], x: ["Select the image", (event) => toggle(at, event.shiftKey)] } : {}),
  });
  const shown = layout.rows.filter((row) => row.top < to && row.top + row.height + BELOW > from);
  const inView = rowAt(at);
  if (inView && !shown.includes(inView)) shown.push(inView);
  return html`<ul class="wall" ref=${wall} aria-label="Images" style=${{ height: `${layout.height}px` }} onFocusIn=${() => setInside(true)} onFocusOut=${() => setInside(false)}>
    ${shown.flatMap((row) => row.cells.map((cell) => {
      const image = items[cell.at];
      const on = selected.has(image.id);
      const click = (event) => {
        if (event.shiftKey || event.metaKey || event.ctrlKey) {
          event.preventDefault();
          toggle(cell.at, event.shiftKey);
        } else places.set(projectId, image.id);
      };
      return html`<li key=${image.id} class="cell" data-at=${cell.at} data-on=${on} aria-setsize=${more ? -1 : items.length} aria-posinset=${cell.at + 1}
        style=${{ insetInlineStart: `${cell.left}px`, top: `${row.top}px`, width: `${cell.width}px` }}>
        <a href=${link("image", { projectId, id: image.id })} tabindex=${cell.at === at ? 0 : -1} onFocus=${() => setAt(cell.at)} onClick=${click} style=${{ height: `${row.height}px` }} title=${image.prompt}>
          <${Picture} src=${image.generated_image_url} alt=${image.prompt} width=${image.width} height=${image.height} shown=${cell.width} /></a>
        <button class="pick" role="checkbox" aria-checked=${on} tabindex="-1" aria-label="Select this image" onClick=${(event) => toggle(cell.at, event.shiftKey)}></button>
        <p class="small soft"><span class="maker">${nameOf(image)}</span><${RowVerdict} row=${image} /></p>
      </li>`;
    }))}
  </ul>`;
}
