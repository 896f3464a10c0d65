// Sounds that say the same thing, one under the other: one is heard, the others keep up in silence, so that a
// switch stays at the same moment. A plain module: notebooks use it as an anywidget, the static page by `mount`.

const CSS = `
.vc-player { font: 13px/1.4 system-ui, sans-serif; color: var(--jp-content-font-color1, CanvasText); max-width: 60rem;
  padding: 6px; border-radius: 6px; border: 1px solid color-mix(in srgb, currentColor 22%, transparent); }
.vc-player:focus-visible { outline: 2px solid #0072B2; }
.vc-player button { font: inherit; color: inherit; background: transparent; cursor: pointer; border-radius: 4px;
  border: 1px solid color-mix(in srgb, currentColor 35%, transparent); }
.vc-player .vc-head { display: flex; gap: .7em; align-items: center; flex-wrap: wrap; margin-bottom: 4px; }
.vc-player .vc-play { width: 6em; padding: 3px 0; font-weight: 600; white-space: nowrap; }
.vc-player .vc-time { font-variant-numeric: tabular-nums; min-width: 7.5em; }
.vc-player .vc-hint { opacity: .75; margin-left: auto; }
.vc-player .vc-track { display: flex; gap: 6px; align-items: stretch; margin-top: 3px; }
.vc-player .vc-name { flex: 0 0 11em; text-align: left; padding: 2px 6px; overflow-wrap: anywhere; }
.vc-player .vc-name small { display: block; opacity: .75; }
.vc-player .vc-name[aria-pressed=true] { background: #0072B2; color: white; border-color: #0072B2; }
.vc-player .vc-picture { flex: 1 1 auto; position: relative; cursor: crosshair; min-height: 26px; overflow: hidden;
  border-radius: 3px; background: black; touch-action: pan-y; }
.vc-player .vc-picture img { display: block; width: 100%; height: 72px; }
.vc-player .vc-picture svg { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
.vc-player .vc-off { filter: saturate(.7) brightness(.85); }
.vc-player .vc-cursor { position: absolute; top: 0; bottom: 0; width: 2px; margin-left: -1px; background: white;
  pointer-events: none; }
.vc-player .vc-end { position: absolute; top: 0; bottom: 0; right: 0; pointer-events: none;
  background: repeating-linear-gradient(45deg, #0006 0 6px, #fff2 6px 12px); }
@media (max-width: 40rem) { .vc-player .vc-name { flex-basis: 7.5em; } }
@media (hover: none), (pointer: coarse) {
  .vc-player .vc-hint { display: none; }
  .vc-player .vc-play { width: 8em; padding: 10px 0; }
}
`;
const F0_RANGE = [60, 600]; // of the pitch that is drawn over a spectrogram, bottom to top [Hz]
const APART_S = 0.03; // what keeps up may be off by so much [s]
// these keep their keys while something plays: a player that has the focus, and what a person writes in or chooses from
const KEEPS_KEYS = ".vc-player, :read-write, select, .cm-editor";
// whoever plays on this page, one at a time; a notebook loads this module anew for each player
const page = (globalThis.vcPlayers ??= { heard: null });

const modified = (event) => event.ctrlKey || event.metaKey || event.altKey;
const keepsKeys = (event) => event.composedPath().some((node) => node.matches?.(KEEPS_KEYS));
const somethingPlays = () => Boolean(page.heard?.playing?.());
// whether a key is for whoever plays, wherever the focus is
const taken = (event) => /^[1-9 ]$/.test(event.key) && !modified(event) && !keepsKeys(event) && somethingPlays();

function consume(event) {
  event.preventDefault();
  event.stopImmediatePropagation();
}

function keyDown(event) {
  const space = event.key === " ";
  if (space && event.repeat) return page.spaceTaken && consume(event); // held down, it pauses once
  const ours = taken(event);
  if (space) page.spaceTaken = ours;
  if (!ours) return;
  page.heard.pressed(event);
  consume(event); // a digit without a row, too: it would be a shortcut
}

// A button elsewhere takes the space bar when it is let go.
function keyUp(event) {
  if (event.key === " " && page.spaceTaken) consume(event);
}

// JupyterLab makes a cell a heading by a digit. It listens on the document, and the window comes before. The first
// module listens for all; it is harmless later, as a player that is gone does not play.
if (!page.listens) {
  page.listens = true;
  window.addEventListener("keydown", keyDown, true);
  window.addEventListener("keyup", keyUp, true);
}

function element(tag, className, parent, text = "") {
  const e = document.createElement(tag);
  e.className = className;
  if (text) e.textContent = text;
  parent?.append(e);
  return e;
}

