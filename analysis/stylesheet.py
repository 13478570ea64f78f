"""How a report looks: one stylesheet, light and dark, on screen and on paper."""

from __future__ import annotations

CSS = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1b2530; --muted: #5b6875; --line: #dfe4ea;
  --accent: #0072b2; --good: #00734f; --warn: #b34a00; --code: #eef2f6; --stripe: #f8fafc;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12171d; --card: #1a2129; --ink: #e6ebf0; --muted: #9aa8b5; --line: #2f3a46;
    --accent: #56b4e9; --good: #4cc9a0; --warn: #f0a35e; --code: #232c36; --stripe: #1e262f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main, header { max-width: 1080px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 44px; padding-bottom: 8px; }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -.015em; margin: 0 0 6px; }
header p { color: var(--muted); margin: 0; max-width: 68ch; }
nav { margin: 18px 0 8px; display: flex; flex-wrap: wrap; gap: 6px 18px; font-size: .88rem; }
nav a { color: var(--accent); text-decoration: none; }
nav a:hover, nav a:focus { text-decoration: underline; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 26px 28px 28px; margin: 18px 0;
}
h2 { font-size: 1.25rem; margin: 0 0 4px; letter-spacing: -.01em; }
section > p { margin: 0 0 16px; color: var(--muted); max-width: 74ch; }
.part { margin-top: 18px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 12px; }
.facts { margin-bottom: 0; }
.facts div { border-left: 3px solid var(--accent); padding: 2px 0 2px 12px; }
.facts dd { margin: 0; font-size: 1.5rem; font-weight: 650; line-height: 1.25; }
.facts dt { font-size: .82rem; color: var(--muted); }
.facts div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); font-size: .85rem; padding-bottom: 8px; }
th { text-align: left; font-weight: 600; border-bottom: 1.5px solid var(--line); padding: 6px 10px; }
th small { display: block; font-weight: 400; color: var(--muted); min-height: 1.3em; }
td { padding: 6px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.number, th.number { text-align: right; }
td.none { color: var(--muted); }
tbody tr:nth-child(even) { background: var(--stripe); }
.more { color: var(--muted); font-size: .85rem; margin: 8px 0 0; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(176px, 1fr)); gap: 18px 16px; }
.gallery figure { margin: 0; min-width: 0; }
.gallery .frame {
  position: relative; border-radius: 8px; overflow: hidden; background: #000; aspect-ratio: 1;
  display: flex; align-items: center; justify-content: center; outline: 1px solid var(--line);
}
.gallery .picture { position: relative; }
.gallery .query .frame { outline: 3px solid var(--accent); outline-offset: 2px; }
.gallery img { display: block; width: 100%; height: 100%; }
.bar {
  position: absolute; left: 6%; bottom: 6%; height: 3px; background: #fff;
  box-shadow: 0 0 0 1px rgba(0, 0, 0, .45);
}
.bar span {
  position: absolute; left: 0; bottom: 5px; font-size: 11px; line-height: 1.3; color: #fff;
  white-space: nowrap; background: rgba(0, 0, 0, .55); padding: 0 5px; border-radius: 3px;
}
.box { position: absolute; border: 2px solid #e69f00; box-shadow: 0 0 0 1px rgba(0, 0, 0, .5); }
figcaption { font-size: .82rem; color: var(--muted); margin-top: 6px; overflow-wrap: anywhere; }
figcaption b { display: block; color: var(--ink); font-weight: 600; }
.plot { margin-left: 0; margin-right: 0; }
.plot img { display: block; width: 100%; height: auto; background: #fff; border-radius: 8px; padding: 10px; }
.plot.medium img { max-width: 680px; }
.verdict {
  border-left: 4px solid var(--warn); background: var(--code); border-radius: 0 8px 8px 0;
  padding: 12px 18px; font-weight: 600;
}
.verdict.good { border-color: var(--good); }
summary { color: var(--accent); cursor: pointer; font-size: .9rem; }
ul.remarks { color: var(--muted); font-size: .88rem; padding-left: 1.2em; margin-bottom: 0; }
pre {
  background: var(--code); border-radius: 8px; padding: 14px 18px; margin-bottom: 0; overflow-x: auto;
  font: .86rem/1.65 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
footer { max-width: 1080px; margin: 0 auto; padding: 6px 24px 48px; color: var(--muted); font-size: .82rem; }
@media (max-width: 640px) { section { padding: 20px 16px; border-radius: 0; margin: 12px -24px; } }
@media print {
  :root {
    --page: #fff; --card: #fff; --ink: #000; --muted: #444; --line: #ccc; --code: #f3f3f3; --stripe: #fff;
    --accent: #0072b2; --good: #00734f; --warn: #b34a00;
  }
  body { font-size: 10.5pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  nav { display: none; }
  section { border: 0; padding: 0; margin: 0 0 18pt; }
  h2 { break-after: avoid; }
  figure, tr, .verdict, .facts { break-inside: avoid; }
  td { white-space: normal; }
  pre { white-space: pre-wrap; }
}
"""
