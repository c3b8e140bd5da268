// Tags over time: draws what dashboard/charts/timeline.py packs, and follows and moves the page's player.
// The player is Streamlit's; its events are caught on the document, since a run of the page may replace it.

const LEFT = 8, RIGHT = 8, SPECTROGRAM = 56, NAME = 17, BAR = 11, GAP = 7, AXIS = 20;
const PLAYER = 'audio[data-testid="stAudio"], [data-testid="stAudio"] audio';

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);
const player = () => document.querySelector(PLAYER);

function clock(seconds) {
  const tenths = Math.round(seconds * 10), minutes = Math.floor(tenths / 600), rest = ((tenths % 600) / 10).toFixed(1);
  if (!minutes) return `${rest} s`;
  const hours = Math.floor(minutes / 60);
  return (hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}` : `${minutes}`) + ":" + rest.padStart(4, "0");
}

// The cell that holds a time, by bisection; edges has one more entry than there are cells.
function cellAt(edges, time) {
  let low = 0, high = edges.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (edges[middle] <= time) low = middle; else high = middle - 1;
  }
  return low;
}

function element(parent, tag, properties = {}, text = "") {
  const made = Object.assign(document.createElement(tag), properties);
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}

export default function ({ data, parentElement }) {
  const kept = (parentElement.pannscope ??= { from: 0, to: null, key: null });
  kept.stop?.();
  if (kept.key !== data.key) Object.assign(kept, { from: 0, to: null, key: data.key });
  const view = { from: kept.from, to: kept.to ?? data.duration };
  const networks = data.networks.map((network) => ({ ...network, edges: floats(network.edges), cells: bytes(network.cells) }));
  const levels = bytes(data.spectrogram.levels), bands = data.spectrogram.bands, columns = levels.length / bands;
  const stopping = new AbortController(), options = { signal: stopping.signal };
  const colors = data.colors;

  parentElement.querySelector(".timeline")?.remove();
  const root = element(parentElement, "div", { className: "timeline" });
  const { hairline, band, quiet, ink, page } = colors;
  for (const [name, value] of Object.entries({ hairline, band, quiet, page, focus: ink })) root.style.setProperty(`--${name}`, value);
  root.style.color = ink;
  const left = element(root, "div"), right = element(root, "div");
  const tools = element(left, "div", { className: "tools" });
  const button = (label, title, act) => {
    const made = element(tools, "button", { type: "button", title }, label);
    made.setAttribute("aria-label", title);
    made.addEventListener("click", act, options);
    return made;
  };
  const playButton = button("▶", "Play or pause", toggle);
  button("+", "Zoom in", () => zoom(0.5));
  button("−", "Zoom out", () => zoom(2));
  button("All", "Show the whole recording", () => zoom(Infinity));
  const legend = element(tools, "span", { className: "legend" });
  networks.forEach((network, side) => {
    element(legend, "i", { className: "dot" }).style.background = network.color;
    legend.append(network.title + (side ? "" : " above "));
  });
  const readout = element(tools, "span", { className: "readout" });
  const canvas = element(left, "canvas", { tabIndex: 0 });
  canvas.setAttribute("role", "slider");
  canvas.setAttribute("aria-label", data.alt);
  canvas.setAttribute("aria-valuemin", "0");
  canvas.setAttribute("aria-valuemax", String(data.duration));
  element(left, "p", { className: "hint" }, "Click to go there, drag to hear a stretch. Keys: ← → move, space plays, + − zoom, Home and End.");

  // What differs most, and the events: each goes to its place, and those at the playhead are marked.
  element(right, "h4", {}, data.differences.length ? "Where the networks differ most" : data.same);
  const list = element(right, "div", { className: "differences" });
  data.differences.forEach((difference, number) => {
    const made = element(list, "button", { type: "button" }, (number ? "" : "Largest difference ") + difference.text);
    made.addEventListener("click", () => hear(difference.start, difference.end), options);
  });
  element(right, "h4", {}, data.heading);
  const events = data.events.map((event) => ({ ...event }));
  if (events.length) {
    const table = element(element(right, "div", { className: "events", tabIndex: 0 }), "table");
    const head = element(element(table, "thead"), "tr");
    for (const title of ["From – to", "Tag", "Network", "Prob."]) element(head, "th", { scope: "col" }, title);
    const body = element(table, "tbody");
    for (const event of events) {
      const row = (event.row = element(body, "tr", { tabIndex: 0 }));
      row.setAttribute("role", "button");
      row.setAttribute("aria-label", `${event.name}, ${networks[event.network].title}, ${event.span}`);
      element(row, "td", {}, event.span);
      element(row, "td", { className: "name" }, event.name);
      const network = element(row, "td", { className: "network" });
      element(network, "i", { className: "dot" }).style.background = networks[event.network].color;
      network.append(networks[event.network].title);
      element(row, "td", {}, event.probability);
      row.addEventListener("click", () => hear(event.start, event.end), options);
      row.addEventListener("keydown", (key) => { if (key.key === "Enter" || key.key === " ") { key.preventDefault(); hear(event.start, event.end); } }, options);
    }
  }

  const height = SPECTROGRAM + GAP + data.tags.length * (NAME + 2 * BAR + 1 + GAP) + AXIS;
  const top = (tag) => SPECTROGRAM + GAP + tag * (NAME + 2 * BAR + 1 + GAP) + NAME;
  let width = 0, drag = null, until = null, frame = 0;

  const span = () => width - LEFT - RIGHT;
  const toX = (time) => LEFT + ((time - view.from) / (view.to - view.from)) * span();
  const toTime = (x) => Math.min(data.duration, Math.max(0, view.from + ((x - LEFT) / span()) * (view.to - view.from)));
  const now = () => player()?.currentTime ?? 0;

  // The spectrogram once, as a picture that every view stretches.
  const picture = document.createElement("canvas");
  picture.width = columns;
  picture.height = bands;
  const ramp = colors.ramp.map((color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)));
  const image = picture.getContext("2d").createImageData(columns, bands);
  for (let row = 0; row < bands; row++) {
    for (let column = 0; column < columns; column++) {
      const value = (levels[row * columns + column] / 255) * (ramp.length - 1), low = Math.min(ramp.length - 2, Math.floor(value));
      const at = 4 * ((bands - 1 - row) * columns + column);
      for (let part = 0; part < 3; part++) image.data[at + part] = ramp[low][part] + (ramp[low + 1][part] - ramp[low][part]) * (value - low);
      image.data[at + 3] = 255;
    }
  }
  picture.getContext("2d").putImageData(image, 0, 0);

  const still = document.createElement("canvas");  // all but the playhead
  function draw() {
    width = left.clientWidth || 300;
    root.classList.toggle("narrow", root.clientWidth < 720);
    const scale = window.devicePixelRatio || 1;
    for (const each of [canvas, still]) {
      each.width = Math.round(width * scale);
      each.height = Math.round(height * scale);
    }
    canvas.style.height = `${height}px`;
    const pen = still.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "12px 'Source Sans', 'Source Sans Pro', sans-serif";
    const share = columns / data.duration;
    pen.drawImage(picture, view.from * share, 0, (view.to - view.from) * share, bands, LEFT, 0, span(), SPECTROGRAM);
    data.tags.forEach((tag, number) => {
      pen.fillStyle = tag.change === "below" ? quiet : ink;
      pen.fillText(tag.label, LEFT, top(number) - 5);
      networks.forEach((network, side) => {
        const y = top(number) + side * (BAR + 1), count = network.edges.length - 1;
        pen.globalAlpha = 1;
        pen.fillStyle = band;
        pen.fillRect(LEFT, y, span(), BAR);
        pen.fillStyle = network.color;
        // A column of the screen has the largest of the cells in it; equal ones are one rectangle.
        const last = Math.ceil(span()), timeOf = (x) => view.from + (x / span()) * (view.to - view.from);
        let cell = cellAt(network.edges, view.from), began = 0, drawn = -1;
        for (let x = 0; x <= last; x++) {
          let value = -1;  // at the end, and where nothing is computed yet
          if (x < last && timeOf(x) < network.edges[count]) {
            value = network.cells[number * count + cell];
            while (cell + 1 < count && network.edges[cell + 1] < timeOf(x + 1)) value = Math.max(value, network.cells[number * count + ++cell]);
          }
          if (value === drawn) continue;
          pen.globalAlpha = Math.max(0, drawn) / 255;
          pen.fillRect(LEFT + began, y, Math.min(x, span()) - began, BAR);
          [began, drawn] = [x, value];
        }
      });
      pen.globalAlpha = 1;
    });
    data.differences.forEach((difference, number) => {
      if (difference.tag === null) return;
      const x = toX(difference.start), wide = Math.max(4, toX(difference.end) - x);
      if (x + wide < LEFT || x > width - RIGHT) return;
      pen.strokeStyle = ink;
      pen.lineWidth = number ? 1 : 2;
      pen.strokeRect(x, top(difference.tag) - 1.5, wide, 2 * BAR + 4);
    });
    pen.fillStyle = quiet;
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800].find((each) => ((view.to - view.from) / each) * 70 <= span()) ?? 3600;
    for (let time = Math.ceil(view.from / step) * step; time <= view.to + 1e-9; time += step) {
      const label = step < 1 || time < 60 ? `${Number(time.toFixed(1))} s` : clock(time).replace(/\.0$/, ""), wide = pen.measureText(label).width;
      pen.fillRect(toX(time), height - AXIS + 1, 1, 4);
      pen.fillText(label, Math.min(width - wide, Math.max(0, toX(time) - wide / 2)), height - 3);
    }
    paint();
  }

  function paint() {
    const pen = canvas.getContext("2d"), scale = canvas.width / width;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(still, 0, 0);
    pen.scale(scale, scale);
    if (drag && drag.moved) {
      pen.globalAlpha = 0.15;
      pen.fillStyle = ink;
      pen.fillRect(Math.min(drag.x, drag.to), 0, Math.abs(drag.to - drag.x), height - AXIS);
      pen.globalAlpha = 1;
    }
    const time = now(), x = toX(time);
    if (x >= LEFT - 1 && x <= width - RIGHT + 1) {
      pen.fillStyle = ink;
      pen.fillRect(x - 1, 0, 2, height - AXIS);
    }
    readout.textContent = `${clock(time)} of ${clock(data.duration)}`;
    canvas.setAttribute("aria-valuenow", time.toFixed(2));
    canvas.setAttribute("aria-valuetext", clock(time));
    for (const event of events) event.row?.classList.toggle("now", event.start <= time && time < event.end);
    const playing = player() && !player().paused;
    playButton.textContent = playing ? "❚❚" : "▶";
  }

  // While it plays the playhead moves with every frame, the view goes along, and a stretch that was chosen ends.
  function follow() {
    cancelAnimationFrame(frame);
    const sound = player();
    if (sound && until !== null && sound.currentTime >= until) {
      sound.pause();
      until = null;
    }
    if (sound && !sound.paused && (sound.currentTime > view.to || sound.currentTime < view.from) && view.to - view.from < data.duration) {
      show(sound.currentTime, sound.currentTime + view.to - view.from);
    }
    paint();
    if (sound && !sound.paused) frame = requestAnimationFrame(follow);
  }

  function show(from, to) {
    const wide = Math.min(data.duration, Math.max(Math.min(1, data.duration), to - from));
    view.from = Math.min(Math.max(0, from), data.duration - wide);
    view.to = view.from + wide;
    Object.assign(kept, { from: view.from, to: wide >= data.duration ? null : view.to });
    draw();
  }

  function zoom(factor) {
    const wide = Math.min(data.duration, (view.to - view.from) * factor), time = now();
    const centre = time >= view.from && time <= view.to ? time : (view.from + view.to) / 2;
    show(centre - wide / 2, centre + wide / 2);
  }

  function seek(time) {
    until = null;
    const sound = player();
    if (sound) sound.currentTime = Math.min(data.duration, Math.max(0, time));
    follow();
  }

  function hear(start, end) {
    const sound = player();
    if (!sound) return;
    if (start < view.from || end > view.to) show(start - (view.to - view.from) / 4, start + (3 * (view.to - view.from)) / 4);
    sound.currentTime = start;
    until = end;
    sound.play().catch(() => undefined);
    follow();
  }

  function toggle() {
    const sound = player();
    until = null;
    if (sound) sound.paused ? sound.play().catch(() => undefined) : sound.pause();
  }

  const at = (event) => event.clientX - canvas.getBoundingClientRect().left;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    drag = { x: at(event), to: at(event), moved: false };
    canvas.setPointerCapture(event.pointerId);
  }, options);
  canvas.addEventListener("pointermove", (event) => {
    const x = at(event);
    if (drag) {
      drag.to = x;
      drag.moved ||= Math.abs(x - drag.x) > 5;
      paint();
    }
    const time = toTime(x), y = event.clientY - canvas.getBoundingClientRect().top;
    const number = data.tags.findIndex((_, tag) => y >= top(tag) - NAME && y <= top(tag) + 2 * BAR + 1);
    if (number < 0) { readout.textContent = clock(time); return; }
    const said = networks.map((network) => {
      const count = network.edges.length - 1;
      return time > network.edges[count] || !network.known[number] ? `${network.title} –` : `${network.title} ${(network.cells[number * count + cellAt(network.edges, time)] / 255).toFixed(2)}`;
    });
    readout.textContent = `${clock(time)} · ${data.tags[number].name} · ${said.join(" · ")}`;
  }, options);
  canvas.addEventListener("pointerleave", () => { if (!drag) paint(); }, options);
  canvas.addEventListener("pointercancel", () => { drag = null; paint(); }, options);
  canvas.addEventListener("pointerup", () => {
    if (!drag) return;
    const { x, to, moved } = drag;
    drag = null;
    moved ? hear(toTime(Math.min(x, to)), toTime(Math.max(x, to))) : seek(toTime(x));
  }, options);
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;  // the page scrolls otherwise
    event.preventDefault();
    const time = toTime(at(event)), factor = Math.exp(event.deltaY / 300);
    show(time - (time - view.from) * factor, time + (view.to - time) * factor);
  }, { ...options, passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = Math.max(0.1, (view.to - view.from) / (event.shiftKey ? 10 : 50));
    const acts = {
      ArrowLeft: () => seek(now() - step), ArrowRight: () => seek(now() + step), Home: () => seek(0), End: () => seek(data.duration),
      " ": toggle, "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": () => zoom(Infinity),
    };
    if (!acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
    if (event.key.startsWith("Arrow") && (now() < view.from || now() > view.to)) show(now() - (view.to - view.from) / 2, now() + (view.to - view.from) / 2);
  }, options);
  for (const name of ["play", "pause", "seeking", "seeked", "timeupdate", "loadedmetadata"]) {
    document.addEventListener(name, (event) => { if (event.target.matches?.(PLAYER)) follow(); }, { ...options, capture: true });
  }
  const resized = new ResizeObserver(draw);
  resized.observe(root);
  draw();
  kept.stop = () => {
    stopping.abort();
    resized.disconnect();
    cancelAnimationFrame(frame);
  };
  return kept.stop;
}
