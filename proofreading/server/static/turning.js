// From where the 3-D view looks: quaternions x, y, z, w that turn the view's axes into those of the volume.

export const FRONT = [0, 0, 0, 1];

/** The smallest turn from the front after which neither of two points (nm, z, y, x) is behind the other. */
export function facing(one, other) {
  const [z, y, x] = other.map((value, axis) => value - one[axis]);
  const across = Math.hypot(x, y);
  if (z === 0) return FRONT;
  const half = -Math.atan2(z, across) / 2;
  const [about_x, about_y] = across ? [-y / across, x / across] : [0, 1];
  return [about_x * Math.sin(half), about_y * Math.sin(half), 0, Math.cos(half)];
}

/** A quarter turn about the view's upright axis. */
export function turned([x, y, z, w]) {
  return [x - z, w + y, x + z, w - y].map((value) => value * Math.SQRT1_2);
}
