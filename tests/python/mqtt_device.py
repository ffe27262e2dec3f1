"""A device with paho: PORT ID. It says that it is online, acknowledges each wake with its payload, and prints `pong` for each PINGRESP."""

import sys

import paho.mqtt.client as mqtt

port, name = int(sys.argv[1]), sys.argv[2]
status = f"sally/v1/{name}/status"


def connected(client, userdata, flags, reason, properties):
    client.subscribe(f"sally/v1/{name}/wake", qos=1)


def subscribed(client, userdata, mid, reasons, properties):
    client.publish(status, "online", qos=1, retain=True)


def woken(client, userdata, message):
    client.publish("sally/v1/r/relay-1/ack", message.payload, qos=1)


def logged(client, userdata, level, line):
    if "PINGRESP" in line:
        print("pong", flush=True)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name)
client.on_connect, client.on_subscribe, client.on_message, client.on_log = connected, subscribed, woken, logged
client.will_set(status, "offline", qos=1, retain=True)
client.connect("127.0.0.1", port, keepalive=1)
client.loop_forever()
