// Drives pusher-js for the tests. Standard input carries commands, [name, ...arguments] on a line;
// standard output what the client saw, an object on a line. It ends with its standard input.
"use strict";

const readline = require("node:readline");

const { module: modulePath, key, port, options } = JSON.parse(process.argv[2]);
const Pusher = require(modulePath);

const tell = (seen) => process.stdout.write(JSON.stringify(seen) + "\n");
const authorizations = new Map();

const pusher = new Pusher(key, {
  cluster: "",
  wsHost: "127.0.0.1",
  wsPort: port,
  forceTLS: false,
  enabledTransports: ["ws"],
  channelAuthorization: {
    customHandler: ({ socketId, channelName }, callback) => {
      const id = authorizations.size;
      authorizations.set(id, callback);
      tell({ authorize: id, params: { channel: channelName, socket_id: socketId } });
    },
  },
  ...options,
});

pusher.connection.bind("state_change", ({ current }) =>
  tell({ state: current, socket_id: pusher.connection.socket_id }),
);
pusher.connection.bind("error", ({ data, error }) => tell({ error: (data ?? error.data).code }));
pusher.bind_global((event, data) => tell({ event, data }));

const commands = {
  subscribe: (name) => {
    const channel = pusher.subscribe(name);
    channel.bind_global((event, data) => tell({ channel: name, event, data, members: channel.members?.count }));
    channel.bind("client-typing", (data, { user_id }) => tell({ typing: data, user_id }));
  },
  unsubscribe: (name) => pusher.unsubscribe(name),
  trigger: (name, event, data) => pusher.channel(name).trigger(event, data),
  authorized: (id, answer) => authorizations.get(id)(null, answer),
};

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [name, ...args] = JSON.parse(line);
    commands[name](...args);
  })
  .on("close", () => process.exit(0));
