"""imageapi for uWSGI's threads, so that a reload does not interrupt a download.

The first thread of a uWSGI worker handles the worker's signals, and SIGHUP would interrupt
its download. So this thread blocks SIGHUP during its own download. The worker reloads
after that.
"""

import ctypes
import signal

from imageapi.wsgi import application as images

SIGHUP = (ctypes.c_ulong * 16)(1 << (signal.SIGHUP - 1))

# Not signal.pthread_sigmask: it keeps the interpreter's lock while the signal handler of
# uWSGI waits for the downloads of the other threads.
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
