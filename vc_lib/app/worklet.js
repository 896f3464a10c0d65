// Between microphone and loudspeaker: collects blocks for the server, and plays what comes back. It keeps as little
// in its buffer as the way there and back allows, and counts how late the sound is.

const BLOCK_S = 0.03; // what is sent at once [s]
const FIRST_S = 0.06, LONGEST_S = 0.5; // what is buffered before sound begins, at first and at most [s]
const GROWTH = 1.5; // of that, each time the buffer ran empty
const SPARE_S = 0.03; // margin that stays in the buffer when it is shortened [s]
const WATCH_S = 4; // time over which the smallest content of the buffer is measured [s]
const REPORT_S = 0.1; // between two reports of levels and delay [s]

class Live extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(Math.round(BLOCK_S * sampleRate));
    this.filled = 0; // samples in `block`
    this.queue = []; // blocks that wait to be played
    this.offset = 0; // samples of the first one that were played
    this.buffered = 0; // samples in the queue
    this.needed = FIRST_S * sampleRate; // samples in the queue before sound begins
    this.playing = false;
    this.captured = 0; // samples taken in
    this.played = 0; // of these, how many have come out, or were left out
    this.least = Infinity; // smallest content of the buffer lately
    this.watched = 0;
    this.peaks = [0, 0];
    this.reported = 0;
    this.port.onmessage = ({ data }) => this.take(data);
  }

  take(data) {
    if (data.dropped) return void (this.played += data.dropped);
    this.queue.push(data);
    this.buffered += data.length;
  }

  process([input], [output]) {
    const sound = input[0] ?? new Float32Array(128);
    const out = output[0];
    this.send(sound);
    this.play(out);
    for (const channel of output.slice(1)) channel.set(out);
    this.peaks = [sound, out].map((x, i) => x.reduce((peak, v) => Math.max(peak, Math.abs(v)), this.peaks[i]));
    this.report(out.length);
    return true;
  }

  send(sound) {
    this.captured += sound.length;
    for (const x of sound) {
      this.block[this.filled++] = x;
      if (this.filled < this.block.length) continue;
      this.port.postMessage({ block: this.block }, [this.block.buffer]);
      this.block = new Float32Array(Math.round(BLOCK_S * sampleRate)); // the old one has been handed on
      this.filled = 0;
    }
  }

  play(out) {
    if (!this.playing && this.buffered < this.needed) return;
    this.playing = true;
    if (this.buffered < out.length) {
      this.playing = false;
      this.needed = Math.min(GROWTH * this.needed, LONGEST_S * sampleRate);
      return;
    }
    for (let i = 0; i < out.length; i++) out[i] = this.next();
    this.shrink(out.length);
  }

  next() {
    const x = this.queue[0][this.offset++];
    if (this.offset === this.queue[0].length) {
      this.queue.shift();
      this.offset = 0;
    }
    this.buffered--;
    this.played++;
    return x;
  }

  // Leaves out what was never needed for some seconds, so that the delay shrinks again.
  shrink(n) {
    this.least = Math.min(this.least, this.buffered);
    this.watched += n;
    if (this.watched < WATCH_S * sampleRate) return;
    for (let spare = this.least - SPARE_S * sampleRate; spare > 0; spare--) this.next();
    this.needed = Math.max(FIRST_S * sampleRate, this.needed / GROWTH);
    [this.least, this.watched] = [Infinity, 0];
  }

  report(n) {
    this.reported += n;
    if (this.reported < REPORT_S * sampleRate) return;
    const late = (this.captured - this.played) / sampleRate;
    this.port.postMessage({ late, peaks: this.peaks, playing: this.playing });
    [this.reported, this.peaks] = [0, [0, 0]];
  }
}

registerProcessor("live", Live);
