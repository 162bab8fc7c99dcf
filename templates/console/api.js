// The public HTTP API, as any client uses it. The session cookie stands for the key.
import { useCallback, useEffect, useState } from "./lib.js";

/** The address of the service, with a slash at its end: the page may live below a path of a proxy. */
export const ROOT = new URL("../", import.meta.url);

/** An answer that is an error, with the code and the sentence of the API's one error shape. */
export class ApiError extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
    this.detail = error.detail;
    this.correlationId = error.correlationId;
  }
}

let signedOut = () => {};

/** Have `listener` called when an answer says that nobody is signed in any more. */
export function onSignedOut(listener) {
  signedOut = listener;
}

/** Send one request and give its JSON. Fails with an ApiError; `offline` is its code when no answer came. */
export async function call(method, path, { body, form, headers = {}, signal } = {}) {
  const options = { method, signal, credentials: "same-origin", headers: { Accept: "application/json", ...headers } };
  if (method !== "GET") options.headers["X-Picasso-Console"] = "1";
  if (form !== undefined) options.body = form;
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(new URL(path.replace(/^\//, ""), ROOT), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { code: "offline", message: "the server cannot be reached at the moment" });
  }
  const text = await response.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    throw new ApiError(response.status, { code: "unreadable", message: "the answer is no JSON; is there a proxy in between?" });
  }
  if (response.ok) return value;
  if (response.status === 401 && !path.startsWith("console/")) signedOut();
  throw new ApiError(response.status, value?.error ?? { code: "unknown", message: `the server answered ${response.status}` });
}

export const get = (path, options) => call("GET", path, options);
export const post = (path, body = {}, options) => call("POST", path, { ...options, body });
export const patch = (path, body, options) => call("PATCH", path, { ...options, body });
export const put = (path, body, options) => call("PUT", path, { ...options, body });
export const del = (path, options) => call("DELETE", path, options);

/** Store an image for the project's jobs; gives `{startImageUrl, sha256, width, height, mime}`. */
export function upload(projectId, file) {
  const form = new FormData();
  form.append("file", file, file.name || "image");
  return call("POST", `api/projects/${encodeURIComponent(projectId)}/uploads`, { form });
}

/** A path with a query; parameters that are null, undefined or empty are left out, arrays are repeated. */
export function query(path, parameters) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") search.append(name, one);
    }
  }
  const text = search.toString();
  return text ? `${path}${path.includes("?") ? "&" : "?"}${text}` : path;
}

/** What a GET gives, for a view: `{value, error, loading, reload}`. A path of null asks nothing. */
export function useGet(path) {
  const [state, setState] = useState({ path: null, value: null, error: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (path === null) return undefined;
    const control = new AbortController();
    get(path, { signal: control.signal }).then(
      (value) => setState({ path, value, error: null }),
      (error) => error.name !== "AbortError" && setState((old) => ({ path, value: old.path === path ? old.value : null, error })),
    );
    return () => control.abort();
  }, [path, turn]);
  const reload = useCallback(() => setTurn((number) => number + 1), []);
  const current = state.path === path;
  return { value: current ? state.value : null, error: current ? state.error : null, loading: path !== null && !current, reload };
}

/** A list that is read page by page: `{items, error, loading, more, loadMore, reload}`; `more` says whether there is more. */
export function usePages(path, limit = 60) {
  const [state, setState] = useState({ path: null, items: [], cursor: null, error: null });
  const [want, setWant] = useState({ path, turn: 0, cursor: null });
  const asked = want.path === path ? want : { path, turn: 0, cursor: null };
  useEffect(() => {
    if (path === null) return undefined;
    const control = new AbortController();
    get(query(path, { limit, cursor: asked.cursor }), { signal: control.signal }).then(
      (page) =>
        setState((old) => ({
          path,
          items: asked.cursor && old.path === path ? [...old.items, ...page.items] : page.items,
          cursor: page.nextCursor,
          error: null,
        })),
      (error) => error.name !== "AbortError" && setState((old) => ({ ...old, path, error })),
    );
    return () => control.abort();
  }, [path, limit, asked.turn, asked.cursor]);
  const current = state.path === path;
  return {
    items: current ? state.items : [],
    error: current ? state.error : null,
    loading: path !== null && !current,
    more: current && state.cursor !== null,
    loadMore: () => current && state.cursor && setWant({ ...asked, cursor: state.cursor }),
    reload: () => setWant({ path, turn: asked.turn + 1, cursor: null }),
  };
}

/** The address of a delivery image in another width, where this service delivers it; else the address as it is. */
export function sized(url, width) {
  if (!url) return url;
  const own = url.match(/\/images\/([A-Za-z0-9._-]+)\/[^/]+$/);
  if (!own || url.startsWith("https://imagedelivery.net/")) return url;
  const variant = width <= 256 ? "thumb" : width <= 1024 ? "preview" : "public";
  return new URL(`images/${own[1]}/${variant}`, ROOT).href;
}
