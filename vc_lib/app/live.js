// The page of live conversion: microphone or example -> worklet -> server -> worklet -> loudspeaker.

const byId = (id) => document.getElementById(id);
const RANGE_DB = 60; // range of the meters below full scale
const SLOW = 0.95; // share of the time that the server may compute before it cannot keep up
const SECURE = "The browser allows a microphone only at an address that begins with https:// or http://127.0.0.1; " +
  "open this page on the computer it runs on.";
const REFUSED = "The browser may not use the microphone; allow it beside the address of this page, then press Start.";
const ABSENT = "No microphone was found; connect one, then press Start.";
const UNREACHABLE = "The server cannot be reached; is it still running?";
const RATE = "This browser cannot record at the sampling rate of the voice; use Chrome, Edge or Safari.";
let voices = [], live = null;
let moved = false; // whether somebody has set the pitch of this voice

function say(text, problem = false) {
  byId("message").textContent = text;
  byId("message").classList.toggle("problem", problem);
}

// The parent's theme, and a frame as high as its text.
function fit() {
  if (window.parent === window) return;
  const dark = parent.document.body.classList.contains("dark");
  document.documentElement.style.colorScheme = frameElement.style.colorScheme = dark ? "dark" : "light";
  new ResizeObserver(() => (frameElement.style.height = `${document.body.scrollHeight + 4}px`)).observe(document.body);
}

async function listVoices() {
  const listed = await (await fetch("voices")).json();
  byId("example").hidden = !listed.example;
  if (JSON.stringify(listed.voices) === JSON.stringify(voices)) return;
  voices = listed.voices;
  const chosen = byId("voice").value;
  byId("voice").replaceChildren(...voices.map(({ name }) => new Option(name, name, false, name === chosen)));
  if (byId("voice").value !== chosen) showOwnPitch();
}

const chosenVoice = () => voices.find(({ name }) => name === byId("voice").value);

function showOwnPitch() {
  moved = false;
  byId("semitones").value = byId("shown").textContent = chosenVoice()?.semitones ?? 0;
}

function problem(error) {
  if (typeof error === "string") return error;
  if (error.name === "NotAllowedError") return REFUSED;
  if (error.name === "NotFoundError") return ABSENT;
  if (error.name === "NotSupportedError") return RATE;
  return `${error.message || error}`;
}

// What is spoken into it: the microphone, or the example.
async function sourceOf(context, example) {
  if (example) {
    const sound = await context.decodeAudioData(await (await fetch("example")).arrayBuffer());
    return new AudioBufferSourceNode(context, { buffer: sound });
  }
  if (!navigator.mediaDevices) throw SECURE;
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const release = () => stream.getTracks().forEach((track) => track.stop());
  if (context.state === "closed") { // stopped while the browser asked
    release();
    throw "";
  }
  return Object.assign(context.createMediaStreamSource(stream), { release });
}

const semitones = () => Number(byId("semitones").value);

// A socket to the server once it is ready: what it says of itself.
function connect() {
  const address = new URL("socket", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  return new Promise((resolve, reject) => {
    const settings = { voice: byId("voice").value, semitones: moved ? semitones() : undefined, latency: Number(byId("latency").value) };
    socket.onopen = () => socket.send(JSON.stringify(settings));
    socket.onerror = socket.onclose = () => reject(UNREACHABLE);
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.error) reject(message.error);
      else resolve({ socket, ...message.ready });
    };
  });
}

async function start(example = false) {
  stop();
  say("starting …");
  buttons(true);
  const mine = (live = {});
  try {
    if (!chosenVoice()) await listVoices().catch(() => {});
    if (!chosenVoice()) throw UNREACHABLE;
    if (live !== mine) return; // stopped meanwhile
    const context = (mine.context = new AudioContext({ sampleRate: chosenVoice().sr, latencyHint: "interactive" }));
    await context.resume();
    await context.audioWorklet.addModule("worklet.js");
    mine.source = await sourceOf(context, example);
    const connection = await connect();
    mine.socket = connection.socket;
    if (live !== mine) return close(mine);
    run(mine, connection, example);
  } catch (error) {
    if (live === mine) end(problem(error));
    else close(mine); // what has begun since
  }
}

