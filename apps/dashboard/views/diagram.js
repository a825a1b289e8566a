// A model as a block diagram: sections from input above to output below, the stream down the left of each.
const SVG = "http://www.w3.org/2000/svg";
const COLUMN = 128, ROW = 54, W = 120, H = 35, LEFT = 74, TOP = 34;
export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".root");
  const state = kept(root, () => ({ selected: null, turn: -1 }));
  if (data.turn !== state.turn) { state.turn = data.turn; state.selected = data.selected; }

  function draw() {
    const focus = root.getRootNode().activeElement?.getAttribute?.("data-id");
    root.replaceChildren();
    const p = palette(root), css = (c) => `rgb(${c.join(",")})`;
    const width = LEFT + Math.max(...data.sections.map((s) => s.columns)) * COLUMN + 10;
    const at = {};
    let y = 6;
    for (const s of data.sections) {
      s.top = y;
      const head = s.title ? TOP + (s.shared ? 16 : 0) : 4;
      for (const b of s.boxes) at[b.id] = { x: LEFT + b.x * COLUMN + W / 2, y: y + head + b.y * ROW + H / 2, b };
      s.height = head + s.rows * ROW + (s.title ? 0 : -8);
      y += s.height + 12;
    }
    const scale = Math.min(1, Math.max(0.7, root.clientWidth / width));  // smaller than that cannot be read: it scrolls
    const svg = element("svg", { viewBox: `0 0 ${width} ${y}`, width: width * scale, height: y * scale, role: "group", "aria-label": data.label }, null, SVG);
    svg.append(element("rect", { width: "100%", height: "100%", fill: css(p.ground) }, null, SVG));
    const tip = tooltip(root);
    const say = (text, x, y, more = {}) => svg.append(element("text", { x, y, "font-size": 11, ...more, style: `fill:${more.fill || p.ink}` }, text, SVG));
    const arrow = (d, more = {}) => svg.append(element("path", { d, fill: "none", stroke: p.line, "stroke-width": 1.4, ...more }, null, SVG));
    const head = (x, y) => svg.append(element("path", { d: `M${x - 4},${y - 7} L${x},${y} L${x + 4},${y - 7} Z`, fill: p.line }, null, SVG));
    const lit = (a, b) => !state.selected || state.selected === a || state.selected === b;

    for (const s of data.sections) {
      if (!s.title) continue;
      svg.append(element("rect", { x: 2, y: s.top, width: width - 4, height: s.height, rx: 8, fill: "none", stroke: p.line, "stroke-opacity": 0.5, "stroke-dasharray": "4 4" }, null, SVG));
      say(s.title, 12, s.top + 19, { "font-size": 13, "font-weight": 600 });
      if (s.shared) say(s.shared, 12, s.top + 36);
      if (s.loops) {
        const a = s.top + s.height - 18, b = s.top + (s.shared ? 62 : 46);
        arrow(`M${LEFT + 8},${a} C${20},${a} ${20},${a} ${20},${a - 26} L20,${b + 26} C20,${b} 20,${b} ${LEFT - 10},${b}`, { "stroke-dasharray": "2 3" });
        svg.append(element("path", { d: `M${LEFT - 11},${b - 4} L${LEFT - 3},${b} L${LEFT - 11},${b + 4} Z`, fill: p.line }, null, SVG));
        say(`${s.loops} ×`, 26, (a + b) / 2, { "font-weight": 600 });
      }
    }
    const wire = (from, to, bends, loose) => {
      const a = at[from], b = at[to];
      if (!a || !b) return;
      let x = a.x, y = a.y + (a.b.sums ? 11 : H / 2), d = `M${x},${y}`;
      const end = b.y - (b.b.sums ? 11 : H / 2);
      const sideways = b.b.sums && Math.abs(a.x - b.x) > COLUMN / 2;
      const base = b.y - b.b.y * ROW;
      for (const [column, row] of bends) {
        const nx = LEFT + column * COLUMN + W / 2, top = base + row * ROW - H / 2 - 6;
        d += ` C${x},${y + (top - y) / 2} ${nx},${y + (top - y) / 2} ${nx},${top} L${nx},${top + H + 12}`;
        x = nx; y = top + H + 12;
      }
      if (sideways) d += ` C${x},${b.y} ${x},${b.y} ${b.x + 12},${b.y}`;
      else d += ` C${x},${y + (end - y) / 2} ${b.x},${y + (end - y) / 2} ${b.x},${end}`;
      arrow(d, { "stroke-opacity": lit(from, to) ? 1 : 0.18, ...(loose ? { "stroke-dasharray": "3 4" } : {}), ...(state.selected && lit(from, to) ? { "stroke-width": 2.4 } : {}) });
      if (sideways) svg.append(element("path", { d: `M${b.x + 19},${b.y - 4} L${b.x + 12},${b.y} L${b.x + 19},${b.y + 4} Z`, fill: p.line }, null, SVG));
      else head(b.x, end);
    };
    for (const s of data.sections) {
      for (const b of s.boxes) for (const from of b.from) wire(from, b.id, [], false);
      for (const w of s.wires) wire(w.from, w.to, w.through, w.loose);
    }
    for (const s of data.sections) for (const b of s.boxes) box(b, at[b.id]);

    function box(b, { x, y }) {
      const group = element("g", { class: "node", tabindex: 0, role: "button", "data-id": b.id, "aria-label": b.title, "aria-pressed": String(state.selected === b.id) }, null, SVG);
      group.style.cursor = "pointer";
      const chosen = state.selected === b.id, warm = p.dark ? "#ffd166" : "#b35806";
      const fill = { stream: css(p.ground), norm: mixed(p.ground, p.dark ? [154, 167, 182] : [95, 107, 122], 0.22), write: mixed(p.ground, p.up, 0.42),
        pattern: mixed(p.ground, p.down, 0.35), constant: css(p.ground), choice: css(p.ground) }[b.role] || mixed(p.ground, p.up, 0.14);
      const edge = { fill, stroke: chosen ? warm : b.mark ? warm : p.line, "stroke-width": chosen ? 3.5 : b.mark ? 2.6 : 1.2 };
      if (b.role === "constant" || b.role === "choice") edge["stroke-dasharray"] = b.role === "choice" ? "3 3" : "7 3";
      const ink = fill.startsWith("#") ? p.ink : inkOn(fill);
      const put = (text, x, y, size, more = {}) => group.append(element("text", { x, y, "font-size": size, "pointer-events": "none", "text-anchor": "middle", ...more, style: `fill:${more.ink || ink}` }, text, SVG));
      if (b.sums) {
        group.append(element("circle", { cx: x, cy: y, r: 11, ...edge }, null, SVG));
        put("+", x, y + 5, 16);
        put((b.sums === "+" ? "" : `${b.sums} `) + (b.role === "norm" ? `norm ${b.label}` : b.label), x - 16, y - 1, 11, { "text-anchor": "end", ink: p.ink });
      } else {
        group.append(element("rect", { x: x - W / 2, y: y - H / 2, width: W, height: H, rx: b.role === "norm" ? 14 : b.role === "stream" ? 3 : 6, ...edge }, null, SVG));
        put(b.label, x, y - 2, 12, { "font-weight": 600 });
        put(b.axes.length > 29 ? `${b.axes.slice(0, 28)}…` : b.axes, x, y + 12, b.axes.length > 23 ? 8.6 : 10);
      }
      if (b.mark) put("≠", x + (b.sums ? 18 : W / 2 - 8), y - (b.sums ? 6 : H / 2 - 12), 13, { ink: b.sums ? p.ink : ink, "font-weight": 700 });
      if (b.comes.length) put(`← ${b.comes.join(", ")}`, x + (b.sums ? 16 : W / 2) + 4, y + 4, 10, { "text-anchor": "start", ink: p.ink });
      group.onclick = () => pick(chosen ? null : b.id);
      group.onkeydown = (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); pick(b.id); } if (e.key === "Escape") pick(null); };
      group.onmousemove = (e) => { const r = root.getBoundingClientRect(); tip(b.title + (b.comes.length ? `\nfrom ${b.comes.join(", ")}` : ""), e.clientX - r.left, e.clientY - r.top); };
      group.onmouseleave = () => tip("");
      svg.append(group);
    }
    const scroll = element("div", { class: "scroll" });
    scroll.append(svg);
    root.append(scroll);
    const key = element("div", { class: "legend" });
    const roles = new Set(data.sections.flatMap((s) => s.boxes.map((b) => b.role)));
    for (const [role, colour, name] of [["norm", mixed(p.ground, p.dark ? [154, 167, 182] : [95, 107, 122], 0.22), "norm"], ["pattern", mixed(p.ground, p.down, 0.35), "attention pattern"],
      ["write", mixed(p.ground, p.up, 0.42), "added to the stream"]]) {
      if (!roles.has(role)) continue;
      const ramp = element("i"); ramp.style.background = colour; ramp.style.width = "18px";
      key.append(ramp, element("span", {}, name));
    }
    if (roles.has("constant")) key.append(element("span", {}, "long dashes: of the weights alone"));
    if (roles.has("choice")) key.append(element("span", {}, "short dashes: a choice, which no gradient passes"));
    if (data.sections.some((s) => s.boxes.some((b) => b.mark))) key.append(element("span", {}, "≠: the other has it not, or makes it of something else"));
    root.append(key);
    if (focus) root.querySelector(`[data-id="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
    root.exportSvg = () => { svg.setAttribute("xmlns", SVG); return new XMLSerializer().serializeToString(svg); };
  }
  function pick(id) {
    state.selected = id;
    draw();
    setStateValue("selected", id);
  }
  watch(root, state, draw);
  draw();
}
