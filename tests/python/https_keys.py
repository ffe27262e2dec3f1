"""A server that shows keys, and a proxy in front of it: https_keys.py CERTIFICATE KEY KEYS. Says its ports, then each request."""
import http.server
import socket
import ssl
import sys
import threading

certificate, key, keys = sys.argv[1:]


class Keys(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("GET", self.path, flush=True)
        with open(keys, "rb") as file:
            body = file.read()
        self.send_response(200 if self.path == "/alice.keys" else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def relay(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


def tunnel(client):
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(4096)
    target = head.split()[1].decode()
    print("CONNECT", target, flush=True)
    server = socket.create_connection(("127.0.0.1", int(target.rsplit(":", 1)[1])))
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    threading.Thread(target=relay, args=(server, client), daemon=True).start()
    relay(client, server)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
proxy = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=server.serve_forever, daemon=True).start()
print("server", server.server_address[1], flush=True)
print("proxy", proxy.getsockname()[1], flush=True)
while True:
    threading.Thread(target=tunnel, args=(proxy.accept()[0],), daemon=True).start()
