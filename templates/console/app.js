// The frame: session, navigation, the view of the address, and the dot that tells how the events come.
import { call, del, get, onSignedOut } from "./api.js";
import { keysInUse, useKeys } from "./keys.js";
import { Fragment, html, render, useEffect, useErrorBoundary, useState } from "./lib.js";
import { Dialog, Icon, Problem, Waiting } from "./parts.js";
import { ProjectContext, useOpenProject } from "./project.js";
import { SignIn } from "./sign-in.js";
import { VIEWS, go, link, parseRoute } from "./views.js";

const THEMES = { auto: "as the system", light: "light", dark: "dark" };
const DOTS = {
  live: "Live: events arrive as they happen",
  replaying: "Catching up with what happened",
  offline: "Offline: the server cannot be reached; it is tried again",
};

function useRoute() {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const change = () => setRoute(parseRoute(location.hash));
    addEventListener("hashchange", change);
    return () => removeEventListener("hashchange", change);
  }, []);
  return route;
}

function useTheme() {
  const [theme, setTheme] = useState(() => localStorage.getItem("picasso.theme") ?? "auto");
  useEffect(() => {
    localStorage.setItem("picasso.theme", theme);
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }, [theme]);
  const names = Object.keys(THEMES);
  return [theme, () => setTheme(names[(names.indexOf(theme) + 1) % names.length])];
}

/** The view of the route, once its module and its styles are there. */
function View({ route }) {
  const { name } = route.view;
  const [loaded, setLoaded] = useState({ name: null, component: null, error: null });
  const [failure, clearFailure] = useErrorBoundary((error) => console.error(error));
  useEffect(() => {
    let current = true;
    Promise.all([route.view.load(), style(name)]).then(
      ([module]) => current && setLoaded({ name, component: module.default, error: null }),
      () => current && setLoaded({ name, component: null, error: { message: "this part of the console could not be loaded" } }),
    );
    return () => {
      current = false;
    };
  }, [name]);
  useEffect(() => {
    document.title = `${route.view.title} · picasso`;
    clearFailure();
  }, [location.hash]);
  if (failure) return html`<${Problem} error=${{ message: "this view met an error of its own; reload the page" }} retry=${() => location.reload()} />`;
  if (loaded.name !== name) return html`<${Waiting} />`;
  if (loaded.error) return html`<${Problem} error=${loaded.error} retry=${() => location.reload()} />`;
  return html`<${loaded.component} key=${`${route.projectId}/${name}`} route=${route} />`;
}

const styles = new Map();

function style(name) {
  if (!styles.has(name)) {
    styles.set(
      name,
      new Promise((resolve, reject) => {
        const sheet = document.createElement("link");
        sheet.rel = "stylesheet";
        sheet.href = new URL(`views/${name}.css`, import.meta.url).href;
        sheet.onload = resolve;
        sheet.onerror = reject;
        document.head.append(sheet);
      }),
    );
  }
  return styles.get(name);
}

function Navigation({ route, project }) {
  const projectId = route.projectId ?? project.lastId;
  const shown = VIEWS.filter((view) => !view.hidden && (view.scope === "all" || projectId));
  return html`<nav aria-label="Views">
    ${shown.map((view) => {
      const here = view === route.view;
      const where = view.scope === "project" ? { projectId } : {};
      return html`<a key=${view.name} href=${link(view.name, where)} aria-current=${here ? "page" : null}>
        <${Icon} path=${view.icon} /><span>${view.title}</span>
        ${view.name === "live" && project.running > 0 && html`<b class="count" aria-label="${project.running} running">${project.running}</b>`}
      </a>`;
    })}
  </nav>`;
}

function KeyList({ onClose }) {
  const spoken = (key) => key.replace("mod+", /Mac|iPhone|iPad/.test(navigator.platform) ? "⌘ " : "Ctrl ").replace("alt+", "Alt ");
  return html`<${Dialog} title="Keys" onClose=${onClose}>
    <dl class="keys">${keysInUse().map(([key, what]) => html`<div key=${key}><dt><kbd>${spoken(key)}</kbd></dt><dd>${what}</dd></div>`)}</dl>
  <//>`;
}

