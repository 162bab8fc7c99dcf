// Where an image comes from and what was made from it, as a tree that can be walked by keyboard.
import { useGet } from "../api.js";
import { EDGE, RowVerdict, costOf, nameOf } from "../images/facts.js";
import { useKeys } from "../keys.js";
import { html, useEffect, useMemo, useRef, useState } from "../lib.js";
import { Picture, Problem, Waiting } from "../parts.js";
import { go, link } from "../views.js";
import { ago, plural } from "../words.js";

export default function Lineage({ route }) {
  const { id, projectId } = route;
  const tree = useTree(id);
  useKeys({ Escape: ["Back to the image", () => go("image", { projectId, id })] });
  if (tree.error) return html`<${Problem} error=${tree.error} retry=${tree.reload} />`;
  if (!tree.nodes) return html`<${Waiting} label="Loading the tree" />`;
  return html`<div class="lineage">
    <div class="top"><h1>Lineage</h1><p class="soft small">${plural(tree.nodes.size, "image")}${tree.truncated ? ", and more that are not shown" : ""}</p></div>
    <p class="soft small hint"><kbd>↑</kbd> <kbd>↓</kbd> walk, <kbd>←</kbd> to what it was made from, <kbd>→</kbd> to what was made from it, <kbd>↵</kbd> opens.</p>
    <${Tree} tree=${tree} id=${id} projectId=${projectId} />
  </div>`;
}

/** The whole tree that an image belongs to: `{root, nodes, children}`, nodes by id and the ids of each node's children. */
function useTree(id) {
  const path = (node) => `api/progressions/${encodeURIComponent(node)}`;
  const own = useGet(`${path(id)}/lineage`);
  const root = own.value ? (own.value.ancestors.at(-1)?.id ?? id) : null;
  const first = useGet(root ? path(root) : null);
  const whole = useGet(root && root !== id ? `${path(root)}/lineage` : null);
  const from = root === id ? own : whole;
  const known = useMemo(() => {
    if (!first.value || !from.value) return { nodes: null };
    const nodes = new Map([first.value, ...from.value.descendants, ...(own.value?.ancestors ?? [])].map((row) => [row.id, row]));
    const children = new Map();
    for (const row of [...nodes.values()].sort((a, b) => a.created_at - b.created_at || a.variant_index - b.variant_index)) {
      if (!nodes.has(row.parent_progression_id)) continue;
      children.set(row.parent_progression_id, [...(children.get(row.parent_progression_id) ?? []), row.id]);
    }
    return { root, nodes, children, truncated: from.value.truncated || own.value.truncated };
  }, [first.value, from.value, own.value]);
  return { ...known, error: own.error ?? first.error ?? whole.error, reload: () => [own, first, whole].forEach((each) => each.reload()) };
}

const DEEPEST = 10;

/** The tree's visible nodes in their order, each with its level and how many branchings are above it. */
function visible({ root, children }, closed) {
  const found = [];
  const open = [{ id: root, level: 1, branch: 0, place: 1, beside: 1, guides: [] }];
  while (open.length) {
    const node = open.pop();
    const below = children.get(node.id) ?? [];
    found.push({ ...node, below: below.length });
    if (closed.has(node.id)) continue;
    const branch = Math.min(DEEPEST, node.branch + (below.length > 1 ? 1 : 0));
    below.toReversed().forEach((id, at) => {
      // A line leads past this node and all below it to the next one beside it.
      const guides = at > 0 ? [...node.guides, branch] : node.guides;
      open.push({ id, level: node.level + 1, branch, place: below.length - at, beside: below.length, guides });
    });
  }
  return found;
}

function Tree({ tree, id, projectId }) {
  const [closed, setClosed] = useState(() => new Set());
  const nodes = useMemo(() => visible(tree, closed), [tree, closed]);
  const [current, setCurrent] = useState(id);
  const box = useRef(null);
  useEffect(() => setCurrent(id), [id]);
  const focus = (next) => {
    if (!next) return;
    setCurrent(next);
    box.current.querySelector(`#${CSS.escape(`node-${next}`)}`)?.focus();
  };
  useEffect(() => focus(current), [closed]);
  const at = Math.max(0, nodes.findIndex((node) => node.id === current));
  const node = nodes[at];
  const fold = (which) => setClosed((old) => { const next = new Set(old); if (!next.delete(which)) next.add(which); return next; });
  const keys = (event) => {
    const act = {
      ArrowDown: () => focus(nodes[at + 1]?.id),
      ArrowUp: () => focus(nodes[at - 1]?.id),
      ArrowRight: () => (closed.has(node.id) ? fold(node.id) : focus(tree.children.get(node.id)?.[0])),
      ArrowLeft: () => (node.below && !closed.has(node.id) && event.shiftKey ? fold(node.id) : focus(tree.nodes.get(node.id).parent_progression_id)),
      Home: () => focus(nodes[0].id),
      End: () => focus(nodes.at(-1).id),
      Enter: () => go("image", { projectId, id: node.id }),
      " ": () => node.below && fold(node.id),
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  };
  return html`<ul class="tree" role="tree" aria-label="Lineage" ref=${box} onKeyDown=${keys}>${nodes.map((each) => {
    const row = tree.nodes.get(each.id);
    return html`<li key=${each.id} id="node-${each.id}" role="treeitem" tabindex=${each.id === node.id ? 0 : -1} aria-level=${each.level} aria-setsize=${each.beside} aria-posinset=${each.place}
      aria-expanded=${each.below ? !closed.has(each.id) : null} aria-current=${each.id === id ? "true" : null} aria-selected=${each.id === node.id} data-first=${each.beside > 1}
      style=${{ "--branch": each.branch }} onFocus=${() => setCurrent(each.id)} onDblClick=${() => go("image", { projectId, id: each.id })}>
      ${each.guides.map((guide) => html`<i key=${guide} class="guide" style=${{ "--guide": guide }}></i>`)}
      <a href=${link("image", { projectId, id: each.id })} tabindex="-1"><${Picture} src=${row.generated_image_url} alt="" width=${row.width} height=${row.height} shown=${96} /></a>
      <div>
        <p class="row small soft"><b>${EDGE[row.edge]}</b> <span>${nameOf(row)}</span> <span class="numbers">${costOf(row)} · ${ago(row.created_at)}</span> <${RowVerdict} row=${row} /></p>
        <p class="words" dir="auto">${row.prompt}</p>
        ${each.below > 0 && html`<button class="plain small" tabindex="-1" onClick=${() => fold(each.id)}>${closed.has(each.id) ? `Show ${plural(each.below, "image")} made from it` : "Hide what was made from it"}</button>`}
      </div>
    </li>`;
  })}</ul>`;
}
