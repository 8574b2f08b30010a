// The page of the shop.
#pragma once

inline constexpr const char* kPage = R"html(<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Widget store</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; }
  button { font: inherit; margin-right: .5rem; }
  table { border-collapse: collapse; width: 100%; }
  td, th { border-bottom: 1px solid #ccc; padding: .25rem .5rem; text-align: left; }
</style>
<h1>Widget store</h1>
<p id="product"></p>
<p><button id="buy">Buy one</button><button id="restock">Restock</button><button id="crash">Crash the server</button></p>
<p id="pay" hidden>An order waits for its payment, for two minutes.
  <button data-status="paid">Pay</button><button data-status="failed">Do not pay</button></p>
<p id="message"></p>
<table><thead><tr><th>Order<th>State<th>Last change<th>Still to do</thead><tbody id="orders"></tbody></table>
<p>Crash the server at any moment and start it again: every order ends as if nothing had happened.</p>
<script>
const names = {"-1": "cancelled", 0: "pending", 1: "dispatched", 2: "paid"};
const element = id => document.getElementById(id);
const say = text => element("message").textContent = text;
let payment = new URLSearchParams(location.search).get("payment");

async function post(path) {
  try {
    const answer = await fetch(path, {method: "POST"});
    if (answer.ok) return await answer.text();
    say((await answer.json()).error);
  } catch { say("The server does not answer. Start it again."); }
}
async function look() {
  element("pay").hidden = !payment;
  try {
    const product = await (await fetch("/product")).json();
    element("product").textContent =
      `${product.product}: ${product.description} ${product.price}, ${product.inventory} in stock.`;
    const rows = (await (await fetch("/orders")).json()).reverse().map(order => {
      const row = document.createElement("tr");
      for (const text of [order.order_id, names[order.order_status], order.last_update_time, order.progress_remaining])
        row.insertCell().textContent = text;
      return row;
    });
    element("orders").replaceChildren(...rows);
  } catch { say("The server does not answer. Start it again."); }
}
function go(id) {  // the payment stays in the address, so that a reload does not lose it
  payment = id;
  history.replaceState(null, "", id ? "?payment=" + encodeURIComponent(id) : "/");
}
element("buy").onclick = async () => {
  const id = await post("/checkout/" + crypto.randomUUID());
  if (id) { say(""); go(id); }
  look();
};
for (const button of document.querySelectorAll("#pay button")) button.onclick = async () => {
  const order = await post(`/payment_webhook/${encodeURIComponent(payment)}/${button.dataset.status}`);
  if (order) { say(`Order ${order} is on its way, or cancelled: see below.`); go(null); }
  look();
};
element("restock").onclick = () => post("/restock").then(look);
element("crash").onclick = () => post("/crash_application");
look();
setInterval(look, 1000);
</script>
</html>
)html";
