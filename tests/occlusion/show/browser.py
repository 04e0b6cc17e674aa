"""A headless Chromium driven over its DevTools pipe: enough to measure, click and photograph a page."""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

NAMES = ('chromium', 'chromium-browser', 'google-chrome')
FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update',
    '--disable-sync', '--no-first-run', '--remote-debugging-pipe',
)  # fmt: skip
# Chromium reads commands from descriptor 3 and answers on 4; what Python hands on may have any number.
START = (
    'import fcntl, os, sys\n'
    'read, write = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])\n'
    'os.dup2(read, 3); os.dup2(write, 4); os.execv(sys.argv[3], sys.argv[3:])'
)


def executable():
    """Where a Chromium is, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One Chromium with one page; use it in a ``with`` statement.

    Attributes:
        events: Everything Chromium reported since :meth:`open`, e.g. requests and console messages.
    """

    def __init__(self, profile: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        command = [executable(), *FLAGS, f'--user-data-dir={profile}', 'about:blank']
        self._process = subprocess.Popen(
            [sys.executable, '-c', START, str(to_browser), str(from_browser), *command],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._last, self._session, self.events = b'', 0, None, []
        targets = self.call('Target.getTargets')['targetInfos']
        page = next((target for target in targets if target['type'] == 'page'), None)
        target = page['targetId'] if page else self.call('Target.createTarget', url='about:blank')['targetId']
        self._session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Network', 'Log'):
            self.call(f'{domain}.enable')

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.terminate()
        self._process.wait(timeout=10)
        os.close(self._write)
        os.close(self._read)

    def call(self, method, **params):
        """One DevTools command and its result."""
        self._last += 1
        message = {'id': self._last, 'method': method, 'params': params}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._write, json.dumps(message).encode() + b'\0')
        while (answer := self._next()).get('id') != self._last:
            self.events.append(answer)
        if 'error' in answer:
            raise RuntimeError(f'{method}: {answer["error"]}')
        return answer['result']

    def open(self, path: Path, width=1280, height=900, dark=False, media='', scripts=True):
        """Load a file in a window of this size and wait until it is there."""
        self.call(
            'Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}]
        self.call('Emulation.setEmulatedMedia', media=media, features=scheme)
        self.call('Emulation.setScriptExecutionDisabled', value=not scripts)
        self.events.clear()
        self.call('Page.navigate', url=path.as_uri())
        while not any(event.get('method') == 'Page.loadEventFired' for event in self.events):
            self.events.append(self._next())

    def run(self, script):
        """What an expression is in the page."""
        answer = self.call('Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in answer:
            raise RuntimeError(answer['exceptionDetails'])
        return answer['result'].get('value')

    def screenshot(self, whole=False):
        """PNG of the window, or of the whole page."""
        return b64decode(self.call('Page.captureScreenshot', captureBeyondViewport=whole, **self._clip(whole))['data'])

    def named(self, method):
        """The parameters of all events of one kind."""
        return [event['params'] for event in self.events if event.get('method') == method]

    def _clip(self, whole):
        if not whole:
            return {}
        size = self.call('Page.getLayoutMetrics')['cssContentSize']
        return {'clip': {'x': 0, 'y': 0, 'width': size['width'], 'height': size['height'], 'scale': 1}}

    def _next(self):
        while b'\0' not in self._buffer:
            received = os.read(self._read, 1 << 16)
            if not received:
                raise RuntimeError(f'the browser ended with status {self._process.wait()}')
            self._buffer += received
        message, self._buffer = self._buffer.split(b'\0', 1)
        return json.loads(message)
