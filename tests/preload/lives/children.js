// node: exec, spawn, fork and worker threads, with requests around them and connections kept.
"use strict";
const http = require("http"), fs = require("fs"), net = require("net");
const { exec, execFile, spawn, spawnSync, fork } = require("child_process");
const { Worker, isMainThread, parentPort, workerData } = require("worker_threads");
const port = Number(process.argv[2]);

// Asked with the process's id, so that the server knows who used which connection.
function ask(name, agent) {
  const owner = "~" + process.pid;
  return new Promise((resolve, reject) => {
    const path = "/echo/" + name + owner;
    http.get({ port, host: "127.0.0.1", path, agent }, answer => {
      let body = "";
      answer.on("data", data => body += data);
      answer.on("end", () => resolve(name + " " + body.replace(owner, "")));
    }).on("error", reject);
  });
}

// A connection of its own, closed cleanly afterwards: one that keeps alive, in an agent that ends.
async function once(name) {
  const agent = new http.Agent({ keepAlive: true });
  const line = await ask(name, agent);
  await new Promise(done => setImmediate(done)); // the agent gets its socket back only now
  agent.destroy();
  return line;
}

function output(start) {
  return new Promise(resolve => {
    start((error, stdout, stderr) => resolve([error ? error.code : 0, stdout, stderr]));
  });
}

function throughCat(text) {
  return new Promise(resolve => {
    const cat = spawn("cat", [], { stdio: ["pipe", "pipe", "inherit"] });
    let copy = "";
    cat.stdout.on("data", data => copy += data);
    cat.on("close", status => resolve([status, copy]));
    cat.stdin.end(text);
  });
}

function forked(name) {
  return new Promise(resolve => {
    const lines = [], child = fork(__filename, [process.argv[2], "child", name]);
    child.on("message", line => lines.push(line));
    child.on("close", status => resolve([status, lines]));
    child.send(4);
  });
}

function asChild(name) {
  process.once("message", async count => {
    for (let i = 0; i < count; i++) process.send(await once(`${name}-${i}`));
    process.disconnect();
  });
}

function threaded(name) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(__filename, { workerData: name, argv: [process.argv[2]] });
    worker.on("message", resolve);
    worker.on("error", reject);
  });
}

async function asThread(name) {
  const lines = [];
  for (let i = 0; i < 5; i++) lines.push(await once(`${name}-${i}`));
  lines.push(spawnSync("echo", ["from", name], { encoding: "utf8" }).stdout);
  parentPort.postMessage(lines);
}

// One request after the other on a socket that is used by nobody else.
function askOn(socket, name) {
  return new Promise((resolve, reject) => {
    socket.once("data", data => resolve(String(data).split("\r\n")));
    socket.once("error", reject);
    socket.write(`GET /echo/${name} HTTP/1.1\r\nHost: loopback\r\n\r\n`);
  });
}

// A connection that was used here, and is passed to a child which was there before and uses it.
async function passed(name) {
  const child = fork(__filename, [process.argv[2], "holder", name]);
  const told = () => new Promise(resolve => child.once("message", resolve));
  const socket = net.connect(port, "127.0.0.1");
  const result = [await askOn(socket, name + "-own")];
  child.send("socket", socket);
  result.push(await told(), await once(name + "-between"));
  child.send("go on");
  const answers = told();
  for (let i = 0; i < 10; i++) result.push(await once(`${name}-beside-${i}`));
  result.push(await answers);
  return result;
}

function asHolder(name) {
  process.once("message", (_, socket) => {
    process.once("message", async () => {
      const answers = [];
      for (let i = 0; i < 10; i++) answers.push(await askOn(socket, `${name}-${i}`));
      process.send(answers);
      socket.destroy();
      process.disconnect();
    });
    process.send("it is here");
  });
}

const descriptors = () => fs.readdirSync("/proc/self/fd").filter(fd => fd < 500).length;

async function main() {
  const kept = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (let i = 0; i < 5; i++) console.log(await once(`once-${i}`));
  console.log(await ask("kept-0", kept));
  console.log(await once("beside"));
  console.log(await output(done => exec("ls /proc/self/fd; echo $0; exit 3", done)));
  const before = descriptors();
  for (let turn = 0; turn < 3; turn++) {
    console.log(await once(`before-${turn}`));
    console.log(await output(done => execFile("ls", ["/proc/self/fd"], done)));
    console.log(await throughCat(await ask(`kept-${turn}-a`, kept)));
    console.log(await Promise.all(["a", "b"].map(name => forked(`fork-${turn}-${name}`))));
    console.log(await passed(`passed-${turn}`));
    console.log(await Promise.all([once(`side-${turn}`), threaded(`thread-${turn}`),
      output(done => exec("ls /none", done)), once(`aside-${turn}`)]));
    console.log(await ask(`kept-${turn}-b`, kept));
    console.log(spawnSync("cat", { input: await once(`sync-${turn}`), encoding: "utf8" }).stdout);
  }
  // what is closed is closed in the loop's own time
  for (let i = 0; i < 2000 && descriptors() > before; i++)
    await new Promise(done => setTimeout(done, 5));
  console.log("descriptors left:", Math.max(0, descriptors() - before));
  kept.destroy();
  console.log(await once("last"));
}

if (!isMainThread) asThread(workerData);
else if (process.argv[3] === "child") asChild(process.argv[4]);
else if (process.argv[3] === "holder") asHolder(process.argv[4]);
else main();
