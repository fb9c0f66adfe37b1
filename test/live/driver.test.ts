import { testDockerDriver } from "../contracts/docker-driver";
import { openDriver, tinyImage } from "../support/docker";

testDockerDriver("on a real engine", async () => ({ driver: await openDriver(), source: tinyImage() }));
