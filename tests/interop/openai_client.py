"""The openai package from PyPI, unchanged, against `candor proxy` at BASE_URL. Prints what worked; raises otherwise."""

import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["BASE_URL"], api_key="unused", max_retries=0)
messages = [{"role": "user", "content": "Hi"}]

whole = client.chat.completions.create(model="candor-mini", messages=messages, max_tokens=8, temperature=0)
assert whole.usage.completion_tokens > 0, whole
assert whole.usage.cost > 0 and whole.candor["verdict"][0] == "VERIFIED", whole
print("ok whole")

text = ""
for chunk in client.chat.completions.create(model="candor-mini", messages=messages, max_tokens=8, temperature=0, stream=True):
    if chunk.choices:
        text += chunk.choices[0].delta.content or ""
assert text, "an empty stream"
print("ok stream")
