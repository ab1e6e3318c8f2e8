// The openai SDK (npm), unchanged and without any wallet, against a node that answers anybody: `run` starts this with the node's certificate.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.env.NODE_URL}/v1`, apiKey: process.env.API_KEY, maxRetries: 0 });
const ask = { model: "candor-mini", messages: [{ role: "user", content: "Hi" }], max_tokens: 8, temperature: 0 };
const said = {};
try {
  said.whole = (await client.chat.completions.create(ask)).choices[0].message.content;
  said.streamed = "";
  for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) {
    said.streamed += chunk.choices[0]?.delta?.content ?? "";
  }
} catch (error) {
  said.refused = { status: error.status, code: error.code };
}
console.log(JSON.stringify(said));
