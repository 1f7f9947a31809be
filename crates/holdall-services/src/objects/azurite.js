// Makes the container `holdall`: every request to Azure is signed, also by the emulator's key.
const crypto = require("crypto");
const http = require("http");

const port = process.argv[2];
const account = "devstoreaccount1";
// Published in the emulator's manual: no secret.
const key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const path = `/${account}/holdall`;
const date = new Date().toUTCString();
const text =
  `PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:${date}\nx-ms-version:2021-08-06\n` +
  `/${account}${path}\nrestype:container`;
const signature = crypto.createHmac("sha256", Buffer.from(key, "base64")).update(text);
const headers = {
  "x-ms-date": date,
  "x-ms-version": "2021-08-06",
  "Content-Length": 0,
  Authorization: `SharedKey ${account}:${signature.digest("base64")}`,
};
const request = { host: "127.0.0.1", port, method: "PUT", path: `${path}?restype=container`, headers };
http
  .request(request, (answer) => {
    // 409: it is there already.
    if (answer.statusCode === 201 || answer.statusCode === 409) process.exit(0);
    console.error(`the container cannot be made: status ${answer.statusCode}`);
    process.exit(1);
  })
  .end();
