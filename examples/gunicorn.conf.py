# imageapi under gunicorn, behind a reverse proxy such as nginx.conf beside this file.
#
#   IMAGEAPI_CONFIG_FILE=/etc/imageapi/imageapi.conf gunicorn --config gunicorn.conf.py
#
# docs/production.md gives the reasons for these settings.

import socket

wsgi_app = "imageapi.wsgi:application"
bind = "127.0.0.1:9292"

# The number of downloads at the same time is workers times threads.
worker_class = "gthread"
workers = 2
threads = 16

# gunicorn replaces a worker that hangs after this number of seconds. With gthread, a
# download may take longer; with the worker class sync it may not.
timeout = 30

# How many seconds gunicorn waits at SIGTERM for running downloads.
graceful_timeout = 30

# Otherwise gunicorn 25 and later makes a socket in the home folder.
control_socket_disable = True


def when_ready(server):
    # TCP_USER_TIMEOUT: a download ends if its client takes no data for this number of
    # milliseconds. TCP_NOTSENT_LOWAT: how many bytes that are not sent yet the system may
    # hold for a client. The sockets of the connections inherit both values. For a Unix
    # socket, remove both.
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300_000)
        listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 131_072)


def post_fork(server, worker):
    # For how many seconds a worker that SIGHUP has replaced may finish its downloads.
    # This is set here because gunicorn's first process waits for the value set above,
    # and handles no signal meanwhile.
    worker.cfg.set("graceful_timeout", 6 * 60 * 60)
