// A symbolic link made by ssh2: symlink.js PORT KEY TARGET LINK.
const fs = require("node:fs");
const { Client } = require("ssh2");

const [port, key, target, link] = process.argv.slice(2);
const client = new Client();
const failed = (error) => {
  console.error(error.message);
  process.exitCode = 1;
  client.end();
};
client.on("error", failed);
client.on("ready", () => {
  client.sftp((error, sftp) => {
    if (error) return failed(error);
    sftp.symlink(target, link, (error) => (error ? failed(error) : client.end()));
  });
});
client.connect({ host: "127.0.0.1", port: Number(port), username: "anyone", privateKey: fs.readFileSync(key) });