function Console({ onSignOut }) {
  const route = useRoute();
  const project = useOpenProject(route.projectId);
  const [theme, nextTheme] = useTheme();
  const [help, setHelp] = useState(false);
  const [more, setMore] = useState(false);
  const actions = html`
    <button class="plain" onClick=${() => { setMore(false); setHelp(true); }}>Keys</button>
    <button class="plain" onClick=${nextTheme}>Colours: ${THEMES[theme]}</button>
    <a class="plain" href="docs" target="_blank" rel="noreferrer">Reference</a>
    <button class="plain" onClick=${onSignOut}>Sign out</button>`;
  const projectId = route.projectId ?? project.lastId;
  const jumps = VIEWS.filter((view) => view.key && (view.scope === "all" || projectId)).map((view) => [
    `g ${view.key}`,
    [`Go to ${view.title}`, () => go(view.name, view.scope === "project" ? { projectId } : {})],
  ]);
  useKeys({ ...Object.fromEntries(jumps), "?": ["Show the keys", () => setHelp(true)] });
  return html`<${ProjectContext.Provider} value=${project}>
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>Skip to the content</a>
    <header class="rail">
      <a class="mark" href=${link("home")}><img src="assets/favicon.svg" alt="" width="28" height="28" /><span>picasso</span></a>
      ${route.projectId && html`<p class="where" dir="auto">${project.project?.name ?? " "}</p>`}
      <${Navigation} route=${route} project=${project} />
      <div class="foot">
        ${route.projectId && html`<p class="dot" data-state=${project.stream} role="status" title=${DOTS[project.stream]}><i></i>${project.stream}</p>`}
        ${actions}
        <button class="plain more" aria-label="More" onClick=${() => setMore(true)}>⋯</button>
      </div>
    </header>
    <main id="main" tabindex="-1"><${View} route=${route} /></main>
    ${more && html`<${Dialog} title="picasso" onClose=${() => setMore(false)}><div class="actions">${actions}</div><//>`}
    ${help && html`<${KeyList} onClose=${() => setHelp(false)} />`}
  <//>`;
}

/** Signs in by the link's token if there is one, else asks whether the browser is signed in, else for the key. */
function App() {
  const [state, setState] = useState("asking");
  const [error, setError] = useState(null);
  const ask = () => {
    setError(null);
    const token = location.hash.match(/^#sign-in=([\w.-]+)$/)?.[1];
    // The token leaves the address and the history at once.
    if (token) history.replaceState(null, "", `${location.pathname}#/`);
    (token ? call("POST", "console/session", { body: { token } }) : get("console/session")).then(
      ({ signedIn }) => setState(signedIn ? "in" : "out"),
      (failure) => {
        setError(failure);
        // A link that was used already may belong to this very browser.
        if (token && failure.status === 401) get("console/session").then(({ signedIn }) => setState(signedIn ? "in" : "out"), setError);
        else setState(failure.status === 0 || failure.status === 503 ? "away" : "out");
      },
    );
  };
  useEffect(() => {
    onSignedOut(() => setState("out"));
    ask();
  }, []);
  useEffect(() => {
    if (state !== "away") return undefined;
    const timer = setTimeout(ask, 2000);
    return () => clearTimeout(timer);
  }, [state, error]);
  const signOut = () => del("console/session").then(() => { setError(null); setState("out"); }, setError);
  if (state === "in") return html`<${Console} onSignOut=${signOut} />`;
  if (state === "out") return html`<${SignIn} error=${error} onDone=${() => { setError(null); setState("in"); }} />`;
  if (state === "away") return html`<div class="alone"><${Problem} error=${error} retry=${ask} /></div>`;
  return html`<${Fragment}><div class="alone"><${Waiting} label="Opening the console" /></div><//>`;
}

render(html`<${App} />`, document.getElementById("console"));
