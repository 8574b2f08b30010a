// The page of the starter.
#pragma once

inline constexpr const char* kPage = R"html(<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>DBOS for C++</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; }
  button, input { font: inherit; margin-right: .5rem; }
  section { border-top: 1px solid #ccc; padding: .5rem 0; }
</style>
<h1>Workflows that survive a crash</h1>
<p><button id="crash">Crash the server</button> Start it again: everything goes on.</p>
<section><h2>Steps</h2>
  <p><button id="steps-start">Start three steps of five seconds</button> <span id="steps"></span></p></section>
<section><h2>Schedule</h2>
  <p><input id="cron"><button id="apply">Apply</button><button id="pause">Pause</button>
  <button id="resume">Resume</button><button id="trigger">Run now</button></p><p id="schedule"></p></section>
<section><h2>Queue</h2>
  <p><button id="enqueue">Enqueue</button><input id="limit" type="number" min="1" max="100">
  <button id="set-limit">Run so many at once</button></p><p id="queue"></p></section>
<section><h2>Approval</h2>
  <p><button id="ask">Start</button><button id="approve">Approve</button><button id="deny">Deny</button>
  <span id="approval"></span></p></section>
<script>
const element = id => document.getElementById(id);
const get = async path => await (await fetch(path)).text();
const post = async (path, body) =>
  (await fetch(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body ?? {})})).json();
const counts = status => Object.entries(status.workflow_counts).map(([name, count]) => `${count} ${name}`).join(", ");
let steps = sessionStorage.steps, approval = sessionStorage.approval;

async function look() {
  try {
    if (steps) element("steps").textContent = `${await get("/last_step/" + steps)} of 3 done`;
    if (approval) element("approval").textContent = JSON.parse(await get("/comm/status/" + approval)).state;
    const schedule = JSON.parse(await get("/schedule/status")), queue = JSON.parse(await get("/queue/status"));
    element("cron").placeholder = schedule.cron;
    element("schedule").textContent = `${schedule.cron}: ${schedule.schedule_status}; ${counts(schedule)}`;
    element("queue").textContent = `at most ${queue.worker_concurrency} at once; ${counts(queue)}`;
  } catch { element("steps").textContent = "The server does not answer. Start it again."; }
}
const on = (id, action) => element(id).onclick = () => action().catch(() => {}).then(look);
on("crash", () => post("/crash"));
on("steps-start", () => { steps = sessionStorage.steps = crypto.randomUUID(); return get("/workflow/" + steps); });
on("apply", () => post("/schedule/apply", {cron: element("cron").value}));
for (const id of ["pause", "resume", "trigger"]) on(id, () => post("/schedule/" + id));
on("enqueue", () => post("/queue/enqueue"));
on("set-limit", () => post("/queue/concurrency", {concurrency: Number(element("limit").value)}));
on("ask", async () => { approval = sessionStorage.approval = (await post("/comm/start")).workflow_id; });
for (const id of ["approve", "deny"]) on(id, () => post(`/comm/${id}/${approval}`));
look();
setInterval(look, 1000);
</script>
</html>
)html";
