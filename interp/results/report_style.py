"""The stylesheet of a report: light and dark, wide and narrow, on screen and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f6f7f9; --card: #ffffff; --ink: #1f2733; --quiet: #5f6b7a;
  --line: #dfe3e8; --stripe: #f6f8fa; --link: #2166ac;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181f; --card: #1c222b; --ink: #e6e9ee; --quiet: #9aa6b5;
    --line: #323b47; --stripe: #222933; --link: #6fb1e0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1240px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 20px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 8px; overflow-wrap: anywhere; }
p { max-width: 75ch; margin: 0 0 12px; overflow-wrap: anywhere; }
a { color: var(--link); }
nav ol { margin: 0 0 20px; padding-left: 22px; color: var(--quiet); }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 20px; margin: 0 0 20px;
}
.note { color: var(--quiet); font-size: 0.9rem; margin: 10px 0 0; }
.pair { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 20px; align-items: start; }
/* Figures are drawn for a light page and keep it in the dark, where their colours were checked. */
.figure { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: 4px; }
.table { overflow: auto; max-height: 560px; border: 1px solid var(--line); border-radius: 6px; }
.table > .note { margin: 8px 12px; }
table { border-collapse: collapse; width: 100%; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
th, td {
  padding: 6px 12px; text-align: left; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--line);
}
th {
  position: sticky; top: 0; background: var(--card); font-weight: 600;
  box-shadow: inset 0 -1px 0 var(--line);
}
tbody tr:nth-child(even) { background: var(--stripe); }
tbody tr:last-child td { border-bottom: 0; }
.number { text-align: right; }
.absent { color: var(--quiet); }
@media (max-width: 860px) { .pair { grid-template-columns: minmax(0, 1fr); } }
@media print { .table { max-height: none; } section { break-inside: avoid; } }
"""
