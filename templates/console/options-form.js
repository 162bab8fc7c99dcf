// A form for the options of a kind of page, made from their JSON Schema, and the choice of images that it needs.
import { usePages } from "./api.js";
import { html, useEffect, useId, useState } from "./lib.js";
import { choice, explained, spoken } from "./page-words.js";
import { Picture, Problem } from "./parts.js";

/** The schema's own object, whatever refers to it. */
function resolved(schema) {
  return schema.$ref ? schema.$defs[schema.$ref.split("/").at(-1)] : schema;
}

/** The field without its null: that a field is empty says the same. */
function plain(field) {
  return field.anyOf ? { ...field.anyOf.find((each) => each.type !== "null"), default: field.default } : field;
}

/** The options as fields. `value` holds those that differ from the default; `onChange` gets it anew. */
export function OptionsForm({ schema, value, onChange, projectIds }) {
  const { properties = {}, description } = resolved(schema);
  const names = Object.keys(properties);
  const set = (name, next) => {
    const { [name]: _, ...others } = value;
    const field = plain(properties[name]);
    const same = next === undefined || next === "" || JSON.stringify(next) === JSON.stringify(field.default ?? null);
    onChange(same ? others : { ...others, [name]: next });
  };
  if (!names.length) return html`<p class="soft">This kind has no options.</p>`;
  return html`<div class="fields">
    ${names.map((name) => html`<${Field} key=${name} name=${name} field=${plain(properties[name])} value=${value[name]} projectIds=${projectIds} onChange=${(next) => set(name, next)} />`)}
    ${description && html`<p class="small soft">${explained(description, names)}</p>`}
  </div>`;
}

function Field({ name, field, value, onChange, projectIds }) {
  const id = useId();
  const label = spoken(name);
  if (name === "progressionIds" || name === "progressionId") {
    const many = name === "progressionIds";
    const chosen = many ? (value ?? []) : value ? [value] : [];
    return html`<${ImageChoice} label=${label} projectIds=${projectIds} chosen=${chosen} many=${many} none=${many ? "None chosen: all that fit are shown." : "None chosen: all are shown."}
      onChange=${(ids) => onChange(many ? ids : ids[0])} />`;
  }
  if (field.type === "boolean") {
    return html`<label class="check" for=${id}><input id=${id} type="checkbox" checked=${value ?? field.default ?? false} onChange=${(event) => onChange(event.target.checked)} /> ${label}</label>`;
  }
  if (field.enum) {
    return html`<div><label for=${id}>${label}</label><select id=${id} value=${value ?? field.default} onChange=${(event) => onChange(event.target.value)}>
      ${field.enum.map((each) => html`<option key=${each} value=${each}>${choice(each, name)}</option>`)}
    </select></div>`;
  }
  if (field.type === "integer" || field.type === "number") {
    return html`<div><label for=${id}>${label}</label><input id=${id} type="number" min=${field.minimum} max=${field.maximum} step=${field.type === "integer" ? 1 : "any"}
      value=${value ?? field.default ?? ""} onInput=${(event) => onChange(event.target.value === "" ? undefined : Number(event.target.value))} /></div>`;
  }
  if (field.type === "array") return html`<${Lines} id=${id} label=${label} most=${field.maxItems} value=${value ?? []} onChange=${onChange} />`;
  const long = (field.maxLength ?? 0) > 200;
  return html`<div><label for=${id}>${label}</label>
    ${long
      ? html`<textarea id=${id} rows="2" dir="auto" maxlength=${field.maxLength} value=${value ?? ""} onInput=${(event) => onChange(event.target.value)}></textarea>`
      : html`<input id=${id} dir="auto" maxlength=${field.maxLength} value=${value ?? ""} onInput=${(event) => onChange(event.target.value)} />`}
  </div>`;
}

/** Texts, one a line. An empty line between others is an empty text. */
function Lines({ id, label, most, value, onChange }) {
  const [text, setText] = useState(value.join("\n"));
  const change = (event) => {
    setText(event.target.value);
    const trimmed = event.target.value.replace(/\n+$/, "");
    onChange(trimmed ? trimmed.split("\n").slice(0, most) : []);
  };
  return html`<div><label for=${id}>${label}, one a line</label><textarea id=${id} rows="3" dir="auto" value=${text} onInput=${change}></textarea></div>`;
}

