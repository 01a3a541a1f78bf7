"""imageapi for uWSGI's threads: no download is broken off by a reload.

A worker's signals are handled in the first of its threads, wherever that is. Where it
is in the middle of a download, that would be broken off. So it hears of a reload when
its download has ended.
"""

import ctypes
import signal

from imageapi.wsgi import application as images

SIGHUP = (ctypes.c_ulong * 16)(1 << (signal.SIGHUP - 1))

# Not Python's own, which keeps Python's lock while uWSGI, in the signal's handler,
# waits for the other threads' downloads.
pthread_sigmask = ctypes.CDLL(None).pthread_sigmask


def application(environ, start_response):
    if environ.get("uwsgi.core", 0) != 0:
        return images(environ, start_response)
    pthread_sigmask(signal.SIG_BLOCK, SIGHUP, None)
    try:
        return Undisturbed(images(environ, start_response))
    except BaseException:
        pthread_sigmask(signal.SIG_UNBLOCK, SIGHUP, None)
        raise


class Undisturbed:
    def __init__(self, body):
        self.body = body

    def __iter__(self):
        return iter(self.body)

    def close(self):
        try:
            if hasattr(self.body, "close"):
                self.body.close()
        finally:
            pthread_sigmask(signal.SIG_UNBLOCK, SIGHUP, None)
