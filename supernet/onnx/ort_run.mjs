// node ort_run.mjs MODEL IMAGES LOGITS C H W: runs raw float32 images [N, C, H, W] through ONNX Runtime (the npm package
// onnxruntime-node, found from the folder it is started in) and writes raw float32 logits. One thread, all fusions.
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
const out = await session.run({ image: new ort.Tensor('float32', pixels, [pixels.length / (c * h * w), c, h, w]) });
fs.writeFileSync(logits, Buffer.from(out.logits.data.buffer, out.logits.data.byteOffset, out.logits.data.byteLength));
console.log(ort.env?.versions?.common ?? 'unknown');
