// Tokens in a row, coloured by a value each; a click selects one.
export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".root");
  const state = kept(root, () => ({ selected: null, turn: -1 }));
  if (data.turn !== state.turn) { state.turn = data.turn; state.selected = data.selected; }

  function draw() {
    const focus = [...root.querySelectorAll("button")].indexOf(root.getRootNode().activeElement);
    root.replaceChildren();
    const p = palette(root);
    const box = element("div", { class: "strip", role: "listbox", "aria-label": data.label });
    data.tokens.forEach((token, i) => {
      const value = data.values ? data.values[i] : null;
      const button = element("button", { type: "button", "aria-pressed": String(state.selected === i) });
      button.textContent = token.replace(/\n/g, "⏎").replace(/^ /, "·") || "∅";
      const colour = value === null ? null : shade(p, value, data.largest);
      button.style.background = colour || "transparent";
      button.style.color = colour ? inkOn(colour) : p.ink;
      button.title = `${i}: ${token}` + (value === null ? "" : `  ${value >= 0 ? "+" : ""}${Number(value.toPrecision(4))} ${data.unit || ""}`);
      button.setAttribute("aria-label", button.title);
      if (data.numbers && value !== null) button.append(element("small", {}, (value >= 0 ? "+" : "−") + short(Math.abs(value))));
      button.onclick = () => { state.selected = state.selected === i && !data.sticky ? null : i; draw(); setStateValue("selected", state.selected); };
      box.append(button);
    });
    root.append(box);
    if (data.values && data.legend !== false) legend(root, p, data.largest, data.unit, true);
    if (focus >= 0) root.querySelectorAll("button")[focus]?.focus({ preventScroll: true });
    root.exportSvg = () => svg(p, box);
  }
  function svg(p, box) {
    const from = box.getBoundingClientRect(), out = [];
    [...box.children].forEach((button, i) => {
      const b = button.getBoundingClientRect(), x = b.left - from.left, y = b.top - from.top;
      out.push(`<rect x="${x}" y="${y}" width="${b.width}" height="${b.height}" rx="4" fill="${xml(button.style.background)}" stroke="${p.line}"/>`
        + `<text x="${x + b.width / 2}" y="${y + 15}" text-anchor="middle" fill="${button.style.color}">${xml(data.tokens[i])}</text>`);
    });
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${from.width}" height="${from.height}" font-family="monospace" font-size="12"><rect width="100%" height="100%" fill="rgb(${p.ground.join(",")})"/>${out.join("")}</svg>`;
  }
  watch(root, state, draw);
  draw();
}
