// The views, in the order of the navigation. To add one: write `views/<name>.js` with a component as its default export,
// its styles in `views/<name>.css`, and a line here. Nothing else names it.
//
//   name     the view's word in addresses, and its files' name
//   title    its word for people
//   scope    "all" (#/<name>) or "project" (#/p/<projectId>/<name>/<id>)
//   hidden   true: reached from other views only, not in the navigation
//   key      after `g`, goes there
//   icon     the paths of a 24 × 24 drawing of strokes
//
// A component gets `{ route }`; what belongs to the project comes from `useProject()` of project.js.
export const VIEWS = [
  {
    name: "home",
    title: "Projects",
    scope: "all",
    key: "h",
    icon: "M4 5h7v6H4zM13 5h7v10h-7zM4 13h7v6H4zM13 17h7v2h-7z",
    load: () => import("./views/home.js"),
  },
  {
    name: "make",
    title: "Make",
    scope: "project",
    key: "m",
    icon: "M12 5v14M5 12h14",
    load: () => import("./views/make.js"),
  },
  {
    name: "live",
    title: "Live",
    scope: "project",
    key: "l",
    icon: "M3 12h4l3-7 4 14 3-7h4",
    load: () => import("./views/live.js"),
  },
  {
    name: "library",
    title: "Library",
    scope: "project",
    key: "i",
    icon: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
    load: () => import("./views/library.js"),
  },
  {
    name: "image",
    title: "Image",
    scope: "project",
    hidden: true,
    load: () => import("./views/image.js"),
  },
  {
    name: "compare",
    title: "Compare",
    scope: "project",
    hidden: true,
    load: () => import("./views/compare.js"),
  },
  {
    name: "lineage",
    title: "Lineage",
    scope: "project",
    hidden: true,
    load: () => import("./views/lineage.js"),
  },
  {
    name: "pages",
    title: "Pages",
    scope: "all",
    key: "p",
    icon: "M6 3h9l4 4v14H6zM15 3v4h4M9 12h7M9 16h7",
    load: () => import("./views/pages.js"),
  },
  {
    name: "money",
    title: "Money",
    scope: "all",
    key: "b",
    icon: "M12 4v16M16 7.5c-1-1.2-2.4-1.7-4-1.7-2.3 0-4 1.1-4 3s1.6 2.6 4 3.1 4.2 1.3 4.2 3.3-1.8 3-4.2 3c-1.8 0-3.3-.6-4.2-1.9",
    load: () => import("./views/money.js"),
  },
  {
    name: "settings",
    title: "Settings",
    scope: "all",
    key: "s",
    icon: "M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4",
    load: () => import("./views/settings.js"),
  },
];

/** The route of an address's fragment: `{view, projectId, id, params}`. What names no view is Projects. */
export function parseRoute(fragment) {
  const [path, search = ""] = fragment.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decode);
  const params = new URLSearchParams(search);
  const inProject = parts[0] === "p" && parts.length > 1;
  const [projectId, rest] = inProject ? [parts[1], parts.slice(2)] : [null, parts];
  const scope = inProject ? "project" : "all";
  const view = VIEWS.find((each) => each.scope === scope && each.name === (rest[0] ?? (inProject ? "make" : "home")));
  return view ? { view, projectId, id: rest[1] ?? null, params } : { view: VIEWS[0], projectId: null, id: null, params };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}

/** The address of a view: `link("live", { projectId, id, params })`. */
export function link(name, { projectId = null, id = null, params = {} } = {}) {
  const parts = [...(projectId ? ["p", projectId] : []), ...(name === "home" ? [] : [name]), ...(id ? [id] : [])];
  const search = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== null && value !== undefined)).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

export function go(name, where) {
  location.hash = link(name, where);
}
