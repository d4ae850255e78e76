// From whatever a reader brings to a square of pixels, or to one plain sentence.

const MOST = 50e6; // pixels; larger pictures fill the memory of small machines

/**
 * A file as a bitmap, upright; of an animation the first picture.
 *
 * @throws {Error} it is empty, no picture, or too large
 */
export async function bitmapOf(file) {
  if (!file.size) throw new Error(`${file.name ?? "The file"} is empty.`);
  const side = await sizeOf(file);
  if (side && side[0] * side[1] > MOST)
    throw new Error(`${file.name} has ${Math.round((side[0] * side[1]) / 1e6)} million pixels; at most ${MOST / 1e6} million are read here. Make it smaller.`);
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name ?? "This"} is no picture that this browser can read.`);
  }
}

/** Width and height from the head of a PNG or JPEG, before anything is decoded. */
async function sizeOf(file) {
  const head = new DataView(await file.slice(0, 2 ** 18).arrayBuffer());
  const at = (i) => (i + 1 < head.byteLength ? head.getUint16(i) : 0);
  if (at(0) === 0x8950 && head.byteLength > 24) return [head.getUint32(16), head.getUint32(20)];
  if (at(0) !== 0xffd8) return undefined;
  for (let i = 2; i + 9 < head.byteLength; i += 2 + at(i + 2)) {
    const mark = head.getUint8(i + 1);
    if (head.getUint8(i) !== 0xff || at(i + 2) < 2) return undefined;
    if (mark >= 0xc0 && mark <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(mark)) return [at(i + 7), at(i + 5)];
  }
  return undefined;
}

/** A still of the camera. @throws {Error} there is none, or it is refused */
export async function still() {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error("This page has no access to a camera.");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch {
    throw new Error("The camera was refused, or there is none.");
  }
  const video = document.createElement("video");
  Object.assign(video, { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  const bitmap = await createImageBitmap(video);
  for (const track of stream.getTracks()) track.stop();
  return bitmap;
}

/**
 * A square of a bitmap as numbers −1 to 1, (channels, side, side), one channel after the other.
 * `crop`: { size, left, top } as shares: of the shorter side, and of the room left beside it.
 * What is transparent is laid over white.
 */
export function pixelsOf(bitmap, side, channels, crop = { size: 1, left: 0.5, top: 0.5 }) {
  const length = crop.size * Math.min(bitmap.width, bitmap.height);
  const [left, top] = [crop.left * (bitmap.width - length), crop.top * (bitmap.height - length)];
  let [source, box] = [bitmap, [left, top, length, length]];
  for (let now = length; now > 2 * side; ) { // by halves: a canvas shrinks well by two at most
    now = Math.max(side, Math.ceil(now / 2));
    [source, box] = [drawn(source, box, now), [0, 0, now, now]];
  }
  const { data } = drawn(source, box, side).getContext("2d").getImageData(0, 0, side, side);
  const pixels = new Float32Array(channels * side * side);
  for (let i = 0; i < side * side; i++) {
    const [red, green, blue] = data.subarray(4 * i, 4 * i + 3);
    const values = channels === 1 ? [0.299 * red + 0.587 * green + 0.114 * blue] : [red, green, blue];
    values.forEach((value, c) => { pixels[c * side * side + i] = value / 127.5 - 1; });
  }
  return pixels;
}

function drawn(source, box, side) {
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, side, side);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, ...box, 0, 0, side, side);
  return canvas;
}
