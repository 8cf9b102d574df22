"use strict";

// The console's own script: passkeys, which browsers give to scripts alone, and the live chart.
// Everything else works without.

const decoded = (text) => {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
};

const encoded = (buffer) => {
  const plain = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
};

const known = (list) => list.map((one) => ({ ...one, id: decoded(one.id) }));

const question = async (form, kind) => {
  const body = new URLSearchParams({ form: form.elements.form.value, kind });
  const answer = await fetch("/console/passkey-question", { method: "POST", body });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
};

const made = async (form) => {
  const asked = await question(form, "new");
  const publicKey = {
    ...asked,
    challenge: decoded(asked.challenge),
    user: { ...asked.user, id: decoded(asked.user.id) },
    excludeCredentials: known(asked.excludeCredentials),
  };
  const { response } = await navigator.credentials.create({ publicKey });
  return {
    client: encoded(response.clientDataJSON),
    attestation: encoded(response.attestationObject),
  };
};

const signed = async (form) => {
  const asked = await question(form, "known");
  const publicKey = {
    ...asked,
    challenge: decoded(asked.challenge),
    allowCredentials: known(asked.allowCredentials),
  };
  const { rawId, response } = await navigator.credentials.get({ publicKey });
  return {
    id: encoded(rawId),
    client: encoded(response.clientDataJSON),
    authenticator: encoded(response.authenticatorData),
    signature: encoded(response.signature),
  };
};

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!("credentials" in navigator) || !("PublicKeyCredential" in window)) continue;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const trouble = form.querySelector("[data-trouble]");
    const button = form.querySelector("button");
    trouble.textContent = "";
    button.disabled = true;
    try {
      const answers = await (form.dataset.passkey === "new" ? made(form) : signed(form));
      for (const [name, value] of Object.entries(answers)) form.elements[name].value = value;
      form.submit();
    } catch {
      trouble.textContent = trouble.dataset.trouble;
      button.disabled = false;
    }
  });
}

const SAMPLES = 60;
const EVERY = 2_000;
const DRAWING = "http://www.w3.org/2000/svg";

const drawn = (name, attributes) => {
  const element = document.createElementNS(DRAWING, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

const chart = (place) => {
  const svg = drawn("svg", { viewBox: "0 0 600 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  const lines = {};
  svg.append(drawn("path", { class: "ground", d: "M0 99H600" }));
  for (const name of ["written", "waiting"]) {
    lines[name] = drawn("path", { class: name });
    svg.append(lines[name]);
  }
  const words = document.createElement("p");
  place.append(svg, words);
  const samples = [];
  let before = null;
  const look = async () => {
    if (document.hidden) return;
    const answer = await fetch(place.dataset.pulse, { redirect: "error" });
    if (!answer.ok) throw new Error(String(answer.status));
    const { written, waiting } = await answer.json();
    const now = performance.now();
    if (before) {
      const rate = ((written - before.written) * 1_000) / (now - before.now);
      samples.push({ written: rate, waiting });
      if (samples.length > SAMPLES) samples.shift();
    }
    before = { written, now };
    for (const name of Object.keys(lines)) {
      const most = Math.max(1, ...samples.map((sample) => sample[name]));
      const at = (sample, index) =>
        `${(index * 600) / (SAMPLES - 1)} ${97 - (92 * sample[name]) / most}`;
      lines[name].setAttribute("d", samples.length ? `M${samples.map(at).join("L")}` : "");
    }
    const last = samples.at(-1);
    if (last) {
      words.textContent = "";
      const told = [
        `${last.written.toFixed(1)} ${place.dataset.written}`,
        `${last.waiting} ${place.dataset.waiting}`,
      ];
      for (const text of told) {
        const span = document.createElement("span");
        span.textContent = text;
        words.append(span);
      }
    }
  };
  const timer = setInterval(() => look().catch(() => clearInterval(timer)), EVERY);
  look().catch(() => clearInterval(timer));
};

for (const place of document.querySelectorAll("[data-pulse]")) chart(place);
