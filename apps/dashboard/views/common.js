// What the views share: colours of the theme, a tooltip, text for screen readers, files to save.
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const mixed = (a, b, t) => "rgb(" + a.map((v, i) => Math.round(v + (b[i] - v) * t)).join(",") + ")";
const luminance = (c) => c.match(/\d+(\.\d+)?/g).slice(0, 3).reduce((s, v, i) => s + v * [0.299, 0.587, 0.114][i], 0);

function palette(root) {
  const style = getComputedStyle(root);
  const raw = style.getPropertyValue("--st-background-color").trim() || "#ffffff";
  const ground = raw.startsWith("#") ? rgb(raw) : raw.match(/\d+/g).slice(0, 3).map(Number);
  const dark = ground[0] * 0.299 + ground[1] * 0.587 + ground[2] * 0.114 < 128;
  return { dark, ground, ink: style.color, up: rgb(dark ? "#4393c3" : "#2166ac"), down: rgb(dark ? "#e08214" : "#b35806"),
    grey: dark ? "#2b333e" : "#e9ecf0", line: dark ? "#9aa7b6" : "#5f6b7a" };
}
// Zero is the ground itself; a value is as far on the way to its colour as it is of the largest.
const shade = (p, value, largest) => value === null || value === undefined ? p.grey
  : mixed(p.ground, value >= 0 ? p.up : p.down, Math.min(1, Math.abs(value) / (largest || 1)));
const inkOn = (colour) => luminance(colour) > 140 ? "#10151b" : "#ffffff";
const short = (v) => v === null || v === undefined ? "" : Math.abs(v) >= 100 ? v.toFixed(0)
  : Math.abs(v) >= 10 ? v.toFixed(1) : Math.abs(v) >= 0.995 ? v.toFixed(2) : String(Number(v.toPrecision(2)));
const xml = (s) => String(s).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

function element(name, attributes = {}, text = null, space = null) {
  const made = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}
// What belongs to one mount and outlives its redraws.
function kept(root, fresh) {
  if (!root.kept) root.kept = fresh();
  return root.kept;
}
function tooltip(root) {
  const tip = element("div", { class: "tip" });
  root.append(tip);
  return (text, x, y) => {
    tip.style.display = text ? "block" : "none";
    if (!text) return;
    tip.textContent = text;
    tip.style.left = `${Math.max(0, Math.min(x + 12, root.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y + 14}px`;
  };
}
function legend(root, p, largest, unit, diverging) {
  const bar = element("div", { class: "legend" });
  const ramp = element("i");
  const ends = diverging ? [p.down, p.ground, p.up] : [p.ground, p.up];
  ramp.style.background = `linear-gradient(to right, ${ends.map((c) => `rgb(${c.join(",")})`).join(",")})`;
  bar.append(element("span", {}, diverging ? `−${short(largest)}` : "0"), ramp,
    element("span", {}, `${diverging ? "+" : ""}${short(largest)} ${unit || ""}`));
  root.append(bar);
}
function saveAs(name, type, content) {
  const link = element("a", { download: name, href: URL.createObjectURL(new Blob([content], { type })) });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 2000);
}
// Redraw when the box changes its width or the page its colours.
function watch(root, state, draw) {
  state.draw = draw;
  if (state.watched) return;
  state.watched = true;
  let width = root.clientWidth;
  new ResizeObserver(() => {
    if (Math.abs(root.clientWidth - width) > 1) { width = root.clientWidth; state.draw(); }
  }).observe(root);
}
