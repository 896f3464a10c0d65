// Record the microphone: countdown, level meter, maximum length. Python gets the recording as float32 samples.

const CSS = `
.vc-recorder { font: 13px/1.4 system-ui, sans-serif; color: var(--jp-content-font-color1, CanvasText); max-width: 44rem;
  display: flex; gap: .8em; align-items: center; flex-wrap: wrap; padding: 6px; border-radius: 6px;
  border: 1px solid color-mix(in srgb, currentColor 22%, transparent); }
.vc-recorder button { font: inherit; color: inherit; background: transparent; cursor: pointer; padding: 3px 10px;
  border-radius: 4px; border: 1px solid color-mix(in srgb, currentColor 35%, transparent); min-width: 6.5em; }
.vc-recorder button:disabled { opacity: .5; cursor: default; }
.vc-recorder button.vc-on { background: #D55E00; border-color: #D55E00; color: white; }
.vc-recorder meter { width: 9em; }
.vc-recorder output { font-variant-numeric: tabular-nums; flex: 1 1 16em; }
`;
const COUNT_IN = 3; // countdown before the recording [s]
const QUIET_DB = -45, LOUD_DB = -1; // peak level outside of which the reader is warned

function element(tag, parent, text = "") {
  const e = document.createElement(tag);
  e.textContent = text;
  parent.append(e);
  return e;
}
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

function render({ model, el }) {
  element("style", el).textContent = CSS;
  const box = element("div", el);
  box.className = "vc-recorder";
  const button = element("button", box, "● record");
  button.type = "button";
  const meter = element("meter", box);
  Object.assign(meter, { min: -60, max: 0, low: -30, high: -3, optimum: -12, value: -60 });
  meter.setAttribute("aria-label", "level");
  const status = element("output", box);
  const longest = model.get("max_seconds");
  let stop = null; // function that ends the recording; null when there is none

  if (!navigator.mediaDevices?.getUserMedia) {
    button.disabled = true;
    status.textContent =
      "Browsers allow a microphone on localhost and https only; open the notebook there, or upload a file.";
    return;
  }
  status.textContent = `up to ${longest} s; it goes to the kernel of this notebook, nowhere else`;

  async function record() {
    let stream, context, level, cancelled = false;
    stop = () => (cancelled = true); // set at once, so that a second click does not start a second recording
    button.textContent = "■ stop";
    button.classList.add("vc-on");
    status.textContent = "";
    try {
      // no processing: noise suppression and the like are for telephony and change a voice
      const unprocessed = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      stream = await navigator.mediaDevices.getUserMedia({ audio: unprocessed });
      context = new AudioContext();
      const analyser = context.createAnalyser();
      analyser.fftSize = 2048;
      context.createMediaStreamSource(stream).connect(analyser);
      const block = new Float32Array(analyser.fftSize);
      level = setInterval(() => {
        analyser.getFloatTimeDomainData(block);
        meter.value = 20 * Math.log10(Math.max(1e-3, ...block.map(Math.abs)));
      }, 50);
      for (let n = COUNT_IN; n > 0 && !cancelled; n--) {
        status.textContent = `${n} …`;
        await wait(1000);
      }
      if (!cancelled) await recordUntilStop(stream, context);
    } catch (error) {
      if (stream) status.textContent = `The recording failed (${error.message}).`;
      else if (error.name === "NotFoundError") status.textContent = "No microphone was found.";
      else status.textContent = `The browser gave no microphone (${error.name}).`;
    } finally {
      clearInterval(level);
      stream?.getTracks().forEach((track) => track.stop());
      context?.close();
      stop = null;
      meter.value = -60;
      button.textContent = "● record";
      button.classList.remove("vc-on");
      if (cancelled) status.textContent = "cancelled";
    }
  }

  async function recordUntilStop(stream, context) {
    const recorder = new MediaRecorder(stream);
    const chunks = [];
    recorder.ondataavailable = (event) => chunks.push(event.data);
    const ended = new Promise((done) => (recorder.onstop = done));
    recorder.start(250);
    const began = performance.now();
    stop = () => recorder.state === "recording" && recorder.stop();
    const count = setInterval(() => {
      const seconds = (performance.now() - began) / 1000;
      status.textContent = `speak: ${seconds.toFixed(1)} of ${longest} s`;
      if (seconds >= longest) stop();
    }, 100);
    try {
      await ended;
    } finally {
      clearInterval(count);
    }
    const sound = await context.decodeAudioData(await new Blob(chunks).arrayBuffer());
    const mono = sound.getChannelData(0).slice(0, Math.round(longest * sound.sampleRate));
    let peak = 0;
    for (const x of mono) peak = Math.max(peak, Math.abs(x));
    const db = 20 * Math.log10(Math.max(peak, 1e-6));
    const advice = db < QUIET_DB ? "; very quiet: is it the right microphone?" : db > LOUD_DB ? "; too loud: go back a little" : "";
    status.textContent = `${sound.duration.toFixed(1)} s, peak ${db.toFixed(0)} dB${advice}`;
    model.set("recording", { sr: sound.sampleRate, samples: new DataView(mono.buffer) });
    model.save_changes();
  }

  button.addEventListener("click", () => (stop ? stop() : record()));
  return () => stop?.();
}

export default { render };
