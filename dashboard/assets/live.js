// The Live page: the microphone through an AudioWorklet, its sound in pieces to the server (dashboard/server/live_route.py), and what comes back.

const RATE = 32000, BLOCK = 1024, FRAME = 2 * BLOCK, KEPT_S = 2, SHOWN_S = 10, BANDS = 64, MOST_ROWS = 8, MOST_EVENTS = 100, GONE_MS = 1500, STARTS_MS = 3000;

const WORKLET = `
registerProcessor("pannscope-tap", class extends AudioWorkletProcessor {
  constructor() { super(); this.block = new Int16Array(${BLOCK}); this.filled = 0; }
  process([input]) {
    for (const sample of input[0] ?? []) {
      this.block[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(32768 * sample)));
      if (this.filled < ${BLOCK}) continue;
      this.port.postMessage(this.block.buffer, [this.block.buffer]);
      this.block = new Int16Array(${BLOCK});
      this.filled = 0;
    }
    return true;
  }
});`;

const REFUSALS = {
  NotAllowedError: "The microphone is blocked for this page: allow it beside the browser's address, then press Start.",
  NotFoundError: "There is no microphone: connect one, then press Start.",
  NotReadableError: "The microphone cannot be opened, another program may have it: close that, then press Start.",
  TimeoutError: "The browser does not start its audio. Firefox needs a device that plays sound: connect one, then press Start.",
};

function element(parent, tag, properties = {}, text = "") {
  const made = Object.assign(document.createElement(tag), properties);
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}

function clock(seconds) {
  const tenths = Math.round(seconds * 10), minutes = Math.floor(tenths / 600), rest = ((tenths % 600) / 10).toFixed(1);
  if (!minutes) return `${rest} s`;
  const hours = Math.floor(minutes / 60);
  return (hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}` : `${minutes}`) + ":" + rest.padStart(4, "0");
}

const listed = (names) => (names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`);

// What lasts from one run of the page to the next: the microphone, the sound that is not sent yet, and what was drawn.
class Live {
  constructor(show) {
    this.show = show;
    this.state = "off";  // off, asking, on, paused
    this.status = "Nothing is sent before you press Start.";
    this.events = [];
    Object.assign(this, { queue: [], seen: 0, answer: null, rate: RATE, silentFor: 0, dropped: 0 });
    this.position = 0;  // samples since the first start, pauses and missing ones included
    this.columns = [];
  }

  use(data, expire) {
    const fresh = this.data && this.data.token !== data.token;
    this.expire = expire;
    if (fresh && this.answer) this.remark("The server has lost this stream, as after a restart: the history begins anew.");
    if (fresh) Object.assign(this, { events: [], seen: 0, answer: null, sending: false });
    this.data = data;
    if (fresh) this.send();
  }

  // Says something for a few seconds, unless there is something worse.
  remark(text) {
    [this.remarked, this.remarkedUntil] = [text, performance.now() + 8000];
  }

  say(text) {
    this.status = text;
    this.show();
  }

