"""Message brokers with a websocket listener: NATS and Mosquitto. The bot makes each event, and they pass it on."""

import json

from loadtest.naive import Room
from loadtest.peers.peer import Peer, first_line, missing, program
from protocol.client import Frame

TOPIC = "room"
QUEUED_MAX = 1_000_000  # 0 should mean "no bound", but 2.0.11 then drops everything


class Nats(Peer):
    """One nats-server; a viewer subscribes to the room's subject."""

    name, title = "nats", "NATS server"
    bot_hello = (b'CONNECT {"verbose":false,"pedantic":false,"lang":"c","version":"1","protocol":1}\r\n', b"PING\r\n")
    viewer_hello = (bot_hello[0], f"SUB {TOPIC} 1\r\n".encode(), bot_hello[1])
    greeting = bot_greeting = b"PONG\r\n"

    def __init__(self) -> None:
        super().__init__()
        self._room = Room()

    def why_not(self) -> str | None:
        return missing("nats-server")

    def version(self) -> str:
        return first_line(program("nats-server"), "--version").removeprefix("nats-server: ")

    def start(self) -> None:
        config = self.folder / "nats.conf"
        config.write_text(
            'host: "127.0.0.1"\nport: -1\nping_interval: "10m"\n'
            f'websocket {{ host: "127.0.0.1", port: {self.port}, no_tls: true, compression: false }}\n'
        )
        self.run([program("nats-server"), "-c", str(config)], GOMAXPROCS="1")  # it runs on one core
        self.until_listening()

    def said(self, text: str) -> Frame:
        event = json.dumps([self._room.chat(text)]).encode()
        return f"PUB {TOPIC} {len(event)}\r\n".encode() + event + b"\r\n"


class Mosquitto(Peer):
    """One mosquitto; a viewer subscribes to the room's topic with QoS 0 (MQTT 3.1.1)."""

    name, title = "mosquitto", "Mosquitto (MQTT)"
    subprotocol = "mqtt"
    bot_hello = (b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00",)  # clean session, no keepalive, no name
    viewer_hello = (*bot_hello, b"\x82\x09\x00\x01\x00\x04" + TOPIC.encode() + b"\x00")
    greeting = b"\x90\x03\x00\x01\x00"  # SUBACK
    bot_greeting = b"\x20\x02\x00\x00"  # CONNACK

    def __init__(self) -> None:
        super().__init__()
        self._room = Room()

    def why_not(self) -> str | None:
        return missing("mosquitto")

    def version(self) -> str:
        return first_line(program("mosquitto"), "-h").removeprefix("mosquitto version ")

    def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener 0 {self.folder}/socket\n"  # 2.0.11 does not start with only a websocket listener
            f"listener {self.port} 127.0.0.1\nprotocol websockets\nallow_anonymous true\nuser root\npersistence false\n"
            f"set_tcp_nodelay true\nmax_queued_messages {QUEUED_MAX}\nsys_interval 0\nlog_type error\n"
            "log_dest stderr\n"
        )
        self.run([program("mosquitto"), "-c", str(config)])
        self.until_listening()

    def said(self, text: str) -> Frame:
        packet = len(TOPIC).to_bytes(2) + TOPIC.encode() + json.dumps([self._room.chat(text)]).encode()
        return b"\x30" + _length(len(packet)) + packet


def _length(size: int) -> bytes:
    """Seven bits per byte, lowest first (MQTT 3.1.1, 2.2.3)."""
    found = bytearray()
    while size > 127:
        found.append(size & 127 | 128)
        size >>= 7
    return bytes((*found, size))
