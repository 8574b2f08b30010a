// The page of the server.
#pragma once

inline constexpr const char* kPage = R"html(<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Queue patterns</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
  table { border-collapse: collapse; width: 100%; margin-bottom: 2rem; }
  td, th { border-bottom: 1px solid #ccc; padding: .25rem .5rem; text-align: left; }
</style>
<h1>Queue patterns</h1>
<p id="message"></p>
<h2>Fair queueing</h2>
<p>Two at a time of each tenant, four in all.
  <button data-post="workflows/fair_queue?tenant_id=alice">One of alice</button>
  <button data-post="workflows/fair_queue?tenant_id=bob">One of bob</button>
  <button data-post="workflows/fair_queue/random_mix">Fifty of all</button></p>
<table><thead><tr><th>Tenant<th>Waiting<th>Running<th>Done</thead><tbody id="fair"></tbody></table>
<h2>Rate limit</h2>
<p>Two starts in ten seconds. <button data-post="workflows/rate_limited_queue">One more</button></p>
<table><thead><tr><th>Workflow<th>Status</thead><tbody id="limited"></tbody></table>
<h2>Debouncing</h2>
<p>The last input counts, ten seconds after it came.
  <input id="input" value="hello"> <button id="submit">Submit for alice</button></p>
<table><thead><tr><th>Workflow<th>Input<th>Status</thead><tbody id="debounced"></tbody></table>
<script>
const element = id => document.getElementById(id);
const rows = (id, all) => element(id).replaceChildren(...all.map(cells => {
  const row = document.createElement("tr");
  for (const text of cells) row.insertCell().textContent = text;
  return row;
}));
const get = async path => (await fetch("/api/" + path)).json();
async function look() {
  try {
    const fair = await get("fair_queue/pipeline");
    const tenants = {};
    const of = tenant => tenants[tenant] ??= [0, 0, 0];
    for (const entry of fair.enqueued) of(entry.tenant_id)[0] = entry.count;
    for (const entry of fair.pending_concurrency) { of(entry.tenant_id)[0]--; of(entry.tenant_id)[1]++; }
    for (const entry of fair.success) of(entry.tenant_id)[2] = entry.count;
    rows("fair", Object.entries(tenants).sort().map(([tenant, counts]) => [tenant, ...counts]));
    rows("limited", (await get("workflows?workflow_name=rate_limited_queue_workflow")).slice(0, 10)
      .map(workflow => [workflow.workflow_id, workflow.workflow_status]));
    rows("debounced", (await get("workflows?workflow_name=debouncer_workflow")).slice(0, 10)
      .map(workflow => [workflow.workflow_id, workflow.input, workflow.workflow_status]));
    element("message").textContent = "";
  } catch { element("message").textContent = "The server does not answer. Start it again."; }
}
const post = path => fetch("/api/" + path, {method: "POST"}).catch(() => {}).then(look);
for (const button of document.querySelectorAll("[data-post]")) button.onclick = () => post(button.dataset.post);
element("submit").onclick = () => post("workflows/debouncer?tenant_id=alice&input=" + encodeURIComponent(element("input").value));
look();
setInterval(look, 1000);
</script>
</html>
)html";