  async start() {
    if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) {
      this.say("Browsers give the microphone to pages over HTTPS or on localhost alone: open this page by such an address.");
      return;
    }
    this.state = "asking";
    this.say("The browser asks for the microphone …");
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
      });
      await this.open();
    } catch (error) {
      this.close();
      this.state = this.position ? "paused" : "off";
      this.say(REFUSALS[error.name] ?? `The microphone cannot be opened (${error.name}): reload the page and press Start again.`);
      return;
    }
    const [track] = this.stream.getAudioTracks();
    track.addEventListener("ended", () => this.pause("The microphone was disconnected: connect it, then press Resume."));
    if (this.pausedAt) this.position += Math.round(((performance.now() - this.pausedAt) / 1000) * this.rate);
    Object.assign(this, { state: "on", queue: [], silentFor: 0, offset: Infinity, timed: 0, leastLate: Infinity });
    this.say("");
  }

  // A context at 32 kHz resamples; where the browser cannot connect one to the microphone, the server resamples.
  async open() {
    for (const options of [{ sampleRate: RATE }, {}]) {
      this.context = new AudioContext(options);
      try {
        const source = this.context.createMediaStreamSource(this.stream), address = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
        await this.context.audioWorklet.addModule(address);
        URL.revokeObjectURL(address);
        const tap = new AudioWorkletNode(this.context, "pannscope-tap", { numberOfOutputs: 0 });
        source.connect(tap);
        tap.port.onmessage = (message) => this.take(new Int16Array(message.data));
        const late = new Promise((_, refuse) => setTimeout(() => refuse(new DOMException("", "TimeoutError")), STARTS_MS));
        await Promise.race([this.context.resume(), late]);  // which Firefox never ends where nothing can play sound
        break;
      } catch (error) {
        if (!options.sampleRate || error.name === "TimeoutError") throw error;
        await this.context.close();
      }
    }
    if (this.rate !== this.context.sampleRate) this.position = Math.round((this.position / this.rate) * this.context.sampleRate);
    this.rate = this.context.sampleRate;
    this.edges = bandEdges(this.rate, FRAME / 2);
    this.before = new Int16Array(BLOCK);
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    if (this.context?.state !== "closed") this.context?.close();
    this.stream = this.context = null;
  }

  pause(text = "Paused: the microphone is off.") {
    this.close();
    Object.assign(this, { state: "paused", pausedAt: performance.now(), queue: [] });
    this.say(text);
  }

  take(block) {
    if (this.state !== "on") return;
    if (performance.now() - this.alive() > GONE_MS) return this.pause();  // another page has been opened
    this.queue.push(block);
    this.position += block.length;
    this.time();
    let peak = 0;
    for (const sample of block) peak = Math.max(peak, Math.abs(sample));
    this.silentFor = peak < 4 ? this.silentFor + block.length / this.rate : 0;
    while (this.queue.length * BLOCK > KEPT_S * this.rate) {
      this.queue.shift();
      this.dropped++;
    }
    this.analyse(block);
    this.send();
  }

  // Tells when a sample was recorded by the least late message of two seconds; where all are late, the browser has stopped the microphone meanwhile.
  time() {
    const recorded = (1000 * this.position) / this.rate, now = performance.now();
    if (!Number.isFinite(this.offset)) this.offset = now - recorded;
    const late = now - recorded - this.offset;
    if (late < 0) this.offset += late;
    this.leastLate = Math.min(this.leastLate, Math.max(0, late));
    if (++this.timed < 64) return;
    if (this.leastLate > 1000) {
      this.position += Math.round((this.leastLate / 1000) * this.rate);
      this.queue = [];
      this.remark(`The browser has stopped this tab for ${(this.leastLate / 1000).toFixed(0)} s: that sound is missing.`);
    } else {
      this.offset += this.leastLate;  // the sound card's clock is not the system's
    }
    [this.timed, this.leastLate] = [0, Infinity];
  }

  // A column of the spectrogram, from this block and the one before.
  analyse(block) {
    const powers = powerSpectrum(this.before, block), column = new Uint8Array(BANDS);
    this.before = block;
    for (let band = 0; band < BANDS; band++) {
      let power = 1e-12;
      for (let bin = this.edges[band]; bin < Math.max(this.edges[band] + 1, this.edges[band + 1]); bin++) power = Math.max(power, powers[bin]);
      column[band] = Math.max(0, Math.min(255, (10 * Math.log10(power) + 95) * 3.6));
    }
    this.columns.push(column);
    if (this.columns.length > (SHOWN_S * this.rate) / BLOCK) this.columns.shift();
  }

  // One request at a time; what is recorded meanwhile goes with the next one, and of more than two seconds the oldest is left out.
  async send() {
    const hop = Math.round((this.data.hopS * this.rate) / BLOCK);
    if (this.sending || this.state !== "on" || this.queue.length < hop) return;
    this.sending = true;
    const { token } = this.data, blocks = this.queue.slice(0, this.queue.length - (this.queue.length % hop));
    const body = new Int16Array(blocks.length * BLOCK);
    blocks.forEach((block, number) => body.set(block, number * BLOCK));
    const query = new URLSearchParams({ start: this.position - this.queue.length * BLOCK, rate: this.rate, seen: this.seen });
    let wait = 0;
    try {
      const answer = await fetch(`${location.pathname.replace(/\/live\/?$/, "")}/_stcore/live/${token}?${query}`, {
        method: "POST", body, cache: "no-store", headers: { "Content-Type": "application/octet-stream" }, signal: AbortSignal.timeout(10000),
      });
      const said = await answer.json().catch(() => ({}));
      if (this.data.token !== token) return;
      [this.failed, this.busy] = [0, ""];
      if (answer.ok) {
        this.queue = this.queue.filter((block) => !blocks.includes(block));
        this.draw(said);
      } else if (answer.status === 503 && said.message) {
        [this.queue, this.busy, wait] = [[], said.message, 4000];
      } else if (answer.status === 404 && said.message) {
        [this.queue, this.dropped] = [[], 0];
        this.expire();  // the server has restarted, or has forgotten the stream: the page gets another
        wait = 3000;
      } else {
        throw new Error(String(answer.status));
      }
    } catch {
      if (this.data.token !== token) return;
      this.failed = (this.failed ?? 0) + 1;
      wait = Math.min(4000, 250 * 2 ** this.failed);
    }
    this.tell();
    if (wait) await new Promise((resolve) => setTimeout(resolve, wait));
    if (this.data.token !== token) return;
    this.sending = false;
    this.send();
  }

  draw(said) {
    const now = performance.now(), at = (position) => this.offset + (1000 * position) / this.rate;
    if (said.until !== this.answer?.until && said.until) {
      const delay = (now - at((said.since + said.until) / 2)) / 1000;
      this.delay = this.delay === undefined ? delay : this.delay + 0.2 * (delay - this.delay);
    }
    if (said.seen < this.seen) this.events = [];
    this.events = [...said.ended.reverse(), ...this.events].slice(0, MOST_EVENTS);
    this.seen = said.seen;
    this.answer = said;
  }

  // The one line that says what is not as it should be.
  tell() {
    if (this.state !== "on") return;
    if (this.dropped && !this.failed) this.remark("The connection or this device is slow: parts of the sound are left out.");
    this.dropped = 0;
    const line =
      this.failed > 1 ? "The server cannot be reached: reconnecting. The microphone is on; its sound is not sent meanwhile."
      : this.busy ? this.busy
      : this.answer?.message ? this.answer.message
      : performance.now() < this.remarkedUntil ? this.remarked
      : this.silentFor > 3 ? "The microphone gives silence: is it muted?"
      : !this.answer?.until ? "The networks are being prepared …"
      : "";
    this.say(line);
  }
}

