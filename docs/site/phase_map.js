// The phase map: a log is chosen by its place on four axes; its agents are a table with bars.
(() => {
  const root = document.querySelector("#map-view");
  const source = document.querySelector("#map-data");
  if (!root || !source) return;
  const { axes, logs } = JSON.parse(source.textContent);
  const largest = Math.max(...logs.flatMap((log) => log.agents.map((agent) => agent[3] ?? agent[1])));

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const written = (axis, value) =>
    axis === "noise_share" ? `${Math.round(100 * value)} %` : value.toLocaleString("en");
  const number = (value) => value.toFixed(2).replace("-", "−");
  const range = (low, high) => (low === null ? "" : ` [${number(low)}, ${number(high)}]`);
  const isTold = (agent) => agent[5] !== null && agent[5] > 0;

  const chosen = axes.map((_, k) => logs[0].at[k]);
  for (const part of location.hash.slice(1).split("&")) {
    const [name, value] = part.split("=");
    const k = axes.findIndex(([axis]) => axis === name);
    if (k >= 0 && logs.some((log) => log.at[k] === Number(value))) chosen[k] = Number(value);
  }

  const choices = ([axis, label], k) => {
    const set = make("fieldset", {}, make("legend", { textContent: label }));
    for (const value of [...new Set(logs.map((log) => log.at[k]))].sort((a, b) => a - b)) {
      const input = make("input", { type: "radio", name: axis, value });
      input.checked = chosen[k] === value;
      input.addEventListener("change", () => {
        chosen[k] = value;
        show();
        const place = axes.map(([name], j) => `${name}=${chosen[j]}`).join("&");
        history.replaceState(null, "", `#${place}`);
      });
      set.append(make("label", {}, input, make("span", { textContent: written(axis, value) })));
    }
    return set;
  };

  const bar = (mean, low, high) => {
    const share = (value) => (100 * Math.max(0, value)) / largest;
    const track = make("div", { className: "track" });
    const fill = make("div", { className: "fill" });
    const whisker = make("div", { className: "whisker" });
    fill.style.width = `${share(mean)}%`;
    whisker.hidden = low === null;
    whisker.style.left = `${share(low)}%`;
    whisker.style.width = `${share(high) - share(low)}%`;
    track.append(fill, whisker);
    return track;
  };

  const row = (agent, place) => {
    const [name, mean, low, high, behind, least, most] = agent;
    const best = place === 0;
    const open = !best && !isTold(agent);
    const note = best ? "best" : open ? "not told from the best" : "";
    const line = make("tr", { className: best ? "best" : open ? "open" : "" });
    const head = make("th", { scope: "row" }, make("span", { textContent: name }));
    if (note) head.append(make("small", { textContent: note }));
    line.append(
      head,
      make("td", { textContent: `${number(mean)}${range(low, high)}` }),
      make("td", { className: "bar" }, bar(mean, low, high)),
      make("td", { textContent: best ? "" : `${number(behind)}${range(least, most)}` }),
    );
    return line;
  };

  const body = make("tbody");
  const summary = make("p", { className: "summary" });
  summary.setAttribute("aria-live", "polite");
  const show = () => {
    const log = logs.find((one) => one.at.every((value, k) => value === chosen[k]));
    body.replaceChildren(...log.agents.map(row));
    const [[name, mean]] = log.agents;
    const close = log.agents.slice(1).filter((agent) => !isTold(agent)).length;
    const others = close ? `; ${close} other${close > 1 ? "s are" : " is"} not told from it` : "";
    summary.textContent = `Best on this log: ${name}, ${number(mean)}${others}.`;
  };

  const titles = ["agent", "eCPM, 95 % interval", "", "behind the best"];
  const head = make("tr", {}, ...titles.map((text) => make("th", { textContent: text })));
  const table = make("table", { className: "agents" }, make("thead", {}, head), body);
  const controls = make("form", { className: "axes" }, ...axes.map(choices));
  root.append(controls, summary, make("div", { className: "scroll" }, table));
  show();
})();
