"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const WHY = {
    audit: "Audit: drawn blindly",
    least_certain: "Among the least certain",
    strange: "Unlike what the model knows",
  };
  const MOST_CLASSES = 60;
  const FORGETS = "This browser keeps nothing of this page: save before you close it.";
  const KEPT = "darkroom.review." + data.batch;
  const items = data.items;
  const keyOf = shortcuts(data.classes);
  let made = recall(); // sha256 → {decision, label, decided_at, number}; audit and others apart
  let here = Math.max(0, items.findIndex((item) => !made[nameOf(item)]));
  let high = 0; // which of the listed classes Enter takes
  let asked = null; // a new class that was named once, and wants to be named again
  let unsaved = false;

  // A class that is called 7 has the key 7; the others have the digits that are left, in order.
  function shortcuts(classes) {
    const digits = [..."1234567890"];
    const found = new Map(classes.filter((name) => digits.includes(name)).map((name) => [name, name]));
    const free = digits.filter((digit) => !found.has(digit));
    for (const name of classes) if (!found.has(name) && free.length) found.set(name, free.shift());
    return found;
  }

  function nameOf(item) {
    return (item.because === "audit" ? "audit:" : "shown:") + item.sha256;
  }

  function recall() {
    const found = {};
    try {
      const kept = JSON.parse(localStorage.getItem(KEPT) || "{}");
      for (const item of items) if (kept[nameOf(item)]) found[nameOf(item)] = kept[nameOf(item)];
    } catch {
      $("notice").textContent = FORGETS;
    }
    return found;
  }

  function keep() {
    unsaved = true;
    try {
      localStorage.setItem(KEPT, JSON.stringify(made));
    } catch {
      $("notice").textContent = FORGETS;
      window.onbeforeunload = () => (unsaved ? "" : undefined);
    }
  }

  function decide(decision, label) {
    const number = 1 + Math.max(0, ...Object.values(made).map((each) => each.number));
    made[nameOf(items[here])] = { decision, label, decided_at: new Date().toISOString(), number };
    keep();
    $("find").value = "";
    $("find").blur();
    const open = [...items.keys()].filter((place) => !made[nameOf(items[place])]);
    go(open.find((place) => place > here) ?? open[0] ?? here);
  }

  function choose(label) {
    decide(label === items[here].label ? "accept" : "correct", label);
  }

  function accept() {
    if (items[here].because !== "audit") choose(items[here].label);
    else say("Say what it shows: a number, or the first letters");
  }

  function undo() {
    const order = items.map((item, place) => [made[nameOf(item)]?.number || 0, place]);
    const [number, place] = order.reduce((a, b) => (b[0] > a[0] ? b : a), [0, here]);
    if (!number) return;
    delete made[nameOf(items[place])];
    keep();
    go(place);
  }

  function go(place) {
    here = Math.min(items.length - 1, Math.max(0, place));
    show();
  }

  function say(words) {
    $("said").textContent = words;
  }

  function show() {
    const item = items[here];
    const isBlind = item.because === "audit";
    const picture = $("picture");
    picture.src = item.uri;
    picture.alt = "Image " + (here + 1);
    picture.className = item.is_tiny ? "tiny" : "";
    picture.style.setProperty("--shape", item.width + " / " + item.height);
    $("place").textContent = here + 1 + " of " + items.length;
    $("path").textContent = item.shown_path;
    $("because").textContent = WHY[item.because];
    $("prediction").hidden = $("accept").hidden = isBlind;
    $("blind").hidden = !isBlind;
    $("label").textContent = isBlind ? "" : item.label;
    $("top").replaceChildren(...(isBlind ? [] : item.top.map(bar)));
    [high, asked] = [0, null];
    showClasses();
    showProgress();
  }

  function bar([name, probability]) {
    const line = document.createElement("li");
    const fill = line.appendChild(document.createElement("i"));
    fill.style.width = 100 * probability + "%";
    line.appendChild(document.createElement("bdi")).textContent = name;
    line.appendChild(document.createElement("span")).textContent = (100 * probability).toFixed(1) + "%";
    return line;
  }

  function showProgress() {
    const decision = made[nameOf(items[here])];
    const done = items.filter((item) => made[nameOf(item)]).length;
    $("decided").textContent = done;
    $("meter").style.width = (100 * done) / items.length + "%";
    $("undo").disabled = $("save").disabled = !done;
    if (!decision) say(done === items.length ? "All decided: save" : "");
    else say((decision.decision === "skip" ? "Skipped" : "You said: " + decision.label) + (done === items.length ? ". All decided: save" : ""));
    for (const [place, dot] of [...$("strip").children].entries()) {
      const each = made[nameOf(items[place])];
      const how = !each ? "open" : each.decision === "skip" || items[place].because !== "audit" ? each.decision : "blind";
      dot.className = how + (place === here ? " here" : "");
      dot.title = place + 1 + ": " + (each ? each.label || "skipped" : "open");
    }
  }

  function matching() {
    const typed = $("find").value.trim();
    const lower = typed.toLowerCase();
    const begins = data.classes.filter((name) => name.toLowerCase().startsWith(lower));
    const names = begins.sort((a, b) => (b.toLowerCase() === lower) - (a.toLowerCase() === lower));
    return { typed, names, isNew: typed !== "" && !data.classes.includes(typed) };
  }

  function showClasses() {
    const { typed, names, isNew } = matching();
    const chosen = made[nameOf(items[here])]?.label;
    const listed = names.slice(0, MOST_CLASSES).map((name) => button(name, keyOf.get(name), () => choose(name)));
    if (isNew) listed.push(button("new class: " + typed, "+", () => invent(typed)));
    listed.forEach((each, place) => each.classList.toggle("first", typed !== "" && place === high));
    names.forEach((name, place) => listed[place]?.classList.toggle("chosen", name === chosen));
    $("classes").replaceChildren(...listed);
    $("more").textContent = names.length > MOST_CLASSES ? "and " + (names.length - MOST_CLASSES) + " more: type to narrow" : "";
  }

  function button(text, key, act) {
    const button = document.createElement("button");
    button.type = "button";
    if (key) button.appendChild(document.createElement("kbd")).textContent = key;
    button.appendChild(document.createElement("bdi")).textContent = text;
    button.title = text;
    button.addEventListener("click", act);
    return button;
  }

  // Twice, so that a slip of the finger makes no class.
  function invent(name) {
    if (/^\.|[/\\\p{C}]/u.test(name)) return say("Not a name for a class: " + name);
    if (asked === name) return choose(name);
    asked = name;
    say("Once more makes the new class " + name);
  }

  function save() {
    const { batch, model_name, model_version, audit } = data;
    const decided = items.filter((item) => made[nameOf(item)]).map((item) => {
      const { decision, label, decided_at } = made[nameOf(item)];
      const { path, sha256, because, label: predicted } = item;
      return { path, sha256, because, predicted, decision, label, decided_at };
    });
    if (!decided.length) return;
    const file = { format: "darkroom decisions 1", batch, model_name, model_version, audit, items: decided };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1) + "\n"], { type: "application/json" }));
    link.download = batch + ".decisions.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    unsaved = false;
    say("Saved " + decided.length + " of " + items.length + " decisions. Next, where the browser saves to: darkroom review apply ~/Downloads/" + link.download);
  }

  const KEYS = {
    ArrowRight: () => go(here + 1), ArrowDown: () => go(here + 1), j: () => go(here + 1),
    ArrowLeft: () => go(here - 1), ArrowUp: () => go(here - 1), k: () => go(here - 1),
    Enter: accept, a: accept, s: () => decide("skip", null), u: undo, "/": () => $("find").focus(),
  };

  function typing(event) {
    const listed = $("classes").children;
    if (event.key === "Escape") {
      $("find").value = "";
      $("find").blur();
      show();
    } else if (event.key === "Enter") {
      if ($("find").value.trim()) listed[high]?.click();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      high = (high + (event.key === "ArrowDown" ? 1 : listed.length - 1)) % listed.length;
      showClasses();
    } else return;
    event.preventDefault();
  }

  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") {
      event.preventDefault();
      return save();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target === $("find")) return typing(event);
    if (event.target instanceof HTMLButtonElement && (event.key === "Enter" || event.key === " ")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const named = data.classes.find((name) => keyOf.get(name) === key);
    if (Object.hasOwn(KEYS, key)) KEYS[key]();
    else if (named !== undefined) choose(named);
    else if (/^\p{L}$/u.test(event.key)) {
      $("find").focus();
      return; // the letter goes into the box
    } else return;
    event.preventDefault();
  });

  $("find").addEventListener("input", () => {
    [high, asked] = [0, null];
    say("");
    showClasses();
  });
  for (const [id, act] of [["accept", accept], ["skip", KEYS.s], ["undo", undo], ["save", save]]) {
    $(id).addEventListener("click", () => (act(), $(id).blur()));
  }
  $("strip").append(...items.map((item, place) => {
    const dot = document.createElement("button");
    dot.type = "button";
    dot.tabIndex = -1;
    dot.setAttribute("aria-label", "Image " + (place + 1));
    dot.addEventListener("click", () => go(place));
    return dot;
  }));
  show();
})();