const HANN = Float64Array.from({ length: FRAME }, (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / FRAME));
const COSINES = Float64Array.from({ length: FRAME / 2 }, (_, at) => Math.cos((2 * Math.PI * at) / FRAME));
const SINES = Float64Array.from({ length: FRAME / 2 }, (_, at) => Math.sin((2 * Math.PI * at) / FRAME));

// The power of each frequency in two blocks, of a full-scale sine 1/16: a radix-2 FFT. An AnalyserNode sees what is new when it is asked,
// which on a busy machine is the same for several blocks.
function powerSpectrum(before, block) {
  const real = new Float64Array(FRAME), imaginary = new Float64Array(FRAME), powers = new Float64Array(FRAME / 2);
  for (let at = 0, reversed = 0; at < FRAME; at++) {
    real[reversed] = (HANN[at] * (at < BLOCK ? before[at] : block[at - BLOCK])) / (32768 * FRAME);
    let bit = FRAME >> 1;
    for (; reversed & bit; bit >>= 1) reversed ^= bit;
    reversed |= bit;
  }
  for (let half = 1; half < FRAME; half *= 2) {
    for (let start = 0; start < FRAME; start += 2 * half) {
      for (let at = start, turn = 0; at < start + half; at++, turn += FRAME / (2 * half)) {
        const other = at + half, x = real[other] * COSINES[turn] + imaginary[other] * SINES[turn], y = imaginary[other] * COSINES[turn] - real[other] * SINES[turn];
        real[other] = real[at] - x;
        imaginary[other] = imaginary[at] - y;
        real[at] += x;
        imaginary[at] += y;
      }
    }
  }
  for (let bin = 0; bin < FRAME / 2; bin++) powers[bin] = real[bin] ** 2 + imaginary[bin] ** 2;
  return powers;
}

