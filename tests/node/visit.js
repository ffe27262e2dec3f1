// A visit by ssh2, the client that programs in JavaScript have: visit.js PORT KEY [pty].
const fs = require("node:fs");
const { Client } = require("ssh2");

const [port, key, pty] = process.argv.slice(2);
const client = new Client();
client.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
client.on("ready", () => {
  const command = pty ? "stty size; kill -TERM $$" : "cat; echo oops >&2; exit 7";
  client.exec(command, pty ? { pty: { rows: 30, cols: 100, term: "xterm" } } : {}, (error, stream) => {
    if (error) throw error;
    const said = { stdout: "", stderr: "" };
    stream.on("data", (data) => (said.stdout += data));
    stream.stderr.on("data", (data) => (said.stderr += data));
    stream.on("close", (status, signal) => {
      console.log(JSON.stringify([said.stdout, said.stderr, status ?? signal]));
      client.end();
    });
    stream.end(pty ? undefined : "through\n");
  });
});
client.connect({ host: "127.0.0.1", port: Number(port), username: "anyone", privateKey: fs.readFileSync(key) });
