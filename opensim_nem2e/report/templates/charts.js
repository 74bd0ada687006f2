// Curves of the report, drawn large: hover for values, drag to zoom, double-click to see all again.
"use strict";
const report = (() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue("--" + name).trim();

  function bytes(text) {
    return Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer;
  }

  // The counterpart of curves.pack: numbers, null where there is none.
  function unpack(packed) {
    const raw = bytes(packed.data);
    if (packed.step === undefined) return Array.from(new Float32Array(raw));
    return Array.from(new Uint16Array(raw), (count) => (count === 65535 ? null : packed.low + count * packed.step));
  }

  function rows(packed) {
    const flat = unpack(packed), width = packed.shape[1];
    return Array.from({ length: packed.shape[0] }, (_, row) => flat.slice(row * width, (row + 1) * width));
  }

  // The moment that all parts of the page show.
  const clock = { time: null, listeners: [], set(time) { this.time = time; this.listeners.forEach((tell) => tell(time)); } };

  function line(u, xs, ys) {
    const path = new Path2D();
    let down = false;
    for (let k = 0; k < xs.length; k++) {
      if (ys[k] === null) { down = false; continue; }
      const x = u.valToPos(xs[k], "x", true), y = u.valToPos(ys[k], "y", true);
      down ? path.lineTo(x, y) : path.moveTo(x, y);
      down = true;
    }
    return path;
  }

  function fillBand(u, xs, low, high) {
    const there = xs.map((_, k) => k).filter((k) => low[k] !== null && high[k] !== null);
    for (let first = 0, k = 1; k <= there.length; k++) {
      if (k < there.length && there[k] === there[k - 1] + 1) continue;
      const run = there.slice(first, k), path = new Path2D();
      run.forEach((i, n) => path[n ? "lineTo" : "moveTo"](u.valToPos(xs[i], "x", true), u.valToPos(high[i], "y", true)));
      run.reverse().forEach((i) => path.lineTo(u.valToPos(xs[i], "x", true), u.valToPos(low[i], "y", true)));
      u.ctx.fill(path);
      first = k;
    }
  }

  // What lies behind the curves: what was refined, heel strikes, bands, single cycles.
  function background(u, part) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = colour("changed");
    for (const [start, end] of part.changed) {
      const left = u.valToPos(start, "x", true);
      ctx.fillRect(left, bbox.top, u.valToPos(end, "x", true) - left, bbox.height);
    }
    ctx.strokeStyle = colour("soft");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const strike of part.strikes) {
      const x = u.valToPos(strike, "x", true);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.setLineDash([]);
    ctx.globalAlpha = 0.22;
    for (const [kind, [low, high]] of Object.entries(part.bands)) {
      if (part.hidden.has(kind)) continue;
      ctx.fillStyle = colour(kind);
      fillBand(u, part.x, low, high);
    }
    ctx.globalAlpha = 0.35;
    for (const [kind, cycles] of Object.entries(part.singles)) {
      if (part.hidden.has(kind)) continue;
      ctx.strokeStyle = colour(kind);
      cycles.forEach((cycle) => ctx.stroke(line(u, part.x, cycle)));
    }
    ctx.restore();
  }

  function now(u, part) {
    if (!part.overTime || clock.time === null) return;
    const x = u.valToPos(clock.time, "x", true), { ctx, bbox } = u;
    if (x < bbox.left || x > bbox.left + bbox.width) return;
    ctx.save();
    ctx.strokeStyle = colour("text");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.restore();
  }

  const HEIGHT = 280;
  const WIDTHS = { emg: 3, needed: 3 };

  function chart(holder, set, part) {
    const values = document.createElement("p");
    values.className = "values";
    holder.replaceChildren(values);
    const digits = set.unit.includes("Nm") ? 1 : 3;

    // The values under the pointer, or at the moment that the page shows.
    function tell(u) {
      const shown = part.overTime && clock.time !== null ? u.valToIdx(clock.time) : null;
      const at = u.cursor.idx ?? shown;
      values.replaceChildren();
      if (at === null) return;
      values.append(part.overTime ? u.data[0][at].toFixed(3) + " s" : u.data[0][at] + " %");
      part.curves.forEach(([kind, label, ys]) => {
        const value = ys[at];
        if (part.hidden.has(kind) || value === null || value === undefined) return;
        const item = document.createElement("span");
        item.className = kind;
        item.title = label;
        item.textContent = value.toFixed(digits);
        values.append(item);
      });
    }

    const axis = { stroke: colour("text"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") } };
    const scale = set.limits ? { range: () => set.limits } : {};
    const plot = new uPlot(
      {
        width: holder.clientWidth,
        height: HEIGHT,
        scales: { x: { time: false, range: (u, low, high) => [low, high] }, y: scale },
        legend: { show: false },
        series: [
          {},
          ...part.curves.map(([kind]) => ({
            stroke: colour(kind),
            show: !part.hidden.has(kind),
            width: WIDTHS[kind] || 1.75,
            points: { show: false },
          })),
        ],
        axes: [
          { ...axis, label: part.xLabel, labelSize: 22 },
          { ...axis, label: set.unit, labelSize: 22, size: 48 },
        ],
        cursor: { points: { size: 7 } },
        hooks: { drawClear: [(u) => background(u, part)], draw: [(u) => { now(u, part); tell(u); }], setCursor: [tell] },
      },
      [part.x, ...part.curves.map(([, , values]) => values)],
      holder
    );
    if (part.overTime) {
      plot.over.addEventListener("click", () => {
        if (plot.cursor.left >= 0) clock.set(plot.posToVal(plot.cursor.left, "x"));
      });
    }
    return plot;
  }

  const explorers = [];

  function explore(root) {
    const set = data.sets[root.dataset.set];
    const time = unpack(set.time), percent = Array.from({ length: 101 }, (_, k) => k);
    const pick = root.querySelector("[data-pick]");
    const buttons = [...document.querySelectorAll(`.gallery[data-set="${root.dataset.set}"] [data-number]`)];
    const holders = { time: root.querySelector("[data-over=time]"), cycle: root.querySelector("[data-over=cycle]") };
    const keys = [...root.querySelectorAll("[data-curve]")];
    const hidden = new Set(set.aside);
    let plots = [];

    function each(found, unpacked) {
      return Object.fromEntries(Object.entries(found).map(([kind, packed]) => [kind, unpacked(packed)]));
    }

    const edges = (packed) => packed.map(unpack);

    function draw() {
      const panel = set.panels[pick.value];
      const known = (found) => set.kinds.filter(([kind]) => found[kind]).map(([kind, label]) => [kind, label, unpack(found[kind])]);
      plots.forEach((plot) => plot.destroy());
      plots = [
        chart(holders.time, set, {
          overTime: true, x: time, xLabel: set.timeLabel, curves: known(panel.series), changed: panel.changed,
          strikes: panel.strikes, bands: each(panel.bands, edges), singles: {}, hidden,
        }),
      ];
      const counts = Object.values(panel.counts);
      holders.cycle.hidden = counts.length === 0;
      if (counts.length) {
        const several = Math.max(...counts) > 1;
        plots.push(
          chart(holders.cycle, set, {
            overTime: false, x: percent, xLabel: several ? "% of gait cycle, mean of " + Math.max(...counts) : "% of gait cycle",
            curves: known(panel.means), changed: [], strikes: [], bands: each(panel.cycleBands, edges),
            singles: several ? each(panel.cycles, rows) : {}, hidden,
          })
        );
      }
      buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.number === pick.value)));
      keys.forEach((key) => key.setAttribute("aria-pressed", String(!hidden.has(key.dataset.curve))));
    }

    function show(number) {
      const count = set.panels.length;
      pick.value = String((number + count) % count);
      draw();
      explorer.listeners.forEach((tell) => tell(set.panels[pick.value].name));
    }

    const explorer = { key: root.dataset.set, listeners: [], draw, names: set.panels.map((panel) => panel.name), show };
    pick.addEventListener("change", () => show(Number(pick.value)));
    root.querySelectorAll("[data-step]").forEach((button) => {
      button.addEventListener("click", () => show(Number(pick.value) + Number(button.dataset.step)));
    });
    keys.forEach((key) => {
      key.addEventListener("click", () => {
        const kind = key.dataset.curve;
        if (!hidden.delete(kind)) hidden.add(kind);
        buttons.forEach((button) => button.querySelectorAll("." + kind).forEach((drawn) => { drawn.style.display = hidden.has(kind) ? "none" : ""; }));
        draw();
      });
    });
    buttons.forEach((button) => {
      button.addEventListener("click", () => {
        show(Number(button.dataset.number));
        root.scrollIntoView({ block: "nearest", behavior: "smooth" });
      });
    });
    new ResizeObserver(() => {
      plots.forEach((plot) => plot.setSize({ width: plot.root.parentElement.clientWidth, height: HEIGHT }));
    }).observe(root);
    clock.listeners.push(() => plots[0].redraw(false));
    draw();
    return explorer;
  }

  document.querySelectorAll(".explorer").forEach((root) => explorers.push(explore(root)));
  const redraw = () => explorers.forEach((explorer) => explorer.draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  // Paper is white, whatever the screen.
  addEventListener("beforeprint", () => { document.documentElement.dataset.theme = "light"; redraw(); });
  addEventListener("afterprint", () => { delete document.documentElement.dataset.theme; redraw(); });
  return { data, unpack, bytes, clock, colour, explorers };
})();
