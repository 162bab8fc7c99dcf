// A session's events: one WebSocket that comes back by itself, and the reducer that applies events to jobs.
import { get, ROOT } from "./api.js";
import { ENDED } from "./words.js";

const FIRST_WAIT = 400;
const LONGEST_WAIT = 8000;
const PING_EVERY = 15000;
const SILENCE = 10000;
const EXPIRED = 4410;

/**
 * Follow a session from after `since`. `on.event` gets each event once, in the order of `seq`; `on.state` gets `live`,
 * `replaying` or `offline`; `on.expired` is called when the log no longer goes back that far. Gives `stop()`.
 */
export function follow(sessionId, since, on) {
  let seq = since;
  let socket = null;
  let wait = FIRST_WAIT;
  let retry = 0;
  let ping = 0;
  let silence = 0;
  let stopped = false;

  function connect() {
    if (stopped || socket) return;
    clearTimeout(retry);
    const address = new URL(`api/stream/${sessionId}?since=${seq}`, ROOT);
    address.protocol = address.protocol.replace("http", "ws");
    const own = new WebSocket(address);
    socket = own;
    own.onopen = () => {
      on.state("replaying");
      ping = setInterval(() => {
        own.send("ping");
        // A laptop that slept keeps a dead connection; an answer shows that this one lives.
        silence ||= setTimeout(() => own.close(), SILENCE);
      }, PING_EVERY);
    };
    own.onmessage = ({ data }) => {
      clearTimeout(silence);
      silence = 0;
      if (data === "pong") return;
      const event = JSON.parse(data);
      if (event.type === "caught-up") {
        wait = FIRST_WAIT;
        on.state("live");
      } else if (event.seq > seq) {
        seq = event.seq;
        on.event(event);
      }
    };
    own.onclose = ({ code }) => {
      clearInterval(ping);
      clearTimeout(silence);
      silence = 0;
      if (socket === own) socket = null;
      if (stopped) return;
      on.state("offline");
      if (code === EXPIRED) {
        on.expired();
        return;
      }
      retry = setTimeout(connect, wait * (0.75 + Math.random() / 2));
      wait = Math.min(LONGEST_WAIT, wait * 2);
      // A browser does not say why a handshake failed; an ordinary request does.
      get(`_actor/${sessionId}/state`).catch(() => {});
    };
  }

  function hurry() {
    if (document.visibilityState === "visible" && navigator.onLine) connect();
  }

  function notice() {
    // Without a network a socket may stay "open" for minutes.
    socket?.close();
  }

  document.addEventListener("visibilitychange", hurry);
  addEventListener("online", hurry);
  addEventListener("offline", notice);
  connect();
  return () => {
    stopped = true;
    clearTimeout(retry);
    document.removeEventListener("visibilitychange", hurry);
    removeEventListener("online", hurry);
    removeEventListener("offline", notice);
    socket?.close();
  };
}

/**
 * The job after one event about it. The same event may come again, and after a newer snapshot: what has ended stays
 * ended, and progress never falls. Gives the same object when nothing changes.
 */
export function reduceJob(job, { type, ts, data }) {
  if (data.scope === "job") {
    if (ENDED.has(job.status)) return job;
    const status = type === "complete" ? "complete" : data.error?.kind === "cancelled" ? "cancelled" : "failed";
    return { ...job, status, endedAt: ts };
  }
  const at = job.items.findIndex((item) => item.itemId === data.itemId);
  if (at < 0) return job;
  const item = reduceItem(job.items[at], type, ts, data);
  if (item === job.items[at]) return job;
  const status = job.status === "queued" && item.status !== "queued" ? "running" : job.status;
  return { ...job, status, items: job.items.with(at, item) };
}

function reduceItem(item, type, ts, data) {
  if (type === "judge") {
    const { judgment, notes, tags, criteria, judgeStatus, coverage, retrySuggestion } = data;
    return {
      ...item,
      progressionId: data.progressionId ?? item.progressionId,
      verdict: { judgment, notes, tags, criteria: criteria ?? [], judgeStatus, coverage, retrySuggestion: retrySuggestion ?? null },
    };
  }
  if (ENDED.has(item.status)) return item;
  if (type === "running") return { ...item, status: "running", startedAt: item.startedAt ?? ts };
  if (type === "progress") {
    return {
      ...item,
      status: "running",
      startedAt: item.startedAt ?? ts,
      stage: data.progress >= item.progress ? data.stage : item.stage,
      progress: Math.max(item.progress, data.progress),
      previewUrl: data.previewUrl ?? item.previewUrl,
      fallback: data.fallback ?? item.fallback,
    };
  }
  if (type === "complete") {
    return {
      ...item,
      status: data.duplicateOf ? "duplicate" : "complete",
      progress: 1,
      stage: null,
      endedAt: ts,
      duplicateOf: data.duplicateOf ?? null,
      progressionId: data.progressionId ?? item.progressionId,
      imageUrl: data.generatedImageUrl ?? item.imageUrl,
      adjustments: data.adjustments ?? [],
    };
  }
  if (type === "fail") {
    const kind = data.error.kind ?? "failed";
    return { ...item, status: ENDED.has(kind) ? kind : "failed", stage: null, endedAt: ts, error: data.error };
  }
  return item;
}
