/** How the page looks: light and dark by the reader's preference, one typeface, colour only for outcomes. */
export const style = `
:root {
  color-scheme: light dark;
  --page: light-dark(#fbfbfa, #16181b);
  --panel: light-dark(#ffffff, #1d2024);
  --line: light-dark(#dddfe2, #33373d);
  --text: light-dark(#1b1e22, #e4e6e9);
  --quiet: light-dark(#5f6670, #9aa1ab);
  --passed: light-dark(#1a7f4b, #4cc38a);
  --passed-fill: light-dark(#dff3e7, #163526);
  --failed: light-dark(#c0241c, #ff7b72);
  --failed-fill: light-dark(#fde0dd, #4c1a18);
  --known: light-dark(#8a5a00, #e0ab4a);
  --known-fill: light-dark(#faecc8, #3b2d10);
  --none: light-dark(#8b929b, #737a84);
  --mark: light-dark(#2158d0, #7aa7ff);
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 14px/1.45 system-ui, sans-serif; height: 100vh; display: flex; flex-direction: column; }
header { padding: 14px 20px 10px; border-bottom: 1px solid var(--line); }
h1 { font-size: 17px; margin: 0 0 2px; }
header p { margin: 0; color: var(--quiet); }
.tools { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; margin-top: 10px; }
.tools input[type=search] { font: inherit; color: inherit; background: var(--panel); width: 260px;
  max-width: 100%; border: 1px solid var(--line); border-radius: 6px; padding: 4px 9px; }
.count { white-space: nowrap; }
.count b { display: inline-block; width: 18px; text-align: center; border-radius: 4px; }
main { flex: 1; min-height: 0; display: flex; }
.matrix { flex: 1; min-width: 0; overflow: auto; }
table { border-collapse: separate; border-spacing: 0; }
thead th { position: sticky; top: 0; z-index: 2; background: var(--page); vertical-align: bottom;
  border-bottom: 1px solid var(--line); padding: 8px 2px; font-weight: 500; }
thead th.subject span { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap;
  max-height: 220px; overflow: hidden; text-overflow: ellipsis; }
thead th.subject.bad span { color: var(--failed); font-weight: 600; }
tbody th { position: sticky; left: 0; z-index: 1; background: var(--page); text-align: left;
  font-weight: 400; padding: 2px 12px 2px 20px; min-width: 400px; max-width: 640px; }
thead th.corner { left: 0; z-index: 3; text-align: left; padding-left: 20px; color: var(--quiet); }
tbody th code { color: var(--quiet); display: inline-block; min-width: 46px; }
tr.area th { padding-top: 14px; font-weight: 600; }
tr.check:hover th, tr.check:hover td { background: var(--panel); }
td { padding: 1px; text-align: center; }
td button { all: unset; box-sizing: border-box; width: 26px; height: 22px; line-height: 22px;
  border-radius: 4px; cursor: pointer; display: block; margin: auto; text-align: center; }
td button:focus-visible, td button[aria-pressed=true] { outline: 2px solid var(--mark); }
.passed { color: var(--passed); background: var(--passed-fill); }
.failed { color: var(--failed); background: var(--failed-fill); font-weight: 700; }
.known { color: var(--known); background: var(--known-fill); }
.none { color: var(--none); }
aside { width: 460px; max-width: 100%; overflow: auto; border-left: 1px solid var(--line);
  background: var(--panel); padding: 16px 20px; }
aside[hidden] { display: none; }
aside h2 { font-size: 15px; margin: 0; }
aside .where { color: var(--quiet); margin: 2px 0 12px; }
aside .verdict { display: inline-block; border-radius: 4px; padding: 0 8px; }
aside dt { color: var(--quiet); margin-top: 12px; }
aside dd { margin: 0; }
aside pre { margin: 0; font: 12px/1.5 ui-monospace, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
aside .trace { max-height: 320px; overflow: auto; border: 1px solid var(--line); border-radius: 6px;
  padding: 6px 10px; }
aside .close { all: unset; float: right; cursor: pointer; padding: 0 6px; color: var(--quiet); }
aside .close:focus-visible { outline: 2px solid var(--mark); }
[hidden] { display: none !important; }
@media (max-width: 800px) {
  main { flex-direction: column; }
  aside { width: 100%; max-height: 55vh; border-left: 0; border-top: 1px solid var(--line); }
  tbody th { min-width: 190px; max-width: 200px; padding-left: 12px; }
}
`
