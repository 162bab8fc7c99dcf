// Words and numbers as people read them.

/** How an item or a job stands, in one word. */
export const STATUS = {
  queued: "Waiting",
  running: "Working",
  complete: "Done",
  failed: "Failed",
  refused: "Refused",
  duplicate: "Duplicate",
  uncertain: "Uncertain",
  cancelled: "Cancelled",
};

/** What is being done for an item that runs. */
export const STAGE = {
  ingest: "Reading the start image",
  refine: "Refining the prompt",
  generate: "Making the image",
  store: "Storing the original",
  compare: "Comparing with the others",
  deliver: "Preparing delivery",
  judge: "Judging",
};

export const KIND = {
  generate: "Generate",
  edit: "Edit",
  inpaint: "Inpaint",
  outpaint: "Outpaint",
  variation: "Variation",
  upscale: "Upscale",
};

export const ENDED = new Set(["complete", "failed", "refused", "duplicate", "uncertain", "cancelled"]);

/** Dollars: cents where they say enough, else four digits; nothing is "free". */
export function usd(amount) {
  if (amount === null || amount === undefined) return "–";
  if (amount === 0) return "$0";
  if (amount < 0.0001) return "< $0.0001";
  return `$${amount.toFixed(amount < 0.1 ? 4 : 2).replace(/(\.\d\d)0+$/, "$1")}`;
}

/** A quote: one amount where both ends are the same. */
export function quoted({ low, high }) {
  if (high === 0) return "Free";
  return low === high ? usd(high) : `${usd(low)} – ${usd(high)}`;
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const STEPS = [[60, "second"], [60, "minute"], [24, "hour"], [7, "day"], [4.35, "week"], [12, "month"], [Infinity, "year"]];

/** How long ago a time in milliseconds is. */
export function ago(ms, now = Date.now()) {
  let left = (ms - now) / 1000;
  if (Math.abs(left) < 45) return "just now";
  for (const [size, unit] of STEPS) {
    if (Math.abs(left) < size) return RELATIVE.format(Math.round(left), unit);
    left /= size;
  }
  return "";
}

/** A duration in milliseconds. */
export function took(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** A sentence from a message of the API: a capital and a full stop. */
export function sentence(text) {
  const trimmed = String(text ?? "").trim();
  return trimmed && trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?…]$/.test(trimmed) ? "" : ".");
}

const NEXT = {
  refused: "The vendor will not make this; change the prompt and try again.",
  uncertain: "It may have been bought, so it is not tried again by itself. Try again only if you accept paying twice.",
  cancelled: "Nothing more is done for it; you can try again.",
  duplicate: "It looks the same as another image of this job, which is kept once.",
};

/** One sentence on what happened to an item without an image, and one on what can be done. */
export function outcome(item) {
  const happened = item.error ? sentence(item.error.message) : "";
  return [happened, NEXT[item.status] ?? (item.status === "failed" ? "You can try again." : "")].filter(Boolean).join(" ");
}

/** What to say about an error of the API. */
export function complaint(error) {
  if (!error) return "";
  const fields = (error.detail?.errors ?? []).map((each) => `${each.field}: ${each.problem}`);
  return [sentence(error.message), ...fields.map(sentence)].join(" ");
}
