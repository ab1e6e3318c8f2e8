"""The openai package from PyPI, unchanged, against `candor proxy` or an open node at BASE_URL. Prints what worked; raises otherwise."""

import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["BASE_URL"], api_key="unused", max_retries=0)
messages = [{"role": "user", "content": "Hi"}]

whole = client.chat.completions.create(model="candor-mini", messages=messages, max_tokens=8, temperature=0)
assert whole.usage.completion_tokens > 0, whole
print("ok whole")
# What a proxy alone says, in members that the package knows nothing of: `-` where they are missing.
print("cost", getattr(whole.usage, "cost", "-"), "verdict", getattr(whole, "candor", {}).get("verdict", ["-"])[0])

text = ""
for chunk in client.chat.completions.create(model="candor-mini", messages=messages, max_tokens=8, temperature=0, stream=True):
    if chunk.choices:
        text += chunk.choices[0].delta.content or ""
assert text, "an empty stream"
print("ok stream")
