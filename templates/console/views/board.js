// What guests wrote on a page's board: votes, pins and approvals, by image and by person.
import { del, get, post, useGet } from "../api.js";
import { follow } from "../events.js";
import { html, useEffect, useState } from "../lib.js";
import { Picture, Problem } from "../parts.js";
import { ago, plural } from "../words.js";

const SETTLE = 200;

/** The rows of images by their id, each read once. */
function useImages(ids) {
  const [rows, setRows] = useState({});
  const wanted = ids.filter((id) => !(id in rows));
  useEffect(() => {
    for (const id of wanted) {
      setRows((old) => ({ ...old, [id]: null }));
      get(`api/progressions/${encodeURIComponent(id)}`).then((row) => setRows((old) => ({ ...old, [id]: row })), () => {});
    }
  }, [wanted.join()]);
  return rows;
}

/** Calls `changed` whenever a guest wrote something. */
function useNews(artifactId, changed) {
  useEffect(() => {
    let stop = () => {};
    let ended = false;
    let timer = 0;
    const session = `board:${artifactId}`;
    get(`_actor/${session}/state`).then(({ seq }) => {
      if (ended) return;
      stop = follow(session, seq, {
        event: () => {
          clearTimeout(timer);
          timer = setTimeout(changed, SETTLE);
        },
        state: () => {},
        expired: changed,
      });
    }, () => {});
    return () => {
      ended = true;
      clearTimeout(timer);
      stop();
    };
  }, [artifactId]);
}

export function Board({ artifact }) {
  const path = `api/artifacts/${encodeURIComponent(artifact.id)}/board`;
  const board = useGet(path);
  const [error, setError] = useState(null);
  useNews(artifact.id, board.reload);
  const attempt = async (work) => {
    setError(null);
    try {
      await work();
    } catch (failure) {
      setError(failure);
    }
    board.reload();
  };
  const state = board.value;
  const ids = state ? [...new Set([...state.votes.filter((each) => each.shown || each.yes + each.maybe + each.no > 0), ...state.comments, ...state.approvals].map((each) => each.progressionId))] : [];
  const rows = useImages(ids);
  const names = new Map([...(state?.comments ?? []), ...(state?.approvals ?? [])].filter((each) => each.name).map((each) => [each.guest, each.name]));
  const who = (each) => each.name ?? names.get(each.guest) ?? `Guest ${each.guest.slice(0, 4)}`;
  return html`<section class="board">
    <h2>Client board</h2>
    <${Problem} error=${board.error} retry=${board.reload} />
    <div class="row">
      <span class="tag ${state?.open ? "pass" : ""}">${state?.open ? "Open to guests" : state?.revision === 0 ? "Not opened yet" : "Closed"}</span>
      <button class="quiet" onClick=${() => attempt(() => post(path, state?.open ? { open: false } : { open: true, closesAt: null }))}>${state?.open ? "Close the board" : "Open the board"}</button>
      ${state && html`<span class="small soft">${summary(state)}</span>`}
      ${state?.closesAt && state.open && html`<span class="small soft">Closes ${ago(state.closesAt)}.</span>`}
    </div>
    <${Problem} error=${error} />
    ${state && html`<ul class="asked">${ids.map((id) => html`<${Asked} key=${id} row=${rows[id]} who=${who}
        tally=${state.votes.find((each) => each.progressionId === id)} deck=${artifact.generator_id === "voting-deck"}
        comments=${state.comments.filter((each) => each.progressionId === id)} approvals=${state.approvals.filter((each) => each.progressionId === id)}
        onHide=${(comment) => attempt(() => del(`${path}/comments/${encodeURIComponent(comment)}`))} />`)}</ul>`}
    ${state && state.approvals.length > 0 && html`<${People} approvals=${state.approvals} who=${who} rows=${rows} />`}
  </section>`;
}

function summary({ voters, comments, approvals }) {
  const given = approvals.filter((each) => each.verdict === "approve").length;
  const parts = [voters > 0 && plural(voters, "voter"), comments.length > 0 && plural(comments.length, "comment"), given > 0 && plural(given, "approval"), approvals.length > given && plural(approvals.length - given, "rejection")].filter(Boolean);
  return parts.length ? parts.join(" · ") : "No guest has written anything yet.";
}

function Asked({ row, tally, deck, comments, approvals, who, onHide }) {
  const pins = comments.filter((each) => each.x !== null && each.hiddenAt === null);
  return html`<li>
    <figure>${row ? html`<${Picture} src=${row.generated_image_url} alt=${row.prompt} width=${row.width} height=${row.height} shown=${320} />` : html`<span class="picture gone"></span>`}
      ${row && html`<svg class="pins" viewBox="0 0 ${row.width} ${row.height}" aria-hidden="true">${pins.map((each, at) => html`<g key=${each.commentId}>
        <circle cx=${each.x * row.width} cy=${each.y * row.height} r=${row.width / 24} /><text x=${each.x * row.width} y=${each.y * row.height} font-size=${row.width / 22}>${at + 1}</text></g>`)}</svg>`}
    </figure>
    ${tally && deck && html`<p class="tally numbers"><span class="tag pass">Yes ${tally.yes}</span> <span class="tag wait">Maybe ${tally.maybe}</span> <span class="tag fail">No ${tally.no}</span></p>`}
    ${tally && !tally.shown && html`<p class="small soft">Only earlier versions show it.</p>`}
    ${approvals.length > 0 && html`<p>${approvals.map((each) => html`<span key=${each.approvalId} class="tag ${each.verdict === "approve" ? "pass" : "fail"}" dir="auto" title=${ago(each.decidedAt)}>${who(each)}: ${each.verdict === "approve" ? "approved" : "rejected"}${each.stale ? ", an earlier version" : ""}</span> `)}</p>`}
    <ol class="remarks">${comments.map((each) => html`<li key=${each.commentId} data-hidden=${each.hiddenAt !== null}>
      <p class="small soft">${pins.includes(each) && html`<b class="count">${pins.indexOf(each) + 1}</b> `}<span dir="auto">${who(each)}</span> · ${ago(each.createdAt)}${each.hiddenAt !== null ? " · hidden" : ""}</p>
      <p dir="auto">${each.text}</p>
      ${each.hiddenAt === null && html`<button class="plain small" onClick=${() => onHide(each.commentId)}>Hide from guests</button>`}
    </li>`)}</ol>
  </li>`;
}

function People({ approvals, who, rows }) {
  const people = Map.groupBy(approvals, (each) => each.guest);
  return html`<h3>By person</h3>
    <ul class="people">${[...people].map(([guest, given]) => html`<li key=${guest}><b dir="auto">${who(given[0])}</b> <span class="small soft">approved ${given.filter((each) => each.verdict === "approve").length}, rejected ${given.filter((each) => each.verdict === "reject").length}</span>
      <span class="thumbs">${given.map((each) => rows[each.progressionId] && html`<span key=${each.approvalId} data-verdict=${each.verdict}><${Picture} src=${rows[each.progressionId].generated_image_url} alt="${each.verdict === "approve" ? "Approved" : "Rejected"}: ${rows[each.progressionId].prompt}" width="48" height="48" shown=${64} /></span>`)}</span></li>`)}</ul>`;
}
