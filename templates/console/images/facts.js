// What is known of an image, in words.
import { html } from "../lib.js";
import { Picture, Verdict } from "../parts.js";
import { KIND, usd } from "../words.js";

/** How an image was made from another. */
export const EDGE = { ...KIND, retry: "Retry", rollback: "Return" };

/** The verdict of a row. */
export const RowVerdict = ({ row }) => html`<${Verdict} judgment=${row.judgment} coverage=${row.coverage} status=${row.judge_status} />`;

/** What to call an image where there is no room for its prompt. */
export const nameOf = ({ ai_provider: provider, ai_model: model }) => (!model ? provider : model.startsWith(provider) ? model : `${provider} ${model}`);

/** The image as large as it is delivered; until it has come, the smaller one that a list has shown. */
export const Large = ({ row }) => html`<div class="large">
  <${Picture} src=${row.generated_image_url} alt="" width=${row.width} height=${row.height} shown=${480} eager=${true} />
  <${Picture} src=${row.generated_image_url} alt=${row.prompt} width=${row.width} height=${row.height} shown=${2048} eager=${true} />
</div>`;

export const pixels = (row) => `${row.width} × ${row.height}`;

/** What the image cost; one of a free provider, or a copy of another, cost nothing. */
export const costOf = (row) => (row.cost_usd > 0 ? usd(row.cost_usd) : "Free");

export const fullDate = (ms) => new Date(ms).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });

const MOST_CELLS = 400_000;

/**
 * `text` in pieces, those of words that `before` does not have marked: `[[piece, isNew]]`. Texts that are too long to
 * compare are new as a whole between what they have in common at both ends.
 */
export function newWords(before, text) {
  const [a, b] = [split(before), split(text)];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  const middle = marked(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  const flags = [...Array(head).fill(false), ...middle, ...Array(tail).fill(false)];
  const pieces = [];
  b.forEach((word, at) => {
    // Blanks between two new words belong to them.
    const isNew = flags[at] || (/^\s+$/.test(word) && flags[at - 1] && flags[at + 1]);
    if (pieces.length && pieces.at(-1)[1] === isNew) pieces.at(-1)[0] += word;
    else pieces.push([word, isNew]);
  });
  return pieces;
}

const split = (text) => text.match(/\s+|[\p{L}\p{N}_'’-]+|[^\s\p{L}\p{N}_]/gu) ?? [];

/** Which words of `b` are not in the longest common subsequence of `a` and `b`. */
function marked(a, b) {
  if (a.length * b.length > MOST_CELLS) return b.map((word) => /\S/.test(word));
  const width = b.length + 1;
  const longest = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = a[i] === b[j] ? longest[(i + 1) * width + j + 1] + 1 : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  const flags = b.map((word) => /\S/.test(word));
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) {
      flags[j] = false;
      i += 1;
      j += 1;
    } else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return flags;
}

/** A text whose new words, compared with `before`, are marked. */
export const Changed = ({ before, text }) =>
  before === null ? text : newWords(before, text).map(([piece, isNew], at) => (isNew ? html`<mark key=${at}>${piece}</mark>` : piece));
