import { testDockerDriver } from "../../contracts/docker-driver";
import { FakeDockerDriver } from "./fake-driver";

testDockerDriver("on the fake", () => {
  const driver = new FakeDockerDriver();
  driver.world.addImage("tiny:latest", { Cmd: ["/bin/sh"] });
  return Promise.resolve({ driver, source: "tiny:latest" });
});
