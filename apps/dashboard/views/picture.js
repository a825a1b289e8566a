// Saves what is drawn in a container as SVG or PNG: one of our views, or a plotly figure.
export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".root");
  if (root.firstChild && root.name === data.name) return;
  root.name = data.name;
  root.replaceChildren();
  const bar = element("div", { class: "bar" });
  for (const kind of ["PNG", "SVG"]) {
    const button = element("button", { type: "button", "aria-label": `Save ${data.name} as ${kind}` }, kind);
    button.onclick = () => save(kind);
    bar.append(button);
  }
  root.append(bar);

  function source() {
    const box = document.querySelector(`.st-key-${CSS.escape(data.target)}`);
    if (!box) return null;
    for (const host of box.querySelectorAll("*")) {
      const inner = host.shadowRoot?.querySelector(".root");
      if (inner?.exportSvg) return inner.exportSvg();
    }
    const layers = [...box.querySelectorAll(".js-plotly-plot .main-svg")];
    if (!layers.length) return null;
    const { width, height } = layers[0].getBoundingClientRect();
    const whole = element("svg", { width, height, xmlns: "http://www.w3.org/2000/svg" }, null, "http://www.w3.org/2000/svg");
    const ground = getComputedStyle(document.body).backgroundColor;
    whole.append(element("rect", { width: "100%", height: "100%", fill: ground }, null, "http://www.w3.org/2000/svg"));
    layers.forEach((layer) => whole.append(...[...layer.cloneNode(true).childNodes]));
    return new XMLSerializer().serializeToString(whole);
  }
  function save(kind) {
    const svg = source();
    if (!svg) return;
    if (kind === "SVG") return saveAs(`${data.name}.svg`, "image/svg+xml", svg);
    const image = new Image(), url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
    image.onload = () => {
      const canvas = element("canvas", { width: image.width * 2, height: image.height * 2 });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => { saveAs(`${data.name}.png`, "image/png", blob); URL.revokeObjectURL(url); });
    };
    image.src = url;
  }
}
