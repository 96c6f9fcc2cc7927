#!/usr/bin/env python3
"""A model with weights of one file, the vocabulary of another, and a ChatML template: graft.py WEIGHTS VOCABULARY OUT

For tests and measurements that need a chat on weights that have none: a made model has no vocabulary, the reference
models have no template. Where the weights have more rows than the vocabulary has tokens, unused ones fill it up.
"""
import struct, sys

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
TEXT, ARRAY, UNUSED = 8, 9, 5
TEMPLATE = """{% if tools %}<|im_start|>system
# Tools

{% for t in tools %}{{ t | tojson }}
{% endfor %}For each function call, return a json object within <tool_call></tool_call>: <tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% if m.tool_calls %}{% for c in m.tool_calls %}
<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def packed(text):
    return struct.pack("<Q", len(text)) + text


def text_at(data, at):
    (size,) = struct.unpack_from("<Q", data, at)
    return data[at + 8 : at + 8 + size], at + 8 + size


def after(kind, data, at):
    if kind == TEXT:
        return text_at(data, at)[1]
    if kind != ARRAY:
        return at + SIZES[kind]
    of, count = struct.unpack_from("<IQ", data, at)
    at += 12
    for _ in range(count):
        at = after(of, data, at)
    return at


class File:
    """Metadata as bytes by key, the directory of tensors, and where the data begins."""

    def __init__(self, path):
        self.data = open(path, "rb").read()
        self.tensors, count = struct.unpack_from("<QQ", self.data, 8)
        self.keys, at = {}, 24
        for _ in range(count):
            begin = at
            key, at = text_at(self.data, at)
            (kind,) = struct.unpack_from("<I", self.data, at)
            at = after(kind, self.data, at + 4)
            self.keys[key.decode()] = self.data[begin:at]
        self.rows, begin = 0, at
        for _ in range(self.tensors):
            name, at = text_at(self.data, at)
            (dims,) = struct.unpack_from("<I", self.data, at)
            if name == b"token_embd.weight":
                self.rows = struct.unpack_from("<QQ", self.data, at + 4)[1]
            at += 4 + 8 * dims + 12
        self.directory, self.begin = self.data[begin:at], -(-at // 32) * 32


def filled_up(key, row, missing, element):
    """The array behind `key`, `missing` elements longer."""
    head = 8 + len(key) + 4
    of, count = struct.unpack_from("<IQ", row, head)
    return row[:head] + struct.pack("<IQ", of, count + missing) + row[head + 12 :] + b"".join(element(i) for i in range(missing))


def graft(weights, vocabulary, out):
    w, v = File(weights), File(vocabulary)
    own = {k: row for k, row in w.keys.items() if not k.startswith("tokenizer.")}
    words = {k: row for k, row in v.keys.items() if k.startswith("tokenizer.")}
    tokens = words["tokenizer.ggml.tokens"]
    missing = w.rows - struct.unpack_from("<Q", tokens, 8 + len("tokenizer.ggml.tokens") + 8)[0]
    elements = {"tokens": lambda i: packed(b"[PAD%d]" % i), "scores": lambda i: struct.pack("<f", 0),
                "token_type": lambda i: struct.pack("<i", UNUSED)}
    for name, element in elements.items():
        key = "tokenizer.ggml." + name
        if key in words and missing > 0:
            words[key] = filled_up(key, words[key], missing, element)
    words["tokenizer.chat_template"] = packed(b"tokenizer.chat_template") + struct.pack("<I", TEXT) + packed(TEMPLATE.encode())
    rows = [*own.values(), *words.values()]
    head = b"GGUF" + struct.pack("<IQQ", 3, w.tensors, len(rows)) + b"".join(rows) + w.directory
    open(out, "wb").write(head + b"\0" * (-len(head) % 32) + w.data[w.begin :])


if __name__ == "__main__":
    graft(*sys.argv[1:4])
