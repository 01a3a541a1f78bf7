# imageapi under gunicorn, behind a reverse proxy such as nginx.conf beside this file.
#
#   IMAGEAPI_CONFIG_FILE=/etc/imageapi/imageapi.conf gunicorn --config gunicorn.conf.py
#
# docs/production.md says why it is so.

import socket

wsgi_app = "imageapi.wsgi:application"
bind = "127.0.0.1:9292"

# As many downloads run at once as workers times threads.
worker_class = "gthread"
workers = 2
threads = 16

# A worker that has hung is replaced after so many seconds. Of gthread it says
# nothing of how long a download may take; of sync it does.
timeout = 30

# How long gunicorn waits at SIGTERM for the downloads that run.
graceful_timeout = 30

# gunicorn 25 and later would make a socket in the home folder.
control_socket_disable = True


def when_ready(server):
    # How long a client may take nothing before its download ends, in milliseconds, and
    # how much that is not on its way yet the system may hold for it, in bytes. The
    # sockets of its connections inherit both. Leave them out for a Unix socket.
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300_000)
        listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 131_072)


def post_fork(server, worker):
    # How long a worker that SIGHUP has replaced may finish its downloads, in
    # seconds. Set here, and not above, since gunicorn's first process waits for
    # what stands above, and listens to no signal meanwhile.
    worker.cfg.set("graceful_timeout", 6 * 60 * 60)