const idOf = (row) => row.id;

/** Images of the projects to choose from; the chosen ones in their order, which dragging or the arrows change. `nameOf` a
 * row is what stands for it in `chosen`. */
export function ImageChoice({ label, projectIds, chosen, onChange, many = true, none = "None chosen.", nameOf = idOf }) {
  const [open, setOpen] = useState(false);
  const [known, setKnown] = useState({});
  const [dragged, setDragged] = useState(null);
  const move = (from, to) => {
    if (from === null || to < 0 || to >= chosen.length || from === to) return;
    const next = chosen.toSpliced(from, 1).toSpliced(to, 0, chosen[from]);
    onChange(next);
  };
  const pick = (row) => {
    const name = nameOf(row);
    setKnown((old) => ({ ...old, [name]: row }));
    if (!many) {
      onChange(chosen.includes(name) ? [] : [name]);
      setOpen(false);
    } else onChange(chosen.includes(name) ? chosen.filter((each) => each !== name) : [...chosen, name]);
  };
  return html`<fieldset class="image-choice">
    <legend>${label}</legend>
    ${!chosen.length && html`<p class="small soft">${none}</p>`}
    <ol class="chosen">${chosen.map((id, at) => html`<li key=${id} draggable=${many} onDragStart=${() => setDragged(at)} onDragOver=${(event) => event.preventDefault()}
        onDrop=${(event) => { event.preventDefault(); move(dragged, at); setDragged(null); }}>
        ${known[id] ? html`<${Picture} src=${known[id].generated_image_url} alt=${known[id].prompt} width="72" height="72" shown=${128} />` : html`<span class="picture gone"><span class="unseen">An image</span></span>`}
        <span class="tools">
          ${many && at > 0 && html`<button type="button" class="plain" aria-label="Earlier" onClick=${() => move(at, at - 1)}>‹</button>`}
          ${many && at < chosen.length - 1 && html`<button type="button" class="plain" aria-label="Later" onClick=${() => move(at, at + 1)}>›</button>`}
          <button type="button" class="plain" aria-label="Leave out" onClick=${() => onChange(chosen.filter((each) => each !== id))}>×</button>
        </span>
      </li>`)}</ol>
    <button type="button" class="quiet" aria-expanded=${open} onClick=${() => setOpen(!open)}>${open ? "Done choosing" : many ? "Choose images and their order" : "Choose an image"}</button>
    ${open && !projectIds.length && html`<p class="small soft">Choose a project first.</p>`}
    ${(open || chosen.some((id) => !known[id])) && projectIds.map((id) => html`<${ProjectImages} key=${id} projectId=${id} shown=${open} chosen=${chosen} nameOf=${nameOf} onPick=${pick} onRows=${(rows) => setKnown((old) => ({ ...rows, ...old }))} />`)}
  </fieldset>`;
}

function ProjectImages({ projectId, shown, chosen, nameOf, onPick, onRows }) {
  const images = usePages(`api/projects/${encodeURIComponent(projectId)}/progressions`, 48);
  const last = images.items.at(-1)?.id;
  useEffect(() => {
    if (last) onRows(Object.fromEntries(images.items.map((row) => [nameOf(row), row])));
  }, [last]);
  if (!shown) return null;
  if (images.error) return html`<${Problem} error=${images.error} retry=${images.reload} />`;
  if (images.loading) return html`<p class="small soft" role="status">Loading the images</p>`;
  if (!images.items.length) return html`<p class="small soft">This project has no images yet.</p>`;
  return html`<ul class="pick">${images.items.map((row) => html`<li key=${row.id}>
      <button type="button" aria-pressed=${chosen.includes(nameOf(row))} onClick=${() => onPick(row)}>
        <${Picture} src=${row.generated_image_url} alt=${row.prompt} width="96" height="96" shown=${128} />
        ${chosen.includes(nameOf(row)) && html`<b class="count">${chosen.indexOf(nameOf(row)) + 1}</b>`}
      </button>
    </li>`)}</ul>
    ${images.more && html`<button type="button" class="plain" onClick=${images.loadMore}>Show more</button>`}`;
}
