// Rows x columns of values or of small pictures, on one canvas. Click or arrow keys select a cell.
export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".root");
  const state = kept(root, () => ({ selected: null, turn: -1 }));
  if (data.turn !== state.turn) { state.turn = data.turn; state.selected = data.selected; }
  const R = data.rows.length, C = data.cols.length;
  const thumbs = data.thumbs ? Uint8Array.from(atob(data.thumbs), (c) => c.charCodeAt(0)) : null;
  const [th, tw] = data.size || [0, 0];

  function draw() {
    const focused = root.getRootNode().activeElement?.tagName === "CANVAS";
    const at = root.querySelector(".scroll")?.scrollLeft || 0;
    root.replaceChildren();
    const p = palette(root), ratio = window.devicePixelRatio || 1;
    const canvas = element("canvas", { tabindex: 0, role: "application", "aria-roledescription": "grid" });
    const g = canvas.getContext("2d"), font = "12px system-ui, sans-serif";
    g.font = font;
    const left = Math.max(...data.rows.map((r) => g.measureText(r).width), 8) + (data.yTitle ? 26 : 10);
    const most = Math.max(...data.cols.map((c) => g.measureText(c).width), 8);
    const room = Math.max(120, root.clientWidth - left - 4);
    const cw = Math.max(data.least || 16, Math.min(data.most || 84, room / C));
    const ch = data.square || thumbs ? Math.min(cw, data.tallest || 200) * (thumbs ? th / tw : 1) : data.tall || 26;
    const slanted = most > cw - 4 && C > 1 && most > 16;
    const below = (slanted ? Math.min(70, most * 0.75 + 12) : 18) + (data.xTitle ? 18 : 0);
    const W = left + cw * C + (slanted ? 30 : 4), H = 4 + ch * R + below;
    canvas.width = W * ratio; canvas.height = H * ratio;
    canvas.style.width = `${W}px`; canvas.style.height = `${H}px`;
    g.scale(ratio, ratio);
    g.font = font;
    const X = (c) => left + c * cw, Y = (r) => 4 + r * ch;
    const pictures = thumbs ? tiles(p) : null, under = data.behind ? photo() : null;
    g.imageSmoothingEnabled = false;
    if (under) g.drawImage(under, X(0), Y(0), cw * C, ch * R);
    for (let r = 0; r < R; r++) for (let c = 0; c < C; c++) {
      const value = data.values ? data.values[r][c] : null;
      const colour = thumbs && !(data.values && value === null) ? null : shade(p, value, data.largest);
      if (under) { g.globalAlpha = cover(value); g.fillStyle = tint(p, value); g.fillRect(X(c), Y(r), cw, ch); g.globalAlpha = 1; }
      else if (colour) { g.fillStyle = colour; g.fillRect(X(c), Y(r), cw, ch); }
      else g.drawImage(pictures, c * tw, r * th, tw, th, X(c), Y(r), cw, ch);
      if (cw > 11) {
        g.strokeStyle = p.dark ? "#3a4350" : "#cfd5de"; g.lineWidth = 1;
        g.strokeRect(X(c) + 0.5, Y(r) + 0.5, cw - 1, ch - 1);
      }
      const text = data.text ? data.text[r][c] : data.numbers && value !== null ? short(value) : "";
      if (text && colour && !under && ch > 13) {
        g.fillStyle = inkOn(colour.startsWith("#") ? mixed(rgb(colour), rgb(colour), 0) : colour);
        g.textAlign = "center"; g.textBaseline = "middle"; g.font = "11px system-ui, sans-serif";
        let shown = text;
        while (shown.length > 1 && g.measureText(shown).width > cw - 2) shown = shown.slice(0, -1);
        if (shown.length === text.length || data.text) g.fillText(shown, X(c) + cw / 2, Y(r) + ch / 2);
        g.font = font;
      }
    }
    if (cw <= 11) { g.strokeStyle = p.line; g.lineWidth = 1; g.strokeRect(X(0) + 0.5, Y(0) + 0.5, cw * C - 1, ch * R - 1); }
    for (const [r, c] of data.marks || []) { g.strokeStyle = p.ink; g.lineWidth = 2; g.strokeRect(X(c) + 1.5, Y(r) + 1.5, cw - 3, ch - 3); }
    g.fillStyle = p.ink; g.textBaseline = "middle"; g.textAlign = "right";
    const every = Math.ceil(12 / ch);
    data.rows.forEach((label, r) => { if (r % every === 0) g.fillText(label, left - 6, Y(r) + ch / 2); });
    const skip = slanted || cw < most ? Math.ceil(13 / cw) : 1;
    data.cols.forEach((label, c) => {
      if (c % skip) return;
      g.save(); g.translate(X(c) + cw / 2, Y(R) + 11);
      if (slanted) { g.rotate(0.7); g.textAlign = "left"; } else g.textAlign = "center";
      g.fillText(label.length > 14 ? label.slice(0, 13) + "…" : label, 0, 0); g.restore();
    });
    g.textAlign = "center";
    if (data.xTitle) g.fillText(data.xTitle, left + (cw * C) / 2, H - 8);
    if (data.yTitle) { g.save(); g.translate(9, Y(R / 2)); g.rotate(-Math.PI / 2); g.fillText(data.yTitle, 0, 0); g.restore(); }
    const sel = state.selected;
    if (sel && sel[0] < R && sel[1] < C) {
      g.strokeStyle = p.ink; g.lineWidth = 4; g.strokeRect(X(sel[1]), Y(sel[0]), cw, ch);
      g.strokeStyle = p.dark ? "#ffd166" : "#ffb703"; g.lineWidth = 2; g.strokeRect(X(sel[1]), Y(sel[0]), cw, ch);
    }
    const scroll = element("div", { class: "scroll" });
    scroll.append(canvas);
    root.append(scroll);
    scroll.scrollLeft = at;
    if (data.legend !== false) legend(root, p, data.largest, data.unit, data.diverging);
    const said = element("div", { class: "said", "aria-live": "polite" });
    root.append(said);
    canvas.setAttribute("aria-label", `${data.label}. ${R} rows, ${C} columns. ` + (sel ? `Selected: ${describe(...sel)}.` : "Arrow keys select."));
    canvas.title = "";
    const tip = tooltip(root);
    const cell = (event) => {
      const box = canvas.getBoundingClientRect();
      const c = Math.floor((event.clientX - box.left - left) / cw), r = Math.floor((event.clientY - box.top - 4) / ch);
      return r >= 0 && r < R && c >= 0 && c < C ? [r, c] : null;
    };
    canvas.onmousemove = (event) => {
      const here = cell(event), box = root.getBoundingClientRect();
      canvas.style.cursor = here ? "pointer" : "default";
      tip(here ? describe(...here) : "", event.clientX - box.left, event.clientY - box.top);
    };
    canvas.onmouseleave = () => tip("");
    canvas.onclick = (event) => { const here = cell(event); if (here) pick(here); };
    canvas.onkeydown = (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (event.key === "Escape") { event.preventDefault(); pick(null); }
      if (!step) return;
      event.preventDefault();
      const from = state.selected || data.best || [0, 0];
      const first = !state.selected;
      pick(first ? from : [Math.max(0, Math.min(R - 1, from[0] + step[0])), Math.max(0, Math.min(C - 1, from[1] + step[1]))]);
    };
    if (focused) canvas.focus({ preventScroll: true });
    // For tests and scripts: the middle of a cell in page coordinates.
    root.cellAt = (r, c) => { const box = canvas.getBoundingClientRect(); return [box.left + X(c) + cw / 2, box.top + Y(r) + ch / 2]; };
    root.exportSvg = () => svg({ W, H, X, Y, cw, ch, left, p, canvas: pictures || under, slanted });
  }
  function pick(at) {
    state.selected = at;
    draw();
    setStateValue("selected", at);
  }
  function describe(r, c) {
    if (data.hover && data.hover[r][c]) return data.hover[r][c];
    const value = data.values ? data.values[r][c] : null;
    return `${data.rows[r]}${data.between}${data.cols[c]}` + (value === null ? "" : `: ${Number(value.toPrecision(4))} ${data.unit || ""}`);
  }
  // Over a picture a value is a layer of its colour, the denser the larger it is.
  function cover(value) { return value === null ? 0 : 0.85 * Math.min(1, Math.abs(value) / (data.largest || 1)); }
  function tint(p, value) { return `rgb(${(value < 0 ? p.down : p.up).join(",")})`; }
  function photo() {
    const [h, w] = data.behindSize, bytes = Uint8Array.from(atob(data.behind), (c) => c.charCodeAt(0));
    const sheet = element("canvas", { width: w, height: h }), g = sheet.getContext("2d"), image = g.createImageData(w, h);
    for (let i = 0; i < h * w; i++) {
      for (let k = 0; k < 3; k++) image.data[4 * i + k] = bytes[3 * i + k];
      image.data[4 * i + 3] = 255;
    }
    g.putImageData(image, 0, 0);
    return sheet;
  }
  function tiles(p) {
    const sheet = element("canvas", { width: C * tw, height: R * th });
    const g = sheet.getContext("2d"), image = g.createImageData(C * tw, R * th);
    for (let r = 0; r < R; r++) for (let c = 0; c < C; c++) for (let i = 0; i < th; i++) for (let j = 0; j < tw; j++) {
      const share = thumbs[((r * C + c) * th + i) * tw + j] / 255, o = ((r * th + i) * C * tw + c * tw + j) * 4;
      for (let k = 0; k < 3; k++) image.data[o + k] = p.ground[k] + (p.up[k] - p.ground[k]) * share;
      image.data[o + 3] = 255;
    }
    g.putImageData(image, 0, 0);
    return sheet;
  }
  function svg({ W, H, X, Y, cw, ch, left, p, canvas, slanted }) {
    const out = [`<svg xmlns="http://www.w3.org/2000/svg" width="${W}" height="${H}" font-family="sans-serif" font-size="12">`,
      `<rect width="100%" height="100%" fill="rgb(${p.ground.join(",")})"/>`];
    if (canvas) out.push(`<image href="${canvas.toDataURL()}" x="${left}" y="4" width="${cw * C}" height="${ch * R}" preserveAspectRatio="none" style="image-rendering:pixelated"/>`);
    for (let r = 0; r < R; r++) for (let c = 0; c < C; c++) {
      const value = data.values ? data.values[r][c] : null, colour = thumbs ? "none" : data.behind ? tint(p, value) : shade(p, value, data.largest);
      out.push(`<rect x="${X(c)}" y="${Y(r)}" width="${cw}" height="${ch}" fill="${colour}" ${data.behind ? `fill-opacity="${cover(value)}" ` : ""}stroke="${p.line}" stroke-width="0.5"><title>${xml(describe(r, c))}</title></rect>`);
      const text = data.text ? data.text[r][c] : data.numbers && value !== null ? short(value) : "";
      if (text && !thumbs && !data.behind) out.push(`<text x="${X(c) + cw / 2}" y="${Y(r) + ch / 2 + 4}" text-anchor="middle" font-size="11" fill="${colour.startsWith("#") ? p.ink : inkOn(colour)}">${xml(text)}</text>`);
    }
    for (const [r, c] of data.marks || []) out.push(`<rect x="${X(c) + 1}" y="${Y(r) + 1}" width="${cw - 2}" height="${ch - 2}" fill="none" stroke="${p.ink}" stroke-width="2"/>`);
    data.rows.forEach((label, r) => out.push(`<text x="${left - 6}" y="${Y(r) + ch / 2 + 4}" text-anchor="end" fill="${p.ink}">${xml(label)}</text>`));
    data.cols.forEach((label, c) => out.push(`<text ${slanted ? `transform="translate(${X(c) + cw / 2},${Y(R) + 11}) rotate(40)"` : `x="${X(c) + cw / 2}" y="${Y(R) + 15}" text-anchor="middle"`} fill="${p.ink}">${xml(label)}</text>`));
    return out.join("") + "</svg>";
  }
  watch(root, state, draw);
  draw();
}
