/** Labelling without a pointer: a cross-hair moved by the arrows, a pen put down by Enter. Mixed into the workbench. */

export const keyboardCursor = {
  moveCursor(event) {
    const { width, height } = this.editor.labels, far = event.shiftKey ? 10 : 1;
    if (!this.cursor) this.cursor = this.hover ? { x: Math.floor(this.hover[0]), y: Math.floor(this.hover[1]) } : { x: width >> 1, y: height >> 1 };
    const [dx, dy] = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
    this.cursor.x = Math.max(0, Math.min(width - 1, this.cursor.x + dx));
    this.cursor.y = Math.max(0, Math.min(height - 1, this.cursor.y + dy));
    this.hover = null;
    if (this.penDown) this.drawn(() => this.editor.move(this.cursor.x + 0.5, this.cursor.y + 0.5));
    if (this.stage.view.reveal(this.cursor.x, this.cursor.y)) this.stage.viewChanged();
    this.sayPlace();
    this.stage.marksChanged();
  },

  /** Read out where the cross-hair is, once it rests. */
  sayPlace() {
    clearTimeout(this.saying);
    this.saying = setTimeout(() => {
      if (!this.cursor) return;
      const { x, y } = this.cursor, value = this.editor.labels.at(this.editor.z, y, x);
      this.say(`column ${x}, row ${y}, ${this.job.task.classes.find((one) => one.id === value)?.name ?? "left open"}`);
    }, 400);
  },

  enterKey() {
    const { editor } = this;
    if (editor.tool === "polygon" && editor.points.length > 2) {
      const last = editor.points.at(-1);
      if (!this.cursor || (last[0] === this.cursor.x && last[1] === this.cursor.y)) return this.drawn(() => editor.closePolygon());
    }
    if (!this.cursor) return undefined;
    const { x, y } = this.cursor;
    if (editor.tool === "polygon") return this.drawn(() => editor.down(x, y));
    if (editor.tool === "fill") return this.drawn(() => editor.down(x + 0.5, y + 0.5));
    if (editor.frozen) return undefined;
    this.penDown = !this.penDown;
    this.say(this.penDown ? "Pen down" : "Pen up");
    return this.drawn(() => (this.penDown ? editor.down(x + 0.5, y + 0.5) : editor.up()));
  },

  backKey() {
    this.editor.dropVertex();
    this.stage.marksChanged();
  },

  escapeKey() {
    this.penDown = false;
    this.drawn(() => this.editor.cancel());
  },
};
