import { LINEAGE, testBalancer } from "../contracts/balancer";
import { readVersion } from "../../src/rollout/switch/server-name";
import { BLUE, FakeBalancer, GREEN, placeOf } from "./fake-balancer";

testBalancer("on the fake", () => {
  const balancer = new FakeBalancer((name) => readVersion(LINEAGE, name));
  const programs = new Map<string, string>();
  return Promise.resolve({
    balancer,
    colours: [BLUE, GREEN] as const,
    startProgram(name, isHealthy) {
      const place = { address: "10.0.0.1", port: programs.size + 1 };
      programs.set(placeOf({ ...place, name }), name);
      if (isHealthy) balancer.healthy.add(placeOf({ ...place, name }));
      return Promise.resolve(place);
    },
    openRequest() {
      const name = balancer.request() ?? "";
      return Promise.resolve({
        end: () => Promise.resolve(balancer.end(name)),
        isCut: () => !balancer.open.has(name),
      });
    },
    whoAnswers() {
      const name = balancer.request();
      if (name === undefined) return Promise.resolve(undefined);
      balancer.end(name);
      const server = balancer.found.colours
        .flatMap((colour) => colour.servers.map((one) => ({ ...one, at: `${colour.name}/${one.name}` })))
        .find((one) => one.at === name);
      return Promise.resolve(server && programs.get(placeOf(server)));
    },
    stop: () => Promise.resolve(),
  });
});