// Pitch every `period` seconds, 0 where there is none: a line for each voiced stretch.
function contour(f0, period, longest) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("viewBox", "0 0 1000 100");
  svg.setAttribute("preserveAspectRatio", "none");
  const [low, high] = F0_RANGE.map(Math.log);
  let d = "";
  f0.forEach((hz, i) => {
    if (!(hz > 0)) return;
    const x = (1000 * i * period) / longest;
    const y = 100 - (100 * (Math.log(hz) - low)) / (high - low);
    d += `${f0[i - 1] > 0 ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  for (const [color, width] of [["black", 3.5], ["#7FE3FF", 1.5]]) {
    const path = document.createElementNS(ns, "path");
    path.setAttribute("d", d || "M0 0");
    path.setAttribute("fill", "none");
    path.setAttribute("stroke", color);
    path.setAttribute("stroke-width", width);
    path.setAttribute("vector-effect", "non-scaling-stroke");
    svg.append(path);
  }
  return svg;
}

// Not every server sends parts of a file, and a sound that comes as a whole cannot be sought in: so it is kept here.
async function load(audio, src) {
  if (/^(blob|data):/.test(src) || location.protocol === "file:") {
    audio.src = src;
    return;
  }
  try {
    audio.src = URL.createObjectURL(await (await fetch(src)).blob());
  } catch {
    audio.src = src;
  }
}

function clock(seconds) {
  const s = Math.max(0, seconds || 0);
  return `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}`;
}

// tracks: [{label, note, src, seconds, picture?, f0?, period?, cut?}]; told(active) is called after each switch. A track
// with `cut` says something else than the others: it is shown and played as long as the longest of these.
export function mount(root, tracks, told = () => {}) {
  const doc = root.getRootNode();
  const style = element("style", "", doc.head ?? root);
  style.textContent = CSS;
  const box = element("div", "vc-player", root);
  box.tabIndex = 0;
  box.dataset.lmSuppressShortcuts = "true"; // JupyterLab keeps 1 to 9 for itself otherwise
  box.setAttribute("role", "group");
  const same = tracks.filter((t) => !t.cut);
  const longest = Math.max(...(same.length ? same : tracks).map((t) => t.seconds));
  const embedded = tracks.every((t) => /^(blob|data):/.test(t.src));
  const head = element("div", "vc-head", box);
  const button = element("button", "vc-play", head, "▶ play");
  button.type = "button";
  const time = element("span", "vc-time", head);
  const keys = tracks.length > 1 ? `1 to ${Math.min(9, tracks.length)}: switch · space: play · ← →: 1 s` : "space: play · ← →: 1 s";
  element("span", "vc-hint", head, keys);
  let active = 0, frame = 0, loading = null, waits = false;

  const rows = tracks.map((track, i) => {
    const row = element("div", "vc-track", box);
    const name = element("button", "vc-name", row, `${tracks.length > 1 ? `${i + 1} · ` : ""}${track.label}`);
    name.type = "button";
    if (track.note) element("small", "", name, track.note);
    const picture = element("div", "vc-picture", row);
    if (track.picture) {
      const img = element("img", "", picture);
      if (!embedded) img.loading = "lazy";
      img.src = track.picture;
      img.alt = `spectrogram of ${track.label}`;
      img.draggable = false;
      img.style.width = `${(100 * track.seconds) / longest}%`;
    }
    if (track.f0) picture.append(contour(track.f0, track.period, longest));
    const end = element("div", "vc-end", picture);
    end.style.left = `${(100 * track.seconds) / longest}%`;
    const cursor = element("div", "vc-cursor", picture);
    const audio = element("audio", "", row);
    audio.preload = "auto";
    audio.setAttribute("aria-label", track.label);
    audio.addEventListener("ended", () => (i === active || !playing()) && stop(0));
    name.addEventListener("click", () => { select(i); if (!playing()) play(); });
    const at = (event) => {
      const where = picture.getBoundingClientRect();
      return (longest * (event.clientX - where.left)) / where.width;
    };
    const go = (event) => {
      select(i);
      seek(at(event));
      box.focus({ preventScroll: true });
    };
    // a finger may be about to scroll the page: it goes there when it taps or draws sideways
    picture.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") return;
      picture.setPointerCapture?.(event.pointerId);
      go(event);
    });
    picture.addEventListener("click", (event) => event.pointerType === "touch" && go(event));
    picture.addEventListener("pointermove", (event) => event.buttons & 1 && i === active && seek(at(event)));
    return { name, picture, cursor, audio, seconds: Math.min(track.seconds, longest) };
  });

  const last = rows.reduce((a, b) => (b.seconds > a.seconds ? b : a)); // goes on when shorter ones have ended
  const now = () => (last.audio.currentTime > rows[active].seconds ? last : rows[active]).audio.currentTime;
  const playing = () => rows.some((row) => !row.audio.paused);
  const loaded = () => (loading ??= Promise.all(rows.map((row, i) => load(row.audio, tracks[i].src))));
  const there = () => rows.every((row) => row.audio.src);
  const within = (row, t) => Math.min(Math.max(0, t), Math.max(0, row.seconds - 0.01));

  function seek(t) {
    for (const row of rows) row.audio.currentTime = within(row, t);
    draw();
  }
  function select(i) {
    if (!rows[i] || i === active) return draw();
    const t = now(), on = playing(), row = rows[i];
    active = i;
    if (Math.abs(row.audio.currentTime - t) > APART_S) row.audio.currentTime = within(row, t);
    mute();
    if (on && row.audio.paused && t < row.seconds) row.audio.play().catch(() => {});
    told(active);
    draw();
  }
  function mute() {
    rows.forEach((row, i) => (row.audio.muted = i !== active));
  }
  function play() {
    if (page.heard !== self) page.heard?.pause();
    page.heard = self;
    mute();
    loaded();
    if (there()) return begin(); // at once, as a browser asks for a click shortly before
    waits = true;
    loading.then(() => waits && begin());
    draw();
  }
  function begin() {
    waits = false;
    const t = now() >= rows[active].seconds - 0.05 ? 0 : now();
    for (const row of rows) {
      if (Math.abs(row.audio.currentTime - t) > APART_S) row.audio.currentTime = within(row, t);
      if (t < row.seconds) row.audio.play().catch(() => {});
    }
    draw();
  }
  function stop(t = null) {
    waits = false;
    for (const row of rows) row.audio.pause();
    if (t !== null) seek(t);
    draw();
  }
  function draw() {
    cancelAnimationFrame(frame);
    const t = now();
    rows.forEach((row, i) => {
      row.name.setAttribute("aria-pressed", String(i === active));
      row.picture.classList.toggle("vc-off", i !== active);
      row.cursor.style.left = `${(100 * Math.min(t, longest)) / longest}%`;
    });
    button.textContent = waits ? "loading …" : playing() ? "❚❚ pause" : "▶ play";
    time.textContent = `${clock(t)} / ${clock(rows[active].seconds)}`;
    if (playing() && t >= longest) return stop(0); // a track that is cut would go on
    if (playing()) frame = requestAnimationFrame(draw);
  }
  function pressed(event) {
    if (modified(event)) return;
    const digit = /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : -1;
    if (digit >= 0 && rows[digit]) select(digit);
    else if (event.key === " ") playing() || waits ? stop() : play();
    else if (event.key === "ArrowLeft") seek(now() - 1);
    else if (event.key === "ArrowRight") seek(now() + 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
  const self = { pause: () => stop(), select, box, playing, pressed };
  button.addEventListener("click", () => (playing() || waits ? stop() : play()));
  box.addEventListener("keydown", pressed);
  // a button takes the space bar itself, when it is let go
  box.addEventListener("keyup", (event) => event.key === " " && event.preventDefault());
  mute();
  draw();
  // a page of many players fetches the sounds of those that are near
  const near = new IntersectionObserver((entries) => entries.some((e) => e.isIntersecting) && fetchNow(), {
    rootMargin: "100% 0px",
  });
  function fetchNow() {
    near.disconnect();
    loaded();
  }
  if (embedded) loaded();
  else near.observe(box);
  return Object.assign(self, {
    place: () => ({ t: now(), on: playing() }),
    take(place) {
      seek(place.t);
      if (place.on) play();
    },
    destroy() {
      stop();
      near.disconnect();
      if (page.heard === self) page.heard = null;
      style.remove();
      box.remove();
    },
  });
}

function render({ model, el }) {
  let urls = [], player = null;
  const url = (bytes, type) => {
    urls.push(URL.createObjectURL(new Blob([bytes], { type })));
    return urls.at(-1);
  };
  function clear() {
    player?.destroy();
    urls.forEach(URL.revokeObjectURL);
    urls = [];
  }
  function build() {
    const before = player?.place();
    clear();
    const tracks = model.get("tracks").map((t) => ({
      ...t,
      src: url(t.sound, t.mime),
      picture: t.picture && url(t.picture, "image/png"),
    }));
    player = mount(el, tracks, (active) => {
      model.set("active", active);
      model.save_changes();
    });
    follow();
    if (before) player.take(before); // new sounds, the same moment
  }
  const follow = () => player.select(model.get("active"));
  build();
  model.on("change:active", follow);
  model.on("change:tracks", build);
  return () => {
    model.off("change:active", follow);
    model.off("change:tracks", build);
    clear();
  };
}

export default { render };
