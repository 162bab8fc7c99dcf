// A small chart: one bar a day.
import { html } from "./lib.js";

const DAY = 86400000;
const MOST = 60;
const [STEP, TALL] = [12, 90];

/** The days from the first to today, those without a row at zero; of long times the latest. */
function filled(rows) {
  const known = new Map(rows.map((row) => [row.day, row.value]));
  const today = Date.parse(new Date().toISOString().slice(0, 10));
  const first = Math.min(today - 13 * DAY, ...rows.map((row) => Date.parse(row.day)));
  const days = [];
  for (let at = Math.max(first, today - (MOST - 1) * DAY); at <= today; at += DAY) {
    const day = new Date(at).toISOString().slice(0, 10);
    days.push({ day, value: known.get(day) ?? 0 });
  }
  return days;
}

const short = (day) => new Date(day).toLocaleDateString("en", { day: "numeric", month: "short", timeZone: "UTC" });

/** Bars of `rows` (`{day, value}`, days as YYYY-MM-DD); `format` makes a value a text, `what` names the chart. */
export function Days({ rows, what, format = String }) {
  const days = filled(rows);
  const most = Math.max(...days.map((each) => each.value), 0);
  const total = days.reduce((sum, each) => sum + each.value, 0);
  return html`<figure class="days">
    <svg viewBox="0 0 ${days.length * STEP} ${TALL}" preserveAspectRatio="none" role="img" aria-label="${what}: ${format(total)} in ${days.length} days, at most ${format(most)} in one">
      ${days.map(({ day, value }, at) => {
        const height = most ? (value / most) * (TALL - 4) : 0;
        return html`<g key=${day}><title>${short(day)}: ${format(value)}</title><rect class="room" x=${at * STEP} y="0" width=${STEP} height=${TALL} /><rect class="bar" x=${at * STEP + 2} y=${TALL - height} width=${STEP - 4} height=${height} /></g>`;
      })}
    </svg>
    <figcaption class="small soft numbers"><span>${short(days[0].day)}</span><span>${most ? `at most ${format(most)} a day` : ""}</span><span>${short(days.at(-1).day)}</span></figcaption>
  </figure>`;
}
