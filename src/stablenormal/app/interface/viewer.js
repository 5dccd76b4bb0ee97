"use strict";
// <stablenormal-viewer>: a photograph under a sliding line, and right of the line its normals, the same surface
// lit by a light that follows the pointer, or the uncertainty. Attributes: name, photo, normals, surface and
// uncertainty (pictures of one size). `surface` codes OpenGL normals, (n + 1) / 2 as 8 bits, transparent where
// there is none.
(() => {
  const STYLE = `
    :host { display: block; font: 0.9rem/1.4 system-ui, sans-serif; color: inherit; }
    fieldset { border: 0; margin: 0 0 8px; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 16px; }
    label { display: flex; gap: 6px; align-items: center; cursor: pointer; }
    .stage { position: relative; margin: 0 auto; line-height: 0; overflow: hidden; border-radius: 8px;
      touch-action: none; user-select: none; --at: 50%; background: #8885; }
    .stage > * { display: block; width: 100%; height: auto; }
    .stage .over { position: absolute; inset: 0; height: 100%; clip-path: inset(0 0 0 var(--at)); }
    .stage .over[hidden] { display: none; }
    .stage.slid { cursor: ew-resize; }
    .stage.lit { cursor: crosshair; }
    .stage .line { position: absolute; inset: 0 auto 0 calc(var(--at) - 1px); width: 2px; height: 100%;
      background: #fff; box-shadow: 0 0 4px #000a; pointer-events: none; }
    .stage:focus-visible { outline: 3px solid #6a6fff; outline-offset: 2px; }
    .place { display: flex; gap: 10px; align-items: center; margin-top: 8px; }
    .place input { flex: 1; accent-color: #6a6fff; }
    p { margin: 6px 0 0; opacity: 0.75; }`;
  const LAYERS = [
    ["normals", "Normals"], ["clay", "Lit: clay"], ["relit", "Lit: photograph"], ["uncertainty", "Uncertainty"],
  ];
  const HINTS = {
    normals: "Drag over the picture to slide.",
    clay: "Move the pointer over the picture: the light follows it. The arrow keys move it too.",
    relit: "Move the pointer over the picture: the light follows it. The arrow keys move it too.",
    uncertainty: "Bright is where the seeds disagree. Drag over the picture to slide.",
  };
  const AMBIENT = 0.12, CLAY = [222, 206, 186];
  const HEIGHT = 0.3;  // of the light above the picture, as a share of its longer side
  let preferred = "normals";  // stays from one photograph to the next

  function loaded(source) {
    return new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => reject(new Error("a picture of the viewer cannot be shown"));
      image.src = source;
    });
  }
  function pixels(image, width, height) {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  }

  class Viewer extends HTMLElement {
    static observedAttributes = ["name", "photo", "normals", "surface", "uncertainty"];

    connectedCallback() {
      if (!this.shadowRoot) this.attachShadow({ mode: "open" });
      this.attributeChangedCallback();
    }
    // The page gives the same element other pictures, one attribute at a time: shown anew once, after the last.
    attributeChangedCallback() {
      if (!this.isConnected || this.due) return;
      delete this.dataset.ready;
      this.due = this.ready = Promise.resolve().then(() => { this.due = null; return this.show(); });
    }
    async show() {
      const turn = this.turn = (this.turn || 0) + 1;
      const given = LAYERS.filter(([layer]) => layer !== "uncertainty" || this.hasAttribute("uncertainty"));
      const radios = given.map(([layer, text]) =>
        `<label><input type="radio" name="layer" value="${layer}">${text}</label>`).join("");
      this.shadowRoot.innerHTML = `<style>${STYLE}</style>
        <fieldset aria-label="Shown right of the line">${radios}</fieldset>
        <div class="stage" tabindex="0" role="group">
          <img class="photo"><img class="over" data-layer="normals"><canvas class="over" hidden></canvas>
          <img class="over" data-layer="uncertainty" hidden><div class="line"></div></div>
        <div class="place"><span>Photograph</span><input type="range" min="0" max="100" step="any" value="50"
          aria-label="Place of the line"><span class="right"></span></div><p></p>`;
      const find = (what) => this.shadowRoot.querySelector(what);
      this.stage = find(".stage");
      this.line = find(".place input");
      this.canvas = find("canvas");
      this.stage.setAttribute("aria-label", this.getAttribute("name") + ": photograph against its surface");
      for (const [what, name] of [[".photo", "photo"], ["[data-layer=normals]", "normals"],
        ["[data-layer=uncertainty]", "uncertainty"]]) {
        if (!this.hasAttribute(name)) continue;
        find(what).src = this.getAttribute(name);
        find(what).alt = name + " of " + this.getAttribute("name");
      }
      this.line.addEventListener("input", () => this.slide(Number(this.line.value)));
      this.stage.addEventListener("pointerdown", (event) => {
        this.stage.setPointerCapture(event.pointerId);
        this.point(event, true);
      });
      this.stage.addEventListener("pointermove", (event) => this.point(event, event.buttons === 1));
      this.stage.addEventListener("keydown", (event) => this.key(event));
      for (const radio of this.shadowRoot.querySelectorAll("[name=layer]")) {
        radio.addEventListener("change", () => this.choose(radio.value));
      }
      await this.prepare(turn);
      if (turn !== this.turn) return;
      this.choose(given.some(([layer]) => layer === preferred) ? preferred : "normals");
      this.dataset.ready = "yes";
    }

    async prepare(turn) {
      const [photo, surface] = await Promise.all(["photo", "surface"].map((name) => loaded(this.getAttribute(name))));
      if (turn !== this.turn) return;
      const [width, height] = [surface.naturalWidth, surface.naturalHeight];
      Object.assign(this.canvas, { width, height });
      this.stage.style.maxWidth = `calc(60vh * ${width / height})`;
      this.picture = this.canvas.getContext("2d");
      this.colours = pixels(photo, width, height);
      const codes = pixels(surface, width, height);
      this.vectors = new Float32Array(width * height * 3);  // zero where there is no normal
      for (let from = 0, to = 0; from < codes.length; from += 4, to += 3) {
        if (codes[from + 3] < 128) continue;
        const [x, y, z] = [0, 1, 2].map((axis) => codes[from + axis] / 127.5 - 1);
        const length = Math.hypot(x, y, z) || 1;
        this.vectors[to] = x / length;
        this.vectors[to + 1] = y / length;
        this.vectors[to + 2] = z / length;
      }
      this.light = [width * 0.3, height * 0.25];
    }

    get isLit() { return this.layer === "clay" || this.layer === "relit"; }

    choose(layer) {
      preferred = this.layer = layer;
      this.shadowRoot.querySelector(`[value=${layer}]`).checked = true;
      for (const image of this.shadowRoot.querySelectorAll("img.over")) image.hidden = image.dataset.layer !== layer;
      this.canvas.hidden = !this.isLit;
      this.stage.classList.toggle("lit", this.isLit);
      this.stage.classList.toggle("slid", !this.isLit);
      this.shadowRoot.querySelector("p").textContent = HINTS[layer];
      this.shadowRoot.querySelector(".right").textContent = LAYERS.find(([name]) => name === layer)[1];
      if (this.isLit) this.shade();
    }
    slide(percent) {
      const at = Math.min(100, Math.max(0, percent));
      this.line.value = at;
      this.stage.style.setProperty("--at", at + "%");
    }
    point(event, pressed) {
      const box = this.stage.getBoundingClientRect();
      const [u, v] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      if (this.isLit) this.shine(u * this.canvas.width, v * this.canvas.height);
      else if (pressed) this.slide(100 * u);
    }
    key(event) {
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (!(event.key in moves)) return;
      event.preventDefault();
      const [right, down] = moves[event.key];
      const step = Math.max(this.canvas.width, this.canvas.height) / 24;
      if (this.isLit) this.shine(this.light[0] + right * step, this.light[1] + down * step);
      else this.slide(Number(this.line.value) + 4 * right);
    }
    shine(x, y) {
      this.light = [x, y];
      if (this.waiting) return;
      this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.shade(); });
    }
    // A point light above the picture plane: Lambert's cosine, fading with distance; clay also has a soft gloss.
    shade() {
      const { width, height } = this.canvas, [lightX, lightY] = this.light, n = this.vectors;
      const above = HEIGHT * Math.max(width, height), clay = this.layer === "clay";
      const drawn = this.picture.createImageData(width, height), out = drawn.data;
      for (let row = 0, at = 0; row < height; row++) {
        const up = row - lightY;
        for (let column = 0; column < width; column++, at++) {
          const right = lightX - column, square = right * right + up * up + above * above, to = 4 * at;
          const scale = 1 / Math.sqrt(square), x = n[3 * at], y = n[3 * at + 1], z = n[3 * at + 2];
          const cosine = Math.max(0, (x * right + y * up + z * above) * scale);
          const light = cosine * 1.5 * above * above / (0.5 * above * above + square * 0.75);
          if (x === 0 && y === 0 && z === 0) continue;  // transparent
          let gloss = 0;
          if (clay && cosine > 0) {  // between the light and the viewer, straight ahead
            const hx = right * scale, hy = up * scale, hz = above * scale + 1;
            gloss = Math.max(0, (x * hx + y * hy + z * hz) / Math.sqrt(hx * hx + hy * hy + hz * hz)) ** 32 * 60;
          }
          for (let channel = 0; channel < 3; channel++) {
            out[to + channel] = clay ? CLAY[channel] * (AMBIENT + (1 - AMBIENT) * light) + gloss
              : this.colours[to + channel] * (AMBIENT + 1.2 * light);
          }
          out[to + 3] = 255;
        }
      }
      this.picture.putImageData(drawn, 0, 0);
    }
  }
  if (!customElements.get("stablenormal-viewer")) customElements.define("stablenormal-viewer", Viewer);
})();
