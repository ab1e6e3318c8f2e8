// Writes expected/*.txt from the pages as they are: to be read in the diff, word for word, before it is committed.
import { mkdirSync, writeFileSync } from "node:fs";
import { EXPECTED, KINDS, launch, makePages } from "./chromium.mjs";
import { current, file } from "./expected.mjs";

makePages();
mkdirSync(EXPECTED, { recursive: true });
const browser = await launch();
for (const kind of KINDS) {
  writeFileSync(file(kind), await current(browser, kind));
}
await browser.close();
