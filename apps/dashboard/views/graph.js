// A circuit as an SVG: nodes in rows by depth, edges as curves. Nodes and edges are clicked, and reached with Tab.
const SVG = "http://www.w3.org/2000/svg";
export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".root");
  const state = kept(root, () => ({ selected: null, turn: -1, zoom: 1, x: 0, y: 0 }));
  if (data.turn !== state.turn) { state.turn = data.turn; state.selected = data.selected; }
  const byId = Object.fromEntries(data.nodes.map((n) => [n.id, n]));

  function draw() {
    const focus = root.getRootNode().activeElement?.getAttribute?.("data-id");
    root.replaceChildren();
    const p = palette(root), css = (c) => `rgb(${c.join(",")})`;
    const W = Math.max(320, root.clientWidth), rows = Math.max(1, data.rows.length);
    const H = Math.max(260, Math.min(820, 76 * rows + 30)), left = 84;
    const X = (n) => left + n.x * (W - left - 30), Y = (n) => H - 34 - n.y * (H - 62) / Math.max(1, rows - 1);
    const svg = element("svg", { viewBox: `0 0 ${W} ${H}`, width: W, height: H, role: "group", "aria-label": data.label }, null, SVG);
    const roles = { q: p.up, k: p.down, v: p.dark ? [179, 157, 219] : [94, 60, 153], in: rgb(p.line) };
    const colour = (e) => css(roles[e.role] || roles.in);
    svg.append(element("rect", { width: "100%", height: "100%", fill: css(p.ground) }, null, SVG));
    data.rows.forEach((label, i) => svg.append(element("text", { x: 6, y: Y({ y: i }) + 4, "font-size": 12, fill: p.ink }, label, SVG)));
    const tip = tooltip(root);
    const near = (e) => { const b = root.getBoundingClientRect(); return [e.clientX - b.left, e.clientY - b.top]; };
    const reach = (made, id, title) => {
      made.setAttribute("tabindex", 0); made.setAttribute("role", "button"); made.setAttribute("aria-label", title);
      made.setAttribute("data-id", id); made.style.cursor = "pointer";
      made.setAttribute("aria-pressed", String(state.selected === id));
      made.onclick = () => pick(state.selected === id ? null : id);
      made.onkeydown = (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); pick(id); } if (e.key === "Escape") pick(null); };
      made.onmousemove = (e) => tip(title, ...near(e));
      made.onmouseleave = () => tip("");
    };
    const chosen = state.selected ? String(state.selected) : "";
    const touches = (e) => !chosen || chosen === e.id || chosen === `node:${e.source}` || chosen === `node:${e.target}`;
    for (const e of data.edges) {
      const a = byId[e.source], b = byId[e.target];
      if (!a || !b) continue;
      const side = { q: -7, v: 7 }[e.role] || 0, x0 = X(a), y0 = Y(a) - 12, x1 = X(b) + side, y1 = Y(b) + 12;
      const bend = Math.abs(b.y - a.y) > 1 ? (x1 >= x0 ? 1 : -1) * 26 : 0, my = (y0 + y1) / 2;
      const d = `M${x0},${y0} C${x0 + bend},${my} ${x1 + bend},${my} ${x1},${y1}`;
      const line = element("path", { d, fill: "none", stroke: colour(e), "stroke-width": 1 + 5 * e.weight,
        "stroke-opacity": touches(e) ? 0.35 + 0.65 * e.weight : 0.12, "stroke-linecap": "round" }, null, SVG);
      if (e.score < 0) line.setAttribute("stroke-dasharray", "7 5");
      if (e.off) { line.setAttribute("stroke-dasharray", "2 5"); }
      if (chosen === e.id) line.setAttribute("stroke-opacity", 1);
      svg.append(line);
      const wide = element("path", { d, fill: "none", stroke: "transparent", "stroke-width": 12, class: "edge" }, null, SVG);
      reach(wide, e.id, e.title);
      svg.append(wide);
    }
    for (const n of data.nodes) {
      const x = X(n), y = Y(n), group = element("g", { class: "node" }, null, SVG), id = `node:${n.id}`;
      const common = { fill: n.value === null || n.value === undefined ? css(p.ground) : shade(p, n.value, data.largest),
        stroke: chosen === id ? (p.dark ? "#ffd166" : "#b35806") : p.line, "stroke-width": chosen === id ? 4 : 1.5 };
      const w = Math.max(34, 8.2 * n.label.length + 10);
      const shape = n.kind === "mlp" ? element("rect", { x: x - w / 2, y: y - 12, width: w, height: 24, ...common }, null, SVG)
        : n.kind === "head" ? element("rect", { x: x - w / 2, y: y - 12, width: w, height: 24, rx: 12, ...common }, null, SVG)
        : element("polygon", { points: `${x - w / 2 - 8},${y} ${x - w / 2},${y - 12} ${x + w / 2},${y - 12} ${x + w / 2 + 8},${y} ${x + w / 2},${y + 12} ${x - w / 2},${y + 12}`, ...common }, null, SVG);
      if (n.off) shape.setAttribute("stroke-dasharray", "3 3");
      const ink = common.fill.startsWith("#") ? p.ink : inkOn(common.fill);
      group.append(shape, element("text", { x, y: y + 4, "text-anchor": "middle", "font-size": 12, style: `fill:${ink}`, "pointer-events": "none" }, n.label, SVG));
      reach(group, id, n.title);
      svg.append(group);
    }
    const scroll = element("div", { class: "scroll" });
    scroll.append(svg);
    root.append(scroll);
    const key = element("div", { class: "legend" });
    for (const [role, name] of [["q", "query"], ["k", "key"], ["v", "value"], ["in", "input"]]) {
      if (!data.edges.some((e) => (e.role || "in") === role)) continue;
      const ramp = element("i"); ramp.style.background = css(roles[role]); ramp.style.width = "26px"; ramp.style.height = "4px";
      key.append(ramp, element("span", {}, name));
    }
    if (data.edges.some((e) => e.score < 0)) key.append(element("span", {}, "dashed: lowers the metric"));
    root.append(key);
    if (focus) root.querySelector(`[data-id="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
    root.exportSvg = () => new XMLSerializer().serializeToString(svg);
  }
  function pick(id) {
    state.selected = id;
    draw();
    setStateValue("selected", id);
  }
  watch(root, state, draw);
  draw();
}
