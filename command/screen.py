"""A terminal's alternate screen: text that is drawn anew, and keys, until somebody ends it.

The terminal is as it was before, however it ends: by a key, the end of the input, a signal, or an
error. Plain ANSI sequences, which every terminal has that has an alternate screen."""

import os
import select
import signal
import sys
import termios
import time
import tty

ENTER = '\x1b[?1049h\x1b[?25l'  # the alternate screen, no cursor
LEAVE = '\x1b[?25h\x1b[?1049l'
INVERSE, PLAIN = '\x1b[7m', '\x1b[m'

END = '\x04'  # ^D
KEYS = {END: 'end', '\x1b[A': 'up', '\x1b[B': 'down', '\x1b[5~': 'page up', '\x1b[6~': 'page down',
        '\x1bOA': 'up', '\x1bOB': 'down', 'Q': 'q', 'S': 's'}
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OTHERS = (signal.SIGWINCH, signal.SIGTSTP)


class Screen:
    def __init__(self):
        self.ended = None  # the signal that ends it
        self.stop = False
        self.attributes = None
        self.handlers = {}
        self.typed = ''

    def __enter__(self):
        self.wake, self.woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # What comes while nothing is waited for must end the wait that follows.
        self.wakeup_before = signal.set_wakeup_fd(self.woken, warn_on_full_buffer=False)
        for number in (*ENDING, *OTHERS):
            self.handlers[number] = signal.signal(number, self.note)
        try:
            self.take()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.give_back()
        finally:
            for number, handler in self.handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self.wakeup_before)
            os.close(self.wake)
            os.close(self.woken)

    def note(self, number, _frame):
        if number in ENDING:
            self.ended = number
        elif number == signal.SIGTSTP:
            self.stop = True

    def take(self):
        if os.isatty(0):
            self.attributes = termios.tcgetattr(0)
            tty.setcbreak(0)
        self.write(ENTER)

    def give_back(self):
        try:
            self.write(LEAVE)
            if self.attributes:
                termios.tcsetattr(0, termios.TCSADRAIN, self.attributes)
        except (OSError, termios.error):
            pass  # the terminal is gone, and nothing of it left to restore

    @property
    def status(self):
        """The exit status, as a shell gives it for the signal that ended it."""
        return 128 + self.ended if self.ended else 0

    @property
    def rows(self):
        return self.size().lines

    @staticmethod
    def size():
        try:
            size = os.get_terminal_size(1)
        except OSError:
            size = os.terminal_size((80, 24))
        # A terminal may not know its size.
        return size if size.lines > 0 and size.columns > 0 else os.terminal_size((80, 24))

    @staticmethod
    def write(text):
        sys.stdout.write(text)
        sys.stdout.flush()

    def draw(self, lines, inverse):
        """The lines, cut to what there is room for; the one with the number INVERSE is a title."""
        size = self.size()
        shown = []
        for number, line in enumerate(lines[:size.lines]):
            line = line if len(line) <= size.columns else line[:size.columns - 1] + '+'
            shown.append(INVERSE + line.ljust(size.columns) + PLAIN if number == inverse
                         else f'{line}\x1b[K')
        self.write('\x1b[H' + '\r\n'.join(shown) + '\x1b[J')

    def key(self, until):
        """The key that is pressed: a character, or what KEYS says; 'end' where it is to end. None
        when the time has come, or it is to be drawn again."""
        if not self.typed:
            self.wait(until)
        if self.stop:
            self.pause()
        if self.ended:
            return 'end'
        if not self.typed:
            return None
        key = next(filter(self.typed.startswith, KEYS), self.typed[0])
        self.typed = self.typed[len(key):]
        return KEYS.get(key, key)

    def wait(self, until):
        readable = [self.wake] + ([0] if self.attributes else [])
        ready, _, _ = select.select(readable, [], [], max(until - time.monotonic(), 0))
        if self.wake in ready:
            os.read(self.wake, 4096)
        if 0 in ready:
            try:
                self.typed = os.read(0, 64).decode(errors='replace') or END
            except BlockingIOError:
                pass
            except OSError:
                self.typed = END  # it was hung up

    def pause(self):
        """^Z: the shell has its terminal back until it continues us."""
        self.stop = False
        self.give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self.note)
        self.take()
