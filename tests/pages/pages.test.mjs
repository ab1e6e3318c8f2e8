// The page of a verdict in a real browser: what people see and hear, what a printer gets, and that nothing leaves.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { HOSTILE, KINDS, OUT, contrasts, fold, launch, makePages, open } from "./chromium.mjs";
import { committed, current } from "./expected.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const DESKTOP = 1280;
const PHONE = 390;

let browser;

before(async () => {
  makePages();
  browser = await launch();
});

after(() => browser?.close());

for (const kind of KINDS) {
  test(`${kind}: a screen reader is told, and colours are, what is committed`, async () => {
    assert.equal(await current(browser, kind), committed(kind), "if this is meant: npm run -s accept, and read the diff");
  });
}

for (const kind of [...KINDS, HOSTILE]) {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [DESKTOP, PHONE]) {
      test(`${kind}, ${colorScheme}, ${width} px: axe finds nothing, with folds shut and open`, async () => {
        const { page } = await open(browser, kind, { width, colorScheme });
        // For people: nothing is held against it.
        await page.screenshot({ path: join(OUT, `${kind}.${colorScheme}.${width}.png`), fullPage: true });
        // The page's own policy forbids scripts to the page; this one comes from the debugger.
        await page.evaluate(AXE);
        for (const isOpen of [false, true]) {
          await fold(page, isOpen);
          const { violations, incomplete } = await page.evaluate(() => globalThis.axe.run());
          const rows = (found) => found.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`);
          assert.deepEqual(rows(violations), []);
          assert.deepEqual(rows(incomplete.filter(({ id }) => id !== "color-contrast")), []);
          const undecided = incomplete.flatMap(({ nodes }) => nodes.map(({ html }) => html));
          assert.deepEqual(undecided.filter((html) => !html.startsWith("<text")), [], "axe could not tell its contrast");
        }
        const faint = (await contrasts(page)).filter(([what, ratio]) => ratio < (what.startsWith("d d-") ? 3 : 4.5));
        assert.deepEqual(faint, []);
        await page.close();
      });
    }
  }

  test(`${kind}: nothing leaves and nothing complains`, async () => {
    const { page, address, requests, complaints } = await open(browser, kind);
    await page.locator("summary").first().click();
    assert.deepEqual(requests, [address]);
    assert.deepEqual(complaints, []);
    await page.close();
  });

  test(`${kind}: one form of the picture at each width, and no line is wider than a phone`, async () => {
    for (const [width, form] of [[DESKTOP, "wide"], [900, "mid"], [PHONE, "tall"], [320, "tall"]]) {
      const { page } = await open(browser, kind, { width });
      const shown = await page.evaluate(() => [...document.querySelectorAll(".chain")].filter((svg) => svg.clientWidth).map((svg) => svg.classList[1]));
      assert.deepEqual(shown, [form], `${width} px`);
      for (const isOpen of [false, true]) {
        await fold(page, isOpen);
        const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
        assert.ok(wide <= seen, `${width} px: ${wide} px of ${seen}, folds ${isOpen ? "open" : "shut"}`);
      }
      await page.close();
    }
  });
}

for (const kind of ["verified", "refused"]) {
  test(`${kind}: it prints on one sheet of A4`, async () => {
    const { page } = await open(browser, kind);
    const pdf = await page.pdf({ path: join(OUT, `${kind}.pdf`), preferCSSPageSize: true, printBackground: true });
    assert.equal(pdf.toString("latin1").match(/\/Type\s*\/Page\b/g)?.length, 1);
    const [, width, height] = pdf.toString("latin1").match(/\/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]/).map(Number);
    assert.ok(Math.abs(width - 595) < 2 && Math.abs(height - 842) < 2, `${width} × ${height} points`);
    await page.close();
  });
}

test("a refusal leads to its check: the fold opens where the link points", async () => {
  const { page } = await open(browser, "refused");
  await page.getByRole("link", { name: "response.commitment" }).click();
  await page.locator("#c-response\\.commitment").waitFor({ state: "visible" });
  await page.close();
});

test("words of others stay words: no script ran, no title changed, no element is theirs, and none paints over the verdict", async () => {
  const { page } = await open(browser, HOSTILE);
  assert.match(await page.title(), /^SIMULATED · Verified: <\/dd>/);
  assert.equal(await page.locator("script, img, main ~ *, [onerror]").count(), 0);
  assert.equal(await page.locator("main").count(), 1);
  assert.ok((await page.locator(".ctl").count()) > 20);
  // What piles up on a letter is clipped by the element that holds it.
  const loose = await page.evaluate(() => {
    const isClipped = (element) => element !== null && (getComputedStyle(element).overflow === "clip" || isClipped(element.parentElement));
    return [...document.querySelectorAll("main bdi, main .quote, main code")].filter((element) => !isClipped(element) && element.textContent.includes("\u0301"));
  });
  assert.deepEqual(loose, []);
  await page.close();
});
