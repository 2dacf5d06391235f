/**
 * Mouse, pen and fingers on the stage, told as gestures: draw, hover, pan, zoom, window. One finger draws until a pen has been
 * seen (then fingers only move the image); two fingers pan and zoom; a second finger takes back what the first had begun.
 *
 * `act`: {down(x, y, {erase}), move([[x, y] …]), up(), cancel(), hover(x, y | null), pan(dx, dy), zoom(x, y, factor), slices(step),
 * level(dx, dy), panning() → bool, depth, grey}; points are in CSS pixels of the stage.
 */
export function listen(element, act) {
  const fingers = new Map();
  let mode = null, owner = null, last = null, pen = false, wheel = 0, pinch = null;
  const undo = new AbortController();
  const on = (name, handler, options = {}) => element.addEventListener(name, handler, { signal: undo.signal, ...options });
  const place = (event) => {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  const startPinch = () => {
    if (mode === "draw") act.cancel();
    mode = "pinch";
    pinch = spread();
  };
  const spread = () => {
    const [one, other] = [...fingers.values()];
    return { x: (one[0] + other[0]) / 2, y: (one[1] + other[1]) / 2, far: Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1])) };
  };

  on("pointerdown", (event) => {
    element.focus({ preventScroll: true });
    event.preventDefault();
    const at = place(event);
    if (event.pointerType === "pen") pen = true;
    if (event.pointerType === "touch") {
      fingers.set(event.pointerId, at);
      if (fingers.size === 2 && (mode === null || mode === "draw" || mode === "pan")) return startPinch();
    }
    if (mode !== null) return;
    try { element.setPointerCapture(event.pointerId); } catch { /* the pointer is gone already */ }
    owner = event.pointerId;
    last = at;
    const finger = event.pointerType === "touch" && pen;
    if (event.button === 1 || act.panning() || finger) mode = "pan";
    else if (event.button === 2) mode = act.grey ? "level" : null;
    else {
      mode = "draw";
      act.down(...at, { erase: event.button === 5 });
    }
  });

  on("pointermove", (event) => {
    const at = place(event);
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, at);
    if (mode === "pinch" && fingers.size >= 2) {
      const now = spread();
      act.pan(now.x - pinch.x, now.y - pinch.y);
      act.zoom(now.x, now.y, now.far / pinch.far);
      pinch = now;
      return;
    }
    if (event.pointerType !== "touch") act.hover(...at);
    if (event.pointerId !== owner) return;
    if (mode === "draw") {
      const parts = event.getCoalescedEvents?.() ?? [];
      act.move((parts.length ? parts : [event]).map(place));
    } else if (mode === "pan") act.pan(at[0] - last[0], at[1] - last[1]);
    else if (mode === "level") act.level(at[0] - last[0], at[1] - last[1]);
    last = at;
  });

  const end = (event, lost) => {
    fingers.delete(event.pointerId);
    if (mode === "pinch") {
      if (fingers.size === 0) mode = null;
      return;
    }
    if (event.pointerId !== owner) return;
    if (mode === "draw") {
      if (lost) act.cancel(); else act.up();
    }
    mode = owner = null;
  };
  on("pointerup", (event) => end(event, false));
  on("pointercancel", (event) => end(event, true));
  on("pointerleave", (event) => { if (event.pointerType !== "touch") act.hover(null); });
  on("contextmenu", (event) => event.preventDefault());
  on("wheel", (event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 30 : event.deltaMode === 2 ? 300 : 1;
    if (event.altKey) return act.resize(event.deltaY > 0 || event.deltaX > 0 ? -1 : 1);
    if (act.depth > 1 && !event.ctrlKey && !event.metaKey) {
      wheel += event.deltaY * unit;
      const steps = Math.trunc(wheel / 40);
      wheel -= steps * 40;
      if (steps) act.slices(steps);
      return;
    }
    if (event.shiftKey) return act.pan(-(event.deltaX || event.deltaY) * unit, 0);
    const speed = event.ctrlKey ? 0.01 : 0.0016;
    act.zoom(...place(event), Math.exp(-Math.max(-240, Math.min(240, event.deltaY * unit)) * speed));
  }, { passive: false });
  return () => undo.abort();
}
