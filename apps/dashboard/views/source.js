// Source text with lines lit up; text stays text.
export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".root");
  const p = palette(root);
  root.replaceChildren();
  const box = element("pre", { class: "source", tabindex: 0, role: "region", "aria-label": data.label });
  const used = mixed(p.ground, p.up, 0.22), here = mixed(p.ground, p.down, 0.5);
  let first = null;
  data.runs.forEach(([kind, text, said], i) => {
    if (kind === 0) { box.append(text); return; }
    const run = element(kind === 3 ? "i" : "mark", said ? { title: `used at ${said}` } : {}, text);
    if (kind !== 3) { run.style.background = kind === 2 ? here : used; run.style.color = inkOn(kind === 2 ? here : used); }
    box.append(run);
    if (i === data.first) first = run;
  });
  root.append(box);
  box.scrollTop = root.placed ?? Math.max(0, (first?.offsetTop || 0) - 60);
  box.onscroll = () => { root.placed = box.scrollTop; };
}
