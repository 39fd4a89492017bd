// Two canvases that show the same part of a section: the picture, and the picture with its objects over it.
//
// The part that is shown is a scale (screen pixels per voxel) and the voxel in the middle; both canvases are
// drawn from it, so that they cannot drift apart. Voxels stay squares however near one looks.

const MOST = 64;
const STEP = 1.25;
const KEYS = {
  ArrowLeft: [-0.1, 0],
  ArrowRight: [0.1, 0],
  ArrowUp: [0, -0.1],
  ArrowDown: [0, 0.1],
};

export class Panes {
  // `onZoom(scale)` after each change; `onSection(step)` and `onColours()` for keys.
  constructor(rawCanvas, objectsCanvas, { onZoom, onSection, onColours }) {
    this.canvases = [rawCanvas, objectsCanvas];
    this.onZoom = onZoom;
    this.onSection = onSection;
    this.onColours = onColours;
    this.raw = null;
    this.objects = null;
    this.opacity = 0.5;
    this.scale = 1;
    this.middle = [0, 0];
    this.isFitted = true;
    for (const canvas of this.canvases) {
      this.#listen(canvas);
    }
    new ResizeObserver(() => (this.isFitted ? this.fit() : this.draw())).observe(rawCanvas);
  }

  // The images of a section; another size than before is fitted in.
  show(raw, objects) {
    const isOther = !this.raw || raw.width !== this.raw.width || raw.height !== this.raw.height;
    this.raw = raw;
    this.objects = objects;
    if (isOther) {
      this.fit();
    } else {
      this.draw();
    }
  }

  clear() {
    this.raw = this.objects = null;
    this.draw();
  }

  setOpacity(value) {
    this.opacity = value;
    this.draw();
  }

  fit() {
    if (this.raw) {
      const [width, height] = this.#size(this.canvases[0]);
      this.scale = Math.min(MOST, width / this.raw.width, height / this.raw.height);
      this.middle = [this.raw.width / 2, this.raw.height / 2];
    }
    this.isFitted = true;
    this.draw();
  }

  // Zooms by a factor about a point of a canvas (CSS pixels), by default its middle.
  zoom(factor, point = null) {
    const [width, height] = this.#size(this.canvases[0]);
    const [x, y] = point ?? [width / 2, height / 2];
    const scale = Math.min(MOST, Math.max(this.#least(), this.scale * factor));
    const shift = 1 / this.scale - 1 / scale;
    this.middle = [this.middle[0] + (x - width / 2) * shift, this.middle[1] + (y - height / 2) * shift];
    this.scale = scale;
    this.isFitted = false;
    this.draw();
  }

  // Moves what is shown by so many CSS pixels.
  pan(right, down) {
    this.middle = [this.middle[0] + right / this.scale, this.middle[1] + down / this.scale];
    this.isFitted = false;
    this.draw();
  }

  draw() {
    this.canvases.forEach((canvas, index) => this.#draw(canvas, index === 1));
    this.onZoom(this.raw ? this.scale : null);
  }

  #least() {
    const [width, height] = this.#size(this.canvases[0]);
    return this.raw ? Math.min(1, width / this.raw.width, height / this.raw.height) / 4 : 1;
  }

  #size(canvas) {
    return [Math.max(1, canvas.clientWidth), Math.max(1, canvas.clientHeight)];
  }

  #draw(canvas, withObjects) {
    const [width, height] = this.#size(canvas);
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    if (!this.raw) {
      return;
    }
    this.middle = this.middle.map((at, axis) =>
      Math.min(axis ? this.raw.height : this.raw.width, Math.max(0, at)),
    );
    const scale = this.scale * ratio;
    context.imageSmoothingEnabled = scale < 1;
    context.setTransform(
      scale,
      0,
      0,
      scale,
      canvas.width / 2 - this.middle[0] * scale,
      canvas.height / 2 - this.middle[1] * scale,
    );
    context.drawImage(this.raw, 0, 0);
    if (withObjects && this.objects) {
      context.globalAlpha = this.opacity;
      context.drawImage(this.objects, 0, 0);
    }
  }

  #listen(canvas) {
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      from = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (from) {
        this.pan(from[0] - event.clientX, from[1] - event.clientY);
        from = [event.clientX, event.clientY];
      }
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, () => (from = null));
    }
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY / 400), [event.offsetX, event.offsetY]);
      },
      { passive: false },
    );
    canvas.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.altKey && !event.metaKey && this.#pressed(canvas, event.key)) {
        event.preventDefault();
      }
    });
  }

  // What a key does; whether it does anything.
  #pressed(canvas, key) {
    const [width, height] = this.#size(canvas);
    if (key in KEYS) {
      this.pan(KEYS[key][0] * width, KEYS[key][1] * height);
    } else if (key === "+" || key === "=") {
      this.zoom(STEP);
    } else if (key === "-") {
      this.zoom(1 / STEP);
    } else if (key === "0") {
      this.fit();
    } else if (key === "PageUp" || key === "PageDown") {
      this.onSection(key === "PageUp" ? -1 : 1);
    } else if (key === "c" || key === "C") {
      this.onColours();
    } else {
      return false;
    }
    return true;
  }
}
