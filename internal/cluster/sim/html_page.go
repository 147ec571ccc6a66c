package sim

// pageTemplate is the report page. It has no outside parts.
const pageTemplate = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
:root {
  color-scheme: light dark;
  --bg: #fafafa; --card: #fff; --line: #e2e4e9; --ink: #1b1f27; --soft: #626b7a; --grid: #eceef2;
  --avg: #2f5fd0; --avg-area: rgba(47,95,208,.12); --limit: #c2410c; --total: #111827;
  --running: #3b9c6e; --waiting: #7c9fd6; --launching: #e3b341; --canceled: #b6bcc8; --terminating: #d9775f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #11141a; --card: #181c24; --line: #2a303b; --ink: #e6e9ef; --soft: #98a2b3; --grid: #232934;
    --avg: #7aa2ff; --avg-area: rgba(122,162,255,.16); --limit: #fb923c; --total: #f3f4f6;
    --running: #3f8f69; --waiting: #5578b4; --launching: #c0932b; --canceled: #5b6270; --terminating: #b3583f;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 17px; margin: 0 0 10px; }
h3 { font-size: 13px; font-weight: 600; margin: 14px 0 2px; color: var(--soft); }
p.sub { margin: 0 0 22px; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px; margin-bottom: 18px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; border-bottom: 1px solid var(--grid); text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr:last-child td { border-bottom: 0; }
th { font-weight: 600; }
td small { color: var(--soft); margin-left: 6px; }
svg { display: block; width: 100%; height: auto; touch-action: pan-y; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.grid { stroke: var(--grid); stroke-width: 1; }
.axis { stroke: var(--line); }
.avg { stroke: var(--avg); stroke-width: 2; fill: none; }
.avg-area { fill: var(--avg-area); }
.total { stroke: var(--total); stroke-width: 1.6; fill: none; }
.limit { stroke: var(--limit); stroke-width: 1.2; stroke-dasharray: 5 4; }
.nodelimit { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; }
svg text.limit, svg text.nodelimit { stroke: none; fill: var(--limit); }
svg text.nodelimit { fill: var(--soft); }
.running { fill: var(--running); } .waiting { fill: var(--waiting); } .launching { fill: var(--launching); }
.canceled { fill: var(--canceled); } .terminating { fill: var(--terminating); }
.cursor { stroke: var(--ink); stroke-width: 1; opacity: .45; visibility: hidden; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; color: var(--soft); font-size: 12.5px; margin: 6px 0 0; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.legend i.line { height: 0; border-radius: 0; border-top: 2px solid; vertical-align: 3px; width: 16px; }
output { display: block; min-height: 1.5em; font-size: 13px; font-variant-numeric: tabular-nums; color: var(--ink); margin-top: 6px; }
details { margin-top: 12px; } summary { cursor: pointer; color: var(--soft); }
ol { list-style: none; margin: 8px 0 0; padding: 0; max-height: 340px; overflow: auto; font-size: 13px; }
ol li { display: flex; gap: 12px; padding: 3px 0; border-bottom: 1px solid var(--grid); }
ol time { color: var(--soft); flex: none; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
@media (max-width: 640px) { td small { display: none; } main { padding: 18px 10px 40px; } section { padding: 14px 12px; } }
</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<p class="sub">{{.Subtitle}}</p>
<section>
<h2>{{if .Compare}}Policies on the same work{{else}}Figures{{end}}</h2>
<div class="wide"><table>
{{if .Compare}}<tr><th></th>{{range .Reports}}<th>{{.Name}}</th>{{end}}</tr>{{end}}
{{range .Figures}}<tr><td>{{.Name}}{{if .Note}}<small>{{.Note}}</small>{{end}}</td>{{range .Values}}<td>{{.}}</td>{{end}}</tr>
{{end}}</table></div>
</section>
{{$limits := .Limits}}
{{range .Reports}}
<section class="report" id="{{.ID}}">
<h2>{{if $.Compare}}Policy {{.Name}}{{else}}Load and nodes{{end}}</h2>
<h3>Load of the active nodes</h3>
{{template "panel" .Load}}
<h3>Nodes by status</h3>
{{template "panel" .Nodes}}
<div class="legend">
<span><i class="line" style="color:var(--avg)"></i>average load</span>
<span><i class="line" style="color:var(--total)"></i>total load, 100 % is one node</span>
<span><i style="background:var(--running)"></i>running</span>
<span><i style="background:var(--waiting)"></i>waiting-idle-to-terminate</span>
<span><i style="background:var(--launching)"></i>launching</span>
<span><i style="background:var(--canceled)"></i>canceled</span>
<span><i style="background:var(--terminating)"></i>terminating</span>
</div>
<output aria-live="off">Point at a chart for the values of a moment.</output>
{{if .Events}}<details><summary>What the autoscaler said</summary><ol>
{{range .Events}}<li><time>{{.At}}</time><span>{{.Text}}</span></li>
{{end}}</ol></details>{{end}}
<script type="application/json">{{.Data}}</script>
</section>
{{end}}
</main>
<script>
for (const s of document.querySelectorAll("section.report")) {
  const data = JSON.parse(s.querySelector("script").textContent);
  const out = s.querySelector("output"), cursors = s.querySelectorAll(".cursor");
  const show = (svg, ev) => {
    const box = svg.getBoundingClientRect();
    const x = (ev.clientX - box.left) / box.width * 960;
    let best = null;
    for (const d of data) { if (d[0] > x && best) break; best = d; }
    if (!best) return;
    for (const c of cursors) { c.setAttribute("x1", best[0]); c.setAttribute("x2", best[0]); c.style.visibility = "visible"; }
    out.textContent = best[1] + "  average " + best[2] + " %, total " + best[3] + " %, nodes: " + best[4] + " running, " +
      best[5] + " launching, " + best[6] + " waiting, " + best[7] + " canceled, " + best[8] + " terminating; " + best[9] + " people";
  };
  for (const svg of s.querySelectorAll("svg")) {
    svg.addEventListener("pointermove", ev => show(svg, ev));
    svg.addEventListener("pointerdown", ev => show(svg, ev));
  }
}
</script>
</body>
</html>
{{define "panel"}}<svg viewBox="0 0 960 234" role="img">
{{range .Ticks}}<line class="grid" x1="46" x2="950" y1="{{.At}}" y2="{{.At}}"/><text x="40" y="{{.At}}" dy="4" text-anchor="end">{{.Text}}</text>
{{end}}{{range .Hours}}<text x="{{.At}}" y="229" text-anchor="{{if .Last}}end{{else}}middle{{end}}">{{.Text}}</text>
{{end}}{{range .Areas}}<path class="{{.Class}}" d="{{.Path}}"/>
{{end}}{{range .Levels}}<line class="{{.Class}}" x1="46" x2="950" y1="{{.Y}}" y2="{{.Y}}"/><text class="{{.Class}}" x="948" y="{{.Y}}" dy="-4" text-anchor="end">{{.Name}}</text>
{{end}}{{range .Lines}}<path class="{{.Class}}" d="{{.Path}}"><title>{{.Name}}</title></path>
{{end}}<line class="axis" x1="46" x2="950" y1="212" y2="212" stroke="currentColor"/>
<line class="cursor" y1="12" y2="212" x1="0" x2="0"/>
</svg>{{end}}`
