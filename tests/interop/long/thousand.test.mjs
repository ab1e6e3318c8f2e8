// A thousand paid round trips of each stock client against one node.
import { after, before } from "node:test";
import { paysOnKeptConnections, untilPaid } from "../kept.mjs";
import { startNode } from "../node.mjs";

let world;

before(async () => {
  world = await startNode();
  await untilPaid(world);
}, { timeout: 240_000 });
after(() => world?.close());

paysOnKeptConnections(() => world, { npm: 1_000, python: 1_000 });
