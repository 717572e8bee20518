"""A service whose deliveries end the process that runs them, each in its own way."""

import ctypes
import os
import signal
import time


class Service:
    def load(self, dependencies):
        pass

    @staticmethod
    def run(task, config, subscription, event):
        how = subscription['config']['how']
        if how == 'segmentation fault':
            ctypes.string_at(0)
        elif how == 'abort':
            os.abort()
        elif how == 'killed':  # as the kernel does when memory runs out
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == 'exit':
            os._exit(0)
        time.sleep(float(how))
        return {'slept': float(how)}
