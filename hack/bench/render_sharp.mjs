// sharp in a process of its own, for `make bench-render`: the counterpart of render_engine.py.
// The first argument is where sharp is installed.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const sharp = createRequire(`${process.argv[2]}/`)("sharp");
sharp.concurrency(1);
sharp.cache(false);

const writers = {
  jpeg: (image, task) => image.jpeg({ quality: 80, progressive: task.progressive }),
  png: (image) => image.png({ compressionLevel: 6 }),
  webp: (image) => image.webp({ quality: 80, effort: 4 }),
  gif: (image) => image.gif(),
};

let path = "";
let data;
console.log(JSON.stringify({ ready: true, versions: sharp.versions }));
for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line);
  if (task.file !== path) {
    path = task.file;
    data = readFileSync(path);
  }
  const cpu = process.cpuUsage();
  const wall = process.hrtime.bigint();
  const image = sharp(data, { animated: task.format === "gif" }).resize(task.width);
  const made = await writers[task.format](image, task).toBuffer();
  const wallSeconds = Number(process.hrtime.bigint() - wall) / 1e9;
  const used = process.cpuUsage(cpu);
  if (task.to) writeFileSync(task.to, made);
  console.log(JSON.stringify({ cpu: (used.user + used.system) / 1e6, wall: wallSeconds, bytes: made.length }));
}
