// Kinds of pages and their options as people read them.
import { html } from "./lib.js";

/** What each kind is for, in one sentence. A kind that is not here shows what its options say. */
export const PURPOSE = {
  lookbook: "Every image with prompt, verdict, notes and tags: the page for a client.",
  moodboard: "Images close together, with the palette measured in their pixels.",
  storyboard: "Numbered frames with captions and times, six to a sheet.",
  slideshow: "One image at a time, by keys, touch or by itself; for a meeting.",
  "compare-deck": "What each provider made of the same prompt, any two under one slider.",
  "review-board": "Guests pin comments to points of an image, and approve or reject it.",
  "voting-deck": "Guests vote yes, maybe or no, and see the tally live.",
  "stakeholder-pdf": "Cover, contents, summary, every image with its verdict, and the costs.",
  "walkthrough-reel": "A short film with a moving camera, cross-fades and captions.",
  exhibition: "Rooms to walk through, images framed and labelled.",
  "judge-report": "What passed, what failed and why, by maker and by requirement.",
  "provider-benchmark": "Pass rate, time and cost of each provider and model, with charts.",
  "prompt-lineage-map": "Which version came from which, as a map.",
  "prompt-recipe-card": "All that it takes to make one image again, a card each.",
  "knowledge-pack": "The tips for each provider, with what they were worth here.",
  "seed-replay-script": "The jobs as data, with a script that makes them again elsewhere.",
  "r2-archive-manifest": "Every stored object with its hash and the row that names it.",
};

/** The order of the gallery: what clients see, then what the team reads, then what programs read. */
export const ORDER = Object.keys(PURPOSE);

export const OUTPUT = { html: "Web page", pdf: "PDF", video: "Film", "3d": "3D model", csv: "Table", json: "Data" };

/** Kinds with a board on which guests of the page write. */
export const BOARDS = new Set(["review-board", "voting-deck"]);

const OPTION = {
  only: "Which images",
  progressionIds: "Images",
  progressionId: "Image",
  theme: "Colours",
  intro: "Introduction",
  passes: "Images that passed",
  most: "Most images",
  costs: "Show costs",
  captions: "Captions",
  prompts: "Show prompts",
  slider: "Slider",
  labels: "Labels",
  verify: "Verify every object",
  minImages: "Least images of a tip",
  seconds: "Seconds for each image",
  frame: "Shape of the frames",
  autoplay: "Play from the start",
  paper: "Paper",
  provider: "Provider",
  providers: "Providers",
};
const CHOICE = {
  all: "All", passed: "Passed", failed: "Failed", complete: "With an image", a4: "A4", "us-letter": "US Letter",
  brief: "As small pictures", full: "In full", dark: "Dark", light: "Light",
};

/** `progressionIds` or `IMAGE_HERO` as words: a capital, then small letters. */
export function spoken(name) {
  const image = /^IMAGE_(\D+)$/.exec(name);
  if (image) return `${spoken(image[1])} image`;
  if (Object.hasOwn(OPTION, name)) return OPTION[name];
  const words = name.replace(/([a-z0-9])([A-Z])/g, "$1 $2").replace(/[_-]+/g, " ").toLowerCase().trim();
  return words && words[0].toUpperCase() + words.slice(1);
}

const AUTO = { theme: "As the reader's system", frame: "As most images" };

/** A value of an option as words. */
export const choice = (value, name) => value === "auto" ? (AUTO[name] ?? "As it fits") : (Object.hasOwn(CHOICE, value) ? CHOICE[value] : String(value).replace(/^(\d+)x(\d+)$/, "$1 : $2"));

/** The name of an artifact's kind; a template's own where it has no generator. `kinds` are those of `GET /api/generators`. */
export const kindOf = (artifact, kinds) =>
  artifact.generator_id ? (kinds.find((each) => each.id === artifact.generator_id)?.name ?? spoken(artifact.generator_id)) : spoken(templateOf(artifact));

/** The name of the template that an artifact fills. */
export const templateOf = (artifact) => artifact.template_r2_key?.split("/")[1] ?? "template";

