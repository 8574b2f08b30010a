// The page of the server.
#pragma once

inline constexpr const char* kPage = R"html(<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Queue worker</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; }
  table { border-collapse: collapse; width: 100%; }
  td, th { border-bottom: 1px solid #ccc; padding: .25rem .5rem; text-align: left; }
</style>
<h1>Queue worker</h1>
<p><button id="enqueue">Enqueue ten steps</button> Kill workers as you like, and start some.</p>
<p id="message"></p>
<table><thead><tr><th>Workflow<th>Status<th>Steps done</thead><tbody id="rows"></tbody></table>
<script>
const element = id => document.getElementById(id);
async function look() {
  try {
    const answer = await (await fetch("/api/workflows")).json();
    element("message").textContent = answer.error ?? "";
    element("rows").replaceChildren(...(answer.error ? [] : answer).map(workflow => {
      const row = document.createElement("tr");
      const done = workflow.num_steps === null ? "" : `${workflow.steps_completed} of ${workflow.num_steps}`;
      for (const text of [workflow.workflow_id, workflow.workflow_status, done]) row.insertCell().textContent = text;
      return row;
    }));
  } catch { element("message").textContent = "The server does not answer. Start it again."; }
}
element("enqueue").onclick = () => fetch("/api/workflows", {method: "POST"}).catch(() => {}).then(look);
look();
setInterval(look, 1000);
</script>
</html>
)html";
