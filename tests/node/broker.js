// aedes, the broker that programs in JavaScript have, for a fleet: broker.js PORT FOLDER, the folder being a relay's of the fleet.
const fs = require("node:fs");
const tls = require("node:tls");
const { createBroker } = require("aedes");

const [port, folder] = process.argv.slice(2);
const file = (name) => fs.readFileSync(`${folder}/${name}`);

// As deploy/mosquitto/acl says: whose certificate has this common name may publish, and may hear, on these topics.
const topics = (name) =>
  name === "sally.relay"
    ? { publish: /^sally\/v1\/[^/]+\/wake$/, hear: /^sally\/v1\/([^/+#]+\/status|r\/[^/+#]+\/ack)$/ }
    : { publish: new RegExp(`^sally/v1/(${name}/status|r/[^/]+/ack)$`), hear: new RegExp(`^sally/v1/${name}/(wake|status)$`) };

const broker = createBroker();
// Remembered: when a will is published, the connection is gone.
broker.authenticate = (client, user, password, done) => {
  client.may = topics(client.conn.getPeerCertificate().subject.CN);
  done(null, true);
};
broker.authorizePublish = (client, packet, done) => done(client.may.publish.test(packet.topic) ? null : new Error("not permitted"));
broker.authorizeSubscribe = (client, wanted, done) => done(null, client.may.hear.test(wanted.topic) ? wanted : null);
const options = { cert: file("tls.pem"), key: file("tls.key"), ca: file("tls_ca.pem"), crl: file("tls.crl") };
const server = tls.createServer({ ...options, requestCert: true, rejectUnauthorized: true }, broker.handle);
server.listen(Number(port), "127.0.0.1", () => console.error("aedes running"));
