// node ort_run.mjs MODEL IMAGES LOGITS C H W: runs raw float32 images [N, C, H, W] through ONNX Runtime (the npm package
// onnxruntime-node, found from the folder it is started in) and writes raw float32 logits; other outputs of the model
// go to LOGITS.NAME as they are. One thread, all fusions.
import fs from 'node:fs';
import { createRequire } from 'node:module';

const [model, images, logits, ...shape] = process.argv.slice(2);
const ort = createRequire(process.cwd() + '/')('onnxruntime-node');
const [c, h, w] = shape.map(Number);
const bytes = fs.readFileSync(images);
const pixels = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
const session = await ort.InferenceSession.create(model, {
  intraOpNumThreads: 1,
  graphOptimizationLevel: 'all',
  executionMode: 'sequential',
  // Processors without VNNI else saturate sums of two products at 16 bits.
  extra: { session: { x64quantprecision: '1' } },
});
const size = c * h * w, count = pixels.length / size, atOnce = 100;
const file = fs.openSync(logits, 'w');
for (let from = 0; from < count; from += atOnce) {
  const part = pixels.subarray(from * size, Math.min(from + atOnce, count) * size);
  const out = await session.run({ image: new ort.Tensor('float32', part, [part.length / size, c, h, w]) });
  for (const [name, { data }] of Object.entries(out)) {
    const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    if (name === 'logits') fs.writeSync(file, raw);
    else fs.writeFileSync(`${logits}.${name}`, raw);
  }
}
fs.closeSync(file);
console.log(ort.env?.versions?.common ?? 'unknown');