// Borders of the mel bands (HTK's formula, 50 Hz to 14 kHz as PANNs') in bins of the analyser.
function bandEdges(rate, bins) {
  const mel = (hertz) => 2595 * Math.log10(1 + hertz / 700), low = mel(50), high = mel(14000);
  return Array.from({ length: BANDS + 1 }, (_, band) => {
    const hertz = 700 * (10 ** ((low + ((high - low) * band) / BANDS) / 2595) - 1);
    return Math.min(bins - 1, Math.round((hertz / (rate / 2)) * bins));
  });
}

export default function ({ data, parentElement, setTriggerValue }) {
  const live = (parentElement.pannscope ??= new Live(() => parentElement.pannscope.redraw?.()));
  live.stop?.();
  const stopping = new AbortController(), options = { signal: stopping.signal };
  const { colors, titles } = data, sides = [colors.baseline, colors.pruned];
  let seenAt = performance.now(), gone = false, frame = 0;
  live.alive = () => (gone || !parentElement.isConnected ? seenAt : (seenAt = performance.now()));
  live.use(data, () => setTriggerValue("expired", Date.now()));

  parentElement.querySelector(".live")?.remove();
  const root = element(parentElement, "div", { className: "live" });
  for (const [name, value] of Object.entries(colors)) if (typeof value === "string") root.style.setProperty(`--${name}`, value);
  root.style.color = colors.ink;
  const bar = element(root, "div", { className: "bar" });
  const button = element(bar, "button", { type: "button" });
  button.addEventListener("click", () => (live.state === "on" ? live.pause() : live.start()), options);
  const status = element(bar, "span", { className: "status" });
  status.setAttribute("role", "status");
  const figures = element(root, "p", { className: "figures" });
  const grid = element(root, "div", { className: "grid" }), left = element(grid, "div"), right = element(grid, "div");

  const headline = element(left, "h2"), heads = element(left, "div", { className: "heads" });
  titles.forEach((title, side) => {
    const head = element(heads, "span");
    element(head, "i", { className: "dot" }).style.background = sides[side];
    head.append(title);
  });
  const rows = Array.from({ length: MOST_ROWS }, () => {
    const row = element(left, "div", { className: "row" }), name = element(row, "span", { className: "name" });
    const pair = element(row, "div", { className: "sides" });
    const bars = sides.map((color) => {
      const side = element(pair, "span", { className: "side" }), fill = element(side, "i", { className: "fill" });
      fill.style.background = color;
      return { fill, value: element(side, "span") };
    });
    return { row, name, bars };
  });

  const canvas = element(right, "canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Spectrogram of the last ten seconds");
  const scale = element(right, "div", { className: "scale" });
  for (const text of [`${SHOWN_S} s ago`, "50 Hz to 14 kHz", "now"]) element(scale, "span", {}, text);
  element(right, "h3", {}, "History");
  const table = element(element(right, "div", { className: "events", tabIndex: 0 }), "table");
  const head = element(element(table, "thead"), "tr");
  for (const title of ["From – to", "Tag", "Network", "Prob."]) element(head, "th", { scope: "col" }, title);
  const body = element(table, "tbody");

  const ramp = colors.ramp.map((color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)));
  const shades = Uint32Array.from({ length: 256 }, (_, level) => {
    const value = (level / 255) * (ramp.length - 1), low = Math.min(ramp.length - 2, Math.floor(value));
    const [red, green, blue] = [0, 1, 2].map((part) => Math.round(ramp[low][part] + (ramp[low + 1][part] - ramp[low][part]) * (value - low)));
    return (255 << 24) | (blue << 16) | (green << 8) | red;  // little-endian RGBA
  });

  function paint() {
    frame = requestAnimationFrame(paint);
    if (live.painted === live.columns.at(-1) || !live.columns.length) return;
    live.painted = live.columns.at(-1);
    const wide = Math.ceil((SHOWN_S * live.rate) / BLOCK), pen = canvas.getContext("2d");
    if (canvas.width !== wide || canvas.height !== BANDS) [canvas.width, canvas.height] = [wide, BANDS];
    const image = pen.createImageData(wide, BANDS), pixels = new Uint32Array(image.data.buffer), first = wide - live.columns.length;
    live.columns.forEach((column, at) => {
      for (let band = 0; band < BANDS; band++) pixels[(BANDS - 1 - band) * wide + first + at] = shades[column[band]];
    });
    pen.putImageData(image, 0, 0);
  }

  const text = (target, value) => { if (target.textContent !== value) target.textContent = value; };
  let drawnEvents = "";

  live.redraw = () => {
    const { answer, state } = live, on = state === "on";
    text(button, { off: "Start", asking: "Start", on: "Pause", paused: "Resume" }[state]);
    button.classList.toggle("quiet", on);
    button.disabled = state === "asking";
    text(status, live.status || "On: the microphone's sound is recognised.");
    const said = on && answer?.rate && !live.busy && !(live.failed > 1) ? [`${answer.rate.toFixed(1)} times a second`, `delay ${live.delay.toFixed(2)} s`, `${answer.took_ms} ms for ${titles[0] === titles[1] ? "the network" : "both networks"}`] : [];
    if (on && data.sounds !== "All sounds") said.push(data.sounds);
    text(figures, said.join(" · "));
    figures.title = "How often both networks really run; from a sound at the microphone to the first tags that include it; the networks' computing for one window.";
    const shown = answer?.rows ?? [];
    text(headline, heading(shown, on));
    rows.forEach(({ row, name, bars }, number) => {
      const drawn = shown[number];
      row.style.visibility = drawn ? "" : "hidden";
      if (!drawn) return;
      text(name, drawn.name);
      row.classList.toggle("below", Math.max(...drawn.values.map((value) => value ?? 0)) < data.threshold);
      bars.forEach(({ fill, value }, side) => {
        const probability = drawn.values[side];
        fill.style.width = `${78 * (probability ?? 0)}%`;
        text(value, probability === null ? "not a class" : probability.toFixed(2));
      });
    });
    const events = [...(answer?.going_on ?? []).map((event) => ({ ...event, now: true })).reverse(), ...live.events].slice(0, MOST_EVENTS);
    const key = JSON.stringify(events.map((event) => [event.start, event.end, event.name, event.network, event.probability]));
    if (key === drawnEvents) return;
    drawnEvents = key;
    body.replaceChildren();
    for (const event of events) {
      const row = element(body, "tr", { className: event.now ? "now" : "" });
      element(row, "td", {}, `${clock(event.start)} – ${event.now ? "now" : clock(event.end)}`);
      element(row, "td", { className: "name" }, event.name);
      const network = element(row, "td");
      element(network, "i", { className: "dot" }).style.background = sides[event.network];
      network.append(titles[event.network]);
      element(row, "td", {}, event.probability);
    }
  };

  function heading(shown, on) {
    const at = (side) => (row) => (row.values[side] ?? 0) >= data.threshold;
    const both = shown.filter((row) => at(0)(row) && at(1)(row)), only = [0, 1].map((side) => shown.filter((row) => at(side)(row) && !both.includes(row)));
    const names = (list) => listed(list.slice(0, 3).map((row) => row.name));
    const parts = both.length ? [`Both recognise ${names(both)}`] : [];
    only.forEach((list, side) => { if (list.length) parts.push(`${both.length ? "only" : "Only"} ${titles[side]} ${names(list)}`); });
    if (parts.length) return parts.join("; ");
    return shown.length && on ? `Nothing at ${data.thresholdText} or more` : on ? "Nothing yet" : "Tags appear here as soon as the microphone is on";
  }

  document.addEventListener("visibilitychange", () => live.redraw(), options);
  live.redraw();
  paint();
  live.painted = null;
  live.stop = () => {
    gone = true;
    stopping.abort();
    cancelAnimationFrame(frame);
  };
  return live.stop;
}
