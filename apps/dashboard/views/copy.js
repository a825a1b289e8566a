// A button that puts the address of this page on the clipboard.
export default function ({ parentElement }) {
  const root = parentElement.querySelector(".root");
  if (root.firstChild) return;
  const bar = element("div", { class: "bar" }), said = element("span", { role: "status" });
  const button = element("button", { type: "button" }, "Copy the link");
  button.onclick = async () => {
    const address = window.location.href;
    try {
      await navigator.clipboard.writeText(address);
    } catch {
      const field = element("textarea");
      field.value = address;
      root.append(field); field.select(); document.execCommand("copy"); field.remove();
    }
    said.textContent = "Copied.";
  };
  bar.append(button, said);
  root.append(bar);
}
