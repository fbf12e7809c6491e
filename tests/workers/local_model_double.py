"""Stands for the runtime of local models."""

from __future__ import annotations

import threading
import time


class FakeServer:
    """Answers like the runtime: in chunks, stopping when its callback says so."""

    def __init__(self, *replies: str, error: dict | None = None, endless: bool = False) -> None:
        self.replies = list(replies)
        self.error = error
        self.endless = endless
        self.bodies: list[dict] = []
        self.calls_back = 0
        self.running = threading.Event()
        self.stopped = threading.Event()

    def handle_chat_completions(self, body, callback):
        self.bodies.append(body)
        self.running.set()
        if self.error is not None:
            callback({"error": self.error})
            return
        while self.endless:
            self.calls_back += 1
            if callback({"prompt_progress": {}, "choices": [{"delta": {"content": None}}]}):
                self.stopped.set()
                return
            time.sleep(0.005)
        text = self.replies.pop(0)
        for place in range(0, len(text), 4):
            callback({"choices": [{"delta": {"content": text[place : place + 4]}}]})
        finish = "length" if text.endswith("…") else "stop"
        callback({"choices": [{"delta": {}, "finish_reason": finish}]})
        usage = {"prompt_tokens": 20, "completion_tokens": 5}
        usage["prompt_tokens_details"] = {"cached_tokens": 8}
        callback({"choices": [], "usage": usage})
