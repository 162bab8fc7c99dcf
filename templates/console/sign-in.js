// Asks for the API key once; the browser keeps a session cookie that scripts cannot read, and never the key.
import { post } from "./api.js";
import { html, useState } from "./lib.js";
import { Problem } from "./parts.js";

export function SignIn({ error: before, onDone }) {
  const [error, setError] = useState(before);
  const [busy, setBusy] = useState(false);
  const send = (event) => {
    event.preventDefault();
    const field = event.target.elements.key;
    setBusy(true);
    post("console/session", { key: field.value.trim() }).then(onDone, (failure) => {
      setError(failure);
      setBusy(false);
      field.select();
    });
  };
  return html`<main class="alone sign-in">
    <img src="assets/favicon.svg" alt="" width="44" height="44" />
    <h1>picasso</h1>
    <form onSubmit=${send}>
      <label for="key">API key</label>
      <input id="key" name="key" type="password" autocomplete="current-password" required autofocus spellcheck="false" />
      <button class="strong" disabled=${busy}>${busy ? "Signing in" : "Sign in"}</button>
    </form>
    <${Problem} error=${error} />
    <p class="small soft">It is the server's <code>API_KEY</code>. A server on this machine keeps its own in the file <code>api_key</code> of its data
      directory; each start prints it, and a link that signs in once.</p>
  </main>`;
}
