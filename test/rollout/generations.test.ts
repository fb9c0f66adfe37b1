import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { allot, type Allotment } from "../../src/rollout/generations/allot";
import {
  chooseSubnet,
  countAddresses,
  foreignRange,
  parseSubnet,
  toAddress,
  toNumber,
} from "../../src/rollout/generations/subnet";

const SUBNET = "198.18.6.0/23";

test("the same content keeps its addresses, also when replicas come and go; another one gets others", () => {
  const one = allot({}, { content: "a", replicas: 2, subnet: SUBNET });
  assert.deepEqual([one.generation, one.addresses], [1, ["198.18.6.3", "198.18.6.4"]]);
  const three = allot(one, { content: "a", replicas: 3, subnet: SUBNET });
  assert.deepEqual([three.generation, three.addresses.slice(0, 2)], [1, one.addresses]);
  const two = allot(three, { content: "a", replicas: 2, subnet: SUBNET });
  assert.deepEqual(two.addresses, one.addresses);
  const next = allot(two, { content: "b", replicas: 2, subnet: SUBNET });
  assert.equal(next.generation, 2);
  // Going back is new containers too: the old ones may still be there.
  const back = allot(next, { content: "a", replicas: 2, subnet: SUBNET });
  assert.equal(back.generation, 3);
  assert.equal(new Set([...three.addresses, ...next.addresses, ...back.addresses]).size, 7);
});

test("whatever fails and is tried again, no two of many generations in a row share an address", () => {
  const steps = fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), fc.integer({ min: 1, max: 5 })), {
    maxLength: 30,
  });
  fc.assert(
    fc.property(steps, (wishes) => {
      let now: Partial<Allotment> = {};
      const owners = new Map<string, number>();
      for (const [content, replicas] of wishes) {
        const after = allot(now, { content, replicas, subnet: SUBNET });
        assert.equal(new Set(after.addresses).size, replicas);
        for (const address of after.addresses) {
          assert.equal(owners.get(address) ?? after.generation, after.generation);
          owners.set(address, after.generation);
        }
        now = after;
      }
    }),
  );
});

test("addresses go round in the network, and never into the part that is for others", () => {
  const subnet = parseSubnet("10.9.0.0/28");
  assert.ok(subnet);
  let now: Partial<Allotment> = {};
  for (let round = 0; round < 50; round++) {
    const after = allot(now, { content: String(round), replicas: 2, subnet: "10.9.0.0/28" });
    const used = after.addresses.map(toNumber);
    assert.ok(
      used.every(
        (address) =>
          address >= subnet.first + 3 && address < toNumber(foreignRange(subnet).split("/")[0] ?? ""),
      ),
    );
    assert.ok(after.addresses.every((address) => !now.addresses?.includes(address)));
    now = after;
  }
  assert.equal(countAddresses(subnet), 11);
  assert.throws(() => allot({}, { content: "x", replicas: 6, subnet: "10.9.0.0/28" }), /too small/);
});

test("a subnet is chosen that no other network has", () => {
  const seed = fc.nat(65_535);
  fc.assert(
    fc.property(seed, fc.array(fc.nat(255), { maxLength: 200 }), (start, taken) => {
      const used = taken.map((index) => ({ first: toNumber("198.18.0.0") + index * 512, size: 512 }));
      const chosen = parseSubnet(chooseSubnet(start, used));
      assert.ok(chosen);
      assert.ok(used.every((other) => other.first !== chosen.first));
      assert.match(toAddress(chosen.first), /^198\.(18|19)\./);
    }),
  );
  assert.equal(parseSubnet("10.0.0.1/24"), undefined);
  assert.equal(parseSubnet("10.0.0.0"), undefined);
});
