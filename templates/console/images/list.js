// The list of a project's images that the library shows and the image view leafs through.
import { get, query } from "../api.js";
import { useCallback, useEffect, useRef, useState } from "../lib.js";

const PAGE = 100;
const NARROWEST = 0.5;
const WIDEST = 2.6;

/** The list that was shown last: coming back to it is instant, and the image view knows what is beside an image. */
let kept = { path: null, items: [], cursor: null };

/** A row of the list that was shown last, or undefined. */
export const rowOf = (id) => kept.items.find((row) => row.id === id);

/** The ids before and after an image in the list that was shown last: `[before, after]`, undefined where there is none. */
export function neighbours(id) {
  const at = kept.items.findIndex((row) => row.id === id);
  return at < 0 ? [undefined, undefined] : [kept.items[at - 1]?.id, kept.items[at + 1]?.id];
}

/**
 * The images at a path, newest first, read page by page: `{items, error, loading, more, loadMore, reload}`. The newest
 * page is read again whenever `turn` changes.
 */
export function useImages(path, turn) {
  const [state, setState] = useState(() => ({ ...(kept.path === path ? kept : { path: null, items: [], cursor: null }), error: null }));
  const [again, setAgain] = useState(0);
  const asking = useRef(null);
  const put = (change) => setState((old) => {
    const next = change(old);
    if (!next.error) kept = { path: next.path, items: next.items, cursor: next.cursor };
    return next;
  });
  useEffect(() => {
    const control = new AbortController();
    asking.current?.abort();
    asking.current = null;
    get(query(path, { limit: PAGE }), { signal: control.signal }).then(
      (page) => put((old) => withNewest(old, path, page)),
      (error) => error.name !== "AbortError" && setState((old) => ({ ...(old.path === path ? old : { path, items: [], cursor: null }), error })),
    );
    return () => control.abort();
  }, [path, turn, again]);
  useEffect(() => () => asking.current?.abort(), []);
  const current = state.path === path;
  const loadMore = useCallback(() => {
    if (!current || !state.cursor || asking.current) return;
    const control = new AbortController();
    asking.current = control;
    get(query(path, { limit: PAGE, cursor: state.cursor }), { signal: control.signal }).then(
      (page) => {
        asking.current = null;
        put((old) => {
          if (old.path !== path || old.cursor !== state.cursor) return old;
          const known = new Set(old.items.map((row) => row.id));
          return { path, items: [...old.items, ...page.items.filter((row) => !known.has(row.id))], cursor: page.nextCursor, error: null };
        });
      },
      (error) => {
        if (error.name === "AbortError") return;
        asking.current = null;
        setState((old) => ({ ...old, error }));
      },
    );
  }, [path, current, state.cursor]);
  return {
    items: current ? state.items : [],
    error: current ? state.error : null,
    loading: !current,
    more: current && state.cursor !== null,
    loadMore,
    reload: () => setAgain((number) => number + 1),
  };
}

/** The list with its newest page read again; where the page does not reach what is known, the list begins anew. */
function withNewest(old, path, page) {
  const fresh = new Set(page.items.map((row) => row.id));
  if (old.path !== path || !old.items.some((row) => fresh.has(row.id))) return { path, items: page.items, cursor: page.nextCursor, error: null };
  const rest = old.items.filter((row) => !fresh.has(row.id));
  return { path, items: [...page.items, ...rest], cursor: rest.length ? old.cursor : page.nextCursor, error: null };
}

/**
 * Rows of images that fill `width` CSS pixels, each about `wanted` high with `below` under it:
 * `{height, rows: [{top, height, cells: [{at, left, width}]}]}`. Images that are added change the last row only.
 */
export function justify(items, width, { wanted, gap, below }) {
  const rows = [];
  let top = 0;
  let from = 0;
  let ratios = [];
  const close = (height) => {
    let left = 0;
    const cells = ratios.map((ratio, index) => {
      const cell = { at: from + index, left, width: ratio * height };
      left += cell.width + gap;
      return cell;
    });
    rows.push({ top, height, cells });
    top += height + below + gap;
    from += ratios.length;
    ratios = [];
  };
  for (const row of items) {
    ratios.push(Math.min(WIDEST, Math.max(NARROWEST, row.width / row.height)));
    const height = (width - gap * (ratios.length - 1)) / ratios.reduce((sum, ratio) => sum + ratio, 0);
    if (height <= wanted) close(height);
  }
  if (ratios.length) close(Math.min(wanted, (width - gap * (ratios.length - 1)) / ratios.reduce((sum, ratio) => sum + ratio, 0)));
  return { height: Math.max(0, top - gap), rows };
}
