"""Nchan, the publish and subscribe module of nginx: Debian's packages nginx and libnginx-mod-nchan."""

import json
import os
from pathlib import Path

from loadtest.naive import Room
from loadtest.peers.peer import Peer, first_line, missing, program
from protocol.client import Frame

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
CONFIG = """
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/pid;
error_log stderr error;
load_module {module};
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    nchan_shared_memory_size 256m;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /view {{
            nchan_subscriber websocket;
            nchan_channel_id room;
            nchan_subscriber_first_message newest;
        }}
        location = /say {{
            nchan_publisher websocket;
            nchan_channel_id room;
            nchan_message_buffer_length 20000;
            nchan_message_timeout 1m;
        }}
    }}
}}
"""


class Nchan(Peer):
    """One nginx worker. It buffers messages in shared memory, as its documentation recommends for fast publishing."""

    name, title = "nchan", "nchan (nginx)"
    viewer_path, bot_path = "/view", "/say"

    def __init__(self) -> None:
        super().__init__()
        self._room = Room()

    def why_not(self) -> str | None:
        if gone := missing("nginx"):
            return gone
        return None if MODULE.exists() else "nginx has no nchan module (Debian: libnginx-mod-nchan)"

    def version(self) -> str:
        nginx = first_line(program("nginx"), "-v").rpartition("/")[2]
        return f"{first_line('dpkg-query', '-W', '-f', '${Version}', 'libnginx-mod-nchan')}, nginx {nginx}"

    def start(self) -> None:
        config = self.folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""  # otherwise its worker could not use our folder
        config.write_text(CONFIG.format(folder=self.folder, module=MODULE, port=self.port, user=user))
        self.run([program("nginx"), "-p", str(self.folder), "-e", "stderr", "-c", str(config)])
        self.until_listening()

    @property
    def pids(self) -> list[int]:
        """The master and its worker."""
        (master,) = super().pids
        workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return [master, *map(int, workers)]

    def said(self, text: str) -> Frame:
        return json.dumps([self._room.chat(text)])
