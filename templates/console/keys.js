// Keys of the keyboard: views say which they use, and `?` lists them.
import { useEffect, useRef } from "./lib.js";

const layers = new Set();

/** Whether somebody is writing: then single keys are letters. */
function isWriting(target) {
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

/** The key's name: `a`, `ArrowLeft`, `mod+Enter` (Ctrl or ⌘), `alt+ArrowUp`. */
function nameOf(event) {
  const mod = event.ctrlKey || event.metaKey ? "mod+" : "";
  return `${mod}${event.altKey ? "alt+" : ""}${event.key.length === 1 ? event.key.toLowerCase() : event.key}`;
}

let chord = null;

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing) return;
  const name = nameOf(event);
  if (isWriting(event.target) && !name.startsWith("mod+") && name !== "Escape") return;
  const wanted = chord ? `${chord} ${name}` : name;
  chord = null;
  for (const layer of [...layers].reverse()) {
    const entry = layer.current[wanted];
    if (entry) {
      event.preventDefault();
      entry[1](event);
      return;
    }
    if (Object.keys(layer.current).some((each) => each.startsWith(`${wanted} `))) {
      chord = wanted;
      return;
    }
  }
});

/** Use keys while the component is shown: `useKeys({ "a": ["Approve", approve], "g h": ["Go to Projects", …] })`. */
export function useKeys(keys) {
  const layer = useRef(keys);
  layer.current = keys;
  useEffect(() => {
    layers.add(layer);
    return () => layers.delete(layer);
  }, []);
}

/** The keys that work now, as `[key, what it does]`. */
export function keysInUse() {
  const found = new Map();
  for (const layer of layers) for (const [key, [what]] of Object.entries(layer.current)) found.set(key, what);
  return [...found];
}
