"""The lock of trainings within one process."""

import threading

ONE_AT_A_TIME = threading.RLock()
"""Held during training, because the random number generator and Lightning's log are global to the process."""
