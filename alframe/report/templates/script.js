"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);

  // theme: follow the system, or light, or dark; remembered where the browser allows it
  const themes = ["auto", "light", "dark"];
  const button = one("#theme");
  const remember = (value) => { try { if (value) localStorage.setItem("alframe-theme", value); return localStorage.getItem("alframe-theme"); } catch { return value; } };
  const paint = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = theme;
    button.textContent = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" }[theme];
    button.dataset.now = theme;
  };
  paint(themes.includes(remember()) ? remember() : "auto");
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(button.dataset.now) + 1) % themes.length];
    remember(next);
    paint(next);
  });

  // hover: the nearest point of the chart under the pointer tells its values
  const tip = one("#tip");
  let lit = null;
  const unlight = () => { tip.hidden = true; if (lit) lit.classList.remove("on"); lit = null; };
  for (const chart of all("svg.chart")) {
    const points = all(".pt", chart);
    if (!points.length) continue;
    chart.addEventListener("pointerleave", unlight);
    chart.addEventListener("pointermove", (event) => {
      const matrix = chart.getScreenCTM();
      if (!matrix) return;
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
      const far = (point) => Math.hypot(point.dataset.x - at.x, point.dataset.y - at.y);
      const direct = event.target.closest(".part.pt");
      const nearest = direct || points.reduce((best, point) => (far(point) < far(best) ? point : best));
      if (!direct && far(nearest) > 36) { unlight(); return; }
      if (lit !== nearest) { unlight(); lit = nearest; lit.classList.add("on"); }
      tip.textContent = nearest.dataset.tip;
      tip.hidden = false;
      const box = tip.getBoundingClientRect();
      tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
      tip.style.top = `${event.clientY - box.height - 12 < 4 ? event.clientY + 16 : event.clientY - box.height - 12}px`;
    });
  }

  // rounds: one at a time with a slider; without this script, and in print, all of them
  const players = [];
  for (const group of all(".rounds")) {
    const frames = all(":scope > .frame", group), player = one(".player", group);
    if (frames.length < 2) continue;
    const range = one("input", player), every = one(".all", player);
    Object.assign(range, { min: 0, max: frames.length - 1, value: frames.length - 1, step: 1 });
    const show = () => {
      const open = every.getAttribute("aria-pressed") === "true";
      one("output", player).textContent = open ? "all" : frames[range.value].dataset.round;
      range.setAttribute("aria-valuetext", `round ${frames[range.value].dataset.round}`);
      frames.forEach((frame, index) => { frame.hidden = !open && index !== Number(range.value); });
    };
    const close = () => every.setAttribute("aria-pressed", "false");
    range.addEventListener("input", () => { close(); show(); });
    for (const step of all(".step", player)) step.addEventListener("click", () => { close(); range.value = Number(range.value) + Number(step.dataset.step); show(); });
    every.addEventListener("click", () => { every.setAttribute("aria-pressed", String(every.getAttribute("aria-pressed") !== "true")); show(); });
    player.hidden = false;
    players.push({ frames, show });
    show();
  }
  addEventListener("beforeprint", () => players.forEach(({ frames }) => frames.forEach((frame) => { frame.hidden = false; })));
  addEventListener("afterprint", () => players.forEach(({ show }) => show()));

  // copying: whole numbers and all digits; text that a spreadsheet would take for a formula is disarmed
  const copy = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* no permission: the old way below */ }
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  const field = (cell) => {
    let text = cell.dataset.value ?? cell.textContent.trim();
    if (cell.dataset.value === undefined && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const csv = (table) => all("tr", table).map((row) => all("th,td", row).map(field).join(",")).join("\n") + "\n";
  const flash = async (target, text) => {
    const label = target.textContent;
    target.textContent = (await copy(text)) ? "Copied" : "Could not copy";
    setTimeout(() => { target.textContent = label; }, 1400);
  };
  for (const target of all(".copy")) {
    target.hidden = false;
    target.addEventListener("click", () => flash(target, csv(one("table", target.previousElementSibling))));
  }
  for (const target of all(".copy-text")) {
    target.hidden = false;
    target.addEventListener("click", () => flash(target, one("pre", target.parentElement).textContent));
  }
  const save = one("#save");
  save.hidden = false;
  save.addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([one("#alframe-data").textContent], { type: "application/json" }));
    Object.assign(document.createElement("a"), { href: address, download: "alframe-report.json" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });
})();
