// What makes the pages livelier; each works without it.
"use strict";

// The viewer's time zone, for the next page.
document.cookie = "zone=" + Intl.DateTimeFormat().resolvedOptions().timeZone + "; path=/; max-age=31536000; samesite=lax" +
  (location.protocol === "https:" ? "; secure" : "");

const rows = () => [...document.querySelectorAll(".cases .what a")];

// Keys: / searches, j and k go down and up, Enter opens (it is a link), Esc goes back.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "Escape") {
    if (typing) return event.target.blur();
    const back = document.querySelector("[data-back]");
    if (!back) return;
    // with its filter and its place, where one came from there
    if (document.referrer && new URL(document.referrer).pathname === back.pathname) history.back();
    else back.click();
  }
  if (typing) return;
  if (event.key === "/") {
    const field = document.getElementById("q");
    if (field) { field.focus(); field.select(); event.preventDefault(); }
  }
  if (event.key === "j" || event.key === "k") {
    const links = rows();
    const next = links.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1);
    const link = links[Math.max(0, Math.min(next, links.length - 1))];
    if (link) link.focus();
  }
});

// The sentence for the customer.
for (const button of document.querySelectorAll(".copy")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
    button.textContent = button.dataset.done;
  });
}

// Charts of what the tables beside them say. The tables of what is drawn are folded.
for (const charts of document.querySelectorAll(".charts")) charts.hidden = false;
for (const figures of document.querySelectorAll(".figures")) figures.open = false;
for (const canvas of document.querySelectorAll("canvas[data-chart]")) {
  const table = document.getElementById(canvas.dataset.table);
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const lines = [...table.tBodies[0].rows];
  const style = getComputedStyle(document.documentElement);
  const colours = ["--accent", "--grey-bar", "--soft"].map((name) => style.getPropertyValue(name).trim());
  const number = (text) => Number.isNaN(parseFloat(text)) ? null : parseFloat(text);
  Chart.defaults.color = style.getPropertyValue("--ink").trim();
  Chart.defaults.animation = false;
  new Chart(canvas, {
    type: canvas.dataset.chart,
    data: {
      labels: lines.map((row) => row.cells[0].textContent),
      datasets: canvas.dataset.columns.split(" ").map((column, n) => ({
        label: heads[column], backgroundColor: colours[n], borderColor: colours[n], borderDash: canvas.dataset.chart === "line" && n ? [5, 4] : [],
        data: lines.map((row) => number(row.cells[column].textContent)),
      })),
    },
    options: {
      maintainAspectRatio: false,
      plugins: {
        title: { display: Boolean(canvas.dataset.title), text: canvas.dataset.title },
        legend: { labels: canvas.dataset.chart === "line" ? { usePointStyle: true, pointStyle: "line" } : {} },
      },
      scales: { y: { beginAtZero: true, max: canvas.dataset.most ? Number(canvas.dataset.most) : undefined, ticks: { precision: 0 } } },
    },
  });
}

// The inbox refreshes itself, and says when. That does not keep anybody signed in.
async function refresh() {
  const live = document.getElementById("live");
  if (document.hidden || live.contains(document.activeElement) && document.activeElement.matches("select")) return;
  const answer = await fetch(live.dataset.refresh);
  if (answer.redirected || !answer.ok) return location.reload();
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("live");
  const focused = document.activeElement.getAttribute("href");
  live.replaceWith(fresh);
  document.title = page.title;
  const again = focused && [...fresh.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused);
  if (again) again.focus();
}
if (document.getElementById("live")) setInterval(() => refresh().catch(() => {}), 20000);
