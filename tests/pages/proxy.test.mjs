// The page of a running proxy in a real browser, over a real chain and node: what people see, that words of others stay words, that it looks again
// by itself, and that a page of another origin neither reads nor buys anything.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { start, startNode } from "../interop/node.mjs";
import { OUT, launch } from "./chromium.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const HOSTILE = "</td></table></main><script>document.title='owned'</script><img src=x onerror=alert(1)>\u202e";

let world, proxy, browser, page, at;

const ask = (authority, body, headers = {}) =>
  fetch(`${authority}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ model: "candor-mini", messages: [{ role: "user", content: "Hi" }], max_tokens: 4, ...body }),
  });

const bundles = () => readdirSync(join(world.state, "bundles")).filter((name) => name.endsWith(".candor")).length;

before(async () => {
  world = await startNode();
  proxy = await start(world.state, "proxy", "--rpc", world.rpc, "--listen", "127.0.0.1:0", "--keep", "full");
  at = proxy.up.url.replace("/v1", "");
  assert.equal((await ask(at, {})).status, 200);
  assert.equal((await ask(at, { model: HOSTILE })).status, 404);
  browser = await launch();
  page = await browser.newPage();
}, { timeout: 180_000 });

after(async () => {
  await browser?.close();
  proxy?.child.kill("SIGINT");
  world?.close();
});

for (const colorScheme of ["light", "dark"]) {
  for (const width of [1280, 390, 320]) {
    test(`${colorScheme}, ${width} px: axe finds nothing, nothing complains, nothing is asked of elsewhere, no line is wider than the screen`, async () => {
      const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
      const [requests, complaints] = [[], []];
      page.on("request", (request) => requests.push(request.url()));
      page.on("console", (message) => complaints.push(message.text()));
      page.on("pageerror", (error) => complaints.push(String(error)));
      await page.goto(`${at}/?still`);
      await page.screenshot({ path: join(OUT, `proxy.${colorScheme}.${width}.png`), fullPage: true });
      await page.evaluate(AXE);
      const { violations, incomplete } = await page.evaluate(() => globalThis.axe.run());
      const rows = (found) => found.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`);
      assert.deepEqual(rows(violations), []);
      assert.deepEqual(rows(incomplete.filter(({ id }) => id !== "color-contrast")), []);
      const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
      assert.ok(wide <= seen, `${wide} px of ${seen}`);
      assert.deepEqual(requests.filter((url) => !url.startsWith("data:")), [`${at}/?still`]);
      assert.deepEqual(complaints, []);
      await page.close();
    });
  }
}

test("words of others stay words, and SIMULATED is said in capitals", async () => {
  await page.goto(`${at}/?still`);
  assert.equal(await page.title(), "Candor proxy");
  assert.equal(await page.locator("script, img, [onerror]").count(), 0);
  assert.equal(await page.locator("main").count(), 1);
  assert.ok(await page.getByText("<script>").first().isVisible());
  assert.ok(await page.locator(".sim strong").isVisible());
});

test("an answer leads to the page of its verdict, and the page looks again by itself until it is told not to", async () => {
  await page.goto(at);
  const before = await page.locator(".rows tbody tr").count();
  assert.equal((await ask(at, { seed: 1 })).status, 200);
  await page.waitForFunction((before) => document.querySelectorAll(".rows tbody tr").length === before + 1, before, { timeout: 20_000 });
  await page.getByRole("link", { name: "stop that" }).click();
  await page.getByText("Stands still").waitFor();
  await page.locator(".rows a").first().click();
  await page.getByRole("heading", { level: 1, name: "Verified" }).waitFor();
  assert.match(page.url(), /\/answers\/[0-9a-f]{32}$/);
});

test("a page of another origin reads nothing, frames nothing and buys nothing", async () => {
  const elsewhere = createServer((_, response) => response.setHeader("content-type", "text/html").end("<title>elsewhere</title><iframe></iframe>"));
  await new Promise((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
  const count = bundles();
  const stranger = await browser.newPage();
  await stranger.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
  const tried = await stranger.evaluate(async (at) => {
    const body = JSON.stringify({ model: "candor-mini", messages: [{ role: "user", content: "Hi" }], max_tokens: 4 });
    const read = async (path, init) => {
      try {
        const response = await fetch(at + path, init);
        return `${response.type} ${response.status} ${(await response.text()).length}`;
      } catch {
        return "refused";
      }
    };
    const chat = "/v1/chat/completions";
    const json = { "content-type": "application/json" };
    return [
      await read("/"),
      await read("/health"),
      await read("/", { mode: "no-cors" }),
      await read(chat, { method: "POST", headers: json, body }),
      await read(chat, { method: "POST", mode: "no-cors", body }),
    ];
  }, at);
  assert.deepEqual(tried.filter((word) => !["refused", "opaque 0 0"].includes(word)), []);
  // A form goes as a page's own navigation.
  await stranger.evaluate((at) => {
    const form = Object.assign(document.createElement("form"), { method: "post", action: `${at}/v1/chat/completions`, enctype: "text/plain", target: "_blank" });
    form.append(Object.assign(document.createElement("input"), { name: '{"model":"candor-mini","max_tokens":4,"messages":[{"role":"user","content":"', value: '"}]}' }));
    document.body.append(form);
    form.submit();
    document.querySelector("iframe").src = at;
  }, at);
  await stranger.waitForTimeout(1_500);
  const framed = stranger.frames().find((frame) => frame !== stranger.mainFrame());
  assert.equal(await framed.locator(".rows").count().catch(() => 0), 0);
  assert.equal(bundles(), count);
  await stranger.close();
  elsewhere.close();
});

test("with a token the page is for whoever types it as the password, and a browser that has it buys nothing", async () => {
  const guarded = await start(world.state, "proxy", "--rpc", world.rpc, "--listen", "127.0.0.1:0", "--token", "auto");
  const guardedAt = guarded.up.url.replace("/v1", "");
  const password = readFileSync(guarded.up.token_file, "utf8").trim();
  const headers = { accept: "text/html" };
  assert.equal((await fetch(guardedAt, { headers })).status, 401);
  const context = await browser.newContext({ httpCredentials: { username: "anybody", password } });
  const inside = await context.newPage();
  await inside.goto(guardedAt);
  assert.equal(await inside.title(), "Candor proxy");
  const basic = `Basic ${Buffer.from(`anybody:${password}`).toString("base64")}`;
  assert.equal((await ask(guardedAt, {}, { authorization: basic })).status, 401);
  await context.close();
  guarded.child.kill("SIGINT");
});