function run(mine, connection, example) {
  const { context, socket } = mine;
  const node = new AudioWorkletNode(context, "live", { outputChannelCount: [1] });
  mine.load = 0;
  node.port.onmessage = ({ data }) => {
    if (!data.block) return show(mine, data, connection.latency_s);
    if (socket.readyState === WebSocket.OPEN) socket.send(data.block);
  };
  socket.onmessage = ({ data }) => receive(mine, node, data);
  socket.onerror = socket.onclose = () => live === mine && end("The connection to the server ended.");
  mine.source.connect(node).connect(context.destination);
  if (example) {
    mine.source.onended = () => setTimeout(() => live === mine && end(""), 1000 * (connection.latency_s + 0.5));
    mine.source.start();
  }
  say(example ? "The example speaks." : "Speak; it learns your voice in the first seconds.");
}

function receive(mine, node, data) {
  if (data instanceof ArrayBuffer) {
    const block = new Float32Array(data);
    node.port.postMessage(block, [block.buffer]);
    return;
  }
  const message = JSON.parse(data);
  if (message.error) return end(message.error);
  if (message.dropped) {
    node.port.postMessage(message);
    mine.dropped = performance.now();
  }
  if (message.load !== undefined) mine.load += (message.load - mine.load) * Math.min(1, message.samples / mine.context.sampleRate);
}

function show(mine, { late, peaks, playing }, latency_s) {
  if (live !== mine) return;
  ["in", "out"].forEach((id, i) => {
    const db = 20 * Math.log10(Math.max(peaks[i], 1e-6));
    byId(id).style.width = `${Math.max(0, Math.min(100, 100 * (1 + db / RANGE_DB)))}%`;
  });
  const way = late + (mine.context.outputLatency || mine.context.baseLatency || 0);
  mine.heard ||= playing; // a buffer that ran empty later does not hide the delay
  byId("delay").textContent = mine.heard ? `${(latency_s + way).toFixed(2)} s` : "…";
  byId("parts").textContent =
    `delay: ${latency_s.toFixed(2)} s method, ${way.toFixed(2)} s buffers; computing ${Math.round(100 * mine.load)} % of the time`;
  const slow = mine.load > SLOW || performance.now() - (mine.dropped ?? -Infinity) < 5000;
  if (slow) say("This computer cannot keep up: sound is left out. Close other programs, or stop other conversions.", true);
  else if (mine.slow) say("It keeps up again.");
  mine.slow = slow;
}

// Ends what a start has begun; it may be called again when more has begun.
function close({ context, source, socket }) {
  if (socket) {
    socket.onclose = socket.onerror = socket.onmessage = null;
    socket.close();
  }
  source?.release?.();
  if (context && context.state !== "closed") context.close();
}

function buttons(running) {
  byId("start").disabled = running;
  byId("stop").disabled = !running;
  byId("example").disabled = running;
}

function stop() {
  if (live) close(live);
  live = null;
  buttons(false);
  for (const id of ["in", "out"]) byId(id).style.width = 0;
}

function end(text) {
  stop();
  say(text, Boolean(text));
}

byId("start").onclick = () => start();
byId("example").onclick = () => start(true);
byId("stop").onclick = () => end("");
byId("voice").onfocus = () => listVoices().catch(() => say(UNREACHABLE, true));
byId("voice").onchange = () => {
  showOwnPitch();
  if (live) end("Press Start to speak in the other voice.");
};
byId("latency").onchange = () => live && end("Press Start to speak with the other delay.");
byId("semitones").oninput = () => {
  moved = true;
  byId("shown").textContent = semitones();
  live?.socket?.readyState === WebSocket.OPEN && live.socket.send(JSON.stringify({ semitones: semitones() }));
};
fit();
listVoices().catch(() => say(UNREACHABLE, true));
