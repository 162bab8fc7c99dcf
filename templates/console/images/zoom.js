// A frame in which pictures can be enlarged and moved; several frames may share one enlargement.
import { html, useEffect, useRef, useState } from "../lib.js";

const LARGEST = 12;
const STEP = 1.5;
const WHOLE = { scale: 1, x: 0, y: 0 };

/** An enlargement: `{view, zoomed, change, larger, smaller, whole, toggle}`; `view` is a scale and a shift in CSS pixels. */
export function useZoom() {
  const [view, setView] = useState(WHOLE);
  const times = (factor) => setView((old) => scaled(old, factor, 0, 0));
  return {
    view,
    zoomed: view.scale > 1,
    change: setView,
    larger: () => times(STEP),
    smaller: () => times(1 / STEP),
    whole: () => setView(WHOLE),
    toggle: () => setView((old) => (old.scale > 1 ? WHOLE : scaled(old, 2.5, 0, 0))),
  };
}

/** The view enlarged about a point, given in pixels from the frame's centre. */
function scaled(view, factor, x, y) {
  const scale = Math.min(LARGEST, Math.max(1, view.scale * factor));
  if (scale === 1) return WHOLE;
  const by = scale / view.scale;
  return { scale, x: x - (x - view.x) * by, y: y - (y - view.y) * by };
}

/** The view moved so that the picture covers the frame's centre. */
function held(view, { width, height }) {
  const [right, down] = [((view.scale - 1) * width) / 2, ((view.scale - 1) * height) / 2];
  return { ...view, x: Math.min(right, Math.max(-right, view.x)), y: Math.min(down, Math.max(-down, view.y)) };
}

/** The frame. A pinch, the wheel with Ctrl or ⌘, or a double click enlarges; an enlarged picture can be dragged. */
export function Frame({ zoom, width, height, children, class: name = "", ...rest }) {
  const frame = useRef(null);
  const fingers = useRef(new Map());
  const current = useRef(zoom);
  current.current = zoom;

  const box = () => frame.current.getBoundingClientRect();
  const enlarge = (factor, { clientX, clientY }) => {
    const { left, top, width: wide, height: high } = box();
    zoom.change((old) => held(scaled(old, factor, clientX - left - wide / 2, clientY - top - high / 2), { width: wide, height: high }));
  };
  const latest = useRef(enlarge);
  latest.current = enlarge;
  useEffect(() => {
    const wheel = (event) => {
      // The page scrolls as everywhere until a picture is enlarged.
      if (!event.ctrlKey && !event.metaKey && !current.current.zoomed) return;
      event.preventDefault();
      latest.current(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 300)), event);
    };
    frame.current.addEventListener("wheel", wheel, { passive: false });
    return () => frame.current?.removeEventListener("wheel", wheel);
  }, []);

  const down = (event) => {
    if (event.button !== 0) return;
    fingers.current.set(event.pointerId, event);
    if (zoom.zoomed || fingers.current.size > 1) frame.current.setPointerCapture(event.pointerId);
  };
  const move = (event) => {
    const before = fingers.current.get(event.pointerId);
    if (!before) return;
    const [other] = [...fingers.current.values()].filter((each) => each.pointerId !== event.pointerId);
    if (other) {
      const apart = (one) => Math.max(1, Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY));
      enlarge(apart(event) / apart(before), { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
    } else if (zoom.zoomed) {
      zoom.change((old) => held({ ...old, x: old.x + event.clientX - before.clientX, y: old.y + event.clientY - before.clientY }, box()));
    }
    fingers.current.set(event.pointerId, event);
  };
  const up = (event) => fingers.current.delete(event.pointerId);
  const twice = (event) => (zoom.zoomed ? zoom.whole() : enlarge(2.5, event));
  const { scale, x, y } = zoom.view;
  return html`<div ref=${frame} class="viewer ${name}" data-zoomed=${zoom.zoomed} style=${{ aspectRatio: `${width} / ${height}`, "--shape": `${width} / ${height}` }}
    onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${up} onDblClick=${twice} onDragStart=${(event) => event.preventDefault()} ...${rest}>
    <div class="moved" style=${{ transform: scale === 1 ? "none" : `translate(${x}px, ${y}px) scale(${scale})` }}>${children}</div>
  </div>`;
}

/** Buttons for what the frame does by gestures. */
export const ZoomButtons = ({ zoom }) => html`<div class="zooms" role="group" aria-label="Enlarge">
  <button class="quiet" onClick=${zoom.smaller} disabled=${!zoom.zoomed} aria-label="Smaller">−</button>
  <button class="quiet numbers" onClick=${zoom.toggle} aria-label=${zoom.zoomed ? "Show the whole picture" : "Enlarge"}>${Math.round(zoom.view.scale * 100)} %</button>
  <button class="quiet" onClick=${zoom.larger} aria-label="Larger">+</button>
</div>`;

/** The keys of the frame. */
export const zoomKeys = (zoom) => ({
  z: ["Enlarge, or show the whole picture", zoom.toggle],
  "+": ["Larger", zoom.larger],
  "-": ["Smaller", zoom.smaller],
  0: ["Show the whole picture", zoom.whole],
});
