// Node's ws: takes conversations as lines of JSON, and answers each with its report, in the order in
// which they end.
import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { talk } from "./talk.mjs";

globalThis.crypto ??= webcrypto; // Node 18 does not have it by itself

for await (const line of createInterface({ input: process.stdin })) {
	const { id, conversation } = JSON.parse(line);
	converse(conversation).then((report) => console.log(JSON.stringify({ id, report })));
}

async function converse(conversation) {
	const socket = new WebSocket(conversation.url, conversation.subprotocols ?? [], {
		perMessageDeflate: conversation.offer ?? false,
	});
	// The socket itself tells no more of an extension than its name.
	let extensions = "";
	socket.on("upgrade", (response) => { extensions = response.headers["sec-websocket-extensions"] ?? ""; });
	const pongs = [];
	socket.on("pong", (data) => pongs.push(data.toString()));
	const report = await talk(socket, conversation, inFrames);
	return { ...report, extensions, pongs };
}

// inFrames sends a message in as many frames as it should have, and its ping before the last.
function inFrames(socket, message, data) {
	const bytes = Buffer.from(data);
	const frames = Math.max(message.frames, 1);
	const cut = (i) => Math.floor((i * bytes.length) / frames);
	for (let i = 0; i < frames; i++) {
		const fin = i === frames - 1;
		if (fin && message.ping) socket.ping(message.ping);
		socket.send(bytes.subarray(cut(i), cut(i + 1)), { binary: !message.text, fin });
	}
}