/** A text of the API with its `names` as the labels of the form. */
export function explained(text, names) {
  return String(text ?? "")
    .split(/`([^`]+)`/)
    .map((part, at) => (at % 2 ? (names.includes(part.split(":")[0]) ? `“${spoken(part.split(":")[0])}”${part.includes(":") ? ` (${part.split(":")[1].trim() === "false" ? "off" : part.split(":")[1].trim()})` : ""}` : part) : part))
    .join("");
}

// Drawings of the layouts: rectangles as [x, y, width, height] on 48 × 32, filled where a picture stands.
const DRAWING = {
  lookbook: [[5, 5, 18, 22], [26, 5, 17, 2, 0], [26, 10, 12, 1.5, 0], [26, 13.5, 14, 1.5, 0], [26, 21, 7, 6]],
  moodboard: [[4, 4, 14, 11], [19, 4, 9, 16], [29, 4, 15, 8], [4, 16, 14, 12], [19, 21, 9, 7], [29, 13, 15, 15]],
  storyboard: [[4, 4, 12, 8], [18, 4, 12, 8], [32, 4, 12, 8], [4, 18, 12, 8], [18, 18, 12, 8], [32, 18, 12, 8], [4, 13.5, 8, 1.2, 0], [18, 13.5, 8, 1.2, 0], [32, 13.5, 8, 1.2, 0]],
  slideshow: [[8, 4, 32, 20], [19, 27, 3, 1.5, 0], [23, 27, 3, 1.5], [27, 27, 3, 1.5, 0]],
  "compare-deck": [[5, 5, 18.5, 22], [24.5, 5, 18.5, 22, 0.35]],
  "review-board": [[5, 5, 24, 22], [32, 5, 11, 5, 0], [32, 12, 11, 5, 0], [32, 22, 5, 5]],
  "voting-deck": [[5, 4, 17, 17], [26, 4, 17, 17], [5, 24, 12, 3, 0], [26, 24, 8, 3, 0]],
  "stakeholder-pdf": [[13, 3, 22, 26, 0.25], [16, 6, 16, 10], [16, 19, 12, 1.5, 0], [16, 22.5, 14, 1.5, 0]],
  "walkthrough-reel": [[4, 8, 12, 16], [18, 8, 12, 16], [32, 8, 12, 16], [4, 4, 40, 1.5, 0], [4, 26.5, 40, 1.5, 0]],
  exhibition: [[6, 9, 9, 10], [20, 7, 8, 9], [33, 9, 9, 10], [4, 25, 40, 1.2, 0]],
  "judge-report": [[5, 5, 8, 8], [16, 6, 24, 1.5, 0], [16, 10, 18, 1.5, 0], [5, 18, 8, 8], [16, 19, 20, 1.5, 0], [16, 23, 26, 1.5, 0]],
  "provider-benchmark": [[7, 18, 6, 9], [17, 10, 6, 17], [27, 14, 6, 13], [37, 6, 4, 21]],
  "prompt-lineage-map": [[4, 12, 8, 8], [20, 4, 8, 8], [20, 20, 8, 8], [36, 20, 8, 8], [12, 15.5, 8, 1, 0], [28, 23.5, 8, 1, 0]],
  "prompt-recipe-card": [[5, 5, 13, 13], [21, 6, 20, 1.5, 0], [21, 10, 16, 1.5, 0], [5, 21, 36, 1.5, 0], [5, 25, 28, 1.5, 0]],
};
DRAWING.poster = [[8, 4, 10, 1.2, 0], [8, 7, 30, 4], [8, 13, 20, 1.5, 0], [8, 17, 32, 12]];
DRAWING.campaign = [[4, 4, 40, 11], [4, 18, 12, 8], [18, 18, 12, 8], [32, 18, 12, 8], [4, 28, 20, 1.2, 0]];
DRAWING.proposal = [[6, 5, 14, 2], [6, 10, 18, 1.2, 0], [6, 13, 16, 1.2, 0], [6, 16, 18, 1.2, 0], [28, 5, 14, 14], [6, 22, 10, 6], [18, 22, 10, 6], [30, 22, 12, 6]];
const LINES = [[5, 6, 38, 1.5, 0], [5, 11, 30, 1.5, 0], [5, 16, 34, 1.5, 0], [5, 21, 26, 1.5, 0], [5, 26, 32, 1.5, 0]];

/** A drawing of the kind's layout. */
export const Drawing = ({ kind }) => html`<svg class="drawing" viewBox="0 0 48 32" aria-hidden="true">
  ${(Object.hasOwn(DRAWING, kind) ? DRAWING[kind] : LINES).map(([x, y, width, height, shade = 1], at) => html`<rect key=${at} x=${x} y=${y} width=${width} height=${height} rx="0.6" data-shade=${shade === 0 ? "line" : shade < 1 ? "pale" : "full"} />`)}
</svg>`;
